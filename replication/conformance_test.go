package replication

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
)

// One suite runs on a store alone and on partitions of three nodes, whichever of them is asked: the one that leads, and one that does not.
func TestNodesKeepTheContractOfAStore(t *testing.T) {
	l := local(t, LocalConfig{Change: calm})
	for asked, n := range map[string]*Node{"leader": l.Node(1), "other": l.Node(2)} {
		t.Run(asked, func(t *testing.T) {
			made := false
			partitiontest.Conformance(t, func(t *testing.T, topic string, partitions int32) partitiontest.Backend {
				ctx := patient(t)
				if made {
					require.NoError(t, n.DeleteTopic(ctx, topic))
				}
				made = true
				replicas := make([][]int32, partitions)
				for i := range replicas {
					replicas[i] = []int32{1, 2, 3}
				}
				_, err := n.CreateTopic(ctx, topic, partition.TopicConfig{Assignment: replicas})
				require.NoError(t, err)
				return n
			})
			require.NoError(t, n.DeleteTopic(patient(t), "conformance"))
		})
	}
}
