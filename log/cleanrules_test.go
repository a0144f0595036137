package log

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/compress"
	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// Rules of Apache Kafka's cleaner, one each; what they come to together is in clean_test.go and cleankafka_test.go.

// A topic may have had records without a key before it was compacted.
func TestCleaningDropsRecordsWithoutAKey(t *testing.T) {
	c, _ := compacted(vfs.NewMem())
	l := open(t, c)
	appendN(t, l, 0, 2)
	put(t, l, keyed{"a", "1"}) // 2
	roll(t, l)
	appendN(t, l, 3, 1)
	roll(t, l)
	appendN(t, l, 4, 1) // not in a segment that is cleaned
	r := clean(t, l)
	require.Equal(t, int64(3), r.Invalid)
	require.Equal(t, []string{"2:a=1", "4:=" + valueOf(4)}, contents(t, l))
}

// Neighbours become one segment, named by the first, as long as that has no more than segment.bytes, and room for the indexes.
func TestCleaningMergesSegmentsUpToTheLimits(t *testing.T) {
	for name, test := range map[string]struct {
		change func(s *Settings)
		want   []Offset
	}{
		"all fit":       {func(*Settings) {}, []Offset{0, 8}},
		"two fit":       {func(s *Settings) { s.SegmentBytes = 5 * 80 }, []Offset{0, 4, 8}},
		"index is full": {func(s *Settings) { s.IndexBytes = 2 * 12 }, []Offset{0, 4, 8}}, // each has a time entry of 12 bytes
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := compacted(vfs.NewMem())
			l := open(t, c)
			for i := range 4 {
				for k := range 2 {
					_, err := l.Append(makeKeyed(compress.None, int64(1000+2*i+k), keyed{fmt.Sprintf("k%d", (2*i+k)%7), "0123456789"}), AppendOptions{Durable: true})
					require.NoError(t, err)
				}
				roll(t, l)
			}
			put(t, l, keyed{"active", "1"})
			s := l.Settings()
			test.change(&s)
			require.NoError(t, l.SetSettings(s))
			before := contents(t, l)[1:] // k0 comes again at 7
			clean(t, l)
			require.Equal(t, before, contents(t, l))
			require.Equal(t, test.want, bases(l))
		})
	}
}

// Records without a timestamp are as old as their segment's file.
func TestCompactionLagOfRecordsWithoutATimestampIsThatOfTheirFile(t *testing.T) {
	c, m := compacted(vfs.NewMem())
	c.Settings.MinCompactionLag = time.Hour
	l := open(t, c)
	for range 2 {
		_, err := l.Append(makeKeyed(compress.None, batch.None, keyed{"a", "1"}), AppendOptions{Durable: true})
		require.NoError(t, err)
		roll(t, l)
	}
	require.Zero(t, clean(t, l).Swapped)
	m.Advance(time.Hour - time.Millisecond)
	require.Zero(t, clean(t, l).Swapped)
	m.Advance(time.Millisecond)
	require.Equal(t, 1, clean(t, l).Swapped)
	require.Equal(t, []string{"1:a=1"}, contents(t, l))
}

// A checkpoint that cannot be right costs a cleaning from the beginning.
func TestFirstDirtyOffsetOutsideTheLogIsItsStart(t *testing.T) {
	c, _ := compacted(vfs.NewMem())
	l := open(t, c)
	for i := range 4 {
		put(t, l, keyed{"a", fmt.Sprint(i)})
		roll(t, l)
	}
	for cleaned, want := range map[Offset]Offset{0: 1, 1: 1, 3: 3, 4: 4, 5: 1} {
		c.Cleaned, c.LogStart, c.RecoveryPoint = cleaned, 1, l.RecoveryPoint()
		l.Abandon()
		l = open(t, c)
		d, err := l.Dirty(l.clock.Now())
		require.NoError(t, err)
		require.Equal(t, want, d.FirstDirty, "%d", cleaned)
	}
}

// What comes where something was truncated has not been cleaned, whatever had been there.
func TestTruncationPullsTheFirstDirtyOffsetBack(t *testing.T) {
	c, _ := compacted(vfs.NewMem())
	l := open(t, c)
	for i := range 6 {
		put(t, l, keyed{fmt.Sprint("k", i), "1"})
		if i%2 == 1 {
			roll(t, l)
		}
	}
	l.SetSettings(Settings{Compacted: true, SegmentBytes: 100, IndexInterval: 1}) // nothing is merged
	clean(t, l)
	require.Equal(t, Offset(6), l.Cleaned())
	require.NoError(t, l.TruncateTo(5))
	require.Equal(t, Offset(4), l.Cleaned(), "where the segment begins that is active now")
	put(t, l, keyed{"k4", "2"}) // 5
	roll(t, l)
	clean(t, l)
	require.Equal(t, []string{"0:k0=1", "1:k1=1", "2:k2=1", "3:k3=1", "5:k4=2"}, contents(t, l))
}

// The aborted transactions that a cleaned segment still has records of are in its .txnindex.
func TestCleanedSegmentHasTheAbortedTransactionsOfWhatItKeeps(t *testing.T) {
	m := vfs.NewMem()
	c, _ := compacted(m)
	l := open(t, c)
	a := &txnWriter{t: t, l: l, id: 1}
	put(t, l, keyed{"x", "1"})   // 0
	a.put(keyed{"x", "aborted"}) // 1
	a.end(false)                 // 2
	put(t, l, keyed{"x", "2"})   // 3
	roll(t, l)
	put(t, l, keyed{"y", "1"})
	clean(t, l)
	d := &disk{t: t, fs: m, dir: c.Dir}
	entries, err := segment.ParseTxnIndex(d.read(segment.TxnIndexName(0)), 0)
	require.NoError(t, err)
	require.Equal(t, []segment.AbortedTxn{{ProducerID: 1, FirstOffset: 1, LastOffset: 2, LastStableOffset: 3}}, entries, "the marker is still there")
	require.Equal(t, []string{"3:x=2", "4:y=1"}, committed(t, l))
}

// DeleteRecords and retention take records away, not what is known of the producer who wrote them.
func TestDeletedRecordsLeaveTheirProducersState(t *testing.T) {
	_, c := memConfig(t)
	c.Settings.ProducerExpiry = Unlimited
	l := open(t, c)
	for i := range int32(4) {
		_, err := l.Append(makeIdempotent(5, 1, i, 1, "v"), AppendOptions{Durable: true})
		require.NoError(t, err)
		require.NoError(t, l.Roll())
	}
	_, err := l.DeleteRecords(4)
	require.NoError(t, err)
	s := l.Settings()
	s.RetentionAge = RetainNothing
	require.NoError(t, l.SetSettings(s))
	_, err = l.Retain(l.clock.Now())
	require.NoError(t, err)
	require.Equal(t, l.End(), l.Start())
	_, err = l.Append(makeIdempotent(5, 1, 5, 1, "v"), AppendOptions{})
	require.ErrorIs(t, err, ErrOutOfOrderSequence)
	r, err := l.Append(makeIdempotent(5, 1, 3, 1, "v"), AppendOptions{})
	require.NoError(t, err)
	require.True(t, r.Duplicate)
	_, err = l.Append(makeIdempotent(5, 1, 4, 1, "v"), AppendOptions{})
	require.NoError(t, err)
}
