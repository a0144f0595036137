package replication

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
)

// One suite runs on a store alone and on partitions of three nodes, whichever of them is asked: the one that leads, and one that does not.
func TestNodesKeepTheContractOfAStore(t *testing.T) {
	for _, asked := range []string{"leader", "other"} {
		t.Run(asked, func(t *testing.T) {
			t.Parallel()
			partitiontest.Conformance(t, func(t *testing.T, topic string, partitions int32) partitiontest.Backend {
				l := local(t, LocalConfig{})
				replicas := make([][]int32, partitions)
				for i := range replicas {
					replicas[i] = []int32{1, 2, 3}
				}
				_, err := l.Node(1).CreateTopic(patient(t), topic, partition.TopicConfig{Assignment: replicas})
				require.NoError(t, err)
				if asked == "leader" {
					return l.Node(1)
				}
				return l.Node(2)
			})
		})
	}
}
