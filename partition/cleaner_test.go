package partition

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/log"
)

// compactedStore opens a store on fs with a compacted topic "keys" whose segments hold a few batches.
func compactedStore(t *testing.T, fs vfs.FS, c Config) (*Store, *clock.Manual) {
	t.Helper()
	m := clock.NewManual(time.UnixMilli(1_700_000_000_000))
	c.FS, c.Clock = fs, m
	s, err := Open("/store", c)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	_, err = s.CreateTopic(t.Context(), "keys", TopicConfig{CleanupPolicy: CleanupCompact, Extra: map[string]string{"internal.segment.bytes": "2048"}})
	if err != nil {
		require.ErrorIs(t, err, ErrTopicAlreadyExists)
	}
	return s, m
}

var keysTP = TopicPartition{Topic: "keys"}

func putKey(t *testing.T, s *Store, key, value string) {
	t.Helper()
	var b batch.Builder
	b.Reset(nil, batch.Options{})
	var v []byte
	if value != "" {
		v = []byte(value)
	}
	b.Append(s.config.Clock.Now().UnixMilli(), []byte(key), v, nil)
	out, err := b.Finish()
	require.NoError(t, err)
	_, err = s.Append(t.Context(), AppendRequest{TopicPartition: keysTP, Batch: out})
	require.NoError(t, err)
}

func readKeys(t *testing.T, s *Store) (out []string) {
	t.Helper()
	p, err := s.part(keysTP, TopicID{})
	require.NoError(t, err)
	l, err := p.open()
	require.NoError(t, err)
	var it batch.Iterator
	for at := l.Start(); ; {
		b, next, err := l.ReadInto(nil, at, l.Visible(), 1<<20)
		require.NoError(t, err)
		if len(b) == 0 {
			return out
		}
		for at = next; len(b) > 0; {
			one, err := batch.Peek(b)
			require.NoError(t, err)
			for one.Iterate(&it, 0); it.Next(); {
				out = append(out, fmt.Sprintf("%d:%s=%s", it.Record().Offset, it.Record().Key, it.Record().Value))
			}
			b = b[len(one):]
		}
	}
}

func TestDirtyPartitionIsCompactedAfterTheBackoff(t *testing.T) {
	var events []Compacted
	fs := vfs.NewMem()
	s, m := compactedStore(t, fs, Config{Events: Events{Compacted: func(_ TopicPartition, c Compacted) { events = append(events, c) }}})
	for i := range 100 {
		putKey(t, s, fmt.Sprintf("k%d", i%5), fmt.Sprintf("v%d", i))
	}
	require.Len(t, readKeys(t, s), 100)
	m.Advance(20 * time.Second)
	require.Len(t, events, 1)
	require.Equal(t, Offset(0), events[0].FirstDirty)
	require.Less(t, len(readKeys(t, s)), 60)
	st := s.Stats().ByPartition[0]
	require.Equal(t, int64(1), st.Compactions)
	require.Equal(t, events[0].Cleaned, st.FirstDirty)
	require.Equal(t, events[0].BytesRead, st.CompactionRead)
	require.Equal(t, events[0].BytesKept, st.CompactionKept)
	require.Zero(t, st.CompactionWork)
	m.Advance(time.Hour)
	require.Len(t, events, 1, "nothing has become dirty")

	want := readKeys(t, s)
	require.NoError(t, s.Close())
	entries, err := segment.ReadOffsetCheckpoint(fs, filepath.Join("/store", dataDirName, segment.CleanerOffsetName))
	require.NoError(t, err)
	require.Equal(t, []segment.OffsetEntry{{Topic: "keys", Offset: int64(events[0].Cleaned)}}, entries)
	s, m = compactedStore(t, fs, Config{Events: Events{Compacted: func(_ TopicPartition, c Compacted) { events = append(events, c) }}})
	m.Advance(time.Hour)
	require.Len(t, events, 1, "the position survives")
	require.Equal(t, want, readKeys(t, s))
	require.Equal(t, events[0].Cleaned, s.Stats().ByPartition[0].FirstDirty)
}

func TestCompactIsDoneWhenItReturns(t *testing.T) {
	s, _ := compactedStore(t, vfs.NewMem(), Config{CleanerBackoff: Unlimited, CleanerMapBytes: 24 * 8})
	for i := range 60 {
		putKey(t, s, fmt.Sprintf("k%d", i%20), fmt.Sprintf("v%d", i))
	}
	require.NoError(t, s.Compact(t.Context(), keysTP))
	got := readKeys(t, s)
	require.Len(t, got, 20)
	require.Equal(t, "40:k0=v40", got[0])
	report, err := s.Verify(t.Context())
	require.NoError(t, err)
	require.False(t, report.Damaged())
	require.Greater(t, s.Stats().ByPartition[0].Compactions, int64(3), "a map for 6 keys needs several passes")

	_, err = s.CreateTopic(t.Context(), "plain", TopicConfig{})
	require.NoError(t, err)
	require.ErrorIs(t, s.Compact(t.Context(), TopicPartition{Topic: "plain"}), ErrPolicyViolation)
	require.ErrorIs(t, s.Compact(t.Context(), TopicPartition{Topic: "none"}), ErrUnknownTopicOrPartition)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Compact(ctx, keysTP), ErrClosed)
}

func TestCleaningIsSpreadOverTimeByItsLimit(t *testing.T) {
	var took time.Duration
	s, m := compactedStore(t, vfs.NewMem(), Config{CleanerBytesPerSecond: 8000, Events: Events{Compacted: func(_ TopicPartition, c Compacted) { took = c.Took }}})
	for i := range 200 {
		putKey(t, s, fmt.Sprintf("k%d", i%5), fmt.Sprintf("v%d", i))
	}
	for took == 0 {
		m.Advance(time.Second)
	}
	// About 200 batches of 75 bytes, read twice.
	require.Greater(t, took, 2500*time.Millisecond)
	require.Less(t, took, 6*time.Second)
}

func TestUncleanablePartitionIsToldOnceAndLosesNothing(t *testing.T) {
	var told []error
	dir := t.TempDir()
	m := clock.NewManual(time.UnixMilli(1_700_000_000_000))
	c := Config{Clock: m, Events: Events{Uncleanable: func(_ TopicPartition, err error) { told = append(told, err) }}}
	s, err := Open(dir, c)
	require.NoError(t, err)
	_, err = s.CreateTopic(t.Context(), "keys", TopicConfig{CleanupPolicy: CleanupCompact, Extra: map[string]string{"internal.segment.bytes": "2048"}})
	require.NoError(t, err)
	for i := range 100 {
		putKey(t, s, fmt.Sprintf("k%d", i%5), fmt.Sprintf("v%d", i))
	}
	path := filepath.Join(dir, dataDirName, "keys-0", segment.LogName(0))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte{0xff}, 217) // in the third batch's value
	require.NoError(t, err)
	require.NoError(t, f.Close())
	before, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	m.Advance(time.Minute)
	require.Len(t, told, 1)
	require.ErrorIs(t, told[0], log.ErrCorrupt)
	require.Equal(t, 1, s.Stats().UncleanablePartitions)
	after, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(after), len(before))
	putKey(t, s, "k0", "again")
	m.Advance(time.Hour)
	require.Len(t, told, 1)
	_ = s.Close()
}

func TestNullKeyIsRefusedInACompactedTopic(t *testing.T) {
	s, _ := compactedStore(t, vfs.NewMem(), Config{})
	var b batch.Builder
	b.Reset(nil, batch.Options{})
	b.Append(s.config.Clock.Now().UnixMilli(), nil, []byte("v"), nil)
	out, err := b.Finish()
	require.NoError(t, err)
	_, err = s.Append(t.Context(), AppendRequest{TopicPartition: keysTP, Batch: out})
	require.ErrorIs(t, err, ErrInvalidRecord)
}

func TestGapsStayLawfulWhenATopicIsNotCompactedAnyMore(t *testing.T) {
	fs := vfs.NewMem()
	s, _ := compactedStore(t, fs, Config{CleanerBackoff: Unlimited})
	for i := range 60 {
		putKey(t, s, fmt.Sprintf("k%d", i%20), fmt.Sprintf("v%d", i))
	}
	require.NoError(t, s.Compact(t.Context(), keysTP))
	want := readKeys(t, s)
	require.NoError(t, s.AlterTopicConfig(t.Context(), "keys", map[string]string{"cleanup.policy": "delete"}))
	require.Equal(t, want, readKeys(t, s))
	for range 2 {
		require.NoError(t, s.Close())
		s, _ = compactedStore(t, fs, Config{CleanerBackoff: Unlimited})
		require.Equal(t, want, readKeys(t, s))
		report, err := s.Verify(t.Context())
		require.NoError(t, err)
		require.False(t, report.Damaged(), "%+v", report)
	}
}

func TestLagsAndRatioDecideWhenAPartitionIsCompacted(t *testing.T) {
	var events int
	s, m := compactedStore(t, vfs.NewMem(), Config{Events: Events{Compacted: func(TopicPartition, Compacted) { events++ }}})
	alter := func(key, value string) {
		t.Helper()
		require.NoError(t, s.AlterTopicConfig(t.Context(), "keys", map[string]string{key: value}))
	}
	alter("min.compaction.lag.ms", "3600000")
	for i := range 100 {
		putKey(t, s, fmt.Sprintf("k%d", i%5), fmt.Sprintf("v%d", i))
	}
	m.Advance(time.Minute)
	require.Zero(t, events, "all records are too young")
	m.Advance(time.Hour)
	require.Equal(t, 1, events, "time alone has made it dirty")
	alter("min.compaction.lag.ms", "")
	alter("min.cleanable.dirty.ratio", "1")
	for i := range 100 {
		putKey(t, s, fmt.Sprintf("k%d", i%5), fmt.Sprintf("w%d", i))
	}
	m.Advance(time.Hour)
	require.Equal(t, 1, events, "the ratio is not above 1")
	alter("max.compaction.lag.ms", "14400000")
	m.Advance(time.Hour)
	require.Equal(t, 1, events)
	m.Advance(3 * time.Hour)
	require.Equal(t, 2, events, "overdue")
}

func TestDirtyPartitionOfAnEarlierProcessIsCompacted(t *testing.T) {
	fs := vfs.NewMem()
	s, _ := compactedStore(t, fs, Config{})
	for i := range 100 {
		putKey(t, s, fmt.Sprintf("k%d", i%5), fmt.Sprintf("v%d", i))
	}
	require.NoError(t, s.Close())
	s, m := compactedStore(t, fs, Config{})
	m.Advance(time.Minute)
	require.Equal(t, int64(1), s.Stats().ByPartition[0].Compactions)
	require.Less(t, len(readKeys(t, s)), 60)
}

func TestSnapshotOfACompactedPartitionIsOne(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := Open(dir, Config{CleanerBackoff: Unlimited})
	require.NoError(t, err)
	_, err = s.CreateTopic(t.Context(), "keys", TopicConfig{CleanupPolicy: CleanupCompact, Extra: map[string]string{"internal.segment.bytes": "2048"}})
	require.NoError(t, err)
	for i := range 100 {
		putKey(t, s, fmt.Sprintf("k%d", i%50), fmt.Sprintf("v%d", i))
	}
	require.NoError(t, s.Compact(t.Context(), keysTP))
	require.NoError(t, s.AlterTopicConfig(t.Context(), "keys", map[string]string{"cleanup.policy": "delete"}))
	putKey(t, s, "k1", "last")
	want := readKeys(t, s)
	backup := filepath.Join(t.TempDir(), "backup")
	require.NoError(t, s.Snapshot(t.Context(), backup))
	require.NoError(t, s.Close())
	for range 2 {
		b, err := Open(backup, Config{CleanerBackoff: Unlimited})
		require.NoError(t, err)
		require.Equal(t, want, readKeys(t, b))
		report, err := b.Verify(t.Context())
		require.NoError(t, err)
		require.False(t, report.Damaged(), "%+v", report)
		require.NoError(t, b.Close())
	}
}

func TestCompactAndDeleteDoesBoth(t *testing.T) {
	s, m := compactedStore(t, vfs.NewMem(), Config{RetentionCheckInterval: time.Minute})
	require.NoError(t, s.AlterTopicConfig(t.Context(), "keys", map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "3600000"}))
	for i := range 100 {
		putKey(t, s, fmt.Sprintf("k%d", i%5), fmt.Sprintf("v%d", i))
	}
	m.Advance(time.Minute)
	require.Equal(t, int64(1), s.Stats().ByPartition[0].Compactions)
	left := len(readKeys(t, s))
	require.Less(t, left, 60)
	for range 3 {
		m.Advance(59 * time.Minute)
		putKey(t, s, "new", "value")
	}
	require.Equal(t, []string{"100:new=value", "101:new=value", "102:new=value"}, readKeys(t, s)[len(readKeys(t, s))-3:])
	require.Less(t, len(readKeys(t, s)), left)
	require.Positive(t, s.Stats().ByPartition[0].RetainedSegments)
	start, err := s.DeleteRecords(t.Context(), keysTP, 101)
	require.NoError(t, err)
	require.Equal(t, Offset(101), start)
}
