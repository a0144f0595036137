package consumer_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
)

// lostTail is a store whose topic t, in SyncNever mode, had records 0 to 19; a reader finished 0 to 14 and its group
// committed that durably; then power was lost, and a tail with it. Behind what is left, other records follow: x0, x1, ...
type lostTail struct {
	*partition.Store
	kept  partition.Offset      // the first that was lost
	epoch partition.LeaderEpoch // of record 14 as it was read
}

// loseTail calls f with stores that have lost a tail below the committed offset.
func loseTail(t *testing.T, others int, f func(t *testing.T, s lostTail)) {
	disk := partitiontest.NewDisk()
	store, err := partition.Open("/store", partition.Config{FS: disk})
	require.NoError(t, err)
	_, err = store.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 1, Sync: partition.SyncNever})
	require.NoError(t, err)
	for i := range 20 {
		write(t, store, "t", 0, i, 1)
	}
	g, err := group.Open(store, "g", group.Config{})
	require.NoError(t, err)
	c, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t"}})
	require.NoError(t, err)
	var epoch partition.LeaderEpoch
	for r, err := range c.Records(t.Context()) {
		require.NoError(t, err)
		if r.Offset == 15 {
			break
		}
		epoch = r.LeaderEpoch
	}
	require.NoError(t, c.Close())

	tried := 0
	for seed := uint64(0); tried < 5 && seed < 500; seed++ {
		after, err := partition.Open("/store", partition.Config{FS: disk.Crash(seed)})
		require.NoError(t, err)
		end, err := after.ListOffsets(t.Context(), at("t", 0), partition.TimestampLatest)
		require.NoError(t, err)
		if end < 15 {
			tried++
			for i := range others {
				writeAt(t, after, "t", 0, timeZero, "x"+texts(i, 1)[0])
			}
			f(t, lostTail{after, end, epoch})
		}
		require.NoError(t, after.Close())
	}
	require.Positive(t, tried, "no crash lost a tail")
	require.NoError(t, store.Close())
}

// tailReaders read a store that has lost a tail, beginning where the one before ended: behind record 14.
var tailReaders = map[string]func(*testing.T, lostTail, consumer.Config) *consumer.Consumer{
	"a member": func(t *testing.T, s lostTail, c consumer.Config) *consumer.Consumer {
		g, err := group.Open(s, "g", group.Config{})
		require.NoError(t, err)
		c.Topics, c.Until = []string{"t"}, consumer.UntilEnd()
		got, err := consumer.Join(t.Context(), g, c)
		require.NoError(t, err)
		return got
	},
	"an assigned consumer": func(t *testing.T, s lostTail, c consumer.Config) *consumer.Consumer {
		got, err := consumer.Assign(t.Context(), s, []consumer.Assignment{{
			TopicPartition: at("t", 0), From: consumer.AtOffset(15).Epoch(s.epoch), Until: consumer.UntilEnd(),
		}}, c)
		require.NoError(t, err)
		return got
	},
	"a member whose offsets the host keeps": func(t *testing.T, s lostTail, c consumer.Config) *consumer.Consumer {
		g, err := group.Open(s, "of the host", group.Config{})
		require.NoError(t, err)
		c.Topics, c.Until = []string{"t"}, consumer.UntilEnd()
		c.Start = func(context.Context, group.Membership, []partition.TopicPartition) (map[partition.TopicPartition]consumer.Position, error) {
			return map[partition.TopicPartition]consumer.Position{at("t", 0): consumer.AtOffset(15).Epoch(s.epoch)}, nil
		}
		got, err := consumer.Join(t.Context(), g, c)
		require.NoError(t, err)
		return got
	},
}

// An offset behind a tail that was lost is told, and nothing that has taken the place of what was lost is skipped,
// whether it is shorter or longer than that.
func TestOffsetBeyondALostTailIsToldAndReadingGoesOnAtTheDivergence(t *testing.T) {
	for _, others := range []int{0, 3, 40} {
		loseTail(t, others, func(t *testing.T, s lostTail) {
			for name, made := range tailReaders {
				var reset error
				c := made(t, s, consumer.Config{Events: consumer.Events{
					Reset: func(_ partition.TopicPartition, from, to partition.Offset, cause error) {
						require.EqualValues(t, 15, from)
						require.Equal(t, s.kept, to)
						reset = cause
					},
				}})
				var got []string
				told := 0
				for r, err := range c.Records(t.Context()) {
					if err == nil {
						got = append(got, string(r.Value))
						continue
					}
					told++
					truncated, ok := errors.AsType[*consumer.TruncationError](err)
					require.True(t, ok, "%s: %v", name, err)
					require.ErrorIs(t, err, consumer.ErrTruncated)
					require.Equal(t, s.kept, truncated.DivergedAt, name)
					require.EqualValues(t, 15, truncated.Position)
					require.Equal(t, at("t", 0), truncated.TopicPartition)
					require.Empty(t, got, "it comes first")
				}
				require.Equal(t, 1, told, name)
				require.ErrorIs(t, reset, consumer.ErrTruncated)
				var want []string
				for i := range others {
					want = append(want, "x"+texts(i, 1)[0])
				}
				require.Equal(t, want, got, name)
				require.EqualValues(t, 1, c.Stats().Truncations)
				require.NoError(t, c.Close())
			}
			g, err := group.Open(s, "g", group.Config{})
			require.NoError(t, err)
			require.Equal(t, s.kept+partition.Offset(others), committed(t, g)[at("t", 0)], "what was lost is not told again")
		})
	}
}

// With ResetNone the iteration ends, every time, until a Seek.
func TestLostTailWithResetNoneStopsUntilASeek(t *testing.T) {
	loseTail(t, 40, func(t *testing.T, s lostTail) {
		for name, made := range tailReaders {
			c := made(t, s, consumer.Config{Reset: consumer.ResetNone})
			for range 2 {
				_, err := c.Poll(t.Context())
				require.ErrorIs(t, err, consumer.ErrTruncated, name)
				_, err = c.PollBorrowed(t.Context())
				require.ErrorIs(t, err, consumer.ErrTruncated, name)
			}
			require.NoError(t, c.Seek(at("t", 0), consumer.AtOffset(s.kept)))
			got := all(t, c)
			require.Len(t, got, 40, name)
			require.Equal(t, "x0", got[0])
			require.NoError(t, c.Close())
		}
	})
}

// An offset whose record is still there is no lost tail, also when the leader epoch has risen since.
func TestOffsetBelowALostTailIsNoTruncation(t *testing.T) {
	loseTail(t, 3, func(t *testing.T, s lostTail) {
		c, err := consumer.Assign(t.Context(), s, []consumer.Assignment{{
			TopicPartition: at("t", 0), From: consumer.AtOffset(s.kept).Epoch(s.epoch), Until: consumer.UntilEnd(),
		}}, consumer.Config{})
		require.NoError(t, err)
		require.Equal(t, []string{"x0", "x1", "x2"}, all(t, c))
		require.NoError(t, c.Seek(at("t", 0), consumer.AtOffset(15).Epoch(s.epoch)))
		_, err = c.Poll(t.Context())
		require.ErrorIs(t, err, consumer.ErrTruncated, "a Seek is checked too")
		require.NoError(t, c.Close())
	})
}

// When a partition gets another leader, the position is checked against that one's log (KIP-320).
func TestNewLeaderIsAskedForWhatWasRead(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 10)
	led := &otherLeader{Store: store}
	c, err := consumer.Assign(t.Context(), led, []consumer.Assignment{{TopicPartition: at("t", 0)}}, consumer.Config{MaxPollRecords: 4})
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, texts(0, 4), poll(t, c))
	led.epoch = 1
	require.Equal(t, texts(4, 4), poll(t, c), "was fetched before")
	led.end = 6
	for range 2 {
		if _, err = c.Poll(t.Context()); err != nil {
			break
		}
	}
	truncated, ok := errors.AsType[*consumer.TruncationError](err)
	require.True(t, ok, "%v", err)
	require.EqualValues(t, 6, truncated.DivergedAt)
}

// otherLeader is a store that claims to have a later leader epoch, and a log that diverges at end.
type otherLeader struct {
	*partition.Store
	epoch partition.LeaderEpoch
	end   partition.Offset
}

func (s *otherLeader) Metadata(ctx context.Context, topics []string) ([]partition.Metadata, error) {
	m, err := s.Store.Metadata(ctx, topics)
	for i := range m {
		for j := range m[i].Partitions {
			m[i].Partitions[j].LeaderEpoch = s.epoch
		}
	}
	return m, err
}

func (s *otherLeader) Fetch(ctx context.Context, r partition.FetchRequest) ([]partition.FetchResult, error) {
	if at := r.Partitions[0]; at.LeaderEpoch < s.epoch || at.Offset >= 10 && s.epoch == 1 {
		if at.LeaderEpoch == s.epoch {
			s.epoch++
		}
		return []partition.FetchResult{{TopicPartition: at.TopicPartition, Err: partition.ErrFencedLeaderEpoch}}, nil
	}
	for i := range r.Partitions {
		r.Partitions[i].LeaderEpoch = partition.LeaderEpochUnknown
	}
	return s.Store.Fetch(ctx, r)
}

func (s *otherLeader) EpochEnd(ctx context.Context, tp partition.TopicPartition, epoch partition.LeaderEpoch) (partition.LeaderEpoch, partition.Offset, error) {
	if s.end > 0 {
		return epoch, s.end, nil
	}
	return s.Store.EpochEnd(ctx, tp, epoch)
}
