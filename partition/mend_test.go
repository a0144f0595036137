package partition_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/stretchr/testify/require"
)

// mendedCopy is a compacted partition of several segments, of which the second was damaged and has been mended. base is that segment's.
func mendedCopy(t *testing.T) (s *partition.Store, dir string, base partition.Offset) {
	dir = t.TempDir()
	h := &byHand{}
	s, err := partition.Open(dir, partition.Config{Cluster: h, Sync: partition.SyncNever})
	require.NoError(t, err)
	h.store = s
	_, err = s.CreateTopic(t.Context(), handTP.Topic, partition.TopicConfig{CleanupPolicy: partition.CleanupCompact, Extra: map[string]string{"internal.segment.bytes": "1024"}})
	require.NoError(t, err)
	r := role(t, s, partition.RoleLeader, 1, 1)
	put := func(from, to int) {
		for i := from; i < to; i++ {
			b := partitiontest.Batch(partitiontest.Record{Timestamp: 1, Key: fmt.Append(nil, "key", i), Value: []byte("value")})
			_, err := s.Append(t.Context(), partition.AppendRequest{TopicPartition: handTP, Batch: b, Acks: partition.AcksLeader})
			require.NoError(t, err)
			r.SetHighWatermark(r.End())
		}
	}
	put(0, 60)
	require.NoError(t, s.Compact(t.Context(), handTP))
	put(60, 80)
	names, err := filepath.Glob(filepath.Join(dir, "data", "orders-0", "*.log"))
	require.NoError(t, err)
	require.Greater(t, len(names), 4)
	slices.Sort(names)
	var good []byte
	for _, name := range names {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		good = append(good, b...)
	}
	_, err = fmt.Sscanf(filepath.Base(names[1]), "%d", &base)
	require.NoError(t, err)
	f, err := os.OpenFile(names[1], os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte{0xff}, 61+10)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.ErrorIs(t, s.Compact(t.Context(), handTP), log.ErrCorrupt)
	require.Equal(t, 1, s.Stats().UncleanablePartitions)

	role(t, s, partition.RoleNone, 1, 0)
	m, err := r.BeginMending()
	require.NoError(t, err)
	defer m.Close()
	require.Equal(t, base, m.Base())
	require.NoError(t, m.Feed(good))
	require.NoError(t, m.Commit())
	require.NoError(t, s.ReopenReplica(handTP, partition.TopicID{}))
	r = role(t, s, partition.RoleLeader, 2, 1)
	r.SetHighWatermark(r.End())
	require.EqualValues(t, 80, r.End())
	return s, dir, base
}

// What is in front of a mended segment has been compacted, and is not again: the cleaner's checkpoint goes back to that segment, and no further.
func TestACopyThatHasBeenMendedStaysCompactedInFrontOfThat(t *testing.T) {
	s, dir, base := mendedCopy(t)
	require.Positive(t, base)
	require.NoError(t, s.Close())
	checkpoint, err := os.ReadFile(filepath.Join(dir, "data", "cleaner-offset-checkpoint"))
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("0\n1\norders 0 %d\n", base), strings.TrimLeft(string(checkpoint), "\ufeff"))
}

// A partition that could not be compacted, for what has been mended since, is compacted again.
func TestACopyThatHasBeenMendedIsCompactedAgain(t *testing.T) {
	s, _, _ := mendedCopy(t)
	require.Zero(t, s.Stats().UncleanablePartitions)
	require.NoError(t, s.Compact(t.Context(), handTP))
	require.NoError(t, s.Close())
}
