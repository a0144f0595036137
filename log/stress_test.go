package log

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/vfs"
)

// Appenders, readers of both kinds, rolls, seals, retention, parks and verification at once, on heap files so that the race detector
// sees all accesses. Each appender's records must be found once and in its order; a borrowed view must not change while it is held.
func TestEverythingAtOnceKeepsEveryRecordInOrder(t *testing.T) {
	for _, mode := range []SyncMode{SyncAlways, SyncNever} {
		m := vfs.NewMem()
		require.NoError(t, m.MkdirAll("/data", 0o700))
		c := testConfig(m)
		c.Settings = Settings{Sync: mode, SegmentBytes: 20_000, IndexInterval: 500, RetentionBytes: 200_000}
		var notified atomic.Int64
		c.Notify = func() { notified.Add(1) }
		l := open(t, c)
		const writers, each = 8, 1500
		var appending, rest sync.WaitGroup
		var stop atomic.Bool
		// All others go on at the pace of the appends: spinning, they would take the processors from them.
		pace := make(chan struct{}, 1)
		for w := range writers {
			appending.Go(func() {
				for i := range each {
					b := makeIdempotent(int64(w), 0, int32(i), 1, fmt.Sprintf("%d-%d-%s", w, i, strings.Repeat("x", i%100)))
					if _, err := l.Append(b, AppendOptions{Durable: i%3 != 0}); err != nil {
						t.Errorf("append: %v", err)
						return
					}
					select {
					case pace <- struct{}{}:
					default:
					}
				}
			})
		}
		background := func(f func() error) {
			rest.Go(func() {
				for !stop.Load() {
					<-pace
					if err := f(); err != nil && !errors.Is(err, ErrOffsetOutOfRange) {
						t.Errorf("%v", err)
						return
					}
				}
			})
		}
		for range 2 {
			next := Offset(0)
			background(func() error { return follow(t, l, &next) })
		}
		background(func() error { // random borrowed reads, held for a while
			start, end := l.Start(), l.Visible()
			if end <= start {
				return nil
			}
			v, err := l.Read(start+Offset(rand.Int64N(int64(end-start))), end, 3000)
			if err != nil {
				return err
			}
			before := string(v.Bytes)
			_ = l.Stats()
			if before != string(v.Bytes) {
				return errors.New("a borrowed view has changed")
			}
			v.Release()
			v.Release()
			return nil
		})
		background(func() error { _, err := l.Seal(); return err })
		background(func() error {
			if _, err := l.Retain(time.Now()); err != nil {
				return err
			}
			if _, err := l.Verify(t.Context()); err != nil {
				return fmt.Errorf("verify: %w", err)
			}
			return l.Roll()
		})
		background(func() error { _, _, err := l.OffsetForTimestamp(1000); return err })
		background(func() error {
			if rand.IntN(4) == 0 {
				return l.Park()
			}
			return l.Sync()
		})
		appending.Wait()
		stop.Store(true)
		close(pace)
		rest.Wait()
		require.Equal(t, Offset(writers*each), l.End())
		require.NotZero(t, notified.Load())
		next := l.Start()
		require.NoError(t, follow(t, l, &next))
		require.Zero(t, l.Leases().Count)
		report, err := l.Verify(t.Context())
		require.NoError(t, err)
		require.Empty(t, report.Findings)
		require.NoError(t, l.Close())
	}
}

// follow reads from next to the end and checks that each producer's records come in order.
func follow(t *testing.T, l *Log, next *Offset) error {
	seen := map[string]int{}
	for {
		*next = max(*next, l.Start())
		b, after, err := l.ReadInto(nil, *next, 1<<62, 2000)
		if err != nil || len(b) == 0 {
			return err
		}
		var bad error
		eachRecord(t, b, func(r *batch.Record) {
			if Offset(r.Offset) < *next {
				return
			}
			f := strings.SplitN(string(r.Value), "-", 3)
			var i int
			if _, err := fmt.Sscan(f[1], &i); err != nil {
				bad = err
			}
			if last, ok := seen[f[0]]; ok && i <= last {
				bad = fmt.Errorf("producer %s: %d after %d", f[0], i, last)
			}
			seen[f[0]] = i
		})
		if bad != nil {
			return bad
		}
		*next = after
	}
}

func TestCloseWhileEverythingIsUsedEndsEverything(t *testing.T) {
	for range 20 {
		m := vfs.NewMem()
		require.NoError(t, m.MkdirAll("/data", 0o700))
		l := open(t, testConfig(m))
		appendN(t, l, 0, 10)
		held, err := l.Read(0, 100, 1000)
		require.NoError(t, err)
		before := string(held.Bytes)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for {
					_, err := l.Append(make1(1, 1, "x"), AppendOptions{Durable: true})
					if err != nil {
						require.ErrorIs(t, err, ErrClosed)
						return
					}
				}
			})
			wg.Go(func() {
				for {
					if _, _, err := l.ReadInto(nil, 0, 100, 1000); err != nil {
						require.ErrorIs(t, err, ErrClosed)
						return
					}
				}
			})
		}
		time.Sleep(0)
		require.NoError(t, l.Close())
		wg.Wait()
		require.Equal(t, before, string(held.Bytes))
		require.Equal(t, 1, l.Leases().Count)
		held.Release()
		require.Zero(t, l.Leases().Count)
		_, _, err = l.OffsetForTimestamp(0)
		require.ErrorIs(t, err, ErrClosed)
		require.ErrorIs(t, l.Sync(), ErrClosed)
		require.ErrorIs(t, l.Roll(), ErrClosed)
		require.NoError(t, l.Close())
		end := l.End()
		c := testConfig(m)
		c.Clean, c.CleanEnd = true, end
		l = open(t, c)
		require.Equal(t, end, l.End())
		require.NoError(t, l.touch())
		require.Empty(t, l.Report().Findings)
	}
}
