package partition_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/stretchr/testify/require"
)

func TestSnapshotIsAStoreWithTheSameRecords(t *testing.T) {
	s, err := partition.OpenMemory(partition.Config{Topics: partition.TopicConfig{Extra: map[string]string{"internal.segment.bytes": "2000"}}})
	require.NoError(t, err)
	defer s.Close()
	model := partitiontest.NewModel()
	topic, err := s.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 2, Compression: partition.CompressionZstd})
	require.NoError(t, err)
	model.Created("t", topic.ID(), 2)
	tp := partition.TopicPartition{Topic: "t", Partition: 1}
	for i := range 200 {
		b := partitiontest.Batch(record(fmt.Sprint("v", i)), record("second"))
		sent := append([]byte(nil), b...)
		r, err := s.Append(t.Context(), partition.AppendRequest{TopicPartition: tp, Batch: b})
		require.NoError(t, err)
		require.NoError(t, model.Appended(tp, sent, r.BaseOffset, true))
	}
	start, err := s.DeleteRecords(t.Context(), tp, 101) // in the middle of a batch
	require.NoError(t, err)
	require.Equal(t, partition.Offset(101), start)
	require.NoError(t, model.RecordsDeleted(tp, 101))
	id, err := s.InitProducerID(t.Context(), "", 0, partition.NoProducerID)
	require.NoError(t, err)
	require.NoError(t, model.Check(s))

	dir := filepath.Join(t.TempDir(), "backup")
	require.NoError(t, s.Snapshot(t.Context(), dir))
	mustAppend(t, s, "t", 1, "later")
	require.ErrorIs(t, s.Snapshot(t.Context(), dir), partition.ErrNotStore, "never over something")

	for range 2 { // open twice: the second time after a clean close of our own
		b, err := partition.Open(dir, partition.Config{})
		require.NoError(t, err)
		require.Nil(t, b.RecoveryReport(), "a backup is a cleanly closed store")
		require.Equal(t, s.ClusterID(), b.ClusterID())
		require.GreaterOrEqual(t, b.Incarnation(), s.Incarnation())
		require.NoError(t, model.Check(b))
		next, err := b.InitProducerID(t.Context(), "", 0, partition.NoProducerID)
		require.NoError(t, err)
		require.Greater(t, next.ID, id.ID)
		d, err := b.DescribeTopic(t.Context(), "t")
		require.NoError(t, err)
		require.Equal(t, "zstd", d.Config["compression.type"])
		v, err := b.Verify(t.Context())
		require.NoError(t, err)
		require.False(t, v.Damaged(), "%+v", v)
		require.NoError(t, b.Close())
	}
}

func TestImportTakesOverARealBrokersLogDirectory(t *testing.T) {
	const from = "../internal/segment/testdata" // written by Apache Kafka 4.1.2
	dir := t.TempDir()
	s, err := partition.Open(dir, partition.Config{})
	require.NoError(t, err)
	r, err := s.Import(t.Context(), from, partition.ImportOptions{})
	require.NoError(t, err)
	require.Contains(t, r.Topics, "golden-none")
	require.Contains(t, r.Topics, "__transaction_state")
	d, err := s.DescribeTopic(t.Context(), "golden-none")
	require.NoError(t, err)
	require.Equal(t, "LqmnmAvJT5uJP2H7-IMb5Q", d.ID.String(), "the broker's topic id")
	check := func(s *partition.Store) {
		for topic, want := range map[string]int{"golden-none": 200, "golden-zstd": 200, "golden-gzip": 200, "golden-broker-lz4": 100, "golden-segments": 3000} {
			require.Len(t, readValues(t, s, topic, 0), want, topic)
		}
		hw, err := s.ListOffsets(t.Context(), partition.TopicPartition{Topic: "golden-compacted"}, partition.TimestampLatest)
		require.NoError(t, err)
		require.Equal(t, partition.Offset(360), hw)
		d, err := s.DescribeTopic(t.Context(), "golden-compacted")
		require.NoError(t, err)
		require.Equal(t, "compact", d.Config["cleanup.policy"], "cleaner-offset-checkpoint names it")
	}
	check(s)
	m, err := s.Metadata(t.Context(), []string{"golden-none"})
	require.NoError(t, err)
	require.Positive(t, m[0].Partitions[0].LeaderEpoch, "above the broker's")
	id, err := s.InitProducerID(t.Context(), "", 0, partition.NoProducerID)
	require.NoError(t, err)
	require.Greater(t, id.ID, int64(16), "above the broker's producers")
	require.Equal(t, partition.Offset(200), mustAppend(t, s, "golden-none", 0, "ours"))
	_, err = s.Import(t.Context(), from, partition.ImportOptions{Only: []string{"golden-none"}})
	require.ErrorIs(t, err, partition.ErrTopicAlreadyExists)
	v, err := s.Verify(t.Context())
	require.NoError(t, err)
	require.False(t, v.Damaged(), "%+v", v)
	require.NoError(t, s.Close())

	s, err = partition.Open(dir, partition.Config{})
	require.NoError(t, err)
	require.Equal(t, "ours", readValues(t, s, "golden-none", 0)[200])
	require.NoError(t, s.Close())
}

func TestRetentionRunsByTheClock(t *testing.T) {
	clock := partitiontest.NewClock(time.UnixMilli(1_700_000_000_000))
	var dropped []partition.Retained
	s, err := partition.OpenMemory(partition.Config{Clock: clock, Sync: partition.SyncNever,
		Events: partition.Events{Retained: func(tp partition.TopicPartition, r partition.Retained) { dropped = append(dropped, r) }}})
	require.NoError(t, err)
	defer s.Close()
	_, err = s.CreateTopic(t.Context(), "t", partition.TopicConfig{RetentionAge: time.Hour, Extra: map[string]string{"internal.segment.bytes": "2000"}})
	require.NoError(t, err)
	for range 100 {
		mustAppend(t, s, "t", 0, strings.Repeat("x", 100))
	}
	clock.Advance(6 * time.Minute)
	require.Empty(t, dropped)
	clock.Advance(2 * time.Hour)
	require.NotEmpty(t, dropped)
	start, err := s.ListOffsets(t.Context(), partition.TopicPartition{Topic: "t"}, partition.TimestampEarliest)
	require.NoError(t, err)
	require.Positive(t, start)
	require.Positive(t, s.Stats().Total.RetainedBytes)
}

func TestIntervalModeSyncsWithinItsIntervalAndOnlyWhenThereIsSomething(t *testing.T) {
	disk := partitiontest.NewDisk()
	clock := partitiontest.NewClock(time.UnixMilli(1_700_000_000_000))
	s, err := partition.Open("store", partition.Config{FS: disk, Clock: clock, Sync: partition.SyncInterval(100 * time.Millisecond)})
	require.NoError(t, err)
	defer s.Close()
	_, err = s.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 4})
	require.NoError(t, err)
	for p := range int32(4) {
		mustAppend(t, s, "t", p, "x")
		mustAppend(t, s, "t", p, "y")
	}
	require.Zero(t, s.Stats().Total.Syncs, "appends do not wait for a sync")
	require.Equal(t, []string{"x", "y"}, readValues(t, s, "t", 0), "and are readable at once")
	clock.Advance(100 * time.Millisecond)
	require.Equal(t, int64(4), s.Stats().Total.Syncs)
	after, err := partition.Open("store", partition.Config{FS: disk.Crash(1), Clock: clock})
	require.NoError(t, err)
	for p := range int32(4) {
		require.Equal(t, []string{"x", "y"}, readValues(t, after, "t", p))
	}
	require.NoError(t, after.Close())
	clock.Advance(time.Minute)
	require.Equal(t, int64(4), s.Stats().Total.Syncs)
}

func TestFailedSyncPoisonsThePartitionAndLeavesNoCleanMarker(t *testing.T) {
	disk := partitiontest.NewDisk()
	var failed []partition.TopicPartition
	s, err := partition.Open("store", partition.Config{FS: disk, Events: partition.Events{PartitionFailed: func(tp partition.TopicPartition, err error) { failed = append(failed, tp) }}})
	require.NoError(t, err)
	_, err = s.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 2})
	require.NoError(t, err)
	mustAppend(t, s, "t", 0, "a")
	disk.Fail(partitiontest.Rule{Op: partitiontest.OpSync, Path: "*.log", Lose: true})
	tp := partition.TopicPartition{Topic: "t"}
	for range 3 {
		_, err = s.Append(t.Context(), partition.AppendRequest{TopicPartition: tp, Batch: partitiontest.Batch(record("b"))})
		require.ErrorIs(t, err, partition.ErrStorage)
	}
	require.Equal(t, []partition.TopicPartition{tp}, failed, "reported once")
	require.Equal(t, []string{"a"}, readValues(t, s, "t", 0), "nothing above the high watermark")
	mustAppend(t, s, "t", 1, "other partitions go on")
	require.True(t, s.Stats().Total.Failed)
	require.ErrorIs(t, s.Close(), partition.ErrStorage)
	s, err = partition.Open("store", partition.Config{FS: disk})
	require.NoError(t, err)
	require.NotNil(t, s.RecoveryReport())
	require.Equal(t, "a", readValues(t, s, "t", 0)[0])
	mustAppend(t, s, "t", 0, "works again")
	require.NoError(t, s.Close())
}

func TestFullDiskRefusesAppendsAndGoesOnWhenThereIsSpace(t *testing.T) {
	disk := partitiontest.NewDisk()
	var low []bool
	s, err := partition.Open("store", partition.Config{FS: disk, LowSpaceBytes: 1 << 20, Events: partition.Events{LowSpace: func(free, threshold int64, l bool) { low = append(low, l) }}})
	require.NoError(t, err)
	_, err = s.CreateTopic(t.Context(), "t", partition.TopicConfig{})
	require.NoError(t, err)
	mustAppend(t, s, "t", 0, "a")
	disk.SetFree(0)
	big := strings.Repeat("x", 200_000)
	tp := partition.TopicPartition{Topic: "t"}
	_, err = s.Append(t.Context(), partition.AppendRequest{TopicPartition: tp, Batch: partitiontest.Batch(record(big))})
	require.ErrorIs(t, err, partition.ErrNoSpace)
	_, err = s.CreateTopic(t.Context(), "u", partition.TopicConfig{})
	require.ErrorIs(t, err, partition.ErrNoSpace)
	require.Equal(t, []string{"a"}, readValues(t, s, "t", 0), "reading goes on")
	require.Equal(t, []bool{true}, low)
	require.True(t, s.Stats().LowSpace)
	disk.SetFree(-1)
	require.Equal(t, partition.Offset(1), mustAppend(t, s, "t", 0, "b"))
	_, err = s.CreateTopic(t.Context(), "u", partition.TopicConfig{})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	s, err = partition.Open("store", partition.Config{FS: disk})
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, readValues(t, s, "t", 0))
	require.NoError(t, s.Close())
}

func TestStrongerSyncModeNeverMovesTheHighWatermarkBack(t *testing.T) {
	disk := partitiontest.NewDisk()
	s, err := partition.Open("store", partition.Config{FS: disk, Sync: partition.SyncNever})
	require.NoError(t, err)
	topic, err := s.CreateTopic(t.Context(), "t", partition.TopicConfig{})
	require.NoError(t, err)
	mustAppend(t, s, "t", 0, "a")
	p, err := topic.Partition(0)
	require.NoError(t, err)
	hw, err := p.HighWatermark()
	require.NoError(t, err)
	require.Equal(t, partition.Offset(1), hw)
	require.NoError(t, s.AlterTopicConfig(t.Context(), "t", map[string]string{"flush.messages": "1"}))
	hw, err = p.HighWatermark()
	require.NoError(t, err)
	require.Equal(t, partition.Offset(1), hw)
	after, err := partition.Open("store", partition.Config{FS: disk.Crash(3)})
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, readValues(t, after, "t", 0), "what had been readable was synced before the mode changed")
	require.NoError(t, after.Close())
	require.NoError(t, s.Close())
}

// An idle partition is its entry in a table: no goroutine, no buffer, no open file.
func TestTenThousandIdlePartitionsCostLittle(t *testing.T) {
	if testing.Short() {
		t.Skip()
	}
	const n = 2000
	dir := t.TempDir()
	s, err := partition.Open(dir, partition.Config{Sync: partition.SyncNever})
	require.NoError(t, err)
	_, err = s.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: n})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	goroutines := runtime.NumGoroutine()
	still := partitiontest.NewClock(time.UnixMilli(1_700_000_000_000)) // nothing comes due while the goroutines are counted
	s, err = partition.Open(dir, partition.Config{Clock: still})
	require.NoError(t, err)
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.LessOrEqual(t, runtime.NumGoroutine(), goroutines)
	require.Less(t, (int64(after.HeapAlloc)-int64(before.HeapAlloc))/n, int64(1500), "bytes of heap for each")
	require.Zero(t, s.Stats().OpenPartitions)
	mustAppend(t, s, "t", n-1, "x")
	require.Equal(t, 1, s.Stats().OpenPartitions)
	require.NoError(t, s.Close())
}
