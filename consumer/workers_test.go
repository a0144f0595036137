package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

// keyed appends one batch of n records to a partition; keys go round, and "" is null. The values are the offsets.
func keyed(t testing.TB, store *partition.Store, topic string, number int32, n int, keys ...string) {
	t.Helper()
	var b batch.Builder
	b.Reset(nil, batch.Options{})
	end, err := store.ListOffsets(context.Background(), at(topic, number), partition.TimestampLatest)
	require.NoError(t, err)
	for i := range n {
		var key []byte
		if k := keys[i%len(keys)]; k != "" {
			key = []byte(k)
		}
		b.Append(900_000_000_000+int64(i), key, []byte(strconv.Itoa(int(end)+i)), nil)
	}
	built, err := b.Finish()
	require.NoError(t, err)
	_, err = store.Append(context.Background(), partition.AppendRequest{TopicPartition: at(topic, number), Batch: built})
	require.NoError(t, err)
}

// whole makes a consumer of everything that is in the partitions of a topic.
func whole(t testing.TB, store *partition.Store, topic string, partitions int32, c consumer.Config) *consumer.Consumer {
	t.Helper()
	var all []consumer.Assignment
	for i := range partitions {
		all = append(all, consumer.Assignment{TopicPartition: at(topic, i), Until: consumer.UntilEnd()})
	}
	got, err := consumer.Assign(context.Background(), store, all, c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, got.Close()) })
	return got
}

// forwards keeps what is forwarded to it, or answers with an error.
type forwards struct {
	mu      sync.Mutex
	err     error
	records []consumer.Record
}

func (f *forwards) Forward(_ context.Context, topic string, key, value []byte, headers []partition.Header) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	f.records = append(f.records, consumer.Record{Topic: topic, Key: key, Value: value, Headers: headers})
	return nil
}

func (f *forwards) all() []consumer.Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.records)
}

// Handlers take random times; no two of one key in one partition overlap, and each key's offsets come in order.
func TestWorkKeepsTheOrderOfEachKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const each = 500
		store := newStore(t, "t", 3)
		keys := []string{"a", "b", "c", "d", "e", "f", "g", ""}
		for p := range int32(3) {
			keyed(t, store, "t", p, each, keys...)
		}
		c := whole(t, store, "t", 3, consumer.Config{})
		type lane struct {
			partition int32
			key       string
		}
		var mu sync.Mutex
		last, busy := map[lane]partition.Offset{}, map[lane]bool{}
		running, most, total := 0, 0, 0
		err := consumer.Work(t.Context(), c, func(ctx context.Context, r consumer.Record) error {
			l := lane{r.Partition, string(r.Key)}
			mu.Lock()
			if r.Key != nil {
				if before, ok := last[l]; ok && before >= r.Offset {
					t.Errorf("%v: offset %d after %d", l, r.Offset, before)
				}
				if busy[l] {
					t.Errorf("%v: two at the same time", l)
				}
				last[l], busy[l] = r.Offset, true
			}
			running++
			total++
			most = max(most, running)
			mu.Unlock()
			time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
			mu.Lock()
			busy[l] = false
			running--
			mu.Unlock()
			return nil
		}, consumer.WorkConfig{Workers: 8})
		require.NoError(t, err)
		require.Equal(t, 3*each, total)
		require.Equal(t, 8, most, "all workers work at the same time")
		for p := range int32(3) {
			position, _ := c.Position(at("t", p))
			require.Equal(t, partition.Offset(each), position)
		}
		require.EqualValues(t, 3*each, c.Stats().Work.Processed)
		require.Zero(t, c.Stats().Work.InFlight)
	})
}

func TestUnorderedWorkHandlesOneKeyInParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t, "t", 1)
		keyed(t, store, "t", 0, 64, "k")
		c := whole(t, store, "t", 1, consumer.Config{})
		begin := time.Now()
		require.NoError(t, consumer.Work(t.Context(), c, func(context.Context, consumer.Record) error {
			time.Sleep(time.Second)
			return nil
		}, consumer.WorkConfig{Workers: 64, Unordered: true}))
		require.Less(t, time.Since(begin), 10*time.Second)
	})
}

// What is in flight stays within the bounds, and reading goes on when there is room again.
func TestWorkInFlightIsBounded(t *testing.T) {
	for _, config := range []consumer.WorkConfig{
		{Workers: 4, MaxInFlight: 10}, {Workers: 4, MaxInFlight: 1}, {Workers: 3, MaxInFlightBytes: 40}, {Workers: 1, MaxInFlightBytes: 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			store := newStore(t, "t", 1)
			keyed(t, store, "t", 0, 300, "aa", "bb", "cc", "")
			c := whole(t, store, "t", 1, consumer.Config{})
			n := 0
			var mu sync.Mutex
			require.NoError(t, consumer.Work(t.Context(), c, func(context.Context, consumer.Record) error {
				time.Sleep(time.Millisecond)
				s := c.Stats().Work
				mu.Lock()
				defer mu.Unlock()
				n++
				if config.MaxInFlight > 0 && s.InFlight > config.MaxInFlight {
					t.Errorf("%d in flight", s.InFlight)
				}
				if config.MaxInFlightBytes > 0 && s.InFlightBytes > config.MaxInFlightBytes+5 {
					t.Errorf("%d bytes in flight", s.InFlightBytes)
				}
				return nil
			}, config))
			require.Equal(t, 300, n)
		})
	}
}

// Only the prefix that is done is committed: while one record is stuck, nothing behind it is.
func TestOnlyTheFinishedPrefixIsCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t, "t", 1)
		keyed(t, store, "t", 0, 100, "a", "b", "c", "d")
		g := openGroup(t, store, group.Config{})
		c, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t"}})
		require.NoError(t, err)
		stuck := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			ended <- consumer.Work(ctx, c, func(_ context.Context, r consumer.Record) error {
				if r.Offset == 41 {
					<-stuck
				}
				return nil
			}, consumer.WorkConfig{})
		}()
		time.Sleep(5 * time.Second) // commits are made each second
		require.Equal(t, partition.Offset(41), committedOf(t, g, 0))
		close(stuck)
		time.Sleep(5 * time.Second)
		require.Equal(t, partition.Offset(100), committedOf(t, g, 0))
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
		require.NoError(t, c.Close())
	})
}

func committedOf(t testing.TB, g *group.ConsumerGroup, p int32) partition.Offset {
	t.Helper()
	offsets, err := g.Committed(context.Background(), at("t", p))
	require.NoError(t, err)
	o, ok := offsets[at("t", p)]
	if !ok {
		return -1
	}
	return o.Offset
}

// Handlers that run when the context ends have the grace to finish, no other begins, and what they finish is committed.
func TestWorkThatIsCancelledFinishesWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t, "t", 1)
		keyed(t, store, "t", 0, 100, "")
		g := openGroup(t, store, group.Config{})
		c, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t"}, CommitInterval: time.Hour})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var begun, finished atomic.Int32
		ended := make(chan error)
		go func() {
			ended <- consumer.Work(ctx, c, func(ctx context.Context, r consumer.Record) error {
				begun.Add(1)
				if r.Offset == 3 {
					<-ctx.Done() // does not come to an end by itself
					return ctx.Err()
				}
				time.Sleep(3 * time.Second)
				finished.Add(1)
				return nil
			}, consumer.WorkConfig{Workers: 5, Grace: 5 * time.Second})
		}()
		time.Sleep(time.Second)
		require.EqualValues(t, 5, begun.Load())
		cancel()
		begin := time.Now()
		require.ErrorIs(t, <-ended, context.Canceled)
		require.Equal(t, 5*time.Second, time.Since(begin))
		require.EqualValues(t, 5, begun.Load())
		require.EqualValues(t, 4, finished.Load())
		require.EqualValues(t, 1, c.Stats().Work.Cancelled)
		require.Equal(t, partition.Offset(3), committedOf(t, g, 0))
		r, err := c.Poll(t.Context())
		require.NoError(t, err)
		require.Equal(t, partition.Offset(3), r[0].Offset, "another loop goes on behind what is finished")
		require.NoError(t, c.Close())
	})
}

func TestCloseWaitsForHandlersThatRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t, "t", 1)
		keyed(t, store, "t", 0, 10, "k")
		g := openGroup(t, store, group.Config{})
		c, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t"}})
		require.NoError(t, err)
		ended := make(chan error)
		go func() {
			ended <- consumer.Work(t.Context(), c, func(context.Context, consumer.Record) error {
				time.Sleep(700 * time.Millisecond)
				return nil
			}, consumer.WorkConfig{})
		}()
		time.Sleep(time.Second)
		require.NoError(t, c.Close())
		require.ErrorIs(t, <-ended, consumer.ErrClosed)
		require.Equal(t, partition.Offset(2), committedOf(t, g, 0))
	})
}

func TestCloseInAHandlerOnlyBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t, "t", 1)
		keyed(t, store, "t", 0, 10, "k")
		g := openGroup(t, store, group.Config{})
		c, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t"}})
		require.NoError(t, err)
		begin := time.Now()
		require.ErrorIs(t, consumer.Work(t.Context(), c, func(context.Context, consumer.Record) error {
			return c.Close()
		}, consumer.WorkConfig{}), consumer.ErrClosed)
		require.NoError(t, c.Close())
		require.Zero(t, time.Since(begin))
		require.Positive(t, committedOf(t, g, 0))
	})
}

func TestPanicsAreErrorsWithTheirStack(t *testing.T) {
	store := newStore(t, "t", 1)
	keyed(t, store, "t", 0, 10, "k")
	c := whole(t, store, "t", 1, consumer.Config{})
	err := consumer.Work(t.Context(), c, func(_ context.Context, r consumer.Record) error {
		if r.Offset == 4 {
			panic("no way")
		}
		return nil
	}, consumer.WorkConfig{})
	failed, ok := errors.AsType[*consumer.HandlerError](err)
	require.True(t, ok, err)
	require.Equal(t, partition.Offset(4), failed.Offset)
	require.Equal(t, 1, failed.Attempts)
	p, ok := errors.AsType[*consumer.PanicError](err)
	require.True(t, ok)
	require.Equal(t, "no way", p.Value)
	require.Contains(t, string(p.Stack), "TestPanicsAreErrorsWithTheirStack")
	require.EqualValues(t, 1, c.Stats().Work.Panics)
	position, _ := c.Position(at("t", 0))
	require.Equal(t, partition.Offset(4), position)
}

func TestHandlerThatEndsItsGoroutineStopsTheWork(t *testing.T) {
	store := newStore(t, "t", 1)
	keyed(t, store, "t", 0, 200, "k", "")
	c := whole(t, store, "t", 1, consumer.Config{})
	err := consumer.Work(t.Context(), c, func(_ context.Context, r consumer.Record) error {
		if r.Offset == 100 {
			runtime.Goexit()
		}
		return nil
	}, consumer.WorkConfig{Workers: 2})
	failed, ok := errors.AsType[*consumer.HandlerError](err)
	require.True(t, ok, err)
	require.Equal(t, partition.Offset(100), failed.Offset)
	require.ErrorContains(t, err, "Goexit")
}

// A blocking retry waits by the clock, holds up its own key only, and goes on where it was.
func TestRetriesInPlaceKeepTheOrderOfTheirKeyAndTheirTime(t *testing.T) {
	m := clock.NewManual(time.UnixMilli(1_700_000_000_000))
	store := newStore(t, "t", 1)
	keyed(t, store, "t", 0, 8, "a", "b")
	c := whole(t, store, "t", 1, consumer.Config{Clock: m})
	var mu sync.Mutex
	var a []string
	b := 0
	ended := make(chan error, 1)
	failures := make(chan consumer.Failure, 10)
	go func() {
		ended <- consumer.Work(t.Context(), c, func(_ context.Context, r consumer.Record) error {
			mu.Lock()
			defer mu.Unlock()
			if string(r.Key) == "b" {
				b++
				return nil
			}
			a = append(a, fmt.Sprintf("%d@%v", r.Offset, m.Elapsed()))
			if r.Offset == 2 && len(a) < 5 {
				return errors.New("not yet")
			}
			return nil
		}, consumer.WorkConfig{
			Workers: 3,
			Retry:   consumer.Retry{Attempts: 5, Backoff: time.Second, MaxBackoff: 3 * time.Second, Jitter: consumer.NoJitter},
			Events:  consumer.WorkEvents{Failed: func(f consumer.Failure) { failures <- f }},
		})
	}()
	for i, wait := range []time.Duration{time.Second, 2 * time.Second, 3 * time.Second} {
		f := <-failures
		require.Equal(t, i+1, f.Attempt)
		require.Equal(t, consumer.TriedAgain, f.Next)
		until(t, func() bool { // and other keys go on
			s := c.Stats().Work
			mu.Lock()
			defer mu.Unlock()
			return s.Waiting == 1 && s.Running == 0 && b == 4
		})
		m.Advance(wait - 1)
		require.Equal(t, 1, c.Stats().Work.Waiting)
		m.Advance(1)
	}
	require.NoError(t, <-ended)
	require.Equal(t, []string{"0@0s", "2@0s", "2@1s", "2@3s", "2@6s", "4@6s", "6@6s"}, a)
	require.EqualValues(t, 3, c.Stats().Work.Retries)
	require.EqualValues(t, 3, c.Stats().Work.HandlerErrors)
}

func TestJitterStaysWithinItsPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t, "t", 1)
		keyed(t, store, "t", 0, 200, "")
		c := whole(t, store, "t", 1, consumer.Config{})
		begin := time.Now()
		var mu sync.Mutex
		waits := map[time.Duration]int{}
		tried := map[partition.Offset]bool{}
		require.NoError(t, consumer.Work(t.Context(), c, func(_ context.Context, r consumer.Record) error {
			mu.Lock()
			defer mu.Unlock()
			if !tried[r.Offset] {
				tried[r.Offset] = true
				return errors.New("no")
			}
			waits[time.Since(begin)]++
			return nil
		}, consumer.WorkConfig{Retry: consumer.Retry{Attempts: 2, Backoff: time.Second, Jitter: 0.5}}))
		require.Greater(t, len(waits), 100)
		for d := range waits {
			require.GreaterOrEqual(t, d, 500*time.Millisecond)
			require.LessOrEqual(t, d, 1500*time.Millisecond)
		}
	})
}

func TestErrorsThatAreNotRetriableAreNotTriedAgain(t *testing.T) {
	hopeless := errors.New("hopeless")
	for _, err := range []error{hopeless, consumer.Permanent(errors.New("x")), fmt.Errorf("wrapped: %w", consumer.Permanent(errors.New("x")))} {
		store := newStore(t, "t", 1)
		keyed(t, store, "t", 0, 1, "k")
		c := whole(t, store, "t", 1, consumer.Config{})
		n := 0
		got := consumer.Work(t.Context(), c, func(context.Context, consumer.Record) error { n++; return err }, consumer.WorkConfig{
			Retry: consumer.Retry{Attempts: 5, Retriable: func(err error) bool { return !errors.Is(err, hopeless) }},
		})
		require.ErrorIs(t, got, err)
		require.Equal(t, 1, n)
	}
}

// A Seek under work: what is in flight says nothing of the new place, and what was done there is committed.
func TestSeekUnderWorkBeginsAtTheNewPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t, "t", 1)
		keyed(t, store, "t", 0, 100, "a", "b", "c")
		g := openGroup(t, store, group.Config{})
		c, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t"}})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		seen := map[partition.Offset]int{}
		ended := make(chan error)
		go func() {
			ended <- consumer.Work(ctx, c, func(_ context.Context, r consumer.Record) error {
				time.Sleep(time.Second)
				mu.Lock()
				defer mu.Unlock()
				seen[r.Offset]++
				return nil
			}, consumer.WorkConfig{})
		}()
		time.Sleep(5*time.Second + time.Millisecond)
		require.NoError(t, c.Seek(at("t", 0), consumer.AtOffset(90)))
		time.Sleep(time.Minute)
		require.Equal(t, partition.Offset(100), committedOf(t, g, 0))
		mu.Lock()
		for o := range partition.Offset(100) {
			require.Equal(t, o < 18 || o >= 90, seen[o] == 1, "offset %d: %d times", o, seen[o])
		}
		mu.Unlock()
		require.NoError(t, c.Seek(at("t", 0), consumer.Earliest()))
		time.Sleep(500 * time.Millisecond)
		require.NoError(t, c.Pause(at("t", 0)))
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
		position, _ := c.Position(at("t", 0))
		require.Equal(t, partition.Offset(3), position, "the three that were running")
		require.NoError(t, c.Close())
	})
}
