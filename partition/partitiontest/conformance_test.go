package partitiontest_test

import (
	"testing"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/stretchr/testify/require"
)

func TestStoreConforms(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) (*partition.Store, error){
		"memory": func(t *testing.T) (*partition.Store, error) { return partition.OpenMemory(partition.Config{}) },
		"files": func(t *testing.T) (*partition.Store, error) {
			return partition.Open(t.TempDir(), partition.Config{Sync: partition.SyncNever})
		},
	} {
		t.Run(name, func(t *testing.T) {
			partitiontest.Conformance(t, func(t *testing.T, topic string, partitions int32) partitiontest.Backend {
				s, err := open(t)
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, s.Close()) })
				_, err = s.CreateTopic(t.Context(), topic, partition.TopicConfig{Partitions: partitions})
				require.NoError(t, err)
				return s
			})
		})
	}
}

// A partition of several nodes keeps the same contract: every append is acknowledged when all three have it.
func TestReplicatedStoreConforms(t *testing.T) {
	for _, mode := range []partition.SyncMode{partition.SyncAlways, partition.SyncNever} {
		t.Run(mode.String(), func(t *testing.T) {
			partitiontest.Conformance(t, func(t *testing.T, topic string, partitions int32) partitiontest.Backend {
				nodes := partitiontest.StartNodes(t, 3, partition.Config{Sync: mode})
				_, err := nodes.Store(2).CreateTopic(t.Context(), topic, partition.TopicConfig{Partitions: partitions, MinInsyncReplicas: 2, ReplicationFactor: 3})
				require.NoError(t, err)
				return nodes.Store(0)
			})
		})
	}
}
