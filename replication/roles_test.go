package replication

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// roles makes the first nodes of a cluster controllers only, and the others brokers without a vote, of nobody who is missed.
func roles(controllers int32) func(*Config) {
	return func(c *Config) {
		calm(c)
		c.ControllerOnly, c.Observer = c.NodeID <= controllers, c.NodeID > controllers
	}
}

// replicasOf are all nodes that have replicas of a topic.
func replicasOf(ctx context.Context, t *testing.T, n *Node, topic string) (nodes []int32) {
	all, err := n.PartitionsOf(ctx, topic)
	require.NoError(t, err)
	for _, p := range all {
		nodes = append(nodes, p.Replicas...)
	}
	slices.Sort(nodes)
	return slices.Compact(nodes)
}

func TestAControllerAndTwoBrokersAreACluster(t *testing.T) {
	l := local(t, LocalConfig{Change: roles(1)})
	ctx := patient(t)
	_, err := l.Node(2).CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 6})
	require.NoError(t, err)
	require.Equal(t, []int32{2, 3}, replicasOf(ctx, t, l.Node(2), "orders"), "as many copies as there are brokers")
	_, err = l.Node(1).CreateTopic(ctx, "onto-the-controller", partition.TopicConfig{Assignment: [][]int32{{1, 2}}})
	require.ErrorIs(t, err, ErrInvalidReplicaAssignment)
	errs, err := l.Node(3).Reassign(ctx, map[partition.TopicPartition][]int32{{Topic: "orders", Partition: 0}: {1, 2}})
	require.NoError(t, err)
	require.ErrorIs(t, errs[partition.TopicPartition{Topic: "orders", Partition: 0}], ErrInvalidReplicaAssignment)

	// What is asked of the controller's Node is done by brokers.
	book := &ledger{t: t, topic: "orders"}
	for _, n := range l.Nodes() {
		failed, err := book.write(ctx, produce(t, n, producer.Config{}), 20)
		require.NoError(t, err)
		require.Zero(t, failed)
	}
	for _, n := range l.Nodes() {
		book.check(ctx, n)
	}
	nodes, err := l.Node(2).DescribeCluster(ctx)
	require.NoError(t, err)
	require.Len(t, nodes, 3)
	require.True(t, nodes[0].ControllerOnly && nodes[0].Controller && nodes[0].Fenced)
	require.False(t, nodes[1].ControllerOnly || nodes[1].Controller || nodes[2].ControllerOnly)
	q, err := l.Node(3).DescribeQuorum(ctx)
	require.NoError(t, err)
	require.Len(t, q.Voters, 1)
	require.Len(t, q.Observers, 2)

	// Brokers go on while their only controller is away, and it is theirs again when it is back.
	whole(ctx, t, l.Node(2), "orders")
	require.NoError(t, l.Stop(1))
	failed, err := book.write(ctx, produce(t, l.Node(2), producer.Config{}), 20)
	require.NoError(t, err)
	require.Zero(t, failed)
	back, err := l.Start(1)
	require.NoError(t, err)
	require.NoError(t, back.Ready(ctx))
	_, err = l.Node(3).CreateTopic(ctx, "later", partition.TopicConfig{Partitions: 2})
	require.NoError(t, err)
	book.check(ctx, back)
}

func TestThreeControllersAndThreeBrokersLoseOneOfEach(t *testing.T) {
	l := local(t, LocalConfig{Nodes: 6, Change: func(c *Config) {
		c.ControllerOnly, c.Observer = c.NodeID <= 3, c.NodeID > 3
	}})
	ctx := patient(t)
	_, err := l.Node(4).CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 3})
	require.NoError(t, err)
	require.Equal(t, []int32{4, 5, 6}, replicasOf(ctx, t, l.Node(1), "orders"))
	whole(ctx, t, l.Node(4), "orders")
	book := &ledger{t: t, topic: "orders"}
	p := produce(t, l.Node(5), producer.Config{})
	_, err = book.write(ctx, p, 30)
	require.NoError(t, err)
	q, err := l.Node(5).DescribeQuorum(ctx)
	require.NoError(t, err)
	require.Len(t, q.Voters, 3)
	require.LessOrEqual(t, q.Leader, int32(3))
	require.NoError(t, l.Kill(q.Leader))
	require.NoError(t, l.Kill(4))
	_, err = book.write(ctx, p, 30)
	require.NoError(t, err)
	until(ctx, t, l.Node(5), "others lead", func() bool {
		all, err := l.Node(5).PartitionsOf(ctx, "orders")
		return err == nil && !slices.ContainsFunc(all, func(p PartitionInfo) bool { return p.Leader <= 4 })
	})
	book.check(ctx, l.Node(6))
}

func TestABrokerBecomesAControllerOnlyWhenItHasNoReplicas(t *testing.T) {
	only := false
	l := local(t, LocalConfig{Nodes: 2, Change: func(c *Config) {
		calm(c)
		c.Observer = c.NodeID == 2
		c.ControllerOnly = only && c.NodeID == 2
	}})
	ctx := patient(t)
	_, err := l.Node(1).CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 1, ReplicationFactor: 2})
	require.NoError(t, err)
	require.NoError(t, l.Stop(2))
	only = true
	failed := make(chan error, 1)
	l.mu.Lock()
	before := l.config.Change
	l.config.Change = func(c *Config) {
		before(c)
		c.Events.Failed = func(err error) { failed <- err }
	}
	l.mu.Unlock()
	n, err := l.Start(2)
	require.NoError(t, err)
	require.ErrorContains(t, <-failed, "node 2 has replicas of 1 partitions")
	require.ErrorIs(t, n.Ready(ctx), ErrClosed)
	require.NoError(t, l.Stop(2))
	_, err = l.Node(1).Reassign(ctx, map[partition.TopicPartition][]int32{{Topic: "orders", Partition: 0}: {1}})
	require.NoError(t, err)
	until(ctx, t, l.Node(1), "it is reassigned", func() bool { return len(replicasOf(ctx, t, l.Node(1), "orders")) == 1 })
	n, err = l.Start(2)
	require.NoError(t, err)
	require.NoError(t, n.Ready(ctx))
}

func TestAControllerOnlyMakesNoClusterOfAStoreWithTopics(t *testing.T) {
	store, err := partition.Open(t.TempDir(), partition.Config{Sync: partition.SyncNever})
	require.NoError(t, err)
	_, err = store.CreateTopic(t.Context(), "orders", partition.TopicConfig{Partitions: 1})
	require.NoError(t, err)
	dir := store.Dir()
	require.NoError(t, store.Close())
	_, err = Start(Config{Dir: dir, NodeID: 1, Listen: "127.0.0.1:0", Plaintext: true, Bootstrap: true, ControllerOnly: true})
	require.ErrorIs(t, err, partition.ErrUnsupported)
	require.ErrorContains(t, err, "has 1 topics")
}

// A node that hands over is led by others from then on, serves what it can, and only then ends.
func TestANodeThatHasHandedOverGoesOnAsAFollower(t *testing.T) {
	l := local(t, LocalConfig{Change: calm})
	ctx := patient(t)
	_, err := l.Node(1).CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 6})
	require.NoError(t, err)
	whole(ctx, t, l.Node(1), "orders")
	book := &ledger{t: t, topic: "orders"}
	p := produce(t, l.Node(1), producer.Config{})
	_, err = book.write(ctx, p, 20)
	require.NoError(t, err)
	require.NoError(t, l.Node(1).HandOver(ctx))
	for _, n := range l.Nodes() { // those that stay know it already
		if n.NodeID() == 1 {
			continue
		}
		all, err := n.PartitionsOf(ctx, "orders")
		require.NoError(t, err)
		for _, p := range all {
			require.NotEqual(t, int32(1), p.Leader, "as node %d knows it", n.NodeID())
		}
	}
	failed, err := book.write(ctx, p, 20) // by the node that leaves
	require.NoError(t, err)
	require.Zero(t, failed)
	require.Len(t, read(ctx, t, l.Node(1), "orders", consumer.ReadUncommitted), 40)
	require.NoError(t, l.Node(1).HandOver(ctx), "again")
	n := l.Node(1)
	require.NoError(t, l.Stop(1))
	require.ErrorIs(t, n.HandOver(ctx), ErrClosed)
	book.check(ctx, l.Node(2))
}

func TestANodeJoinsByAddressesWhoseOwnersItDoesNotKnow(t *testing.T) {
	l := local(t, LocalConfig{Change: func(c *Config) {
		calm(c)
		for _, p := range c.Peers {
			c.Servers = append(c.Servers, p.Address)
		}
		c.Servers, c.Peers = append(c.Servers, c.Listener.Addr().String()), nil // its own is among them
		c.Join = c.NodeID != 1
	}})
	ctx := patient(t)
	q, err := l.Node(3).DescribeQuorum(ctx)
	require.NoError(t, err)
	require.Len(t, q.Voters, 3)
	require.NoError(t, l.Stop(2))
	back, err := l.Start(2)
	require.NoError(t, err)
	require.NoError(t, back.Ready(ctx))
}
