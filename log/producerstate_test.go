package log

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

func sent(id int64, epoch int16, sequence int32, n int) batch.Batch {
	return batch.Batch(makeIdempotent(id, epoch, sequence, n, "v"))
}

func TestProducerSequences(t *testing.T) {
	const max = 1<<31 - 1
	for _, tc := range []struct {
		name      string
		before    []batch.Batch
		b         batch.Batch
		err       error
		duplicate Offset // base of the first; -1 none
	}{
		{name: "unknown producer begins anywhere", b: sent(1, 0, 77, 1), duplicate: -1},
		{name: "next", before: []batch.Batch{sent(1, 0, 0, 3)}, b: sent(1, 0, 3, 1), duplicate: -1},
		{name: "gap", before: []batch.Batch{sent(1, 0, 0, 3)}, b: sent(1, 0, 4, 1), err: ErrOutOfOrderSequence},
		{name: "last again", before: []batch.Batch{sent(1, 0, 0, 3)}, b: sent(1, 0, 0, 3), duplicate: 0},
		{name: "part of the last again", before: []batch.Batch{sent(1, 0, 0, 3)}, b: sent(1, 0, 0, 2), err: ErrOutOfOrderSequence},
		{name: "fifth last again", before: []batch.Batch{sent(1, 0, 0, 1), sent(1, 0, 1, 1), sent(1, 0, 2, 1), sent(1, 0, 3, 1), sent(1, 0, 4, 1)}, b: sent(1, 0, 0, 1), duplicate: 0},
		{name: "sixth last again", before: []batch.Batch{sent(1, 0, 0, 1), sent(1, 0, 1, 1), sent(1, 0, 2, 1), sent(1, 0, 3, 1), sent(1, 0, 4, 1), sent(1, 0, 5, 1)}, b: sent(1, 0, 0, 1), err: ErrOutOfOrderSequence},
		{name: "wrap", before: []batch.Batch{sent(1, 0, max, 1)}, b: sent(1, 0, 0, 1), duplicate: -1},
		{name: "wrap inside", before: []batch.Batch{sent(1, 0, max, 2)}, b: sent(1, 0, 1, 1), duplicate: -1},
		{name: "new epoch begins with 0", before: []batch.Batch{sent(1, 0, 0, 3)}, b: sent(1, 1, 0, 1), duplicate: -1},
		{name: "new epoch does not begin elsewhere", before: []batch.Batch{sent(1, 0, 0, 3)}, b: sent(1, 1, 3, 1), err: ErrOutOfOrderSequence},
		{name: "old epoch", before: []batch.Batch{sent(1, 4, 0, 3)}, b: sent(1, 3, 3, 1), err: ErrInvalidProducerEpoch},
		{name: "old epoch's duplicate", before: []batch.Batch{sent(1, 3, 0, 3), sent(1, 4, 0, 1)}, b: sent(1, 3, 0, 3), err: ErrInvalidProducerEpoch},
		{name: "another producer", before: []batch.Batch{sent(1, 0, 0, 3)}, b: sent(2, 0, 9, 1), duplicate: -1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &producers{}
			next := Offset(0)
			for _, b := range tc.before {
				_, err := s.check(b, &AppendOptions{})
				require.NoError(t, err)
				s.apply(b, next)
				next += Offset(b.Count())
			}
			duplicate, err := s.check(tc.b, &AppendOptions{})
			if tc.err != nil {
				require.ErrorIs(t, err, tc.err)
				return
			}
			require.NoError(t, err)
			if tc.duplicate < 0 {
				require.Nil(t, duplicate)
			} else {
				require.Equal(t, tc.duplicate, duplicate.baseOffset())
			}
		})
	}
}

// Sequence numbers have 31 bits: 0 follows 2147483647.
func TestSequenceNumbersGoBackOverZero(t *testing.T) {
	const max = 1<<31 - 1
	for _, c := range []struct{ s, n, want int32 }{{5, 3, 2}, {5, 5, 0}, {0, 1, max}, {4, 7, max - 2}, {max, max, 0}, {max - 1, max, max}, {0, max, 1}} {
		require.Equal(t, c.want, subSequence(c.s, c.n), "%d - %d", c.s, c.n)
		require.Equal(t, c.s, batch.AddSequence(c.want, c.n), "%d + %d", c.want, c.n)
	}
	b := sent(1, 0, max-1, 4)
	require.Equal(t, int32(1), b.LastSequence())
	require.Equal(t, int32(max-1), (&sentBatch{lastSequence: b.LastSequence(), offsetDelta: b.LastOffsetDelta()}).firstSequence())
}

// Whatever has been applied, taking it back gives the state before; and a snapshot keeps what it is to keep.
func TestRevertIsTheInverseOfApply(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &producers{}
		epochs, sequences := map[int64]int16{}, map[int64]int32{}
		next := Offset(0)
		step := func() producerUndo {
			id := rapid.Int64Range(0, 2).Draw(t, "id")
			if rapid.IntRange(0, 5).Draw(t, "bump") == 0 {
				epochs[id]++
				sequences[id] = 0
			}
			n := rapid.IntRange(1, 3).Draw(t, "n")
			var b batch.Batch
			switch rapid.IntRange(0, 6).Draw(t, "kind") {
			case 0:
				b = batch.BuildControl(nil, batch.ControlCommit, id, epochs[id], 3, 5000)
			case 1:
				b = batch.BuildControl(nil, batch.ControlAbort, id, epochs[id], 3, 5000)
			case 2, 3:
				s.verify(id, epochs[id], sequences[id], rapid.Bool().Draw(t, "epoch bump"), 0)
				b = batch.Batch(makeTxn(id, epochs[id], sequences[id], n, "v"))
				sequences[id] += int32(n)
			default:
				b = sent(id, epochs[id], sequences[id], n)
				sequences[id] += int32(n)
			}
			u := s.apply(b, next)
			next += Offset(b.LastOffsetDelta()) + 1
			return u
		}
		for range rapid.IntRange(0, 12).Draw(t, "before") {
			step()
		}
		before := s.clone()
		before.guards = maps.Clone(s.guards)
		snapshot := segment.AppendSnapshot(nil, s.entries())
		var undos []producerUndo
		for range rapid.IntRange(1, 12).Draw(t, "taken back") {
			undos = append(undos, step())
		}
		for i := len(undos) - 1; i >= 0; i-- {
			s.revert(undos[i])
		}
		require.Equal(t, len(before.byID), len(s.byID))
		for id, p := range before.byID {
			q := s.byID[id]
			require.Equal(t, p.count, q.count)
			require.Equal(t, p.epoch, q.epoch)
			require.Equal(t, p.timestamp, q.timestamp)
			for i := range p.count {
				require.Equal(t, *p.at(i), *q.at(i))
			}
		}
		require.True(t, slices.Equal(before.open, s.open))
		require.Equal(t, before.firstUnstable(), s.firstUnstable())
		require.Equal(t, before.nextStable(), s.nextStable())
		for id, v := range before.guards {
			require.Equal(t, v.guard, s.guards[id].guard)
		}
		require.Equal(t, snapshot, segment.AppendSnapshot(nil, s.entries()))
		entries, err := segment.ParseSnapshot(snapshot)
		require.NoError(t, err)
		require.Equal(t, s.entries(), restore(entries).entries())
		require.Equal(t, s.firstOpen(), restore(entries).firstOpen())
	})
}

func TestDuplicateAfterRestartIsAnsweredWithItsOffset(t *testing.T) {
	for _, clean := range []bool{true, false} {
		m := vfs.NewMem()
		require.NoError(t, m.MkdirAll("/data", 0o700))
		c := testConfig(m)
		c.Settings.SegmentBytes = 500
		l := open(t, c)
		for i := range 20 {
			r, err := l.Append(makeIdempotent(5, 1, int32(i), 1, "v"), AppendOptions{Durable: true})
			require.NoError(t, err)
			require.Equal(t, Offset(i), r.Base)
		}
		if clean {
			require.NoError(t, l.Close())
			c.Clean, c.CleanEnd = true, 20
		} else {
			l.Abandon()
		}
		l = open(t, c)
		r, err := l.Append(makeIdempotent(5, 1, 19, 1, "v"), AppendOptions{Durable: true})
		require.NoError(t, err)
		require.Equal(t, AppendResult{Base: 19, Last: 19, LogAppendTime: -1, Duplicate: true}, r)
		_, err = l.Append(makeIdempotent(5, 0, 20, 1, "v"), AppendOptions{})
		require.ErrorIs(t, err, ErrInvalidProducerEpoch)
		_, err = l.Append(makeIdempotent(5, 1, 22, 1, "v"), AppendOptions{})
		require.ErrorIs(t, err, ErrOutOfOrderSequence)
		r, err = l.Append(makeIdempotent(5, 1, 20, 1, "v"), AppendOptions{})
		require.NoError(t, err)
		require.Equal(t, Offset(20), r.Base)
	}
}

func TestIdleProducersAreForgotten(t *testing.T) {
	s := &producers{}
	s.apply(sent(1, 0, 0, 1), 0) // at 1000 ms
	open := batch.Batch(makeIdempotent(2, 0, 0, 1, "v"))
	s.apply(open, 1)
	s.byID[2].txnStart = 1
	s.expire(999, false)
	require.Equal(t, 2, s.count())
	s.expire(1000, false)
	require.Equal(t, 1, s.count()) // an open transaction keeps its producer
	d, err := s.check(sent(1, 0, 500, 1), &AppendOptions{})
	require.NoError(t, err)
	require.Nil(t, d)
}
