package consumer_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// While handlers of a partition that is given up have their grace, those of the others go on; a handler that does not come
// to its end is cancelled, its record is not committed, and the next owner has it.
func TestRevokedPartitionIsDrainedWithinTheGraceAndOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t, "t", 2)
		g := openGroup(t, store, group.Config{})
		config := consumer.Config{Topics: []string{"t"}}
		first, err := consumer.Join(t.Context(), g, config)
		require.NoError(t, err)
		var during [2]atomic.Int32 // handled by the first member, by partition
		var cancelled atomic.Int32
		var stuck atomic.Bool
		stuck.Store(true)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			ended <- consumer.Work(ctx, first, func(ctx context.Context, r consumer.Record) error {
				if r.Offset == 1 && stuck.Load() {
					<-ctx.Done()
					cancelled.Add(1)
					return nil // what it says does not count
				}
				time.Sleep(100 * time.Millisecond)
				during[r.Partition].Add(1)
				return nil
			}, consumer.WorkConfig{Grace: 3 * time.Second})
		}()
		for p := range int32(2) {
			keyed(t, store, "t", p, 100, "a", "b")
		}
		time.Sleep(1050 * time.Millisecond) // one handler of each partition is in the middle
		before := [2]int32{during[0].Load(), during[1].Load()}
		begin := time.Now()
		second, err := consumer.Join(t.Context(), g, config)
		require.NoError(t, err)
		for len(second.Assignment()) == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		require.InDelta(t, 3, time.Since(begin).Seconds(), 0.2, "the grace")
		moved := second.Assignment()[0].Partition
		stays := 1 - moved
		require.Greater(t, during[stays].Load(), before[stays]+10, "the partition that stays is worked on meanwhile")
		require.LessOrEqual(t, during[moved].Load(), before[moved]+1, "of the other nothing begins")
		require.EqualValues(t, 1, cancelled.Load())
		require.EqualValues(t, 1, first.Stats().Work.Cancelled)
		require.Equal(t, partition.Offset(1), committedOf(t, g, moved))
		r, err := second.Poll(t.Context())
		require.NoError(t, err)
		require.Equal(t, partition.Offset(1), r[0].Offset)
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
		require.Equal(t, partition.Offset(1), committedOf(t, g, stays))
		require.EqualValues(t, 2, first.Stats().Work.Cancelled)
		require.NoError(t, first.Close())
		require.NoError(t, second.Close())
	})
}

// Handlers that do not come back for max.poll.interval, while reading waits for them, cost the member its place; waiting for
// a retry, or for records, does not.
func TestWorkThatStandsStillIsExpelledAndWorkThatWaitsIsNot(t *testing.T) {
	for name, waits := range map[string]bool{"stands still": false, "waits for retries": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newStore(t, "t", 1)
				keyed(t, store, "t", 0, 100, "k")
				g := openGroup(t, store, group.Config{RebalanceTimeout: time.Minute, SessionTimeout: 50 * time.Second})
				c, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t"}})
				require.NoError(t, err)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				err = consumer.Work(ctx, c, func(ctx context.Context, r consumer.Record) error {
					if !waits {
						<-ctx.Done()
					}
					return errors.New("not yet")
				}, consumer.WorkConfig{MaxInFlight: 10, Retry: consumer.Retry{Attempts: 100, Backoff: 5 * time.Minute, MaxBackoff: 5 * time.Minute}})
				if waits {
					require.ErrorIs(t, err, context.DeadlineExceeded)
				} else {
					require.ErrorIs(t, err, consumer.ErrExpelled)
				}
				require.Equal(t, partition.Offset(-1), committedOf(t, g, 0))
				require.NoError(t, c.Close())
			})
		})
	}
}

// The store is closed under the work again and again; what is done in the end is everything, and what was committed at each
// time had been done.
func TestWorkOverRestartsLosesNothing(t *testing.T) {
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(3, 4))
	var mu sync.Mutex
	done := map[partition.Offset]bool{}
	const n = 3000
	for life, over := 0, false; !over; life++ {
		store, err := partition.Open(dir, partition.Config{})
		require.NoError(t, err)
		if life == 0 {
			_, err = store.CreateTopic(t.Context(), "t", partition.TopicConfig{})
			require.NoError(t, err)
			keyed(t, store, "t", 0, n, "a", "b", "c", "d", "")
		}
		g, err := group.Open(store, "g", group.Config{})
		require.NoError(t, err)
		committed := committedOf(t, g, 0)
		mu.Lock()
		for o := range max(committed, 0) {
			require.True(t, done[o], "life %d: %d is committed and not done, of %d", life, o, committed)
		}
		mu.Unlock()
		c, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t"}, Until: consumer.UntilEnd(), CommitInterval: time.Millisecond})
		require.NoError(t, err)
		closeAt := int64(100 + rng.IntN(500))
		var handled atomic.Int64
		closed := make(chan struct{})
		err = consumer.Work(t.Context(), c, func(ctx context.Context, r consumer.Record) error {
			if h := handled.Add(1); h == closeAt && life < 8 {
				go func() {
					defer close(closed)
					_ = store.Close()
				}()
			}
			mu.Lock()
			defer mu.Unlock()
			done[r.Offset] = true
			return nil
		}, consumer.WorkConfig{Workers: 4, MaxInFlight: 64})
		if err == nil && handled.Load() >= closeAt && life < 8 { // at its end, and the store is being closed under its last commit
			<-closed
			_ = c.Close()
			continue
		}
		if err == nil {
			over = true
			require.NoError(t, c.Close())
			require.NoError(t, g.Close())
			require.NoError(t, store.Close())
			continue
		}
		require.ErrorIs(t, err, consumer.ErrClosed)
		<-closed
		_ = c.Close()
	}
	require.Len(t, done, n)
}
