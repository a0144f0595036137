package replication

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
)

// local starts a cluster that ends with the test.
func local(t *testing.T, c LocalConfig) *Local {
	t.Helper()
	l, err := StartLocal(patient(t), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

// patient is a context for what ends soon on a machine with nothing else to do, and at last on any other.
func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestTopicsAreKnownOnAllNodes(t *testing.T) {
	l := local(t, LocalConfig{Change: calm})
	ctx := patient(t)
	_, err := l.Node(2).CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 6})
	require.NoError(t, err)
	_, err = l.Node(3).CreateTopic(ctx, "orders", partition.TopicConfig{})
	require.ErrorIs(t, err, partition.ErrTopicAlreadyExists)
	for _, n := range l.Nodes() {
		m, err := n.Metadata(ctx, []string{"orders"})
		require.NoError(t, err)
		require.NoError(t, m[0].Err)
		require.Len(t, m[0].Partitions, 6)
		leads := map[int32]int{}
		for _, p := range m[0].Partitions {
			require.Len(t, p.Replicas, 3, "min(3, nodes)")
			leads[p.Leader]++
		}
		require.Len(t, leads, 3, "leaders are spread: %v", leads)
		d, err := n.DescribeTopic(ctx, "orders")
		require.NoError(t, err)
		require.Equal(t, "2", d.Config["min.insync.replicas"])
	}
	nodes, err := l.Node(1).DescribeCluster(ctx)
	require.NoError(t, err)
	require.Len(t, nodes, 3)
}
