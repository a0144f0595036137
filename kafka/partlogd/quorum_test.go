package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// memberProperties are what a script that starts three nodes of Apache Kafka writes, with timeouts of a test.
const memberProperties = `process.roles=broker,controller
node.id=%d
listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://%s
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:%s,PLAINTEXT:PLAINTEXT
controller.quorum.voters=%s
log.dirs=%s
default.replication.factor=3
min.insync.replicas=2
offsets.topic.num.partitions=1
offsets.topic.replication.factor=3
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=2097152
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=200
controller.quorum.election.timeout.ms=500
replica.fetch.backoff.ms=50
replica.lag.time.max.ms=5000
`

// trio is three processes of partlogd, and their property files.
type trio struct {
	t     testing.TB
	ctx   context.Context
	dir   string
	id    string // of the cluster
	files [3]string
	nodes [3]*process // nil: killed
}

// newTrio writes the property files. Where peers listen has to be known before they do, so that is on an address of loopback of this test's own.
func newTrio(t testing.TB, protocol string) *trio {
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	t.Cleanup(cancel)
	c := &trio{t: t, ctx: ctx, dir: t.TempDir(), id: randomUUID()}
	host := "127.0.0.1"
	if pid := os.Getpid(); runtime.GOOS == "linux" {
		host = fmt.Sprintf("127.%d.%d.%d", 20+pid>>16&0x3f, pid>>8&0xff, 1+pid&0x7f)
	}
	var addresses, voters []string
	for i := range 3 {
		l, err := net.Listen("tcp", host+":0")
		require.NoError(t, err)
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
		voters = append(voters, fmt.Sprintf("%d@%s", i+1, l.Addr()))
	}
	for i := range 3 {
		c.files[i] = filepath.Join(c.dir, fmt.Sprintf("%d.properties", i+1))
		text := fmt.Sprintf(memberProperties, i+1, addresses[i], protocol, strings.Join(voters, ","), filepath.Join(c.dir, fmt.Sprint(i+1)))
		require.NoError(t, os.WriteFile(c.files[i], []byte(text), 0o600))
	}
	return c
}

// format has the directories of all nodes formatted.
func (c *trio) format() {
	for _, f := range c.files {
		code, _, stderr := runProcess(c.t, "", "storage", "format", "-t", c.id, "-c", f)
		require.Equal(c.t, exitOK, code, stderr)
	}
}

func (c *trio) start(i int, args ...string) {
	c.nodes[i] = start(c.t, append([]string{c.files[i], "--grace", "2s"}, args...)...)
}

func (c *trio) kill(i int) {
	c.nodes[i].end(syscall.SIGKILL)
	c.nodes[i] = nil
}

func (c *trio) client(opts ...kgo.Opt) *kgo.Client {
	var seeds []string
	for _, p := range c.nodes {
		if p != nil {
			seeds = append(seeds, p.facts["bootstrap.servers"])
		}
	}
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(seeds...), kgo.MetadataMinAge(50 * time.Millisecond)}, opts...)...)
	require.NoError(c.t, err)
	c.t.Cleanup(cl.Close)
	return cl
}

func (c *trio) createTopic(name string, partitions int32) {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, 3
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(c.ctx, c.client())
	require.NoError(c.t, err)
	if code := resp.Topics[0].ErrorCode; code != kerr.TopicAlreadyExists.Code { // an answer was lost
		require.NoError(c.t, kerr.ErrorForCode(code))
	}
}

// partitions waits until those of a topic are as they should be.
func (c *trio) partitions(topic string, as func([]kmsg.MetadataResponseTopicPartition) bool) []kmsg.MetadataResponseTopicPartition {
	cl := c.client()
	for {
		req := kmsg.NewPtrMetadataRequest()
		one := kmsg.NewMetadataRequestTopic()
		one.Topic = &topic
		req.Topics = append(req.Topics, one)
		resp, err := req.RequestWith(c.ctx, cl)
		require.NoError(c.t, err)
		if got := resp.Topics[0]; got.ErrorCode == 0 && as(got.Partitions) {
			return got.Partitions
		}
		require.NoError(c.t, c.ctx.Err(), "partitions of %s stay %+v", topic, resp.Topics[0].Partitions)
		time.Sleep(20 * time.Millisecond)
	}
}

func inSync(all []kmsg.MetadataResponseTopicPartition) bool {
	return !slices.ContainsFunc(all, func(p kmsg.MetadataResponseTopicPartition) bool { return p.Leader < 0 || len(p.ISR) < 3 })
}

// produce returns when all of [from,to) are acknowledged.
func (c *trio) produce(topic string, from, to int) {
	cl := c.client(kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	var all []*kgo.Record
	for i := from; i < to; i++ {
		all = append(all, kgo.StringRecord(fmt.Sprint(i)))
	}
	require.NoError(c.t, cl.ProduceSync(c.ctx, all...).FirstErr())
}

// requireAll reads until every value of [0,n) was there, and then what else is there: each has to be there once.
func (c *trio) requireAll(topic string, n int) {
	cl := c.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	seen := map[string]int{}
	for len(seen) < n {
		fs := cl.PollFetches(c.ctx)
		require.NoError(c.t, c.ctx.Err(), "read %d of %d", len(seen), n)
		fs.EachRecord(func(r *kgo.Record) { seen[string(r.Value)]++ })
	}
	for i := range n {
		require.Equal(c.t, 1, seen[fmt.Sprint(i)], "record %d", i)
	}
}

func TestThreeProcessesAreAClusterThatLosesNothing(t *testing.T) {
	c := newTrio(t, "PLAINTEXT")
	c.format()
	for i := range 3 {
		c.start(i)
		require.Equal(t, c.id, c.nodes[i].facts["cluster.id"])
	}
	c.createTopic("orders", 3)
	first := c.partitions("orders", inSync)
	c.produce("orders", 0, 200)

	dead := int(first[0].Leader) - 1
	c.kill(dead)
	c.produce("orders", 200, 400)
	c.requireAll("orders", 400)
	c.partitions("orders", func(all []kmsg.MetadataResponseTopicPartition) bool {
		return !slices.ContainsFunc(all, func(p kmsg.MetadataResponseTopicPartition) bool { return p.Leader < 0 || p.Leader == int32(dead+1) })
	})

	// It comes back as it was told before, catches up, and another may go.
	c.start(dead)
	c.partitions("orders", inSync)
	other := (dead + 1) % 3
	c.kill(other)
	c.produce("orders", 400, 500)
	c.requireAll("orders", 500)

	// One that is asked to end hands over first.
	c.start(other)
	c.partitions("orders", inSync)
	require.Equal(t, exitOK, c.nodes[dead].end(sigterm), c.nodes[dead].err)
	c.nodes[dead] = nil
	c.requireAll("orders", 500)
}

func TestPeersOfPropertyFilesKnowEachOtherByCertificates(t *testing.T) {
	c := newTrio(t, "SSL")
	certificates := filepath.Join(c.dir, "certificates")
	for i, f := range c.files {
		code, out, stderr := runProcess(t, "", "storage", "certificate", "-t", c.id, "--node-id", fmt.Sprint(i+1), "--output", certificates)
		require.Equal(t, exitOK, code, stderr)
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(f, append(text, out...), 0o600))
	}
	c.format()
	c.start(0)
	c.start(1)

	// With the certificate of another node it does not get in.
	text, err := os.ReadFile(c.files[2])
	require.NoError(t, err)
	stolen := write(t, "stolen.properties", strings.ReplaceAll(string(text), "node-3.keystore", "node-2.keystore"))
	code, _, stderr := runProcess(t, "", stolen)
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "peers look for node-3.")

	c.start(2)
	c.createTopic("orders", 2)
	c.produce("orders", 0, 50)
	c.requireAll("orders", 50)
}

func TestANodeStartsOnlyWhenItIsToldWhichClusterItIsOf(t *testing.T) {
	c := newTrio(t, "PLAINTEXT")
	fails := func(code int, says string, args ...string) {
		t.Helper()
		got, _, stderr := runProcess(t, "", args...)
		require.Equal(t, code, got, stderr)
		require.Contains(t, stderr, says)
	}
	fails(exitFailed, "has this node make a new one", c.files[0])
	fails(exitFailed, "has this node join one", c.files[1])
	fails(exitUsage, "the others join it", c.files[1], "--bootstrap")
	fails(exitUsage, "--memory", c.files[0], "--memory")
	fails(exitUsage, "--control", c.files[0], "--control", "127.0.0.1:0")
	fails(exitUsage, "--import", c.files[0], "--import", c.dir)
	fails(exitUsage, "each node is a process of its own", c.files[0], c.files[1])
	fails(exitUsage, "no cluster to make", "--bootstrap")
	fails(exitUsage, "gets its id by", "--cluster-id", c.id)

	// The flags are enough, without a format.
	c.start(0, "--bootstrap")
	id := c.nodes[0].facts["cluster.id"]
	c.start(1, "--cluster-id", id)
	code, out, stderr := runProcess(t, "", "storage", "info", "-c", c.files[1])
	require.Equal(t, exitOK, code, stderr)
	require.Contains(t, out, "node 2 of cluster "+id)
	c.kill(1)
	c.start(1)
	fails(exitFailed, "is of cluster "+id, "storage", "format", "-t", c.id, "-c", c.files[0])
	c.kill(1)
	fails(exitFailed, "belongs to cluster", c.files[1], "--cluster-id", c.id)
}

func TestAFormattedDirectoryKnowsItsPart(t *testing.T) {
	c := newTrio(t, "PLAINTEXT")
	says := func(what string, args ...string) {
		t.Helper()
		code, out, stderr := runProcess(t, "", append([]string{"storage"}, args...)...)
		require.Equal(t, exitOK, code, stderr)
		require.Contains(t, out, what)
	}
	says("of no cluster of several nodes", "info", "-c", c.files[0])
	says("node 1 makes cluster "+c.id, "format", "-t", c.id, "-c", c.files[0])
	says("node 1 will make cluster "+c.id, "info", "-c", c.files[0])
	says("node 2 joins cluster "+c.id, "format", "-t", c.id, "-c", c.files[1])
	says("node 2 will join cluster "+c.id, "info", "-c", c.files[1])
	says("", "format", "-t", c.id, "-c", c.files[1], "--ignore-formatted")
	code, _, stderr := runProcess(t, "", "storage", "format", "-t", c.id, "-c", c.files[1])
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "already formatted")
	code, _, stderr = runProcess(t, "", "storage", "format", "-t", randomUUID(), "-c", c.files[1], "-g")
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "is of cluster "+c.id)

	require.NoError(t, os.RemoveAll(filepath.Join(c.dir, "1")))
	says("node 1 joins cluster "+c.id, "format", "-t", c.id, "-c", c.files[0], "--no-initial-controllers")
	code, out, _ := runProcess(t, "", "storage", "random-uuid")
	require.Equal(t, exitOK, code)
	require.Len(t, strings.TrimSpace(out), 22)
}
