package partition

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/vfs"
)

func batchOf(t testing.TB, values ...string) []byte {
	t.Helper()
	var w batch.Builder
	w.Reset(nil, batch.Options{})
	for _, v := range values {
		w.Append(1_700_000_000_000, nil, []byte(v), nil)
	}
	b, err := w.Finish()
	require.NoError(t, err)
	return b
}

// AppendAll syncs its partitions at the same time: the first sync only ends when another one has begun.
func TestAppendAllSyncsPartitionsAtTheSameTime(t *testing.T) {
	fault := vfs.NewFault(vfs.NewMem())
	s, err := Open("/store", Config{FS: fault})
	require.NoError(t, err)
	defer s.Close()
	_, err = s.CreateTopic(t.Context(), "orders", TopicConfig{Partitions: 16})
	require.NoError(t, err)
	var arrived atomic.Int32
	second := make(chan struct{})
	fault.OnOp(func(op vfs.Op) {
		if op.Kind == vfs.OpSync && strings.HasSuffix(op.Path, ".log") {
			if arrived.Add(1) == 2 {
				close(second)
			}
			<-second
		}
	})
	rs := make([]AppendRequest, 16)
	for i := range rs {
		rs[i] = AppendRequest{TopicPartition: TopicPartition{"orders", int32(i)}, Batch: batchOf(t, "a")}
	}
	out := make([]AppendOutcome, 16)
	s.AppendAll(t.Context(), rs, out)
	fault.OnOp(nil)
	for i := range out {
		require.NoError(t, out[i].Err)
		require.Equal(t, Offset(0), out[i].BaseOffset)
	}
	require.GreaterOrEqual(t, arrived.Load(), int32(16))
}

// Each batch has an outcome of its own, and those of one partition keep their order.
func TestAppendAllHasAnOutcomeForEachBatch(t *testing.T) {
	s, err := Open("/store", Config{FS: vfs.NewMem()})
	require.NoError(t, err)
	defer s.Close()
	_, err = s.CreateTopic(t.Context(), "orders", TopicConfig{Partitions: 2})
	require.NoError(t, err)
	var rs []AppendRequest
	for _, p := range []int32{1, 0, 1, 7, 1} {
		rs = append(rs, AppendRequest{TopicPartition: TopicPartition{"orders", p}, Batch: batchOf(t, "a", "b")})
	}
	out := make([]AppendOutcome, len(rs))
	for round := range Offset(3) {
		s.AppendAll(t.Context(), rs, out)
		require.ErrorIs(t, out[3].Err, ErrUnknownTopicOrPartition)
		for i, want := range map[int]Offset{0: 6 * round, 1: 2 * round, 2: 6*round + 2, 4: 6*round + 4} {
			require.NoError(t, out[i].Err)
			require.Equal(t, want, out[i].BaseOffset)
		}
	}
}

func TestTopicsAreFoundByID(t *testing.T) {
	s, err := OpenMemory(Config{})
	require.NoError(t, err)
	defer s.Close()
	a, err := s.CreateTopic(t.Context(), "a", TopicConfig{Partitions: 3, MaxMessageBytes: 1234, MinInsyncReplicas: 2, CleanupPolicy: CleanupCompact, TimestampType: LogAppendTime})
	require.NoError(t, err)
	want := TopicInfo{Name: "a", ID: a.ID(), Partitions: 3, MaxMessageBytes: 1234, MinInsyncReplicas: 2, LogAppendTime: true, Compacted: true}
	require.Equal(t, want, a.Info())
	found, err := s.TopicByID(a.ID())
	require.NoError(t, err)
	require.Equal(t, want, found.Info())
	byValue, err := s.FindTopic("", a.ID())
	require.NoError(t, err)
	require.Equal(t, want, byValue.Info())
	byValue, err = s.FindTopic("a", TopicID{})
	require.NoError(t, err)
	require.Equal(t, want, byValue.Info())
	require.Equal(t, LeaderEpochUnknown, a.LeaderEpoch(3))

	require.NoError(t, s.DeleteTopic(t.Context(), "a"))
	_, err = s.TopicByID(a.ID())
	require.ErrorIs(t, err, ErrUnknownTopicID)
	_, err = s.FindTopic("", a.ID())
	require.ErrorIs(t, err, ErrUnknownTopicID)
	_, err = s.FindTopic("a", TopicID{})
	require.ErrorIs(t, err, ErrUnknownTopicOrPartition)
}
