package partition

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

// A raised leader epoch is in metadata, fences those who go by the old one, is stamped into what is appended, and is still
// there after the store has been closed and opened again.
func TestRaisedLeaderEpochsFenceAndOutliveTheStore(t *testing.T) {
	fs := vfs.NewMem()
	s, err := Open("/store", Config{FS: fs})
	require.NoError(t, err)
	_, err = s.CreateTopic(t.Context(), "orders", TopicConfig{Partitions: 3})
	require.NoError(t, err)
	tp := TopicPartition{"orders", 1}

	before := epochs(t, s)
	require.NoError(t, s.RaiseLeaderEpochs(t.Context(), tp, TopicPartition{"orders", 2}))
	require.NoError(t, s.RaiseLeaderEpochs(t.Context(), tp))
	want := []LeaderEpoch{before[0], before[1] + 2, before[2] + 1}
	require.Equal(t, want, epochs(t, s))

	for epoch, wantErr := range map[LeaderEpoch]error{want[1] - 1: ErrFencedLeaderEpoch, want[1] + 1: ErrUnknownLeaderEpoch, want[1]: nil, -1: nil} {
		rs, err := s.Fetch(t.Context(), FetchRequest{Partitions: []FetchPosition{{TopicPartition: tp, LeaderEpoch: epoch}}})
		require.NoError(t, err)
		require.ErrorIs(t, rs[0].Err, wantErr)
	}
	require.NoError(t, s.Close())

	s, err = Open("/store", Config{FS: fs})
	require.NoError(t, err)
	defer s.Close()
	require.Equal(t, want, epochs(t, s))
	require.ErrorIs(t, s.RaiseLeaderEpochs(t.Context(), TopicPartition{"orders", 3}), ErrUnknownTopicOrPartition)

	require.NoError(t, s.DeleteTopic(t.Context(), "orders"))
	require.Empty(t, s.Settings(raisedPrefix))
}

// A fetch that waits under the old epoch is told at once.
func TestRaisingALeaderEpochWakesFetches(t *testing.T) {
	s, err := OpenMemory(Config{})
	require.NoError(t, err)
	defer s.Close()
	topic, err := s.CreateTopic(t.Context(), "orders", TopicConfig{})
	require.NoError(t, err)
	epoch := topic.LeaderEpoch(0)
	tp := TopicPartition{"orders", 0}
	got := make(chan error, 1)
	go func() {
		rs, err := s.Fetch(context.Background(), FetchRequest{MaxWait: time.Hour, Partitions: []FetchPosition{{TopicPartition: tp, LeaderEpoch: epoch}}})
		if err == nil {
			err = rs[0].Err
		}
		got <- err
	}()
	for s.Stats().ParkedFetches == 0 {
		select {
		case err := <-got:
			require.Fail(t, "the fetch did not wait", "%v", err)
		default:
		}
	}
	require.NoError(t, s.RaiseLeaderEpochs(t.Context(), tp))
	require.ErrorIs(t, <-got, ErrFencedLeaderEpoch)
}

func epochs(t *testing.T, s *Store) (es []LeaderEpoch) {
	t.Helper()
	ms, err := s.Metadata(t.Context(), []string{"orders"})
	require.NoError(t, err)
	for _, p := range ms[0].Partitions {
		es = append(es, p.LeaderEpoch)
	}
	topic, err := s.Topic("orders")
	require.NoError(t, err)
	for i := range es {
		require.Equal(t, es[i], topic.LeaderEpoch(int32(i)))
	}
	return es
}

// A backup has the leader epochs of its store, so that nobody who has seen them is ahead of it.
func TestBackupsKeepRaisedLeaderEpochs(t *testing.T) {
	fs := vfs.NewMem()
	s, err := Open("/store", Config{FS: fs})
	require.NoError(t, err)
	defer s.Close()
	_, err = s.CreateTopic(t.Context(), "orders", TopicConfig{Partitions: 3})
	require.NoError(t, err)
	require.NoError(t, s.RaiseLeaderEpochs(t.Context(), TopicPartition{"orders", 1}))
	want := epochs(t, s)
	require.NoError(t, s.Snapshot(t.Context(), "/backup"))
	b, err := Open("/backup", Config{FS: fs})
	require.NoError(t, err)
	defer b.Close()
	require.Equal(t, want, epochs(t, b))
}
