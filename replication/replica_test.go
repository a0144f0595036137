package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

var orders = partition.TopicPartition{Topic: "orders"}

// one is a batch of one record.
func one(t require.TestingT, value string) []byte {
	var b batch.Builder
	b.Reset(nil, batch.Options{})
	b.Append(1000, nil, []byte(value), nil)
	whole, err := b.Finish()
	require.NoError(t, err)
	return whole
}

// send appends with acks=all until it is acknowledged, and returns the offset.
func send(ctx context.Context, t testing.TB, n *Node, tp partition.TopicPartition, value string) partition.Offset {
	for {
		result, err := n.Append(ctx, partition.AppendRequest{TopicPartition: tp, Batch: one(t, value), Acks: partition.AcksAll, Foreign: true})
		if err == nil {
			return result.BaseOffset
		}
		require.True(t, partition.Retriable(err) || errors.Is(err, partition.ErrStorage) || errors.Is(err, partition.ErrNoSpace), "%v", err) // the leader's disk may fail, or be full: another leads soon
		require.NoError(t, ctx.Err(), "%v", err)
		pause(ctx)
	}
}

// pause gives others time.
func pause(ctx context.Context) {
	over := make(chan struct{})
	defer clock.System.AfterFunc(10*time.Millisecond, func() { close(over) })()
	select {
	case <-over:
	case <-ctx.Done():
	}
}

// eventually waits for what becomes true.
func eventually(ctx context.Context, t *testing.T, what string, is func() bool) {
	t.Helper()
	for !is() {
		require.NoError(t, ctx.Err(), what)
		pause(ctx)
	}
}

// copyOf is what a node has of a partition, record by record; nothing while that changes otherwise than by appends.
func copyOf(t *testing.T, n *Node, tp partition.TopicPartition) (values []string) {
	h := n.replicas.named(tp)
	if h == nil {
		return nil
	}
	r, err := n.store.Replica(tp, partition.TopicID(h.id.Topic))
	if err != nil {
		return nil
	}
	for at := r.Start(); at < r.End(); {
		var out partition.FetchResult
		if r.Read(at, 1<<20, &out) != nil {
			return nil // it is being truncated, or made anew
		}
		rest := out.Batches
		for len(rest) > 0 {
			b, err := batch.Peek(rest)
			require.NoError(t, err)
			var it batch.Iterator
			for b.Iterate(&it, batch.DefaultMaxBytes); it.Next(); {
				r := it.Record()
				values = append(values, string(r.Value))
			}
			at = partition.Offset(b.NextOffset())
			rest = rest[len(b):]
		}
		out.Lease.Release()
	}
	return values
}

// calm keeps nodes from being fenced only because the machine is slow: what nobody stops, leads on.
func calm(c *Config) { c.SessionTimeout, c.HeartbeatInterval = time.Minute, 200*time.Millisecond }

func topic(t *testing.T, l *Local, partitions int32) {
	_, err := l.Nodes()[0].CreateTopic(patient(t), orders.Topic, partition.TopicConfig{Partitions: partitions})
	require.NoError(t, err)
}

func info(ctx context.Context, t *testing.T, n *Node, tp partition.TopicPartition) (found PartitionInfo) {
	eventually(ctx, t, "a node knows the partition", func() bool {
		all, _ := n.PartitionsOf(ctx, tp.Topic) // a node that has just started may not know the topic yet
		i := slices.IndexFunc(all, func(p PartitionInfo) bool { return p.TopicPartition == tp })
		if i >= 0 {
			found = all[i]
		}
		return i >= 0
	})
	return found
}

// leads waits until somebody leads the partition orders, and returns who.
func leads(ctx context.Context, t *testing.T, n *Node) (node int32) {
	eventually(ctx, t, "somebody leads", func() bool { node = info(ctx, t, n, orders).Leader; return node >= 0 })
	return node
}

// TestAllReplicasHaveWhatIsAcknowledged: three nodes, each with the same records in the same order, and the same high watermark.
func TestAllReplicasHaveWhatIsAcknowledged(t *testing.T) {
	l := local(t, LocalConfig{Change: calm})
	ctx := patient(t)
	topic(t, l, 3)
	var want [3][]string
	for i := range 60 {
		p := i % 3
		value := fmt.Sprint("v", i)
		tp := partition.TopicPartition{Topic: orders.Topic, Partition: int32(p)}
		require.Equal(t, partition.Offset(len(want[p])), send(ctx, t, l.Node(int32(1+i%2)), tp, value))
		want[p] = append(want[p], value)
	}
	for p := range want {
		tp := partition.TopicPartition{Topic: orders.Topic, Partition: int32(p)}
		for _, n := range l.Nodes() {
			eventually(ctx, t, "the copies are equal", func() bool { return len(copyOf(t, n, tp)) == len(want[p]) })
			require.Equal(t, want[p], copyOf(t, n, tp), "node %d", n.NodeID())
			h := n.replicas.named(tp)
			eventually(ctx, t, "followers hear of the high watermark", func() bool {
				r, err := n.store.Replica(tp, partition.TopicID(h.id.Topic))
				require.NoError(t, err)
				return int(r.HighWatermark()) == len(want[p])
			})
		}
		eventually(ctx, t, "all are in sync", func() bool { return len(info(ctx, t, l.Node(1), tp).ISR) == 3 })
	}
}

// TestALeaderMayDie: what was acknowledged is there under the next leader, once, and the node that died has it, too, when it is back.
func TestALeaderMayDie(t *testing.T) {
	l := local(t, LocalConfig{Nodes: 3})
	ctx := patient(t)
	topic(t, l, 1)
	var acked []string
	for round := range 3 {
		for i := range 10 {
			value := fmt.Sprintf("%d-%d", round, i)
			send(ctx, t, l.Nodes()[i%3], orders, value)
			acked = append(acked, value)
		}
		leader := leads(ctx, t, l.Nodes()[0])
		require.NoError(t, l.Kill(leader))
		for i := range 10 {
			value := fmt.Sprintf("%d-%d after", round, i)
			send(ctx, t, l.Nodes()[i%2], orders, value)
			acked = append(acked, value)
		}
		n, err := l.Start(leader)
		require.NoError(t, err)
		require.NoError(t, n.Ready(ctx))
		eventually(ctx, t, "all are in sync again", func() bool { return len(info(ctx, t, l.Nodes()[0], orders).ISR) == 3 })
	}
	for _, n := range l.Nodes() {
		has(ctx, t, n, acked)
	}
}

// distinct leaves out what stands twice: a request whose answer was lost was sent again, and these have no producer id.
func distinct(values []string) (once []string) {
	seen := map[string]bool{}
	for _, v := range values {
		if !seen[v] {
			once = append(once, v)
		}
		seen[v] = true
	}
	return once
}

// TestAWipedNodeIsRebuilt: a node whose disk is gone comes back with nothing, and is in sync again.
func TestAWipedNodeIsRebuilt(t *testing.T) {
	l := local(t, LocalConfig{})
	ctx := patient(t)
	topic(t, l, 2)
	second := partition.TopicPartition{Topic: orders.Topic, Partition: 1}
	for i := range 20 {
		send(ctx, t, l.Node(1), orders, fmt.Sprint(i))
		send(ctx, t, l.Node(1), second, fmt.Sprint(i))
	}
	require.NoError(t, l.Kill(3))
	require.NoError(t, l.Wipe(3))
	send(ctx, t, l.Node(1), orders, "meanwhile")
	n, err := l.Start(3)
	require.NoError(t, err)
	require.NoError(t, n.Ready(ctx))
	for _, tp := range []partition.TopicPartition{orders, second} {
		eventually(ctx, t, "it is in sync again", func() bool { return len(info(ctx, t, l.Node(1), tp).ISR) == 3 })
		eventually(ctx, t, "the copies are equal", func() bool { return slices.Equal(copyOf(t, l.Node(1), tp), copyOf(t, n, tp)) })
		eventually(ctx, t, "it has what was there before", func() bool {
			have := copyOf(t, n, tp)
			return slices.Contains(have, "0") && slices.Contains(have, "19")
		})
	}
}

// TestAnISRBelowItsMinimumRefuses: with two of three replicas gone nothing is acknowledged, whatever is written, and with one of them back it is
// again. Two more nodes keep the quorum.
func TestAnISRBelowItsMinimumRefuses(t *testing.T) {
	l := local(t, LocalConfig{Nodes: 5, Change: func(c *Config) {
		calm(c)
		c.LagTimeMax = time.Second
	}})
	ctx := patient(t)
	_, err := l.Node(1).CreateTopic(ctx, orders.Topic, partition.TopicConfig{Assignment: [][]int32{{1, 3, 4}}})
	require.NoError(t, err)
	send(ctx, t, l.Node(1), orders, "before")
	h := l.Node(1).replicas.named(orders)
	r, err := l.Node(1).store.Replica(orders, partition.TopicID(h.id.Topic))
	require.NoError(t, err)
	before := r.End() // more than 1 if the ISR shrank under it, and it was sent again
	require.NoError(t, l.Stop(3))
	l.CutOff(4)
	_, err = l.Node(1).Append(ctx, partition.AppendRequest{TopicPartition: orders, Batch: one(t, "not committed"), Acks: partition.AcksLeader})
	require.NoError(t, err)
	eventually(ctx, t, "the ISR is the leader alone", func() bool { return len(info(ctx, t, l.Node(1), orders).ISR) == 1 })
	eventually(ctx, t, "the leader knows", func() bool { return l.Node(1).ReplicaStats(false).UnderMinISR == 1 })
	_, err = l.Node(1).Append(ctx, partition.AppendRequest{TopicPartition: orders, Batch: one(t, "refused"), Acks: partition.AcksAll})
	require.ErrorIs(t, err, partition.ErrNotEnoughReplicas)
	require.Equal(t, before, r.HighWatermark())
	require.Equal(t, before+1, r.End())

	l.Heal()
	eventually(ctx, t, "4 is back in the ISR", func() bool { return len(info(ctx, t, l.Node(1), orders).ISR) == 2 })
	eventually(ctx, t, "what was written meanwhile is committed", func() bool { return r.HighWatermark() == before+1 })
	require.Greater(t, send(ctx, t, l.Node(1), orders, "after"), before)
}

// TestARecordIsDeletedEverywhere: DeleteRecords returns when all replicas have dropped it.
func TestARecordIsDeletedEverywhere(t *testing.T) {
	l := local(t, LocalConfig{Change: calm})
	ctx := patient(t)
	topic(t, l, 1)
	for i := range 10 {
		send(ctx, t, l.Node(1), orders, fmt.Sprint(i))
	}
	start, err := l.Node(2).DeleteRecords(ctx, orders, 6)
	require.NoError(t, err)
	require.Equal(t, partition.Offset(6), start)
	for _, n := range l.Nodes() {
		require.Len(t, copyOf(t, n, orders), 4, "node %d", n.NodeID())
	}
}

// TestIdlePartitionsCauseNoTraffic: two hundred partitions that nothing is written to add no byte to what goes between the nodes.
func TestIdlePartitionsCauseNoTraffic(t *testing.T) {
	if testing.Short() {
		t.Skip("two hundred partitions")
	}
	l := local(t, LocalConfig{Change: calm})
	ctx := patient(t)
	topic(t, l, 200)
	eventually(ctx, t, "all are followed", func() bool {
		following := 0
		for _, n := range l.Nodes() {
			following += n.ReplicaStats(false).Following
		}
		return following == 400
	})
	for _, n := range l.Nodes() {
		eventually(ctx, t, "it is quiet", func() bool {
			before := n.ReplicaStats(false)
			eventually(ctx, t, "fetches go on", func() bool { return n.ReplicaStats(false).Fetches >= before.Fetches+4 })
			after := n.ReplicaStats(false)
			return after.BytesIn-before.BytesIn <= 16*(after.Fetches-before.Fetches)
		})
	}
}

// TestANewTopicDoesNotWaitForAPoll: followers that wait at a leader for news ask at once for a partition that is new. Their polls last an hour here.
func TestANewTopicDoesNotWaitForAPoll(t *testing.T) {
	l := local(t, LocalConfig{Change: func(c *Config) {
		calm(c)
		c.FetchWait, c.RequestTimeout = time.Hour, time.Hour
	}})
	ctx := patient(t)
	_, err := l.Node(1).CreateTopic(ctx, orders.Topic, partition.TopicConfig{Assignment: [][]int32{{1, 2, 3}}})
	require.NoError(t, err)
	send(ctx, t, l.Node(1), orders, "first")
	later := partition.TopicPartition{Topic: "later"}
	_, err = l.Node(1).CreateTopic(ctx, later.Topic, partition.TopicConfig{Assignment: [][]int32{{1, 2, 3}}})
	require.NoError(t, err)
	send(ctx, t, l.Node(1), later, "second")
}

// TestAThrottledFollowerCatchesUp: a limit slows a follower outside the ISR, also one below the size of a batch, and does not stop it.
func TestAThrottledFollowerCatchesUp(t *testing.T) {
	l := local(t, LocalConfig{Change: func(c *Config) {
		calm(c)
		c.CatchUpRate = 60_000
	}})
	ctx := patient(t)
	topic(t, l, 1)
	send(ctx, t, l.Node(1), orders, "first")
	insync(t, l, 3)
	require.NoError(t, l.Stop(3))
	large := strings.Repeat("x", 90_000)
	want := []string{"first", large + "a", large + "b"}
	for _, value := range want[1:] {
		send(ctx, t, l.Node(1), orders, value)
	}
	_, err := l.Start(3)
	require.NoError(t, err)
	equal(t, l, want)
}

// TestAConsumerIsSentToItsRack: the leader names the follower in the consumer's rack, as long as that has the offset and lives, and the follower serves.
func TestAConsumerIsSentToItsRack(t *testing.T) {
	l := local(t, LocalConfig{Change: func(c *Config) {
		calm(c)
		c.Rack = fmt.Sprint("rack", c.NodeID)
	}})
	ctx := patient(t)
	_, err := l.Node(1).CreateTopic(ctx, orders.Topic, partition.TopicConfig{Assignment: [][]int32{{1, 2, 3}}})
	require.NoError(t, err)
	send(ctx, t, l.Node(1), orders, "first")
	insync(t, l, 3)
	leader := l.Node(1)
	prefers := func(rack string, offset partition.Offset) int32 {
		node, ok := leader.PreferredReadReplica(orders, rack, offset)
		if !ok {
			return -1
		}
		return node
	}
	eventually(ctx, t, "both followers have fetched", func() bool { return prefers("rack2", 1) == 2 && prefers("rack3", 0) == 3 })
	require.Equal(t, int32(-1), prefers("rack1", 0), "the leader's own")
	require.Equal(t, int32(-1), prefers("rack9", 0), "nobody's")
	require.Equal(t, int32(-1), prefers("", 0))
	require.Equal(t, int32(-1), prefers("rack2", 9), "an offset that is not there yet")
	_, ok := l.Node(2).PreferredReadReplica(orders, "rack3", 0)
	require.False(t, ok, "asked at a follower")
	eventually(ctx, t, "the follower serves it", func() bool {
		results, err := l.Node(2).Store().Fetch(ctx, partition.FetchRequest{AllowFollower: true, Partitions: []partition.FetchPosition{{TopicPartition: orders, LeaderEpoch: -1}}})
		require.NoError(t, err)
		served := len(results) == 1 && results[0].Err == nil && len(results[0].Batches) > 0
		for i := range results {
			results[i].Lease.Release()
		}
		return served
	})
	require.NoError(t, l.Stop(2))
	eventually(ctx, t, "who is gone is not named", func() bool { return prefers("rack2", 0) == -1 })
}
