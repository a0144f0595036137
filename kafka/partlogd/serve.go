package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/wire"
	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/kafka/kafkatest"
	"github.com/partlog/partlog/kafka/partlogd/internal/tool"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/replication"
)

// daemon is a store with the brokers in front of it.
type daemon struct {
	options *options
	cluster *cluster
	streams tool.Streams
	store   *partition.Store
	server  *kafka.Server
	double  *kafkatest.Cluster // with --control: it has store and server, and others after each crash
	web     web
	node    *replication.Node // of a cluster; it has the store
	failed  chan error        // of the node
	refused refusals          // logins that failed
}

// serve runs brokers until ctx ends.
func serve(ctx context.Context, args []string, s tool.Streams) (err error) {
	o, err := parseOptions(args, s.Out)
	if err != nil {
		return err
	}
	c, err := readCluster(o)
	if err != nil {
		return err
	}
	if err := c.checkUsers(o); err != nil {
		return err
	}
	d := newDaemon(o, c, s)
	if err := d.start(ctx); err != nil {
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			err = nil // it was ended while it waited for the quorum
		}
		return errors.Join(err, d.stop())
	}
	if err := d.ready(); err != nil {
		return errors.Join(err, d.stop())
	}
	select {
	case <-ctx.Done():
		d.say("stopping")
		return d.stop()
	case err := <-d.failed:
		return errors.Join(err, d.stop())
	}
}

func newDaemon(o *options, c *cluster, s tool.Streams) *daemon {
	d := &daemon{options: o, cluster: c, streams: s, failed: make(chan error, 1)}
	d.refused = refusals{clock: clock.System, warn: d.warn}
	return d
}

// say tells what goes on.
func (d *daemon) say(format string, args ...any) {
	if !d.options.quiet {
		d.warn(format, args...)
	}
}

func (d *daemon) warn(format string, args ...any) {
	fmt.Fprintf(d.streams.Err, programName+": "+format+"\n", args...)
}

func (d *daemon) start(ctx context.Context) error {
	if err := d.web.open(d.options); err != nil {
		return err
	}
	configs, err := d.cluster.brokers(d.options)
	if err != nil {
		return err
	}
	d.cluster.tell(d.streams.Err)
	if d.cluster.quorum() != nil {
		err = d.startNode(ctx, configs[0])
	} else if d.options.control != "" {
		err = d.startDouble(configs)
	} else if err = d.open(); err == nil {
		err = d.serveBrokers(configs)
	}
	if err != nil {
		closeAll(configs)
		return err
	}
	if d.options.imported != "" {
		if err := d.importTopics(ctx); err != nil {
			return err
		}
	}
	if err := d.addUsers(ctx); err != nil {
		return err
	}
	d.introduce()
	if err := d.populate(ctx); err != nil {
		return err
	}
	d.web.serve(d.double, d.fork)
	return nil
}

// storeConfig is what the properties and --sync say of the store.
func (d *daemon) storeConfig() partition.Config {
	mode := d.options.sync
	if !d.options.syncGiven {
		mode = partition.SyncAlways
	}
	config := d.cluster.nodes[0].StoreConfig(mode)
	config.Events = d.storeEvents()
	return config
}

// kafkaConfig is what the properties say of the brokers.
func (d *daemon) kafkaConfig() kafka.Config {
	return kafka.Config{
		Properties:        d.cluster.common,
		UnknownProperties: true, // readCluster has warned
		AllowPlaintext:    true, // an address in a property is the word for it, and without one it is loopback
		LoginLimits:       d.options.logins,
		Events:            d.kafkaEvents(),
	}
}

// open opens the store.
func (d *daemon) open() (err error) {
	if d.cluster.dir == "" {
		d.store, err = partition.OpenMemory(d.storeConfig())
		return err
	}
	if d.store, err = partition.Open(d.cluster.dir, d.storeConfig()); err != nil {
		return d.explain(err)
	}
	return nil
}

// startDouble opens the store and the brokers as a cluster that fails on command.
func (d *daemon) startDouble(configs []kafka.BrokerConfig) (err error) {
	disk := kafkatest.FaultyDisk()
	if d.cluster.dir != "" {
		disk = kafkatest.Directory(d.cluster.dir)
	}
	if d.double, err = kafkatest.Start(d.doubled(configs, disk)...); err != nil {
		return d.explain(err)
	}
	d.store, d.server = d.double.Store(), d.double.Server()
	return nil
}

// doubled are the options of such a cluster.
func (d *daemon) doubled(configs []kafka.BrokerConfig, more ...kafkatest.Option) []kafkatest.Option {
	opts := append(more, kafkatest.Server(d.kafkaConfig()), kafkatest.Store(d.storeConfig()))
	if _, ok := d.cluster.common["group.initial.rebalance.delay.ms"]; !ok {
		opts = append(opts, kafkatest.Property("group.initial.rebalance.delay.ms", "3000")) // Kafka's, not that of a test in Go
	}
	if d.options.persona != nil {
		opts = append(opts, kafkatest.As(d.options.persona))
	}
	for _, c := range configs {
		opts = append(opts, kafkatest.Broker(c))
	}
	return opts
}

// fork makes a cluster of a snapshot: the same brokers, on ports of loopback that the system chooses.
func (d *daemon) fork(s *kafkatest.Snapshot) (*kafkatest.Cluster, error) {
	elsewhere := *d.cluster
	elsewhere.nodes = nil
	for _, n := range d.cluster.nodes {
		moved := *n
		moved.Listeners = slices.Clone(n.Listeners)
		for i := range moved.Listeners {
			moved.Listeners[i].Bind, moved.Listeners[i].Advertised = "127.0.0.1:0", ""
		}
		elsewhere.nodes = append(elsewhere.nodes, &moved)
	}
	configs, err := elsewhere.brokers(d.options)
	if err != nil {
		return nil, err
	}
	c, err := kafkatest.Start(d.doubled(configs, kafkatest.From(s))...)
	if err != nil {
		closeAll(configs)
	}
	return c, err
}

// importTopics takes topics over from a log directory of Apache Kafka.
func (d *daemon) importTopics(ctx context.Context) error {
	r, err := d.store.Import(ctx, d.options.imported, partition.ImportOptions{})
	if err != nil {
		return fmt.Errorf("import of %s: %w", d.options.imported, err)
	}
	d.say("imported %d topics, %d bytes, from %s", len(r.Topics), r.Bytes, d.options.imported)
	return nil
}

// explain says what to do about a store that does not open.
func (d *daemon) explain(err error) error {
	switch {
	case errors.Is(err, partition.ErrNotStore) && isKafkas(d.cluster.dir):
		return fmt.Errorf("%s is a log directory of Apache Kafka, and stays as it is; give the store a directory of its own with --dir NEW, and add --import %s to take its topics over", d.cluster.dir, d.cluster.dir)
	case errors.Is(err, partition.ErrNotStore):
		return fmt.Errorf("%w; --dir names another", err)
	case errors.Is(err, partition.ErrStoreInUse):
		return fmt.Errorf("%w; end that process, or give this one another directory with --dir", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; --dir names another directory, --memory none", err)
	}
	return err
}

// isKafkas tells a log directory of Apache Kafka.
func isKafkas(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "meta.properties"))
	return err == nil
}

func (d *daemon) serveBrokers(configs []kafka.BrokerConfig) (err error) {
	if d.server, err = kafka.New(d.store, d.kafkaConfig()); err != nil {
		return err
	}
	for _, c := range configs {
		if _, err := d.server.AddBroker(c); err != nil {
			return err
		}
	}
	return nil
}

// addUsers gives the users of SCRAM mechanisms their passwords.
func (d *daemon) addUsers(ctx context.Context) error {
	for _, u := range d.options.users {
		if u.mechanism == "PLAIN" {
			continue // of the listener
		}
		if err := d.server.PutScramUser(ctx, kafka.ScramUser{Name: u.name, Mechanism: u.mechanism, Password: kafka.Password(u.password)}); err != nil {
			return fmt.Errorf("--user %s: %w", u.name, err)
		}
	}
	return nil
}

// introduce tells what there is.
func (d *daemon) introduce() {
	if d.cluster.dir == "" {
		d.say("the store is in memory: it is gone when this process ends")
	} else {
		d.say("the store is in %s", d.cluster.dir)
	}
	if d.server == nil {
		d.say("node %d is a controller only: clients connect to brokers", d.node.NodeID())
		return
	}
	names := d.cluster.listenerNames()
	for _, b := range d.server.Brokers() {
		if d.node != nil && b.ID() != d.node.NodeID() {
			continue
		}
		for _, name := range names {
			if host, port, ok := b.Addr(name); ok {
				d.say("broker %d: %s, clients are told %s", b.ID(), name, net.JoinHostPort(host, strconv.Itoa(int(port))))
			}
		}
	}
}

// populate creates the topics of --topics that are not there.
func (d *daemon) populate(ctx context.Context) error {
	for _, t := range d.options.topics {
		_, err := d.server.CreateTopic(ctx, t)
		if errors.Is(err, partition.ErrTopicAlreadyExists) {
			have, err := d.store.Topic(t.Name)
			if err == nil && t.Partitions != 0 && have.Partitions() != t.Partitions {
				d.warn("topic %s is there already, with %d partitions, not %d; it stays as it is", t.Name, have.Partitions(), t.Partitions)
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("topic %s: %w", t.Name, err)
		}
	}
	return nil
}

// ready tells the world.
func (d *daemon) ready() error {
	d.web.health.Set(true)
	if f := d.options.readyFile; f != "" {
		if err := writeWhole(f, d.facts()); err != nil {
			return fmt.Errorf("--ready-file: %w", err)
		}
	}
	fmt.Fprintln(d.streams.Out, readyMessage) // nobody may be listening
	return nil
}

// facts are what the ready file says: properties that a test reads.
func (d *daemon) facts() string {
	var bootstrap []string
	var brokers []*kafka.Broker
	if d.server != nil {
		brokers = d.server.Brokers()
	}
	for _, b := range brokers {
		host, port, ok := b.Addr("")
		if !ok || d.node != nil && b.ID() != d.node.NodeID() {
			continue
		}
		bootstrap = append(bootstrap, net.JoinHostPort(host, strconv.Itoa(int(port))))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "bootstrap.servers=%s\n", strings.Join(bootstrap, ","))
	fmt.Fprintf(&b, "cluster.id=%s\n", d.store.ClusterID())
	fmt.Fprintf(&b, "pid=%d\n", os.Getpid())
	if a := d.web.address(d.web.control); a != "" {
		fmt.Fprintf(&b, "control=http://%s\n", a)
	}
	if a := d.web.address(d.web.probes); a != "" {
		fmt.Fprintf(&b, "health=http://%s\n", a)
	}
	return b.String()
}

// writeWhole writes a file that others never see half written.
func writeWhole(file, text string) error {
	part := file + ".part"
	if err := os.WriteFile(part, []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(part, file)
}

// stop ends brokers and store, in this order; a node of a cluster hands over first, so that clients find leaders elsewhere while they are still
// answered here. It may be called after a start that failed half way.
func (d *daemon) stop() error {
	d.web.health.Set(false)
	errs := []error{d.web.close()}
	if d.double != nil {
		d.server = d.double.Server()
	}
	if d.node != nil {
		ctx, cancel := context.WithTimeout(context.Background(), d.options.grace)
		err := d.node.HandOver(ctx)
		cancel()
		if err != nil && !errors.Is(err, replication.ErrClosed) {
			d.warn("leaderships have not moved: %v", err)
		}
	}
	if d.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), d.options.grace)
		err := d.server.Shutdown(ctx)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			errs = append(errs, err)
		}
	}
	if d.double != nil {
		errs = append(errs, d.double.Close())
	} else if d.node != nil {
		errs = append(errs, d.node.Close())
	} else if d.store != nil {
		errs = append(errs, d.store.Close())
	}
	if f := d.options.readyFile; f != "" {
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (d *daemon) storeEvents() partition.Events {
	return partition.Events{
		Warning: func(w partition.Warning) { d.warn("%s: %s", w.Path, w.Text) },
		Recovered: func(tp partition.TopicPartition, r partition.PartitionRecovery) {
			d.say("%s recovered after an unclean end", tp)
		},
		PartitionFailed: func(tp partition.TopicPartition, err error) { d.warn("%s: %v", tp, err) },
		LowSpace: func(free, threshold int64, low bool) {
			if low {
				d.warn("the disk has %d MiB left", free>>20)
			}
		},
		Uncleanable: func(tp partition.TopicPartition, err error) { d.warn("%s is not compacted any more: %v", tp, err) },
	}
}

func (d *daemon) kafkaEvents() kafka.Events {
	return kafka.Events{
		ConnectionRefused: func(broker int32, listener, remote string, reason error) {
			d.warn("broker %d refused a connection of %s: %v", broker, remote, reason)
		},
		LoginFailed: func(broker int32, listener string, c kafka.ConnInfo, f kafka.FailedLogin) {
			d.refused.tell(broker, listener, c, f)
		},
		ListenerFailed: func(broker int32, listener string, err error) {
			d.warn("broker %d: listener %s takes no connections any more: %v", broker, listener, err)
		},
		ConnectionClosed: func(broker int32, listener string, c kafka.ConnInfo, reason error) {
			if reason != nil && !errors.Is(reason, io.EOF) && !isOrdinary(reason) {
				d.warn("broker %d closed the connection of %v: %v", broker, c.Remote, reason)
			}
		},
	}
}

// isOrdinary tells ends of connections that are nobody's mistake.
func isOrdinary(err error) bool {
	for _, known := range []error{wire.ErrServerClosed, wire.ErrIdle, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE, kafkatest.ErrRule, kafkatest.ErrCrashed} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}
