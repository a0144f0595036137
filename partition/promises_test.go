package partition_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/stretchr/testify/require"
)

// contents is what lies in a directory: names, sizes and bytes.
func contents(t *testing.T, dir string) map[string]uint64 {
	t.Helper()
	all := make(map[string]uint64)
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		h := fnv.New64a()
		_, _ = h.Write(b)
		all[path] = h.Sum64()
		return err
	}))
	return all
}

// Every refusal on real files: the error is typed, its text names the thing and the value, and no byte has changed.
func TestRefusedCallsNameTheirObjectAndChangeNoByte(t *testing.T) {
	dir := t.TempDir()
	clock := partitiontest.NewClock(time.UnixMilli(1_700_000_000_000)) // stands still: no background work
	s, err := partition.Open(dir, partition.Config{Clock: clock})
	require.NoError(t, err)
	ctx := t.Context()
	_, err = s.CreateTopic(ctx, "t", partition.TopicConfig{Partitions: 2, MaxMessageBytes: 2000, TimestampBefore: time.Hour})
	require.NoError(t, err)
	_, err = s.CreateTopic(ctx, "a.b", partition.TopicConfig{})
	require.NoError(t, err)
	mustAppend(t, s, "t", 0, "x")
	topic, err := s.Topic("t")
	require.NoError(t, err)
	p, err := topic.Partition(0)
	require.NoError(t, err)
	tp := partition.TopicPartition{Topic: "t"}
	appending := func(topic string, n int32, r partitiontest.Record) func() error {
		return func() error {
			_, err := s.Append(ctx, partition.AppendRequest{TopicPartition: partition.TopicPartition{Topic: topic, Partition: n}, Batch: partitiontest.Batch(r)})
			return err
		}
	}
	creating := func(name string, c partition.TopicConfig) func() error {
		return func() error { _, err := s.CreateTopic(ctx, name, c); return err }
	}
	fetching := func(topic string, n int32, from partition.Offset) func() error {
		return func() error {
			rs, err := s.Fetch(ctx, partition.FetchRequest{Partitions: []partition.FetchPosition{{
				TopicPartition: partition.TopicPartition{Topic: topic, Partition: n}, Offset: from, LeaderEpoch: partition.LeaderEpochUnknown}}})
			return errors.Join(err, rs[0].Err)
		}
	}
	old, early := record("y"), record("y")
	old.Timestamp -= 2 * 3600_000
	early.Timestamp += 2 * 3600_000
	before := contents(t, dir)
	for name, c := range map[string]struct {
		call  func() error
		want  error
		names []string
	}{
		"an illegal topic name":         {creating("a/b", partition.TopicConfig{}), partition.ErrInvalidTopic, []string{`a/b`}},
		"a colliding topic name":        {creating("a_b", partition.TopicConfig{}), partition.ErrInvalidTopic, []string{"a_b", "a.b"}},
		"a topic name of 250 letters":   {creating(strings.Repeat("x", 250), partition.TopicConfig{}), partition.ErrInvalidTopic, []string{"249"}},
		"a topic that is there":         {creating("t", partition.TopicConfig{}), partition.ErrTopicAlreadyExists, []string{"t"}},
		"a setting out of range":        {creating("u", partition.TopicConfig{MaxMessageBytes: -5}), partition.ErrInvalidConfig, []string{"max.message.bytes", "-5", "0"}},
		"partitions out of range":       {creating("u", partition.TopicConfig{Partitions: -5}), partition.ErrInvalidPartitions, []string{"-5"}},
		"append to an unknown topic":    {appending("nowhere", 0, record("y")), partition.ErrUnknownTopicOrPartition, []string{"nowhere"}},
		"append to partition 2":         {appending("t", 2, record("y")), partition.ErrUnknownTopicOrPartition, []string{"partition 2", `"t"`}},
		"append to partition -1":        {appending("t", -1, record("y")), partition.ErrUnknownTopicOrPartition, []string{"t"}},
		"a record of 3000 bytes":        {appending("t", 0, record(strings.Repeat("y", 3000))), partition.ErrMessageTooLarge, []string{"t-0", "2000"}},
		"a record of two hours ago":     {appending("t", 0, old), partition.ErrInvalidTimestamp, []string{"t-0"}},
		"a record of in two hours":      {appending("t", 0, early), partition.ErrInvalidTimestamp, []string{"t-0"}},
		"fetch of an unknown topic":     {fetching("nowhere", 0, 0), partition.ErrUnknownTopicOrPartition, []string{"nowhere"}},
		"fetch of partition 2":          {fetching("t", 2, 0), partition.ErrUnknownTopicOrPartition, []string{"partition 2", `"t"`}},
		"fetch at offset -1":            {fetching("t", 0, -1), partition.ErrOffsetOutOfRange, []string{"-1", "[0, 1)"}},
		"fetch at offset 7":             {fetching("t", 0, 7), partition.ErrOffsetOutOfRange, []string{"7", "[0, 1)"}},
		"fetch of a partition at -9":    {func() error { return p.Fetch(-9, 100, new(partition.FetchResult)) }, partition.ErrOffsetOutOfRange, []string{"-9"}},
		"copy at offset -9":             {func() error { _, _, err := p.ReadCopy(nil, -9, 100); return err }, partition.ErrOffsetOutOfRange, []string{"-9"}},
		"delete records below -1":       {func() error { _, err := s.DeleteRecords(ctx, tp, -2); return err }, partition.ErrOffsetOutOfRange, []string{"-2"}},
		"delete records above the end":  {func() error { _, err := p.DeleteRecords(ctx, 9); return err }, partition.ErrOffsetOutOfRange, []string{"9"}},
		"delete an unknown topic":       {func() error { return s.DeleteTopic(ctx, "nowhere") }, partition.ErrUnknownTopicOrPartition, []string{"nowhere"}},
		"describe an unknown topic":     {func() error { _, err := s.DescribeTopic(ctx, "nowhere"); return err }, partition.ErrUnknownTopicOrPartition, []string{"nowhere"}},
		"alter an unknown setting":      {func() error { return s.AlterTopicConfig(ctx, "t", map[string]string{"no.key": "1"}) }, partition.ErrInvalidConfig, []string{"no.key"}},
		"alter a setting to nonsense":   {func() error { return s.AlterTopicConfig(ctx, "t", map[string]string{"segment.ms": "soon"}) }, partition.ErrInvalidConfig, []string{"segment.ms", "soon"}},
		"fewer partitions":              {func() error { return s.CreatePartitions(ctx, "t", 1) }, partition.ErrInvalidPartitions, []string{"t", "1"}},
		"offsets of an unknown topic":   {func() error { _, err := s.ListOffsets(ctx, partition.TopicPartition{Topic: "nowhere"}, -1); return err }, partition.ErrUnknownTopicOrPartition, []string{"nowhere"}},
		"offsets of no meaning":         {func() error { _, err := s.ListOffsets(ctx, tp, -9); return err }, partition.ErrInvalidConfig, []string{"-9"}},
		"snapshot over something":       {func() error { return s.Snapshot(ctx, filepath.Join(dir, "data")) }, partition.ErrNotStore, []string{dir}},
		"import of an empty directory":  {func() error { _, err := s.Import(ctx, t.TempDir(), partition.ImportOptions{}); return err }, partition.ErrUnknownTopicOrPartition, nil},
		"import of a missing directory": {func() error { _, err := s.Import(ctx, "/no/such/dir", partition.ImportOptions{}); return err }, fs.ErrNotExist, []string{"/no/such/dir"}},
	} {
		err := c.call()
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, word := range c.names {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %q does not name %q", name, err, word)
			}
		}
		require.Equal(t, before, contents(t, dir), name)
	}
	require.Equal(t, []string{"x"}, readValues(t, s, "t", 0))
	require.NoError(t, s.Close())
	_, err = p.HighWatermark()
	require.ErrorIs(t, err, partition.ErrClosed)
}

// A directory that cannot be written is refused, and the error says which; when it can be, all is as it was.
func TestReadOnlyDirectoryIsRefusedAndNamed(t *testing.T) {
	for _, reason := range []error{syscall.EROFS, syscall.EACCES} {
		disk := partitiontest.NewDisk()
		s, err := partition.Open("store", partition.Config{FS: disk})
		require.NoError(t, err)
		_, err = s.CreateTopic(t.Context(), "t", partition.TopicConfig{})
		require.NoError(t, err)
		mustAppend(t, s, "t", 0, "x")
		require.NoError(t, s.Close())
		before := disk.Hash()
		var rules []*partitiontest.Armed
		for _, op := range []partitiontest.OpKind{vfs.OpCreate | vfs.OpMkdir, partitiontest.OpWrite, partitiontest.OpSync, partitiontest.OpSyncDir, partitiontest.OpRename, partitiontest.OpRemove} {
			rules = append(rules, disk.Fail(partitiontest.Rule{Op: op, Err: reason, Forever: true}))
		}
		_, err = partition.Open("store", partition.Config{FS: disk})
		require.ErrorIs(t, err, reason)
		require.ErrorContains(t, err, "store")
		require.Equal(t, before, disk.Hash(), "nothing has changed")
		look, err := partition.OpenReadOnly("store", partition.Config{FS: disk})
		require.NoError(t, err, "which writes nothing")
		require.Equal(t, []string{"x"}, readValues(t, look, "t", 0))
		require.NoError(t, look.Close())
		for _, r := range rules {
			r.Lift()
		}
		s, err = partition.Open("store", partition.Config{FS: disk})
		require.NoError(t, err)
		require.Equal(t, []string{"x"}, readValues(t, s, "t", 0))
		require.NoError(t, s.Close())
	}
	if os.Getuid() == 0 {
		return // may write everywhere
	}
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o500))
	_, err := partition.Open(filepath.Join(dir, "store"), partition.Config{})
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, dir)
}

// A full disk ends when there is space; a sync that failed meanwhile does not: that takes a new open.
func TestSpaceDoesNotCureAFailedSync(t *testing.T) {
	disk := partitiontest.NewDisk()
	s, err := partition.Open("store", partition.Config{FS: disk})
	require.NoError(t, err)
	_, err = s.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 2})
	require.NoError(t, err)
	mustAppend(t, s, "t", 0, "a")
	mustAppend(t, s, "t", 1, "a")
	big := strings.Repeat("x", 900_000)
	appending := func(n int32, value string) error {
		_, err := s.Append(t.Context(), partition.AppendRequest{TopicPartition: partition.TopicPartition{Topic: "t", Partition: n}, Batch: partitiontest.Batch(record(value))})
		return err
	}
	disk.SetFree(0)
	require.ErrorIs(t, appending(0, big), partition.ErrNoSpace)
	require.ErrorIs(t, appending(1, big), partition.ErrNoSpace)
	disk.Fail(partitiontest.Rule{Op: partitiontest.OpSync, Path: "*.log", Lose: true})
	disk.SetFree(-1)
	require.ErrorIs(t, appending(0, "b"), partition.ErrStorage)
	require.ErrorIs(t, appending(0, "b"), partition.ErrStorage)
	require.NoError(t, appending(1, "b"))
	require.Equal(t, []string{"a"}, readValues(t, s, "t", 0), "reads go on")
	require.ErrorIs(t, s.Close(), partition.ErrStorage)

	s, err = partition.Open("store", partition.Config{FS: disk})
	require.NoError(t, err)
	require.Equal(t, "a", readValues(t, s, "t", 0)[0])
	require.Equal(t, []string{"a", "b"}, readValues(t, s, "t", 1))
	require.NoError(t, appending(0, "c"))
	require.NoError(t, s.Close())
}

// A real file is cut under a live mapping: reads of what is gone are a typed error, the rest is served, and the process
// lives.
func TestRealFileCutUnderALiveMappingIsATypedError(t *testing.T) {
	dir := t.TempDir()
	s, err := partition.Open(dir, partition.Config{})
	require.NoError(t, err)
	topic, err := s.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 2})
	require.NoError(t, err)
	for range 200 {
		mustAppend(t, s, "t", 0, strings.Repeat("x", 500))
		mustAppend(t, s, "t", 1, "other")
	}
	require.Len(t, readValues(t, s, "t", 0), 200) // everything is mapped
	p, err := topic.Partition(0)
	require.NoError(t, err)
	name := filepath.Join(dir, "data", "t-0", "00000000000000000000.log")
	require.NoError(t, os.Truncate(name, 8192))
	whole, from := 0, partition.Offset(0)
	var copied []byte
	for {
		var next partition.Offset
		copied, next, err = p.ReadCopy(copied[:0], from, 1)
		if err != nil || next == from {
			break
		}
		whole++
		from = next
	}
	damage, ok := errors.AsType[*log.CorruptionError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, name, damage.Path)
	require.Greater(t, damage.NextOffset, damage.Offset)
	require.Positive(t, whole, "what is left is served")
	require.Less(t, whole, 20)
	require.Len(t, readValues(t, s, "t", 1), 200, "other partitions do not notice")
	_ = s.Close() // says what it found; the process lives
}

// A lease that is forgotten is counted with its age, by the store's clock.
func TestForgottenLeaseIsCountedWithItsAge(t *testing.T) {
	clock := partitiontest.NewClock(time.UnixMilli(1_700_000_000_000))
	s, err := partition.OpenMemory(partition.Config{Clock: clock})
	require.NoError(t, err)
	topic, err := s.CreateTopic(t.Context(), "t", partition.TopicConfig{})
	require.NoError(t, err)
	mustAppend(t, s, "t", 0, "x")
	p, err := topic.Partition(0)
	require.NoError(t, err)
	var r partition.FetchResult
	require.NoError(t, p.Fetch(0, 100, &r))
	clock.Advance(90 * time.Minute)
	require.Equal(t, 1, s.Stats().Total.Leases)
	require.Equal(t, 90*time.Minute, s.Stats().Total.OldestLease)
	err = s.Close()
	leases, ok := errors.AsType[*partition.OpenLeasesError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, []partition.OpenLease{{TopicPartition: partition.TopicPartition{Topic: "t"}, Count: 1, Age: 90 * time.Minute}}, leases.Leases)
	r.Lease.Release()
}

// The wall clock jumps ten years ahead and is set right again: most of the records are still there.
func TestForwardJumpOfTheClockKeepsMostOfAStoresRecords(t *testing.T) {
	clock := partitiontest.NewClock(time.UnixMilli(1_700_000_000_000))
	s, err := partition.OpenMemory(partition.Config{Clock: clock, Sync: partition.SyncNever})
	require.NoError(t, err)
	defer s.Close()
	_, err = s.CreateTopic(t.Context(), "t", partition.TopicConfig{RetentionAge: 24 * time.Hour, Extra: map[string]string{"internal.segment.bytes": "2000"}})
	require.NoError(t, err)
	for range 100 {
		mustAppend(t, s, "t", 0, strings.Repeat("x", 100))
	}
	clock.Advance(6 * time.Minute)
	require.Len(t, readValues(t, s, "t", 0), 100)
	now := clock.Now()
	clock.Set(now.AddDate(10, 0, 0))
	clock.Advance(6 * time.Minute)
	clock.Set(now.Add(6 * time.Minute))
	kept := len(readValues(t, s, "t", 0))
	require.Greater(t, kept, 80)
	clock.Advance(time.Hour)
	require.Len(t, readValues(t, s, "t", 0), kept)
}

// A record from the far future in a segment does not keep the segment for ever.
func TestRecordFromTheFutureDoesNotPinItsSegmentInAStore(t *testing.T) {
	clock := partitiontest.NewClock(time.UnixMilli(1_700_000_000_000))
	s, err := partition.OpenMemory(partition.Config{Clock: clock, Sync: partition.SyncNever})
	require.NoError(t, err)
	defer s.Close()
	_, err = s.CreateTopic(t.Context(), "t", partition.TopicConfig{RetentionAge: time.Hour, TimestampAfter: partition.Unlimited,
		Extra: map[string]string{"internal.segment.bytes": "2000"}})
	require.NoError(t, err)
	future := record("from 2100")
	future.Timestamp = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	tp := partition.TopicPartition{Topic: "t"}
	_, err = s.Append(t.Context(), partition.AppendRequest{TopicPartition: tp, Batch: partitiontest.Batch(future)})
	require.NoError(t, err)
	for range 50 {
		mustAppend(t, s, "t", 0, strings.Repeat("x", 100))
	}
	for range 40 { // in steps that are no jump
		clock.Advance(6 * time.Minute)
	}
	start, err := s.ListOffsets(t.Context(), tp, partition.TimestampEarliest)
	require.NoError(t, err)
	require.Positive(t, start)
}

// Readers never see above what the sync mode promises: while a sync is under way, its records are not there.
func TestReadersNeverSeeAboveTheHighWatermark(t *testing.T) {
	disk := partitiontest.NewDisk()
	s, err := partition.Open("store", partition.Config{FS: disk})
	require.NoError(t, err)
	topic, err := s.CreateTopic(t.Context(), "t", partition.TopicConfig{})
	require.NoError(t, err)
	mustAppend(t, s, "t", 0, "a")
	p, err := topic.Partition(0)
	require.NoError(t, err)
	looked := false
	disk.OnOp(func(op partitiontest.Op) {
		if op.Kind != partitiontest.OpSync || looked || !strings.HasSuffix(op.Path, ".log") {
			return
		}
		looked = true
		hw, err := p.HighWatermark()
		if err != nil || hw != 1 {
			t.Errorf("high watermark %d, %v", hw, err)
		}
		var r partition.FetchResult
		if err := p.Fetch(1, 1000, &r); err != nil || len(r.Batches) > 0 {
			t.Errorf("%d bytes, %v", len(r.Batches), err)
		}
		r.Lease.Release()
	})
	mustAppend(t, s, "t", 0, "b")
	disk.OnOp(nil)
	require.True(t, looked)
	require.Equal(t, []string{"a", "b"}, readValues(t, s, "t", 0))
	require.NoError(t, s.Close())
}

// Borrowed bytes stay as they are while retention deletes their segment, and while the topic is deleted.
func TestDeletionNeverDisturbsALease(t *testing.T) {
	s, err := partition.Open(t.TempDir(), partition.Config{Sync: partition.SyncNever})
	require.NoError(t, err)
	topic, err := s.CreateTopic(t.Context(), "t", partition.TopicConfig{Extra: map[string]string{"internal.segment.bytes": "2000"}})
	require.NoError(t, err)
	for i := range 50 {
		mustAppend(t, s, "t", 0, fmt.Sprintf("%0100d", i))
	}
	p, err := topic.Partition(0)
	require.NoError(t, err)
	var r partition.FetchResult
	require.NoError(t, p.Fetch(0, 1000, &r))
	require.NotEmpty(t, r.Batches)
	before := string(r.Batches)
	_, err = p.DeleteRecords(context.Background(), 40)
	require.NoError(t, err)
	require.Equal(t, before, string(r.Batches))
	require.NoError(t, s.DeleteTopic(t.Context(), "t"))
	require.Equal(t, before, string(r.Batches))
	r.Lease.Release()
	require.NoError(t, s.Close())
}

// The names of a new store's directories are durable before Open returns, or it fails: each sync of a directory in turn.
func TestOpenFailsIfADirectoryCannotBeSynced(t *testing.T) {
	for nth := 1; ; nth++ {
		disk := partitiontest.NewDisk()
		rule := disk.Fail(partitiontest.Rule{Op: partitiontest.OpSyncDir, Nth: nth})
		s, err := partition.Open("store", partition.Config{FS: disk})
		if rule.Hits() == 0 {
			rule.Lift()
			require.NoError(t, err)
			require.NoError(t, s.Close())
			require.Greater(t, nth, 3)
			return
		}
		require.Error(t, err, "sync %d", nth)
		s, err = partition.Open("store", partition.Config{FS: disk})
		require.NoError(t, err, "and the next one does it again")
		require.NoError(t, s.Close())
	}
}
