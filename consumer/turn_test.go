package consumer_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/compress"
	"github.com/partlog/partlog/partition"
)

// until yields the processor until f is true; the test's own timeout bounds it.
func until(t *testing.T, f func() bool) {
	t.Helper()
	for !f() {
		runtime.Gosched()
	}
}

// passing lets time pass in steps until f is true. It rests between them, for what the steps set going to get a processor: were the clock
// as fast as it can be, it would be weeks ahead before another goroutine has run once on a busy machine.
func passing(t *testing.T, c *clock.Manual, step time.Duration, f func() bool) {
	t.Helper()
	until(t, func() bool {
		c.Advance(step)
		time.Sleep(100 * time.Microsecond)
		return f()
	})
}

// A signal that comes between the loop's look and its sleep wakes it, and is not taken for a cancelled context.
func TestSignalsWhileTheLoopGoesToSleepEndNothing(t *testing.T) {
	store := newStore(t, "t", 2)
	for name, assignments := range map[string][]consumer.Assignment{
		"in a fetch": {{TopicPartition: at("t", 0)}, {TopicPartition: at("t", 1)}},
		"idle":       {{TopicPartition: at("t", 1)}},
	} {
		t.Run(name, func(t *testing.T) {
			c := assign(t, store, consumer.Config{}, assignments...)
			last := make(chan error, 1)
			go func() {
				var err error
				for _, err = range c.Records(context.Background()) {
				}
				last <- err
			}()
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					for range 3000 {
						if c.Pause(at("t", 1)) != nil || c.Resume(at("t", 1)) != nil {
							return
						}
					}
				})
			}
			wg.Wait()
			select {
			case err := <-last:
				t.Fatalf("the loop has ended: %v", err)
			default:
			}
			require.NoError(t, c.Close())
			require.ErrorIs(t, <-last, consumer.ErrClosed)
		})
	}
}

// A member that is expelled while it waits for the turn does not leave the loop waiting for it to take it.
func TestMemberExpelledWhileARebalanceWaitsEndsItsLoop(t *testing.T) {
	store := newStore(t, "t", 2)
	write(t, store, "t", 0, 0, 10)
	still := clock.NewManual(timeZero)
	g := openGroup(t, store, group.Config{Assignors: eager})
	a := join(t, g, consumer.Config{Clock: still})
	joined := make(chan *consumer.Consumer, 1)
	var last error
	for _, err := range a.Records(t.Context()) {
		if last = err; err != nil {
			break
		}
		if len(joined) > 0 {
			continue
		}
		go func() {
			b, err := consumer.Join(context.Background(), g, consumer.Config{Topics: []string{"t"}})
			if err != nil {
				t.Error(err)
			}
			joined <- b
		}()
		until(t, a.Wanted)
		passing(t, still, 5*time.Minute/16, func() bool { return len(joined) > 0 })
	}
	require.ErrorIs(t, last, consumer.ErrExpelled)
	require.NoError(t, (<-joined).Close())
	require.ErrorIs(t, a.Commit(t.Context()), consumer.ErrExpelled)
}

func TestJoinThatFailsLeavesNoMemberBehind(t *testing.T) {
	store := newStore(t, "t", 1)
	g := openGroup(t, store, group.Config{})
	_, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t"}, Reset: consumer.ResetNone})
	require.ErrorIs(t, err, consumer.ErrNoOffset)
	described(t, g, group.Empty, 0)
	_, err = consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"a/b"}})
	require.ErrorIs(t, err, partition.ErrInvalidTopic)
}

// A member that cannot go on with its next generation leaves at once: nobody waits for it, and its loop is told.
func TestMemberThatCannotRejoinLeavesTheGroup(t *testing.T) {
	store := newStore(t, "t", 1)
	g := openGroup(t, store, group.Config{RebalanceTimeout: 20 * 24 * 3600e9}) // the clock runs, and nobody reads
	require.NoError(t, g.Commit(t.Context(), map[partition.TopicPartition]group.CommittedOffset{at("t", 0): {}}))
	still := clock.NewManual(timeZero)
	c, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t"}, Reset: consumer.ResetNone, Clock: still})
	require.NoError(t, err)
	err = store.CreatePartitions(t.Context(), "t", 2) // for which there is no committed offset
	require.NoError(t, err)
	passing(t, still, 5*time.Second, func() bool {
		d, err := g.Describe(t.Context())
		require.NoError(t, err)
		return len(d.Members) == 0
	})
	require.ErrorIs(t, c.Close(), consumer.ErrNoOffset, "a failure that no loop was told")
}

// In orderly rebalances nothing is read twice: a rebalance waits for the record in hand, and for what a Poll returned.
func TestMembersThatComeAndGoReadEveryRecordOnce(t *testing.T) {
	for name, read := range map[string]func(context.Context, *consumer.Consumer, func(consumer.Record)) error{
		"records": func(ctx context.Context, c *consumer.Consumer, f func(consumer.Record)) error {
			for r, err := range c.Records(ctx) {
				if err != nil {
					return err
				}
				f(r)
			}
			return nil
		},
		"poll": func(ctx context.Context, c *consumer.Consumer, f func(consumer.Record)) error {
			for {
				records, err := c.Poll(ctx)
				if err != nil {
					return err
				}
				for _, r := range records {
					f(r)
				}
			}
		},
		"borrowed": func(ctx context.Context, c *consumer.Consumer, f func(consumer.Record)) error {
			for {
				run, err := c.PollBorrowed(ctx)
				if err != nil {
					return err
				}
				for r, err := range run.All() {
					if err != nil {
						return err
					}
					f(r)
				}
				run.Release()
			}
		},
	} {
		for _, assignors := range [][]group.Assignor{eager, cooperative} {
			t.Run(name+"/"+assignors[0].Name(), func(t *testing.T) { comeAndGo(t, assignors, read) })
		}
	}
}

func comeAndGo(t *testing.T, assignors []group.Assignor, read func(context.Context, *consumer.Consumer, func(consumer.Record)) error) {
	const partitions, each = 4, 600
	store := newStore(t, "t", partitions)
	for p := range int32(partitions) {
		for i := 0; i < each; i += 20 {
			write(t, store, "t", p, i, 20)
		}
	}
	g := openGroup(t, store, group.Config{Assignors: assignors})
	var mu sync.Mutex
	seen := make(map[string]int)
	all := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	member := func() {
		c, err := consumer.Join(ctx, g, consumer.Config{Topics: []string{"t"}, MaxPollRecords: 7})
		if err != nil {
			if ctx.Err() == nil {
				t.Error(err)
			}
			return
		}
		wg.Go(func() {
			err := read(ctx, c, func(r consumer.Record) {
				mu.Lock()
				defer mu.Unlock()
				if seen[fmt.Sprint(r.Partition, "/", r.Offset)]++; len(seen) == partitions*each {
					select {
					case <-all:
					default:
						close(all)
					}
				}
			})
			if ctx.Err() == nil {
				t.Errorf("ended: %v", err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range 4 {
		member()
		until(t, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(seen) > i*partitions*each/5
		})
	}
	<-all
	cancel()
	wg.Wait()
	for place, n := range seen {
		require.Equal(t, 1, n, place)
	}
}

// What Poll has returned holds a rebalance off until it is acknowledged by the next call.
func TestRebalanceWaitsForWhatPollReturned(t *testing.T) {
	store := newStore(t, "t", 2)
	write(t, store, "t", 0, 0, 20)
	write(t, store, "t", 1, 100, 20)
	g := openGroup(t, store, group.Config{Assignors: eager})
	a := join(t, g, consumer.Config{MaxPollRecords: 5})
	got := poll(t, a)
	require.Len(t, got, 5)
	joined := make(chan *consumer.Consumer, 1)
	go func() {
		b, err := consumer.Join(context.Background(), g, consumer.Config{Topics: []string{"t"}, Until: consumer.UntilEnd()})
		if err != nil {
			t.Error(err)
		}
		joined <- b
	}()
	described(t, g, group.PreparingRebalance, 2)
	until(t, a.Wanted)
	require.Empty(t, joined)
	require.Len(t, a.Assignment(), 2)
	got = append(got, poll(t, a)...) // acknowledges, lets the other in, and goes on with what is left
	b := <-joined
	require.Len(t, a.Assignment(), 1)
	got = append(got, all(t, b)...)
	for len(got) < 40 {
		got = append(got, poll(t, a)...)
	}
	require.ElementsMatch(t, append(texts(0, 20), texts(100, 20)...), got)
	require.NoError(t, b.Close())
}

// Records are the caller's also when they were in a compressed batch, and after a rebalance in the middle of it.
func TestRecordsOfACompressedBatchStayWholeOverARebalance(t *testing.T) {
	store := newStore(t, "t", 1)
	for i := range 10 {
		writeBatch(t, store, "t", 0, timeZero, batch.Options{Codec: compress.LZ4}, texts(1000+i*50, 50)...)
	}
	g := openGroup(t, store, group.Config{Assignors: eager})
	a := join(t, g, consumer.Config{})
	var kept []consumer.Record
	left, rounds := make(chan error, 1), 0
	left <- nil
	for r, err := range a.Records(t.Context()) {
		require.NoError(t, err)
		if kept = append(kept, r); len(kept) == 500 {
			break
		}
		if len(kept)%50 != 0 || len(left) == 0 { // the next batch is another one
			continue
		}
		require.NoError(t, <-left)
		rounds++
		go func() { // another member comes and goes
			b, err := consumer.Join(context.Background(), g, consumer.Config{Topics: []string{"t"}})
			if err == nil {
				err = b.Close()
			}
			left <- err
		}()
		described(t, g, group.PreparingRebalance, 2)
	}
	require.NoError(t, <-left)
	require.Positive(t, rounds)
	require.Equal(t, texts(1000, 500), values(kept))
}
