package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/replication"
)

// nodes is a cluster of nodes in this process, each behind a listener of its own on a loopback port.
type nodes struct {
	t      *testing.T
	ctx    context.Context
	local  *replication.Local
	config kafka.Config

	mu        sync.Mutex
	listeners map[int32]net.Listener
	servers   map[int32]*kafka.Server
	addresses []string
}

func newNodes(t *testing.T, n int) *nodes {
	return newNodesOf(t, n, kafka.Config{Properties: map[string]string{"group.initial.rebalance.delay.ms": "0"}})
}

func newNodesOf(t *testing.T, n int, config kafka.Config, change ...func(*replication.Config)) *nodes {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	c := &nodes{t: t, ctx: ctx, config: config, listeners: map[int32]net.Listener{}, servers: map[int32]*kafka.Server{}}
	local, err := replication.StartLocal(ctx, replication.LocalConfig{Nodes: n, Change: func(config *replication.Config) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		config.Rack = fmt.Sprint("rack-", config.NodeID)
		for _, f := range change {
			f(config)
		}
		config.Listeners = []replication.Listener{{Name: "PLAINTEXT", Host: "127.0.0.1", Port: uint16(l.Addr().(*net.TCPAddr).Port)}}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.listeners[config.NodeID] = l
		c.addresses = append(c.addresses, l.Addr().String())
	}})
	require.NoError(t, err)
	c.local = local
	t.Cleanup(func() {
		for _, s := range c.servers {
			s.Close()
		}
		local.Close()
	})
	for id := int32(1); id <= int32(n); id++ {
		c.serve(id)
	}
	return c
}

// serve puts a node that runs behind the listener that it has registered.
func (c *nodes) serve(id int32) {
	c.mu.Lock()
	l := c.listeners[id]
	c.mu.Unlock()
	s, err := kafka.ServeNode(l, c.local.Node(id), c.config)
	require.NoError(c.t, err)
	c.servers[id] = s
}

// kill ends a node and its listener without a word.
func (c *nodes) kill(id int32) {
	require.NoError(c.t, c.servers[id].Close())
	delete(c.servers, id)
	require.NoError(c.t, c.local.Kill(id))
}

func (c *nodes) client(opts ...kgo.Opt) *kgo.Client {
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(c.addresses...), kgo.MetadataMinAge(10 * time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }),
		kgo.RequestRetries(1 << 30), kgo.RetryTimeout(10 * time.Minute), kgo.UnknownTopicRetries(-1), // however long the others take
	}, opts...)...)
	require.NoError(c.t, err)
	c.t.Cleanup(cl.Close)
	return cl
}

func (c *nodes) createTopic(name string, partitions int32, factor int16) {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, factor
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = append(req.Topics, t)
	cl := c.client()
	for {
		resp, err := req.RequestWith(c.ctx, cl)
		require.NoError(c.t, err)
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
		if err == nil || errors.Is(err, kerr.TopicAlreadyExists) { // an answer was lost
			return
		}
		require.NoError(c.t, c.ctx.Err(), "%v", err) // a node that was slow is fenced
	}
}

// topic returns what a client is told of the partitions of a topic, when all are led, and by none that is dead.
func (c *nodes) topic(name string, dead int32) []kmsg.MetadataResponseTopicPartition {
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &name
	req.Topics = append(req.Topics, t)
	cl := c.client()
	for {
		resp, err := req.RequestWith(c.ctx, cl)
		require.NoError(c.t, err)
		require.Len(c.t, resp.Topics, 1)
		all := resp.Topics[0].Partitions
		if resp.Topics[0].ErrorCode == 0 && !slices.ContainsFunc(all, func(p kmsg.MetadataResponseTopicPartition) bool { return p.Leader < 0 || p.Leader == dead }) {
			return all
		}
		require.NoError(c.t, c.ctx.Err(), "%+v", resp.Topics[0])
	}
}

// poll reads until n values were there, and returns at how many offsets each is. A member of a group may be told that its coordinator does not answer, and begin again
// where it has committed.
func (c *nodes) poll(cl *kgo.Client, n int) map[string]int {
	type place struct {
		partition int32
		offset    int64
	}
	seen, read := map[string]int{}, map[place]bool{}
	for len(seen) < n {
		f := cl.PollFetches(c.ctx)
		require.NoError(c.t, c.ctx.Err(), "read %d of %d: %v", len(seen), n, f.Err())
		f.EachRecord(func(r *kgo.Record) {
			if at := (place{r.Partition, r.Offset}); !read[at] {
				read[at] = true
				seen[string(r.Value)]++
			}
		})
	}
	return seen
}

// produce sends records and waits for all of them; what it returns is acknowledged.
func (c *nodes) produce(topic string, from, to int) {
	cl := c.client(kgo.DefaultProduceTopic(topic))
	var sent []*kgo.Record
	for i := from; i < to; i++ {
		sent = append(sent, &kgo.Record{Key: fmt.Append(nil, i%17), Value: fmt.Append(nil, i)})
	}
	require.NoError(c.t, cl.ProduceSync(c.ctx, sent...).FirstErr())
}

// consume reads as a member of a group until every value of [0,n) was read, and returns at how many offsets each is.
func (c *nodes) consume(group, topic string, n int) map[string]int {
	cl := c.client(kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	seen := c.poll(cl, n)
	require.NoError(c.t, cl.CommitUncommittedOffsets(c.ctx))
	cl.LeaveGroup()
	return seen
}

func TestClientsOfThreeNodesGoOnWhenALeaderDies(t *testing.T) {
	c := newNodes(t, 3)
	c.createTopic("orders", 3, 3)
	c.produce("orders", 0, 300)
	before := c.topic("orders", -1)
	for _, p := range before {
		require.Len(t, p.Replicas, 3)
	}

	dead := before[0].Leader
	c.kill(dead)
	c.produce("orders", 300, 600)
	seen := c.consume("billing", "orders", 600)
	for i := range 600 {
		require.Equal(t, 1, seen[fmt.Sprint(i)], "record %d", i)
	}
	after := c.topic("orders", dead)
	require.Equal(t, before[0].Partition, after[0].Partition)
	require.Greater(t, after[0].LeaderEpoch, before[0].LeaderEpoch)
}

func TestAGroupOfThreeNodesGoesOnWhenItsCoordinatorDies(t *testing.T) {
	c := newNodes(t, 3)
	c.createTopic("orders", 2, 3)
	c.produce("orders", 0, 100)
	c.consume("billing", "orders", 100)
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorKeys = []string{"billing"}
	resp, err := req.RequestWith(c.ctx, c.client())
	require.NoError(t, err)
	require.Zero(t, resp.Coordinators[0].ErrorCode)

	c.kill(resp.Coordinators[0].NodeID)
	c.produce("orders", 100, 200)
	cl := c.client(kgo.ConsumerGroup("billing"), kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	seen := c.poll(cl, 100)
	for i := 100; i < 200; i++ {
		require.Equal(t, 1, seen[fmt.Sprint(i)], "record %d: what was committed is not read again", i)
	}
}

func TestTransactionsOfThreeNodesAreWholeWhenTheirCoordinatorDies(t *testing.T) {
	c := newNodes(t, 3)
	c.createTopic("orders", 3, 3)
	cl := c.client(kgo.DefaultProduceTopic("orders"), kgo.TransactionalID("shop"), kgo.TransactionTimeout(time.Minute))
	committed := map[string]bool{}
	run := func(from, to int, end kgo.TransactionEndTry) error {
		if err := cl.BeginTransaction(); err != nil {
			return err
		}
		var sent []*kgo.Record
		for i := from; i < to; i++ {
			sent = append(sent, &kgo.Record{Key: fmt.Append(nil, i), Value: fmt.Append(nil, i)})
		}
		err := cl.ProduceSync(c.ctx, sent...).FirstErr()
		if err != nil {
			return errors.Join(err, cl.EndTransaction(c.ctx, kgo.TryAbort))
		}
		return cl.EndTransaction(c.ctx, end)
	}
	require.NoError(t, run(0, 50, kgo.TryCommit))
	require.NoError(t, run(1000, 1050, kgo.TryAbort))
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorType, req.CoordinatorKeys = 1, []string{"shop"}
	resp, err := req.RequestWith(c.ctx, c.client())
	require.NoError(t, err)
	require.Zero(t, resp.Coordinators[0].ErrorCode)
	c.kill(resp.Coordinators[0].NodeID)
	for err = run(50, 100, kgo.TryCommit); err != nil; err = run(50, 100, kgo.TryCommit) {
		require.NoError(t, c.ctx.Err(), "%v", err)
	}
	for i := range 100 {
		committed[fmt.Sprint(i)] = true
	}
	r := c.client(kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	seen := map[string]int{}
	for len(seen) < len(committed) {
		f := r.PollFetches(c.ctx)
		require.NoError(t, c.ctx.Err(), "%v", f.Err())
		f.EachRecord(func(rec *kgo.Record) {
			require.True(t, committed[string(rec.Value)], "record %s of a transaction that was not committed", rec.Value)
			seen[string(rec.Value)]++
		})
	}
	for v := range committed {
		require.Equal(t, 1, seen[v], "record %s", v)
	}
}

func TestAConsumerOfThreeNodesReadsFromTheReplicaInItsRack(t *testing.T) {
	var mu sync.Mutex
	read := map[int32]int{} // bytes, by broker
	c := newNodesOf(t, 3, kafka.Config{
		Properties: map[string]string{"replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector"},
		Intercept: func(c *kafka.Call, next func() kafka.Answer) kafka.Answer {
			a := next()
			if c.ClientID == "near" {
				a.Raw = func(frame []byte) []byte {
					mu.Lock()
					defer mu.Unlock()
					read[c.Broker] += len(frame)
					return frame
				}
			}
			return a
		},
	})
	c.createTopic("orders", 1, 3)
	c.produce("orders", 0, 2000)
	leader := c.topic("orders", -1)[0].Leader
	near := leader%3 + 1
	cl := c.client(kgo.ClientID("near"), kgo.Rack(fmt.Sprint("rack-", near)), kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxBytes(4096), kgo.FetchMaxPartitionBytes(4096))
	seen, next := 0, 2000
	for enough := false; !enough; {
		f := cl.PollFetches(c.ctx)
		require.NoError(t, c.ctx.Err(), "%v", f.Err())
		f.EachRecord(func(*kgo.Record) { seen++ })
		mu.Lock()
		enough = seen == next && read[near] > 16<<10
		mu.Unlock()
		if seen == next && !enough { // it may have begun before the follower had everything
			c.produce("orders", next, next+500)
			next += 500
		}
	}
}
