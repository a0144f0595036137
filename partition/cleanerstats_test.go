package partition

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

// max-clean-time-secs and max-buffer-utilization-percent.
func TestTimeAndMapOfCompactionsAreCounted(t *testing.T) {
	disk := vfs.NewFault(vfs.NewMem())
	var passes []Compacted
	s, m := compactedStore(t, disk, Config{
		CleanerBackoff: Unlimited, CleanerMapBytes: 24 * 400,
		Events: Events{Compacted: func(_ TopicPartition, c Compacted) { passes = append(passes, c) }},
	})
	before := 0.0
	for round, d := range []time.Duration{time.Millisecond, 3 * time.Millisecond, 2 * time.Millisecond} {
		for i := range 60 {
			putKey(t, s, fmt.Sprintf("k%d", i%(10*(round+1))), fmt.Sprintf("v%d", i))
		}
		slow := true
		disk.OnOp(func(op vfs.Op) {
			if slow && strings.HasSuffix(op.Path, ".cleaned") {
				slow = false
				m.Advance(d)
			}
		})
		require.NoError(t, s.Compact(t.Context(), keysTP))
		disk.OnOp(nil)
		require.False(t, slow)
		require.Len(t, passes, round+1)
		use := s.Stats().ByPartition[0].CompactionMapUse
		require.InDelta(t, passes[round].MapUse, use, 0.001)
		require.Greater(t, use, before, "of the last pass, which had more keys")
		require.Equal(t, use, s.Stats().Total.CompactionMapUse)
		before = use
	}
	for _, st := range []PartitionStats{s.Stats().ByPartition[0], s.Stats().Total} {
		require.Equal(t, []any{int64(3), 6 * time.Millisecond, 3 * time.Millisecond}, []any{st.Compactions, st.CompactionTime, st.MaxCompactionTime})
	}
}

// max-dirty-percent and max-compaction-delay-secs.
func TestDirtAndDelayOfCompactionAreThoseOfTheLastLook(t *testing.T) {
	disk := vfs.NewFault(vfs.NewMem())
	compacted := 0
	s, m := compactedStore(t, disk, Config{Events: Events{Compacted: func(TopicPartition, Compacted) { compacted++ }}})
	stats := func() PartitionStats { return s.Stats().ByPartition[0] }
	put := func() {
		for i := range 100 {
			putKey(t, s, fmt.Sprintf("k%d", i), fmt.Sprintf("v%d", i))
		}
	}
	require.NoError(t, s.AlterTopicConfig(t.Context(), "keys", map[string]string{"min.cleanable.dirty.ratio": "1", "max.compaction.lag.ms": "600000"}))
	put()
	require.NoError(t, s.Compact(t.Context(), keysTP))
	require.Equal(t, 1, compacted)
	last := 0.0
	for range 3 {
		put()
		require.Equal(t, last, stats().DirtyRatio)
		m.Advance(20 * time.Second)
		require.Greater(t, stats().DirtyRatio, last)
		require.Less(t, stats().DirtyRatio, 1.0)
		require.Equal(t, stats().DirtyRatio, s.Stats().Total.DirtyRatio)
		last = stats().DirtyRatio
	}
	require.Zero(t, stats().CompactionOverdue)
	require.Equal(t, 1, compacted, "too little for the ratio, too young for the lag")

	var overdue, total time.Duration
	disk.OnOp(func(op vfs.Op) {
		if overdue == 0 && strings.HasSuffix(op.Path, ".cleaned") {
			overdue, total = stats().CompactionOverdue, s.Stats().Total.CompactionOverdue
		}
	})
	m.Advance(10 * time.Minute)
	disk.OnOp(nil)
	require.Equal(t, 2, compacted)
	require.Positive(t, overdue)
	require.LessOrEqual(t, overdue, 15*time.Second, "one look before it was not")
	require.Equal(t, overdue, total)
	m.Advance(time.Minute)
	require.Zero(t, stats().CompactionOverdue)
}
