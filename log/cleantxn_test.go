package log

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
)

// txnWriter appends transactions of one producer.
type txnWriter struct {
	t        testing.TB
	l        *Log
	id       int64
	epoch    int16
	sequence int32
}

func (w *txnWriter) put(records ...keyed) {
	w.t.Helper()
	guard, _, err := w.l.TxnGuard(w.id, w.epoch, w.sequence)
	require.NoError(w.t, err)
	b := makeKeyedAs(batch.Options{Transactional: true, ProducerID: w.id, Epoch: w.epoch, BaseSequence: w.sequence}, w.l.clock.Now().UnixMilli(), records...)
	_, err = w.l.Append(b, AppendOptions{Durable: true, Guard: guard})
	require.NoError(w.t, err)
	w.sequence += int32(len(records))
}

// end writes the marker; transaction.version 2 raises the epoch with it.
func (w *txnWriter) end(commit bool) {
	w.t.Helper()
	w.epoch++
	w.sequence = 0
	_, err := w.l.Append(makeMarker(w.id, w.epoch, !commit), AppendOptions{Durable: true, Origin: OriginCoordinator, TxnVersion: 2})
	require.NoError(w.t, err)
}

// committed returns what a reader of committed records sees.
func committed(t testing.TB, l *Log) (out []string) {
	t.Helper()
	for at := l.Start(); ; {
		v, aborted, err := l.ReadCommitted(nil, at, 1<<62, 1<<20)
		require.NoError(t, err)
		if v.Next == at {
			return out
		}
		var it batch.Iterator
		ongoing := map[int64]bool{}
		for b := v.Bytes; len(b) > 0; {
			one, err := batch.Peek(b)
			require.NoError(t, err)
			b = b[len(one):]
			for len(aborted) > 0 && int64(aborted[0].First) <= one.LastOffset() {
				ongoing[aborted[0].ProducerID] = true
				aborted = aborted[1:]
			}
			if one.IsControl() {
				if c, ok := marker(one); ok && c.Type == batch.ControlAbort {
					delete(ongoing, one.ProducerID())
				}
				continue
			}
			if one.IsTransactional() && ongoing[one.ProducerID()] {
				continue
			}
			for one.Iterate(&it, 0); it.Next(); {
				r := it.Record()
				out = append(out, fmt.Sprintf("%d:%s=%s", r.Offset, r.Key, r.Value))
			}
			require.NoError(t, it.Err())
		}
		at = v.Next
		v.Release()
	}
}

// batches returns what is left of the log: offsets, records, and which are control batches with a horizon.
func batches(t testing.TB, l *Log) (out []string) {
	t.Helper()
	b, _, err := l.ReadInto(nil, l.Start(), 1<<62, 1<<30)
	require.NoError(t, err)
	for len(b) > 0 {
		one, err := batch.Peek(b)
		require.NoError(t, err)
		b = b[len(one):]
		s := fmt.Sprintf("%d-%d:%d", one.BaseOffset(), one.LastOffset(), one.Count())
		if one.IsControl() {
			s += "c"
		}
		if one.HasDeleteHorizon() {
			s += "h"
		}
		out = append(out, s)
	}
	return out
}

// Aborted records go at once. The marker stays while anything is left of its transaction, then one horizon longer (KIP-534).
func TestTransactionsAreCleanedInTwoPhases(t *testing.T) {
	c, m := compacted(vfs.NewMem())
	l := open(t, c)
	a, b := &txnWriter{t: t, l: l, id: 1}, &txnWriter{t: t, l: l, id: 2}
	put(t, l, keyed{"x", "plain"})               // 0
	a.put(keyed{"x", "aborted"})                 // 1
	b.put(keyed{"y", "committed"})               // 2
	a.put(keyed{"z", "aborted"})                 // 3
	a.end(false)                                 // 4
	b.end(true)                                  // 5
	a.put(keyed{"w", "open"}, keyed{"x", "new"}) // 6, 7
	roll(t, l)
	require.Equal(t, Offset(6), l.LastStable())
	require.Equal(t, []string{"0:x=plain", "2:y=committed"}, committed(t, l))
	r := clean(t, l)
	require.Zero(t, r.Swapped, "what is open is not touched, nor is its segment")
	a.end(true) // 8
	put(t, l, keyed{"y", "newer"})
	roll(t, l)
	want := []string{"6:w=open", "7:x=new", "9:y=newer"}
	for _, step := range []struct {
		later   time.Duration
		batches []string
		what    string
	}{
		{0, []string{"4-4:1c", "5-5:1c", "6-7:2", "8-8:1c", "9-9:1"}, "the markers have just lost their records"},
		{0, []string{"4-4:1ch", "5-5:1ch", "6-7:2", "8-8:1c", "9-9:1"}, "they get a horizon"},
		{time.Minute, []string{"4-4:1ch", "5-5:1ch", "6-7:2", "8-8:1c", "9-9:1"}, "which has not passed"},
		{time.Hour, []string{"5-5:0c", "6-7:2", "8-8:1c", "9-9:1"}, "which has passed; 5 is all that is known of its producer's epoch"},
	} {
		m.Advance(step.later)
		l.cleaner.cleaned.Store(0)
		clean(t, l)
		require.Equal(t, step.batches, batches(t, l), step.what)
		require.Equal(t, want, committed(t, l))
		require.Equal(t, l.Visible(), l.LastStable())
		for _, closed := range []bool{false, true} {
			states, err := l.Producers()
			require.NoError(t, err)
			l = reopen(t, l, c, closed)
			require.Equal(t, want, committed(t, l))
			require.Equal(t, l.Visible(), l.LastStable())
			again, err := l.Producers()
			require.NoError(t, err)
			for i := range states {
				require.Equal(t, states[i].Epoch, again[i].Epoch)
				require.Equal(t, states[i].LastSequence, again[i].LastSequence)
				require.Equal(t, states[i].TxnStart, again[i].TxnStart)
			}
		}
		report, err := l.Verify(t.Context())
		require.NoError(t, err)
		require.Empty(t, report.Findings)
	}
}

func TestTombstoneStaysUntilItsHorizonAndTakesOlderValuesWithIt(t *testing.T) {
	c, m := compacted(vfs.NewMem())
	l := open(t, c)
	put(t, l, keyed{"a", "1"}, keyed{"b", "1"})
	roll(t, l)
	put(t, l, keyed{"a", ""})
	roll(t, l)
	put(t, l, keyed{"c", "1"})
	roll(t, l)
	again := func() {
		l.cleaner.cleaned.Store(0)
		clean(t, l)
		l = reopen(t, l, c, true)
	}
	again()
	require.Equal(t, []string{"1:b=1", "2:a=", "3:c=1"}, contents(t, l))
	require.Equal(t, []string{"0-1:1", "2-2:1h", "3-3:1"}, batches(t, l))
	m.Advance(time.Hour - time.Millisecond)
	again()
	require.Equal(t, []string{"1:b=1", "2:a=", "3:c=1"}, contents(t, l))
	v, err := l.Read(2, 3, 1)
	require.NoError(t, err)
	require.Equal(t, int64(1_000_000+3_600_000), batch.Batch(v.Bytes).BaseTimestamp(), "set once")
	eachRecord(t, v.Bytes, func(r *batch.Record) { require.Equal(t, int64(1_000_000), r.Timestamp) })
	v.Release()
	m.Advance(time.Millisecond)
	again()
	require.Equal(t, []string{"1:b=1", "3:c=1"}, contents(t, l))
}

// An idempotent producer goes on with its sequence numbers, although none of its records is left.
func TestSequenceNumbersSurviveCleaning(t *testing.T) {
	c, _ := compacted(vfs.NewMem())
	l := open(t, c)
	send := func(id int64, sequence int32, k keyed) (AppendResult, error) {
		return l.Append(makeKeyedAs(batch.Options{Idempotent: true, ProducerID: id, BaseSequence: sequence}, 5, k), AppendOptions{Durable: true})
	}
	for i := range int32(3) {
		_, err := send(9, i, keyed{"k", fmt.Sprint(i)})
		require.NoError(t, err)
	}
	put(t, l, keyed{"k", "last"})
	roll(t, l)
	clean(t, l)
	require.Equal(t, []string{"2-2:0", "3-3:1"}, batches(t, l))
	for _, closed := range []bool{false, true} {
		l = reopen(t, l, c, closed)
		r, err := send(9, 2, keyed{"k", "2"})
		require.NoError(t, err)
		require.True(t, r.Duplicate)
		require.Equal(t, Offset(2), r.Base)
		_, err = send(9, 4, keyed{"k", "4"})
		require.ErrorIs(t, err, ErrOutOfOrderSequence)
	}
	_, err := send(9, 3, keyed{"k", "3"})
	require.NoError(t, err)
}

// Random transactions, cleanings, restarts: a reader of committed records sees the last committed record of each key that is stable.
func TestCleaningKeepsTheLastCommittedRecordOfEachKey(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 7))
		c, _ := compacted(vfs.NewMem())
		c.Settings.SegmentBytes, c.Settings.DeleteRetention = 700, time.Minute
		m := c.Clock.(*clock.Manual)
		l := open(t, c)
		type writer struct {
			*txnWriter
			pending map[string]string
			ongoing bool
		}
		var writers []*writer
		for id := range int64(3) {
			writers = append(writers, &writer{txnWriter: &txnWriter{t: t, l: l, id: id + 1}, pending: map[string]string{}})
		}
		last := map[string]string{}
		n := 0
		record := func(k string, into map[string]string) keyed {
			v := ""
			if rng.IntN(5) > 0 {
				v = fmt.Sprint("v", n)
			}
			n++
			into[k] = v
			return keyed{k, v}
		}
		settle := func(w *writer, commit bool) {
			w.end(commit)
			if commit {
				for k, v := range w.pending {
					last[k] = v
				}
			}
			w.ongoing = false
			clear(w.pending)
		}
		check := func() {
			got := map[string]string{}
			for _, s := range committed(t, l) {
				var o int64
				_, err := fmt.Sscanf(s, "%d:", &o)
				require.NoError(t, err)
				for i := range s {
					if s[i] == '=' {
						key := s[len(fmt.Sprintf("%d:", o)):i]
						got[key] = s[i+1:]
						break
					}
				}
			}
			for k, v := range last {
				if v == "" {
					require.Empty(t, got[k], "seed %d key %s", seed, k)
				} else {
					require.Equal(t, v, got[k], "seed %d key %s", seed, k)
				}
			}
		}
		for range 120 {
			w := writers[rng.IntN(len(writers))]
			switch op := rng.IntN(12); {
			case op < 5:
				// Each writer has keys of its own, so that the order of commits is the order of offsets.
				w.put(record(fmt.Sprintf("k%d-%d", w.id, rng.IntN(3)), w.pending))
				w.ongoing = true
			case op < 7:
				if w.ongoing {
					settle(w, rng.IntN(2) == 0)
				}
			case op == 7:
				put(t, l, record(fmt.Sprintf("p%d", rng.IntN(3)), last))
			case op == 8:
				roll(t, l)
			case op == 9:
				_, err := l.Clean(CleanOptions{MapBytes: []int64{1 << 20, 24 * 8}[rng.IntN(2)]})
				require.NoError(t, err)
			case op == 10:
				m.Advance(30 * time.Second)
			default:
				l = reopen(t, l, c, rng.IntN(2) == 0)
				for _, w := range writers {
					w.l = l
				}
			}
		}
		for _, w := range writers {
			if w.ongoing {
				settle(w, true)
			}
		}
		check()
		roll(t, l)
		for range 3 {
			clean(t, l)
			check()
			m.Advance(2 * time.Minute)
			l.cleaner.cleaned.Store(0)
		}
		l = reopen(t, l, c, false)
		check()
		require.Equal(t, l.Visible(), l.LastStable())
		report, err := l.Verify(t.Context())
		require.NoError(t, err)
		require.Empty(t, report.Findings, "seed %d", seed)
		l.Abandon()
	}
}
