package log

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/mmap"
)

func TestLeasesAreCountedWithTheirAge(t *testing.T) {
	_, c := memConfig(t)
	clk := clock.NewManual(epoch)
	c.Clock = clk
	l := open(t, c)
	appendN(t, l, 0, 10)
	first, err := l.Read(0, 100, 1)
	require.NoError(t, err)
	clk.Advance(time.Minute)
	second, err := l.Read(1, 100, 1)
	require.NoError(t, err)
	copied := first
	require.Equal(t, LeaseStats{Count: 2, OldestAge: time.Minute}, l.Leases())
	first.Release()
	require.Nil(t, first.Bytes)
	require.Equal(t, LeaseStats{Count: 1}, l.Leases())
	third, err := l.Read(2, 100, 1) // takes the spent lease again
	require.NoError(t, err)
	copied.Release() // of an earlier turn: nothing happens
	first.Release()
	require.Equal(t, 2, l.Leases().Count)
	second.Release()
	third.Release()
	require.Zero(t, l.Leases())
	var zero View
	zero.Release()
}

func TestViewOutlivesItsSegmentAndItsLog(t *testing.T) {
	_, c := memConfig(t)
	c.Maps = mmap.NewBudget(10)
	c.Settings.SegmentBytes = 3 * batchSize
	l := open(t, c)
	appendN(t, l, 0, 10)
	v, err := l.Read(0, 100, 1000)
	require.NoError(t, err)
	want := string(v.Bytes)
	_, err = l.DeleteRecords(10)
	require.NoError(t, err)
	require.Equal(t, 1, c.Maps.InUse()) // unlinked now, unmapped at zero
	require.NoError(t, l.Close())
	require.Equal(t, want, string(v.Bytes))
	v.Release()
	require.Zero(t, c.Maps.InUse())
}

func TestReadsBorrowAndCopyTheSameWithoutAllocation(t *testing.T) {
	_, c := memConfig(t)
	l := open(t, c)
	appendN(t, l, 0, 500)
	buf := make([]byte, 0, 1<<20)
	var from Offset
	allocs := testing.AllocsPerRun(200, func() {
		v, err := l.Read(from, 1000, 200)
		if err != nil {
			t.Fatal(err)
		}
		copied, next, err := l.ReadInto(buf[:0], from, 1000, 200)
		if err != nil || next != v.Next || string(copied) != string(v.Bytes) {
			t.Fatalf("copied %d, borrowed %d bytes: %v", len(copied), len(v.Bytes), err)
		}
		if from = v.Next; from == 500 {
			from = 0
		}
		v.Release()
	})
	require.Zero(t, allocs)
}

func TestAppendDoesNotAllocate(t *testing.T) {
	_, c := memConfig(t)
	c.Settings.Sync = SyncNever
	l := open(t, c)
	appendN(t, l, 0, 10)
	b := make1(1000, 1, "v")
	allocs := testing.AllocsPerRun(200, func() {
		clear(b[:8])
		if _, err := l.Append(b, AppendOptions{Durable: true}); err != nil {
			t.Fatal(err)
		}
	})
	require.Zero(t, allocs)
}

func TestReadStopsAtItsLimits(t *testing.T) {
	_, c := memConfig(t)
	c.Settings.SegmentBytes = 5 * batchSize
	c.Settings.IndexInterval = batchSize
	l := open(t, c)
	for range 12 { // batches of two records
		_, err := l.Append(make1(1000, 2, "v"), AppendOptions{})
		require.NoError(t, err)
	}
	size := len(make1(1000, 2, "v"))
	for _, tc := range []struct {
		from, limit Offset
		maxBytes    int
		base, next  Offset // of what is read
	}{
		{0, 100, 1, 0, 2},
		{1, 100, 1, 0, 2}, // the batch that holds from, whole
		{0, 100, 2*size - 1, 0, 2},
		{0, 100, 2 * size, 0, 4},
		{0, 4, 100 * size, 0, 4},
		{0, 5, 100 * size, 0, 4}, // only whole batches below limit
		{2, 3, 100 * size, 2, 2}, // nothing
		{22, 24, 100, 22, 24},
		{24, 100, 100, 24, 24}, // at the end
	} {
		v, err := l.Read(tc.from, tc.limit, tc.maxBytes)
		require.NoError(t, err)
		require.Equal(t, tc.next, v.Next, "%+v", tc)
		require.Len(t, v.Bytes, int(tc.next-tc.base)/2*size, "%+v", tc)
		v.Release()
	}
}
