package partition_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
)

// TestACatalogueOfAnySizeIsImported: what is too large for one entry of the journal is taken at once all the same: a crash before each operation of the disk leaves all of
// it, or nothing.
func TestACatalogueOfAnySizeIsImported(t *testing.T) {
	source, err := partition.OpenMemory(partition.Config{})
	require.NoError(t, err)
	defer source.Close()
	_, err = source.CreateTopic(t.Context(), "orders", partition.TopicConfig{Partitions: 3})
	require.NoError(t, err)
	for i := range 17 {
		require.NoError(t, source.PutSettings(t.Context(), partition.Setting{Key: fmt.Sprintf("test/large/%02d", i), Value: bytes.Repeat([]byte{byte(i)}, 1<<20)}))
	}
	state := source.ExportShared()
	require.Greater(t, len(state), 16<<20)

	disk := partitiontest.NewDisk()
	open := func(fs partition.FS) (*byHand, *partition.Store) {
		h := &byHand{}
		s, err := partition.Open("/store", partition.Config{FS: fs, Cluster: h})
		require.NoError(t, err)
		h.store = s
		return h, s
	}
	_, s := open(disk)
	_, err = s.CreateTopic(t.Context(), "gone", partition.TopicConfig{})
	require.NoError(t, err)
	before := s.ExportShared()
	version := s.SettingsVersion("test/large/")
	ops, crash := 0, true
	var found [2]int
	disk.OnOp(func(vfs.Op) {
		if !crash {
			return
		}
		ops++
		for seed := range uint64(2) {
			_, after := open(disk.Crash(seed))
			switch after.AppliedShared() {
			case 1:
				found[0]++
				require.True(t, bytes.Equal(before, after.ExportShared()))
			case 5:
				found[1]++
				require.True(t, bytes.Equal(state, after.ExportShared()))
			default:
				require.Fail(t, "index", "%d", after.AppliedShared())
			}
			require.NoError(t, after.Close())
		}
	})
	require.NoError(t, s.ImportShared(5, state))
	crash = false
	require.Positive(t, found[0])
	require.Positive(t, found[1])
	require.EqualValues(t, 5, s.AppliedShared())
	require.True(t, bytes.Equal(state, s.ExportShared()))
	_, err = s.Topic("gone")
	require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
	require.Greater(t, s.SettingsVersion("test/large/"), version)
	require.NoError(t, s.ImportShared(5, state), "again")
	require.NoError(t, s.ApplyShared(6, partition.SharedSettings, []byte{2, 2, 'x', 0, 0}))
	require.NoError(t, s.Close())
	_, s = open(disk)
	require.EqualValues(t, 6, s.AppliedShared())
	require.True(t, bytes.Equal(state, s.ExportShared()))
	require.NoError(t, s.Close())
}

// TestNewPartitionsMayHaveTheReplicasThatSomebodyChooses: the cluster is asked for them as they are; what cannot be right does not get that far.
func TestNewPartitionsMayHaveTheReplicasThatSomebodyChooses(t *testing.T) {
	h, s := openByHand(t, partition.Config{})
	want := [][]int32{{7, 1}, {2, 7}}
	require.NoError(t, s.CreatePartitionsAt(t.Context(), handTP.Topic, 4, want))
	require.Equal(t, want, h.proposed[len(h.proposed)-1].Assignment)
	d, err := s.DescribeTopic(t.Context(), handTP.Topic)
	require.NoError(t, err)
	require.EqualValues(t, 4, d.Partitions)
	proposed := len(h.proposed)
	require.ErrorIs(t, s.CreatePartitionsAt(t.Context(), handTP.Topic, 6, want[:1]), partition.ErrInvalidPartitions)
	require.ErrorIs(t, s.CreatePartitionsAt(t.Context(), handTP.Topic, 5, [][]int32{{1, 1}}), partition.ErrInvalidReplicationFactor)
	require.ErrorIs(t, s.CreatePartitionsAt(t.Context(), handTP.Topic, 5, [][]int32{{}}), partition.ErrInvalidReplicationFactor)
	require.ErrorIs(t, s.CreatePartitionsAt(t.Context(), "unknown", 5, want), partition.ErrUnknownTopicOrPartition)
	require.Len(t, h.proposed, proposed)
	alone, err := partition.OpenMemory(partition.Config{})
	require.NoError(t, err)
	defer alone.Close()
	require.ErrorIs(t, alone.CreatePartitionsAt(t.Context(), "t", 2, want), partition.ErrUnsupported)
	require.ErrorIs(t, s.RaiseLeaderEpochs(t.Context(), handTP), partition.ErrUnsupported)
	_, err = s.Import(t.Context(), t.TempDir(), partition.ImportOptions{})
	require.ErrorIs(t, err, partition.ErrUnsupported)
}
