package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/internal/wire"
	"github.com/partlog/partlog/internal/wire/memnet"
	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/partition"
)

// Cluster is some brokers over one store, for tests. Any number of goroutines may use it.
type Cluster struct {
	opts     []Option
	config   *config
	settings kafka.Config
	clock    *Clock
	rules    *RuleSet
	calls    *callLog
	history  history
	network  *memnet.Network // nil: sockets
	secure   *authority      // nil: no TLS
	fetches  fetchSessions
	configs  personaTopicConfigs
	dead     atomic.Bool    // between a crash and what comes after it
	running  sync.WaitGroup // crashes that rules have started

	change sync.Mutex // one crash, stop, start or move at a time; before mu

	mu       sync.RWMutex // guards all below
	disk     disk
	layer    *vfs.Fault // over the disk, as the store uses it
	store    *partition.Store
	server   *kafka.Server
	nodes    []*node // by id
	closed   bool
	crashErr error // of the last crash that a rule has started
	crashes  int
	crashed  chan struct{} // closed, and replaced, after each
}

// node is one broker, over all servers that the cluster has had.
type node struct {
	id      int32
	config  kafka.BrokerConfig // its listeners' sockets are in ports
	ports   []*port
	broker  *kafka.Broker
	stopped bool
}

// New makes a cluster and closes it when the test ends. It fails the test if that is not possible.
func New(t testing.TB, opts ...Option) *Cluster {
	t.Helper()
	c, err := Start(opts...)
	if err != nil {
		t.Fatalf("kafkatest: %v", err)
	}
	t.Cleanup(func() {
		c.LogFailure(t)
		if err := c.Close(); err != nil {
			t.Errorf("kafkatest: close: %v", err)
		}
	})
	return c
}

// Start makes a cluster, for programs that are no Go test. Close ends it.
func Start(opts ...Option) (*Cluster, error) {
	cfg := newConfig(opts)
	c := &Cluster{opts: opts, config: cfg, clock: newClock(cfg.frozen), crashed: make(chan struct{})}
	c.rules = NewRules(cfg.seed, c.clock)
	c.rules.topicName, c.fetches.topicName = c.topicName, c.topicName
	c.rules.crash = c.crashByRule
	c.rules.conn = c.connOf
	c.rules.fetched = c.fetches.items
	c.calls = newCallLog(cfg.callBytes)
	for _, r := range cfg.rules {
		if _, err := c.rules.Add(r); err != nil {
			return nil, err
		}
	}
	if err := c.start(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) start() (err error) {
	cfg := c.config
	c.settings = cfg.server
	if c.settings.LoginLimits == (kafka.LoginLimits{}) { // Kafka has none
		c.settings.LoginLimits = kafka.LoginLimits{FailuresPerAddress: -1, FailuresPerUser: -1}
	}
	c.settings.Properties = cfg.allProperties()
	if cfg.persona != nil {
		c.settings.Versions = narrow(c.settings.Versions, cfg.persona.Ranges())
		c.settings.OldVersions = c.settings.OldVersions || cfg.persona.release != "" // which narrows them
		if c.settings.Features == nil {
			c.settings.Features = cfg.persona.levels()
		}
	}
	c.history.now = c.clock.Now
	c.settings.GroupEvents = c.history.listen(cfg.server.GroupEvents)
	c.settings.Clock, c.settings.Seed, c.settings.Intercept = c.clock, max(cfg.seed, 1), c.intercept
	if cfg.tls {
		if c.secure, err = newAuthority(cfg.brokers); err != nil {
			return err
		}
	}
	if cfg.memory {
		c.network = memnet.New()
	}
	if c.disk, err = cfg.openDisk(); err != nil {
		return err
	}
	for i := range cfg.brokers {
		if len(cfg.explicit) > 0 {
			break
		}
		id := int32(i + 1)
		b := kafka.BrokerConfig{ID: id}
		if len(cfg.racks) > 0 {
			b.Rack = cfg.racks[i%len(cfg.racks)]
		}
		if _, err := c.addNode(b); err != nil {
			return err
		}
	}
	for _, b := range cfg.explicit {
		if _, err := c.addNode(b); err != nil {
			return err
		}
	}
	if err := c.boot(); err != nil {
		return err
	}
	return c.prepare(context.Background())
}

// addNode gives a broker its ports, opening them where none are given.
func (c *Cluster) addNode(b kafka.BrokerConfig) (*node, error) {
	if b.ID == 0 {
		b.ID = 1
		for _, n := range c.nodes {
			b.ID = max(b.ID, n.id+1)
		}
	}
	n := &node{id: b.ID, config: b}
	n.config.Listeners = slices.Clone(b.Listeners)
	if len(n.config.Listeners) == 0 {
		l, err := c.listener(b.ID)
		if err != nil {
			return nil, err
		}
		n.config.Listeners = []kafka.ListenerConfig{l}
	}
	for i := range n.config.Listeners {
		l := &n.config.Listeners[i]
		if l.Listener == nil {
			return nil, &partition.ConfigError{Key: "listeners", Value: l.Name, Range: "a net.Listener"}
		}
		n.ports = append(n.ports, newPort(l.Listener))
		l.Listener = nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes = append(c.nodes, n)
	slices.SortFunc(c.nodes, func(a, b *node) int { return int(a.id) - int(b.id) })
	return n, nil
}

// loopback needs no multipath, which costs as much as the rest of listening.
var loopback = func() (c net.ListenConfig) {
	c.SetMultipathTCP(false)
	return c
}()

// listener describes the only listener of a broker that is not described in full.
func (c *Cluster) listener(id int32) (l kafka.ListenerConfig, err error) {
	if c.network != nil {
		l.Listener, err = c.network.Listen("broker-" + strconv.Itoa(int(id)) + ":9092")
	} else {
		l.Listener, err = loopback.Listen(context.Background(), "tcp", "127.0.0.1:0")
	}
	if err != nil {
		return l, err
	}
	sasl := len(c.config.users) > 0
	switch {
	case sasl && c.secure != nil:
		l.Protocol = kafka.SASLTLS
	case sasl:
		l.Protocol = kafka.SASLPlaintext
	case c.secure != nil:
		l.Protocol = kafka.TLS
	}
	if c.secure != nil {
		l.TLS = c.secure.server
	}
	for _, u := range c.config.users {
		if u.has(wire.MechanismPlain) {
			if l.Users == nil {
				l.Users = map[string]kafka.Password{}
			}
			l.Users[u.name] = kafka.Password(u.password)
		}
	}
	return l, nil
}

func (u user) has(mechanism string) bool {
	return len(u.mechanisms) == 0 || slices.Contains(u.mechanisms, mechanism)
}

// boot opens the store on the disk, and the brokers on their ports.
func (c *Cluster) boot() error {
	store, err := c.openStore()
	if err != nil {
		return err
	}
	server, err := kafka.New(store, c.settings)
	if err != nil {
		return errors.Join(err, store.Close())
	}
	c.mu.Lock()
	c.store, c.server = store, server
	c.mu.Unlock()
	c.fetches.clear()
	c.dead.Store(false)
	for _, n := range c.nodes {
		if err := c.open(n); err != nil {
			return err
		}
	}
	for _, n := range c.nodes {
		if n.stopped {
			if err := n.broker.Stop(); err != nil {
				return err
			}
		}
	}
	return nil
}

// open adds a node's broker to the server.
func (c *Cluster) open(n *node) (err error) {
	b := n.config
	b.Listeners = slices.Clone(b.Listeners)
	for i, p := range n.ports {
		b.Listeners[i].Listener = p.listen()
	}
	broker, err := c.server.AddBroker(b)
	if err != nil {
		for _, l := range b.Listeners {
			l.Listener.Close()
		}
		return err
	}
	c.mu.Lock()
	n.broker = broker
	c.mu.Unlock()
	return nil
}

// prepare makes users and topics.
func (c *Cluster) prepare(ctx context.Context) error {
	for _, u := range c.config.users {
		for _, m := range []string{wire.MechanismScramSHA256, wire.MechanismScramSHA512} {
			if u.has(m) {
				if err := c.server.PutScramUser(ctx, kafka.ScramUser{Name: u.name, Mechanism: m, Password: kafka.Password(u.password), Iterations: 4096}); err != nil {
					return err
				}
			}
		}
	}
	for _, t := range c.config.topics {
		if _, err := c.store.CreateTopic(ctx, t.name, t.config); err != nil && !errors.Is(err, partition.ErrTopicAlreadyExists) {
			return fmt.Errorf("topic %q: %w", t.name, err)
		}
	}
	return nil
}

// Close ends the brokers and the store. Connections are closed; files of a directory stay. Later calls do nothing.
func (c *Cluster) Close() error {
	c.mu.Lock()
	closed, err := c.closed, c.crashErr
	c.closed = true
	c.mu.Unlock()
	if closed {
		return nil
	}
	c.running.Wait()
	c.change.Lock()
	defer c.change.Unlock()
	if _, ok := c.disk.(*memoryDisk); ok && c.store != nil {
		c.kill() // nobody will see what is in memory
	}
	err = errors.Join(err, c.shut())
	for _, n := range c.nodes {
		for _, p := range n.ports {
			p.close() // says nothing of interest
		}
	}
	if c.disk != nil {
		err = errors.Join(err, c.disk.remove())
	}
	return err
}

// shut closes the server and the store.
func (c *Cluster) shut() (err error) {
	if c.dead.Load() {
		defer func() { err = nil }() // it has crashed, and everything fails
	}
	if c.server != nil {
		err = c.server.Close()
	}
	if c.store != nil {
		cerr := c.store.Close()
		if _, leases := errors.AsType[*partition.OpenLeasesError](cerr); leases {
			cerr = nil // answers that were being written
		}
		err = errors.Join(err, cerr)
	}
	return err
}

// Addrs returns the addresses of all brokers, for a client's bootstrap.servers, in the order of their ids; of several
// listeners the first.
func (c *Cluster) Addrs() (all []string) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, n := range c.nodes {
		if host, port, ok := n.broker.Addr(""); ok {
			all = append(all, net.JoinHostPort(host, strconv.Itoa(int(port))))
		}
	}
	return all
}

// Bootstrap returns Addrs joined by commas, as bootstrap.servers has them.
func (c *Cluster) Bootstrap() string { return strings.Join(c.Addrs(), ",") }

// Server returns what serves the brokers. After a crash, or Reopen, there is another one.
func (c *Cluster) Server() *kafka.Server {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.server
}

// Store returns the store below the brokers. After a crash, or Reopen, there is another one.
func (c *Cluster) Store() *partition.Store {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.store
}

// Clock returns the time of everything in the cluster.
func (c *Cluster) Clock() *Clock { return c.clock }

// Rules returns the rules by which requests fail.
func (c *Cluster) Rules() *RuleSet { return c.rules }

// Inject puts a rule in force. A rule that is malformed is a mistake in a test, and panics; RuleSet.Add returns it.
func (c *Cluster) Inject(r Rule) *Armed {
	a, err := c.rules.Add(r)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return a
}

// Dialer returns how clients connect to the brokers: for kgo.Dialer and the like. It is needed only with MemoryNetwork.
func (c *Cluster) Dialer() func(ctx context.Context, network, address string) (net.Conn, error) {
	if c.network != nil {
		return c.network.DialContext
	}
	return new(net.Dialer).DialContext
}

func (c *Cluster) topicName(id [16]byte) string {
	if t, err := c.Store().TopicByID(partition.TopicID(id)); err == nil {
		return t.Name()
	}
	return ""
}

func (c *Cluster) connOf(remote string) *conn {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, n := range c.nodes {
		for _, p := range n.ports {
			if x := p.conn(remote); x != nil {
				return x
			}
		}
	}
	return nil
}

// intercept is around every request.
func (c *Cluster) intercept(call *kafka.Call, next func() kafka.Answer) kafka.Answer {
	inner := next
	if f := c.config.server.Intercept; f != nil {
		inner = func() kafka.Answer { return f(call, next) }
	}
	if p := c.config.persona; p != nil {
		plain := inner
		inner = func() kafka.Answer { return p.intercept(c, call, plain) }
	}
	began := c.calls.begin(c.clock, call)
	var names []string
	answer := c.fetches.track(call, func() (a kafka.Answer) {
		a, names = c.rules.intercept(call, inner)
		return a
	})
	if c.dead.Load() {
		answer = kafka.Answer{Err: ErrCrashed}
	}
	c.calls.end(c.clock, began, answer, names)
	return answer
}
