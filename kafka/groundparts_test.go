package kafka

import (
	"errors"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// assign gives the partitions of a topic replicas; the first of each leads.
func (g *ground) assign(topic *partition.Topic, lists [][]int32) {
	g.t.Helper()
	ctx := eventually(g.t)
	if g.local == nil {
		require.NoError(g.t, g.server.layout.assign(ctx, topic, lists))
		return
	}
	n := g.local.Node(1)
	targets := map[partition.TopicPartition][]int32{}
	for i, ids := range lists {
		targets[partition.TopicPartition{Topic: topic.Name(), Partition: int32(i)}] = ids
	}
	errs, err := n.Reassign(ctx, targets)
	require.NoError(g.t, err)
	require.Empty(g.t, errs)
	for tp, ids := range targets {
		require.NoError(g.t, g.server.MoveLeader(ctx, tp, ids[0]))
	}
	g.settle()
}

// raise gives a partition a later leader epoch, with the leader and the replicas that it had.
func (g *ground) raise(tp partition.TopicPartition) {
	g.t.Helper()
	ctx := eventually(g.t)
	if g.local == nil {
		require.NoError(g.t, g.store.RaiseLeaderEpochs(ctx, tp))
		return
	}
	at, err := g.server.node.find(ctx, tp)
	require.NoError(g.t, err)
	for _, id := range []int32{at.Leader%3 + 1, at.Leader} {
		require.NoError(g.t, g.server.MoveLeader(ctx, tp, id))
		g.settle()
	}
	require.NoError(g.t, g.server.node.reassign(ctx, tp, at.Replicas))
	g.settle()
}

// epoch is the leader epoch of a partition.
func (g *ground) epoch(topic *partition.Topic, i int32) int32 {
	at, _ := g.server.layout.at(topic, i)
	return g.server.leaderEpoch(topic, i, at)
}

// stop stops a broker: what it led is led by others, if there are any. Of nodes that is an orderly end; the first has to stay, and another one.
func (g *ground) stop(id int32) {
	g.t.Helper()
	if g.local == nil {
		require.NoError(g.t, g.server.brokerByID(id).Stop())
		return
	}
	require.NoError(g.t, g.servers[id-1].Close())
	require.NoError(g.t, g.local.Stop(id))
	g.await(g.local.Node(1), func() bool { return !g.server.brokerByID(id).running.Load() })
	g.settle()
}

// start has a broker that was stopped run again.
func (g *ground) start(id int32) {
	g.t.Helper()
	if g.local == nil {
		require.NoError(g.t, g.server.brokerByID(id).Start())
		return
	}
	l := listen(g.t)
	g.sockets[id-1] = l
	n, err := g.local.Start(id)
	require.NoError(g.t, err)
	require.NoError(g.t, n.Ready(eventually(g.t)))
	g.serveNode(id, l)
	g.await(g.local.Node(1), func() bool { return g.server.brokerByID(id).running.Load() })
	g.settle()
}

// without takes a follower out of the ISR of a partition, for the rest of the test.
func (g *ground) without(tp partition.TopicPartition, id int32, isr ...int32) {
	g.t.Helper()
	if g.local == nil {
		require.NoError(g.t, g.server.SetISR(eventually(g.t), tp, isr...))
		return
	}
	g.stop(id)
}

// alone leaves a partition with its leader as the only replica in sync, until end is called.
func (g *ground) alone(tp partition.TopicPartition, leader int32) (end func()) {
	g.t.Helper()
	ctx := eventually(g.t)
	topic, err := g.store.Topic(tp.Topic)
	require.NoError(g.t, err)
	at, _ := g.server.layout.at(topic, tp.Partition)
	if g.local == nil {
		require.NoError(g.t, g.server.SetISR(ctx, tp, leader))
		return func() { require.NoError(g.t, g.server.SetISR(ctx, tp, at.replicas...)) }
	}
	other := 5 - max(leader, 2) // neither the leader nor the first node
	require.NoError(g.t, g.server.node.reassign(ctx, tp, []int32{leader, other}))
	require.NoError(g.t, g.server.MoveLeader(ctx, tp, leader))
	g.settle()
	g.stop(other)
	return func() {
		g.start(other)
		for err = partition.ErrNotEnoughReplicas; errors.Is(err, partition.ErrNotEnoughReplicas); { // the leader has yet to hear of it
			require.NoError(g.t, ctx.Err())
			_, err = g.backend.Append(ctx, partition.AppendRequest{TopicPartition: tp, Batch: records(batch.Options{}, "again")})
		}
		require.NoError(g.t, err)
	}
}
