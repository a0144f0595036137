package log

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// bases are where the log's segments begin.
func bases(l *Log) (all []Offset) {
	for _, s := range l.segmentList() {
		all = append(all, s.base)
	}
	return all
}

func TestSegmentsRollWhenTheyAreFull(t *testing.T) {
	for name, c := range map[string]struct {
		settings Settings
		at       func(i int) int64 // timestamp of batch i
		want     []Offset
	}{
		"bytes":                    {Settings{SegmentBytes: 3 * batchSize}, nil, []Offset{0, 3, 6, 9}},
		"bytes, one short":         {Settings{SegmentBytes: 3*batchSize - 1}, nil, []Offset{0, 2, 4, 6, 8}},
		"offset index":             {Settings{IndexInterval: 1, IndexBytes: 24}, func(int) int64 { return -1 }, []Offset{0, 4, 8}}, // 3 entries, none for the first batch
		"time index":               {Settings{IndexInterval: 1, IndexBytes: 36}, func(i int) int64 { return int64(1000 + i) }, []Offset{0, 3, 6, 9}},
		"neither, while it is one": {Settings{IndexInterval: 1, IndexBytes: 120}, nil, []Offset{0}},
	} {
		t.Run(name, func(t *testing.T) {
			_, config := memConfig(t)
			config.Settings = c.settings
			l := open(t, config)
			for i := range 10 {
				at := int64(1000)
				if c.at != nil {
					at = c.at(i)
				}
				_, err := l.Append(make1(at, 1, valueOf(i)), AppendOptions{Durable: true})
				require.NoError(t, err)
			}
			require.Equal(t, c.want, bases(l))
			requireDense(t, l, 10)
			require.NoError(t, l.Close())
		})
	}
}

// Each of the appends that share a write is asked whether the segment is too old for it.
func TestAppendsThatQueueRollByTheirOwnTime(t *testing.T) {
	m := vfs.NewMem()
	require.NoError(t, m.MkdirAll("/data", 0o700))
	f := vfs.NewFault(m)
	c := testConfig(f)
	c.Clock, c.Settings = clock.NewManual(epoch), Settings{SegmentAge: time.Hour, TimestampAfter: Unlimited}
	l := open(t, c)
	send := func(after time.Duration) error {
		_, err := l.Append(make1(epoch.Add(after).UnixMilli(), 1, "v"), AppendOptions{Durable: true})
		return err
	}
	require.NoError(t, send(0))
	var wg sync.WaitGroup
	syncs := 0
	f.OnOp(func(op vfs.Op) {
		if op.Kind != vfs.OpSync {
			return
		}
		if syncs++; syncs > 1 {
			return
		}
		for n, after := range []time.Duration{20 * time.Minute, 30 * time.Minute, 2 * time.Hour} { // behind each other in the queue
			wg.Go(func() {
				if err := send(after); err != nil {
					t.Error(err)
				}
			})
			for queued := 0; queued <= n; {
				l.mu.Lock()
				queued = l.queue.n
				l.mu.Unlock()
				runtime.Gosched()
			}
		}
	})
	require.NoError(t, send(10*time.Minute))
	wg.Wait()
	f.OnOp(nil)
	require.Equal(t, []Offset{0, 4}, bases(l))
}

// segment.jitter.ms spreads the rolls of segments that began together: over less than segment.ms.
func TestJitterIsBelowItsBoundAndTheAge(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 200 {
		a := jitter(&Settings{SegmentAge: time.Hour, SegmentJitter: time.Minute})
		require.GreaterOrEqual(t, a, time.Duration(0))
		require.Less(t, a, time.Minute)
		b := jitter(&Settings{SegmentAge: time.Minute, SegmentJitter: time.Hour})
		require.Less(t, b, time.Minute)
		seen[a], seen[b] = true, true
	}
	require.Greater(t, len(seen), 300)
	require.Zero(t, jitter(&Settings{SegmentAge: time.Hour}))
	require.Zero(t, jitter(&Settings{SegmentAge: Unlimited, SegmentJitter: time.Hour}))

	m := vfs.NewMem()
	require.NoError(t, m.MkdirAll("/data", 0o700))
	c := testConfig(m)
	c.Clock, c.Settings = clock.NewManual(epoch), Settings{SegmentAge: time.Hour, SegmentJitter: time.Hour, TimestampAfter: Unlimited}
	l := open(t, c)
	appendN(t, l, 0, 1)
	rolls := int64(1000) + (time.Hour - l.writer.jitter).Milliseconds()
	_, err := l.Append(make1(rolls, 1, "v"), AppendOptions{})
	require.NoError(t, err)
	require.Equal(t, []Offset{0}, bases(l))
	_, err = l.Append(make1(rolls+1, 1, "v"), AppendOptions{})
	require.NoError(t, err)
	require.Equal(t, []Offset{0, 2}, bases(l))
}

// A roll leaves a finished segment: its last time entry is there although no interval was over, and the producers are in a snapshot that
// is named by the new base.
func TestRolledSegmentHasItsLastTimeEntryAndASnapshot(t *testing.T) {
	d, c := memConfig(t)
	l := open(t, c)
	for i := range 3 {
		_, err := l.Append(makeIdempotentAt(4, 0, int32(i), int64(1000+i), "v"), AppendOptions{Durable: true})
		require.NoError(t, err)
	}
	require.NoError(t, l.Roll())
	for done := false; !done; {
		var err error
		done, err = l.Seal()
		require.NoError(t, err)
	}
	times := segment.NewTimeIndex(0, 1<<20)
	require.NoError(t, times.Decode(d.read(segment.TimeIndexName(0)), 3))
	require.Equal(t, 1, times.Len())
	timestamp, offset := times.Entry(0)
	require.Equal(t, []int64{1002, 2}, []int64{timestamp, offset})
	entries, err := segment.ReadSnapshot(d.fs, d.dir, 3)
	require.NoError(t, err)
	require.Equal(t, []segment.ProducerEntry{{ProducerID: 4, LastSequence: 2, LastOffset: 2, Timestamp: 1002, CoordinatorEpoch: -1, TxnFirstOffset: -1}}, entries)
}

// Only the newest of a producer's batches is in a snapshot: after a restart the ones before it are no duplicates any more.
func TestSnapshotHasTheNewestBatchOfAProducer(t *testing.T) {
	_, c := memConfig(t)
	l := open(t, c)
	for i := range int32(3) {
		_, err := l.Append(makeIdempotent(5, 0, i, 1, "v"), AppendOptions{Durable: true})
		require.NoError(t, err)
	}
	r, err := l.Append(makeIdempotent(5, 0, 1, 1, "v"), AppendOptions{})
	require.NoError(t, err)
	require.True(t, r.Duplicate)
	require.NoError(t, l.Close())
	c.Clean, c.CleanEnd = true, 3
	l = open(t, c)
	_, err = l.Append(makeIdempotent(5, 0, 1, 1, "v"), AppendOptions{})
	require.ErrorIs(t, err, ErrOutOfOrderSequence)
	r, err = l.Append(makeIdempotent(5, 0, 2, 1, "v"), AppendOptions{})
	require.NoError(t, err)
	require.True(t, r.Duplicate)
}

// A duplicate is answered as its record was, with the time that the record has.
func TestDuplicateHasTheAppendTimeOfItsRecord(t *testing.T) {
	for _, restart := range []bool{false, true} {
		_, c := memConfig(t)
		clk := clock.NewManual(epoch)
		c.Clock, c.Settings = clk, Settings{LogAppendTime: true}
		l := open(t, c)
		first, err := l.Append(makeIdempotent(5, 0, 0, 2, "v"), AppendOptions{Durable: true})
		require.NoError(t, err)
		require.Equal(t, epoch.UnixMilli(), first.LogAppendTime)
		clk.Advance(time.Hour)
		if restart {
			require.NoError(t, l.Close())
			c.Clean, c.CleanEnd = true, 2
			l = open(t, c)
		}
		again, err := l.Append(makeIdempotent(5, 0, 0, 2, "v"), AppendOptions{Durable: true})
		require.NoError(t, err)
		first.Duplicate = true
		require.Equal(t, first, again)
		eachRecord(t, readAll(t, l), func(r *batch.Record) { require.Equal(t, again.LogAppendTime, r.Timestamp) })
	}
}
