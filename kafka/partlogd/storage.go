package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/kafka/partlogd/internal/tool"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/replication"
)

const storageHelp = `Usage: partlogd storage format --cluster-id ID --config FILE [--ignore-formatted]
                               [--standalone | --initial-controllers LIST | --no-initial-controllers] [--feature partlog.version=LEVEL]
       partlogd storage info --config FILE
       partlogd storage random-uuid
       partlogd storage certificate --cluster-id ID --node-id N --output DIR
       partlogd storage certificate --cluster-id ID --config FILE --output DIR

As kafka-storage does: format makes the directory of the property file (log.dirs) one of the cluster. Of a quorum of several
nodes, the first of controller.quorum.voters makes the new cluster when it is started for the first time, and all others join
it. Controllers that know of each other by controller.quorum.bootstrap.servers need one of the three flags to say which does;
brokers join. info tells what a directory is. random-uuid prints a new cluster id. certificate makes, for development, a private
authority in DIR and the certificate of the node by which its peers know it, and prints the ssl.* properties for it.

Flags:
  -t, --cluster-id ID            the cluster's id, the same for all nodes
  -c, --config FILE              the node's properties
  -s, --standalone               this node makes the new cluster; others may join it
  -I, --initial-controllers ID@HOST:PORT:DIRECTORY,...
                                 the same on all that are listed: the first of them makes the new cluster, the others join
                                 it as voters, and need it up for that, once. (In Apache Kafka any majority of the list can
                                 begin. Here the maker's directory may be a store with topics and records, which no other
                                 has, and one maker cannot make two clusters of lists that differ.) The directory id is the
                                 node's own, or may be left out
  -N, --no-initial-controllers   this node joins: the cluster is there, and this is one more node, or the disk is new
  -f, --feature NAME=LEVEL       of the node that makes the cluster: partlog.version, the feature level, so that nodes of
                                 older programs can join; partlogd features upgrade raises it. Default: the newest
  -g, --ignore-formatted         nothing is done, and it is no error, if the directory is formatted
  --node-id N                    whose certificate
  --output DIR                   where certificates are kept
`

// storageOptions are the command line of storage.
type storageOptions struct {
	do, cluster, config, output string
	node                        int
	standalone, join, ignore    bool
	initial                     string
	level                       int16 // 0: not given
}

func parseStorage(args []string, out io.Writer) (*storageOptions, error) {
	o := &storageOptions{}
	f := flag.NewFlagSet("storage", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	for _, name := range []string{"t", "cluster-id"} {
		f.StringVar(&o.cluster, name, "", "")
	}
	for _, name := range []string{"c", "config"} {
		f.StringVar(&o.config, name, "", "")
	}
	f.StringVar(&o.output, "output", "", "")
	f.IntVar(&o.node, "node-id", -1, "")
	for _, name := range []string{"s", "standalone"} {
		f.BoolVar(&o.standalone, name, false, "")
	}
	for _, name := range []string{"N", "no-initial-controllers"} {
		f.BoolVar(&o.join, name, false, "")
	}
	for _, name := range []string{"I", "initial-controllers"} {
		f.StringVar(&o.initial, name, "", "")
	}
	for _, name := range []string{"f", "feature"} {
		f.Func(name, "", o.setFeature)
	}
	for _, name := range []string{"g", "ignore-formatted"} {
		f.BoolVar(&o.ignore, name, false, "")
	}
	var words []string
	for {
		if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(out, storageHelp)
			return nil, err
		} else if err != nil {
			return nil, tool.Usagef("%w\n(partlogd storage --help tells what there is)", err)
		}
		if f.NArg() == 0 {
			break
		}
		words, args = append(words, f.Arg(0)), f.Args()[1:]
	}
	if len(words) != 1 {
		return nil, tool.Usagef("want one of format, info, random-uuid and certificate\n(partlogd storage --help tells what there is)")
	}
	o.do = words[0]
	if o.standalone && o.join || o.initial != "" && (o.standalone || o.join) {
		return nil, tool.Usagef("of --standalone, --initial-controllers and --no-initial-controllers one can be: does this node make the cluster, or join it?")
	}
	return o, nil
}

// setFeature reads the level of a new cluster.
func (o *storageOptions) setFeature(s string) error {
	name, text, _ := strings.Cut(s, "=")
	level, err := strconv.ParseInt(text, 10, 16)
	if name != "partlog.version" || err != nil || level < 1 {
		return errors.New("want partlog.version=LEVEL; the levels of Kafka's features are changed when the cluster runs, by partlogd features")
	}
	o.level = int16(level)
	return nil
}

// storage does what kafka-storage does.
func storage(_ context.Context, args []string, s tool.Streams) error {
	o, err := parseStorage(args, s.Out)
	if err != nil {
		return err
	}
	if o.do == "random-uuid" {
		fmt.Fprintln(s.Out, randomUUID())
		return nil
	}
	if _, err := partition.ParseTopicID(o.cluster); err != nil && o.do != "info" {
		return tool.Usagef("--cluster-id %q is none; partlogd storage random-uuid prints a new one", o.cluster)
	}
	if o.do == "certificate" {
		return developmentCertificate(o, s.Out)
	}
	if o.config == "" {
		return tool.Usagef("want --config FILE: whose directory?")
	}
	props, err := readFile(o.config)
	if err != nil {
		return err
	}
	n, err := kafka.ParseNode(props)
	if err != nil {
		return &tool.UsageError{Err: inFile(o.config, err)}
	}
	if n.Dir == "" {
		n.Dir = kafkasDir
	}
	switch o.do {
	case "info":
		return storageInfo(n.Dir, s.Out)
	case "format":
		return format(o, n, s.Out)
	}
	return tool.Usagef("%q is none of format, info, random-uuid and certificate\n(partlogd storage --help tells what there is)", o.do)
}

// randomUUID is an id as Kafka draws them: never with a dash in front, which a command line would take for a flag.
func randomUUID() string {
	for {
		var b [16]byte
		rand.Read(b[:])
		if text := base64.RawURLEncoding.EncodeToString(b[:]); text[0] != '-' {
			return text
		}
	}
}

// mark is what format leaves in the directory of a node for its first start; it goes when the node takes part.
type mark struct {
	cluster   string
	node      int32
	bootstrap bool  // it makes the cluster
	level     int16 // of the cluster that it makes; 0: the newest
}

func markFile(dir string) string { return filepath.Join(dir, "format.properties") }

// readMark returns nil where there is none.
func readMark(dir string) (*mark, error) {
	f, err := os.Open(markFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	props, err := kafka.ReadProperties(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	id, err := strconv.ParseInt(props["node.id"], 10, 32)
	if props["version"] != "1" || err != nil || props["cluster.id"] == "" {
		return nil, fmt.Errorf("%s is of no version that this program knows", f.Name())
	}
	m := &mark{cluster: props["cluster.id"], node: int32(id), bootstrap: props["bootstrap"] == "true"}
	if text, ok := props["feature.level"]; ok {
		level, err := strconv.ParseInt(text, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%s: feature.level: %w", f.Name(), err)
		}
		m.level = int16(level)
	}
	return m, nil
}

func format(o *storageOptions, n *kafka.Node, out io.Writer) error {
	bootstrap, err := o.makes(n)
	if err != nil {
		return err
	}
	if o.level != 0 && !bootstrap {
		return tool.Usagef("--feature is for the node that makes the cluster, and this one joins it")
	}
	m, err := readMark(n.Dir)
	if err != nil {
		return err
	}
	cluster, _, ok, err := replication.Formatted(nil, n.Dir)
	if err != nil {
		return err
	}
	if m != nil {
		cluster, ok = m.cluster, true
	}
	if ok && cluster != o.cluster {
		return fmt.Errorf("%s is of cluster %s, and not of %s; it stays as it is", n.Dir, cluster, o.cluster)
	}
	if ok && o.ignore {
		return nil
	}
	if ok {
		return fmt.Errorf("%s is already formatted; --ignore-formatted makes that no error", n.Dir)
	}
	store, err := partition.Open(n.Dir, partition.Config{ClusterID: o.cluster})
	if err != nil {
		return err
	}
	have := store.ClusterID()
	if err := store.Close(); err != nil {
		return err
	}
	if have != o.cluster {
		return fmt.Errorf("%s is a store of cluster %s; with that id it becomes a node as it is: --cluster-id %[2]s", n.Dir, have)
	}
	if n.Quorum == nil {
		fmt.Fprintf(out, "Formatting %s: a node that is alone\n", n.Dir)
		return nil
	}
	text := fmt.Sprintf("version=1\ncluster.id=%s\nnode.id=%d\nbootstrap=%v\n", o.cluster, n.ID, bootstrap)
	if o.level != 0 {
		text += fmt.Sprintf("feature.level=%d\n", o.level)
	}
	if err := writeWhole(markFile(n.Dir), text); err != nil {
		return err
	}
	if bootstrap {
		fmt.Fprintf(out, "Formatting %s: node %d makes cluster %s\n", n.Dir, n.ID, o.cluster)
	} else {
		fmt.Fprintf(out, "Formatting %s: node %d joins cluster %s\n", n.Dir, n.ID, o.cluster)
	}
	return nil
}

// makes reports whether the node makes the cluster, and does not join it.
func (o *storageOptions) makes(n *kafka.Node) (bool, error) {
	given := o.standalone || o.initial != "" || o.join
	if n.Quorum == nil {
		return false, nil
	}
	controller := slices.Contains(roles(n), "controller")
	switch {
	case (o.standalone || o.initial != "") && !controller:
		return false, tool.Usagef("--standalone and --initial-controllers are for controllers, and process.roles has none: a broker joins")
	case !given && controller && len(n.Quorum.Voters) == 0:
		return false, tool.Usagef("because controller.quorum.voters is not set on this controller, want one of --standalone, --initial-controllers and --no-initial-controllers")
	case o.initial != "":
		return o.firstOf(n.ID)
	}
	return first(n) && !o.join || o.standalone, nil
}

// firstOf reports whether a node is the first of --initial-controllers; it has to be among them.
func (o *storageOptions) firstOf(id int32) (first bool, err error) {
	found := false
	for i, item := range strings.Split(o.initial, ",") {
		number, rest, ok := strings.Cut(strings.TrimSpace(item), "@")
		n, err := strconv.ParseInt(number, 10, 32)
		address := rest
		if j := strings.LastIndexByte(rest, ':'); j >= 0 { // what is behind the port, if anything is
			if _, e := partition.ParseTopicID(rest[j+1:]); e == nil {
				address = rest[:j]
			}
		}
		if _, port, e := net.SplitHostPort(address); !ok || err != nil || n < 0 || e != nil || port == "" {
			return false, tool.Usagef("--initial-controllers %q: want ID@HOST:PORT:DIRECTORY,...", item)
		}
		if int32(n) == id {
			found, first = true, i == 0
		}
	}
	if !found {
		return false, tool.Usagef("--initial-controllers: this is node %d, which is none of them; one that joins later has --no-initial-controllers", id)
	}
	return first, nil
}

func storageInfo(dir string, out io.Writer) error {
	cluster, id, ok, err := replication.Formatted(nil, dir)
	if err != nil {
		return err
	}
	m, err := readMark(dir)
	switch {
	case err != nil:
		return err
	case ok:
		fmt.Fprintf(out, "%s: node %d of cluster %s\n", dir, id, cluster)
	case m != nil && m.bootstrap:
		fmt.Fprintf(out, "%s: formatted: node %d will make cluster %s\n", dir, m.node, m.cluster)
	case m != nil:
		fmt.Fprintf(out, "%s: formatted: node %d will join cluster %s\n", dir, m.node, m.cluster)
	default:
		fmt.Fprintf(out, "%s: of no cluster of several nodes\n", dir)
	}
	return nil
}

// developmentCertificate makes what peers of a node for development need.
func developmentCertificate(o *storageOptions, out io.Writer) error {
	if o.output == "" || o.node < 0 || o.node > math.MaxInt32 {
		return tool.Usagef("want --node-id N and --output DIR: whose certificate, and where is it kept?")
	}
	id := int32(o.node)
	t, err := replication.DevelopmentCA(o.output, o.cluster, id)
	if err != nil {
		return err
	}
	var store []byte // Kafka's keystore of type PEM: key and certificate in one file
	for _, name := range []string{t.KeyFile, t.CertFile} {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		store = append(store, b...)
	}
	keystore, err := filepath.Abs(filepath.Join(o.output, fmt.Sprintf("node-%d.keystore.pem", id)))
	if err != nil {
		return err
	}
	if err := os.WriteFile(keystore, store, 0o600); err != nil {
		return err
	}
	trusted, err := filepath.Abs(t.CAFile)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "# DNS name of the certificate: %s\n", replication.CertificateName(o.cluster, id))
	for _, line := range []string{"ssl.keystore.type=PEM", "ssl.keystore.location=" + keystore, "ssl.truststore.type=PEM", "ssl.truststore.location=" + trusted} {
		fmt.Fprintf(out, "listener.name.controller.%s\n", line)
	}
	return nil
}
