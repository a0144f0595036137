package partition_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/stretchr/testify/require"
)

func record(value string) partitiontest.Record {
	return partitiontest.Record{Timestamp: 1_700_000_000_000, Key: []byte("k"), Value: []byte(value)}
}

func mustAppend(t testing.TB, s *partition.Store, topic string, p int32, value string) partition.Offset {
	r, err := s.Append(context.Background(), partition.AppendRequest{
		TopicPartition: partition.TopicPartition{Topic: topic, Partition: p}, Batch: partitiontest.Batch(record(value))})
	require.NoError(t, err)
	return r.BaseOffset
}

func readValues(t testing.TB, s *partition.Store, topic string, p int32) (out []string) {
	all, _, err := partitiontest.ReadAll(context.Background(), s, partition.TopicPartition{Topic: topic, Partition: p})
	require.NoError(t, err)
	for _, r := range all {
		out = append(out, string(r.Value))
	}
	return out
}

func TestANewStoreHasTheClusterIDThatItIsGiven(t *testing.T) {
	const id = "oGi8eUpDz4triJ7e59XrjQ"
	dir := t.TempDir()
	s, err := partition.Open(dir, partition.Config{ClusterID: id})
	require.NoError(t, err)
	require.Equal(t, id, s.ClusterID())
	require.NoError(t, s.Close())
	s, err = partition.Open(dir, partition.Config{ClusterID: "AAAAAAAAAAAAAAAAAAAAAQ"})
	require.NoError(t, err)
	require.Equal(t, id, s.ClusterID(), "one that is there keeps its own")
	require.NoError(t, s.Close())
	_, err = partition.Open(t.TempDir(), partition.Config{ClusterID: "short"})
	_, is := errors.AsType[*partition.ConfigError](err)
	require.True(t, is)
}

func TestStoreOnRealFilesIsReopenedAsItWas(t *testing.T) {
	t.Chdir(t.TempDir())
	s, err := partition.Open("sub/store", partition.Config{})
	require.NoError(t, err)
	require.True(t, filepath.IsAbs(s.Dir()), "a relative path is resolved at Open")
	topic, err := s.CreateTopic(t.Context(), "orders", partition.TopicConfig{Partitions: 2, MaxMessageBytes: 5000})
	require.NoError(t, err)
	for _, v := range []string{"a", "b", "c"} {
		mustAppend(t, s, "orders", 1, v)
	}
	cluster := s.ClusterID()
	id, err := s.InitProducerID(t.Context(), "", 0, partition.NoProducerID)
	require.NoError(t, err)
	t.Chdir("/")
	require.NoError(t, s.Close())

	for range 2 {
		s2, err := partition.Open(s.Dir(), partition.Config{})
		require.NoError(t, err)
		require.Nil(t, s2.RecoveryReport())
		require.Equal(t, cluster, s2.ClusterID())
		require.Equal(t, []string{"a", "b", "c"}, readValues(t, s2, "orders", 1))
		d, err := s2.DescribeTopic(t.Context(), "orders")
		require.NoError(t, err)
		require.Equal(t, topic.ID(), d.ID)
		require.Equal(t, map[string]string{"max.message.bytes": "5000"}, d.Overrides)
		next, err := s2.InitProducerID(t.Context(), "", 0, partition.NoProducerID)
		require.NoError(t, err)
		require.Greater(t, next.ID, id.ID)
		id = next
		require.NoError(t, s2.Close())
	}
	// Everything is private to the user.
	require.NoError(t, filepath.WalkDir(s.Dir(), func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		require.Equal(t, want, info.Mode().Perm(), path)
		return nil
	}))
	// What Apache Kafka finds in its place.
	for name, want := range map[string]string{
		"meta.properties":                  "cluster.id=" + cluster,
		"replication-offset-checkpoint":    "orders 1 3",
		"recovery-point-offset-checkpoint": "orders 1 3",
		".kafka_cleanshutdown":             `"version":0`,
		"orders-1/partition.metadata":      "topic_id: " + topic.ID().String(),
	} {
		b, err := os.ReadFile(filepath.Join(s.Dir(), "data", name))
		require.NoError(t, err)
		require.Contains(t, string(b), want, name)
	}
}

func TestSecondOpenerIsToldWhoHoldsTheStore(t *testing.T) {
	for name, c := range map[string]partition.Config{"files": {}, "memory": {FS: partitiontest.NewDisk()}} {
		dir := filepath.Join(t.TempDir(), name)
		s, err := partition.Open(dir, c)
		require.NoError(t, err)
		_, err = partition.Open(dir, c)
		require.ErrorIs(t, err, partition.ErrStoreInUse)
		e, ok := errors.AsType[*partition.StoreInUseError](err)
		require.True(t, ok)
		require.Equal(t, os.Getpid(), e.PID)
		host, _ := os.Hostname()
		require.Equal(t, host, e.Host)
		require.WithinDuration(t, time.Now(), e.Since, time.Hour)
		require.NoError(t, s.Close())
		s, err = partition.Open(dir, c)
		require.NoError(t, err)
		require.NoError(t, s.Close())
	}
}

// Each of these is refused with a typed error, and nothing in the directory is changed.
func TestDirectoryThatIsNoStoreIsRefusedAndLeftAlone(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  error
	}{
		"somebody's files":   {map[string]string{"thesis.txt": "42"}, partition.ErrNotStore},
		"a Kafka log dir":    {map[string]string{"meta.properties": "version=1\n", "t-0/00000000000000000000.log": ""}, partition.ErrNotStore},
		"somebody's lock":    {map[string]string{"lock": "mysql 8\n"}, partition.ErrNotStore},
		"a newer format":     {map[string]string{"lock": "partlog store 2\n", "journal/x": ""}, partition.ErrNewerFormat},
		"a lost catalogue":   {map[string]string{"lock": "partlog store 1\n", "data/t-0/00000000000000000000.log": ""}, partition.ErrNotStore},
		"a nonsense version": {map[string]string{"lock": "partlog store x\n"}, partition.ErrNotStore},
	} {
		dir := t.TempDir()
		for f, content := range c.files {
			require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, f)), 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(dir, f), []byte(content), 0o600))
		}
		_, err := partition.Open(dir, partition.Config{})
		require.ErrorIs(t, err, c.want, name)
		require.ErrorContains(t, err, dir, name)
		_, err = partition.OpenReadOnly(dir, partition.Config{})
		require.Error(t, err, name)
		for f, content := range c.files {
			if f == "lock" && name == "a lost catalogue" {
				continue // the owner record has been written into it
			}
			got, err := os.ReadFile(filepath.Join(dir, f))
			require.NoError(t, err)
			require.Equal(t, content, string(got), name)
		}
	}
	_, err := partition.OpenReadOnly(filepath.Join(t.TempDir(), "none"), partition.Config{})
	require.ErrorIs(t, err, partition.ErrNotStore)
	_, err = partition.Open("", partition.Config{})
	require.ErrorIs(t, err, partition.ErrInvalidConfig)
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = partition.Open(file, partition.Config{})
	require.Error(t, err)
}

func TestFullDiskAtOpenIsNamed(t *testing.T) {
	d := partitiontest.NewDisk()
	d.Fail(partitiontest.Rule{Op: partitiontest.OpWrite, Err: syscall.ENOSPC, Forever: true})
	_, err := partition.Open("store", partition.Config{FS: d})
	require.ErrorIs(t, err, syscall.ENOSPC)
	d.Clear()
	s, err := partition.Open("store", partition.Config{FS: d})
	require.NoError(t, err, "and it works when there is space")
	require.NoError(t, s.Close())
}

func TestReadOnlyStoreReadsBesideALiveOneAndChangesNothing(t *testing.T) {
	d := partitiontest.NewDisk()
	still := partitiontest.NewClock(time.UnixMilli(1_700_000_000_000)) // the live one does nothing by itself
	live, err := partition.Open("store", partition.Config{FS: d, Clock: still})
	require.NoError(t, err)
	defer live.Close()
	_, err = live.CreateTopic(t.Context(), "t", partition.TopicConfig{})
	require.NoError(t, err)
	mustAppend(t, live, "t", 0, "a")
	before := d.Hash()
	s, err := partition.OpenReadOnly("store", partition.Config{FS: d})
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, readValues(t, s, "t", 0))
	ctx := t.Context()
	tp := partition.TopicPartition{Topic: "t"}
	_, err = s.Append(ctx, partition.AppendRequest{TopicPartition: tp, Batch: partitiontest.Batch(record("x"))})
	require.ErrorIs(t, err, partition.ErrReadOnly)
	_, err = s.CreateTopic(ctx, "u", partition.TopicConfig{})
	require.ErrorIs(t, err, partition.ErrReadOnly)
	require.ErrorIs(t, s.DeleteTopic(ctx, "t"), partition.ErrReadOnly)
	require.ErrorIs(t, s.AlterTopicConfig(ctx, "t", map[string]string{"max.message.bytes": "9"}), partition.ErrReadOnly)
	require.ErrorIs(t, s.CreatePartitions(ctx, "t", 4), partition.ErrReadOnly)
	_, err = s.DeleteRecords(ctx, tp, 1)
	require.ErrorIs(t, err, partition.ErrReadOnly)
	_, err = s.InitProducerID(ctx, "", 0, partition.NoProducerID)
	require.ErrorIs(t, err, partition.ErrReadOnly)
	_, err = s.Import(ctx, "x", partition.ImportOptions{})
	require.ErrorIs(t, err, partition.ErrReadOnly)
	r, err := s.Verify(ctx)
	require.NoError(t, err)
	require.False(t, r.Damaged())
	require.NoError(t, s.Close())
	require.Equal(t, before, d.Hash())
	mustAppend(t, live, "t", 0, "b")
}

func TestUncleanOpenRaisesTheLeaderEpoch(t *testing.T) {
	d := partitiontest.NewDisk()
	s, err := partition.Open("store", partition.Config{FS: d})
	require.NoError(t, err)
	_, err = s.CreateTopic(t.Context(), "t", partition.TopicConfig{})
	require.NoError(t, err)
	mustAppend(t, s, "t", 0, "a")
	epoch := func(s *partition.Store) partition.LeaderEpoch {
		m, err := s.Metadata(t.Context(), []string{"t"})
		require.NoError(t, err)
		return m[0].Partitions[0].LeaderEpoch
	}
	require.Zero(t, epoch(s))
	killed := d.Kill()
	require.NoError(t, s.Close())

	s, err = partition.Open("store", partition.Config{FS: killed})
	require.NoError(t, err)
	require.NotNil(t, s.RecoveryReport())
	require.Len(t, s.RecoveryReport().Partitions, 1)
	require.Equal(t, partition.LeaderEpoch(1), epoch(s))
	rs, err := s.Fetch(t.Context(), partition.FetchRequest{Partitions: []partition.FetchPosition{{TopicPartition: partition.TopicPartition{Topic: "t"}, LeaderEpoch: 0}}})
	require.NoError(t, err)
	require.ErrorIs(t, rs[0].Err, partition.ErrFencedLeaderEpoch)
	mustAppend(t, s, "t", 0, "b")
	e, end, err := s.EpochEnd(t.Context(), partition.TopicPartition{Topic: "t"}, 0)
	require.NoError(t, err)
	require.Equal(t, partition.LeaderEpoch(0), e)
	require.Equal(t, partition.Offset(1), end, "a reader of epoch 0 learns where it ended")
	require.NoError(t, s.Close())

	s, err = partition.Open("store", partition.Config{FS: killed})
	require.NoError(t, err)
	require.Equal(t, partition.LeaderEpoch(1), epoch(s), "a clean open raises nothing")
	require.NoError(t, s.Close())
}

func TestMarkerOfSomebodyElseMakesTheOpenUnclean(t *testing.T) {
	dir := t.TempDir()
	s, err := partition.Open(dir, partition.Config{})
	require.NoError(t, err)
	_, err = s.CreateTopic(t.Context(), "t", partition.TopicConfig{})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "data", ".kafka_cleanshutdown"), []byte(`{"version":0,"brokerEpoch":77}`), 0o600))
	s, err = partition.Open(dir, partition.Config{})
	require.NoError(t, err)
	require.NotNil(t, s.RecoveryReport())
	require.NoError(t, s.Close())
}

func TestForeignDirectoryInDataIsReportedAndLeftAlone(t *testing.T) {
	dir := t.TempDir()
	s, err := partition.Open(dir, partition.Config{})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "data", "stray-0"), 0o700))
	var warned []string
	s, err = partition.Open(dir, partition.Config{Events: partition.Events{Warning: func(w partition.Warning) { warned = append(warned, w.Path) }}})
	require.NoError(t, err)
	require.Contains(t, strings.Join(warned, " "), "stray-0")
	_, err = s.CreateTopic(t.Context(), "stray", partition.TopicConfig{})
	require.ErrorIs(t, err, partition.ErrInvalidTopic)
	require.ErrorContains(t, err, "stray-0")
	require.NoError(t, s.Close())
	require.DirExists(t, filepath.Join(dir, "data", "stray-0"))
}

func TestDeletedTopicsFilesGo(t *testing.T) {
	dir := t.TempDir()
	s, err := partition.Open(dir, partition.Config{})
	require.NoError(t, err)
	for range 3 {
		_, err = s.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 3})
		require.NoError(t, err)
		require.Zero(t, mustAppend(t, s, "t", 2, "a"))
		require.NoError(t, s.DeleteTopic(t.Context(), "t"))
	}
	require.NoError(t, s.Close())
	entries, err := os.ReadDir(filepath.Join(dir, "data"))
	require.NoError(t, err)
	for _, e := range entries {
		require.False(t, e.IsDir(), e.Name())
	}
}

func TestMissingFirstSegmentIsReportedAfterACleanClose(t *testing.T) {
	dir := t.TempDir()
	s, err := partition.Open(dir, partition.Config{})
	require.NoError(t, err)
	_, err = s.CreateTopic(t.Context(), "t", partition.TopicConfig{Extra: map[string]string{"internal.segment.bytes": "1024"}})
	require.NoError(t, err)
	for range 30 {
		mustAppend(t, s, "t", 0, strings.Repeat("x", 100))
	}
	require.NoError(t, s.Close())
	require.NoError(t, os.Remove(filepath.Join(dir, "data", "t-0", "00000000000000000000.log")))
	var said []partition.PartitionRecovery
	s, err = partition.Open(dir, partition.Config{Events: partition.Events{Recovered: func(_ partition.TopicPartition, r partition.PartitionRecovery) { said = append(said, r) }}})
	require.NoError(t, err)
	require.Less(t, len(readValues(t, s, "t", 0)), 30)
	require.Len(t, said, 1)
	require.Equal(t, "missing-segment", said[0].Findings[0].Kind)
	require.NotNil(t, s.RecoveryReport())
	require.NoError(t, s.Close())
}

func TestFilesOfTwoPartitionsSwappedAfterACleanCloseAreNoticed(t *testing.T) {
	dir := t.TempDir()
	s, err := partition.Open(dir, partition.Config{})
	require.NoError(t, err)
	_, err = s.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 2})
	require.NoError(t, err)
	for _, v := range []string{"a", "b"} {
		mustAppend(t, s, "t", 0, v+"0")
		mustAppend(t, s, "t", 1, v+"1")
	}
	require.NoError(t, s.Close())
	name := func(p string) string { return filepath.Join(dir, "data", p, "00000000000000000000.log") }
	require.NoError(t, os.Rename(name("t-0"), name("t-0")+"x"))
	require.NoError(t, os.Rename(name("t-1"), name("t-0")))
	require.NoError(t, os.Rename(name("t-0")+"x", name("t-1")))
	s, err = partition.Open(dir, partition.Config{})
	require.NoError(t, err)
	for p := range int32(2) {
		_, _, err = partitiontest.ReadAll(t.Context(), s, partition.TopicPartition{Topic: "t", Partition: p})
		e, ok := errors.AsType[*log.CorruptionError](err)
		require.True(t, ok, "%v", err)
		require.ErrorContains(t, e, "another one")
	}
	require.Error(t, s.Close(), "it was not closed cleanly")
}
