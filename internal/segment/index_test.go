package segment

import (
	"encoding/binary"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

var small = IndexOptions{Interval: 100, MaxBytes: 1 << 10}

func TestIndexEntriesFollowKafkasInterval(t *testing.T) {
	x := NewIndex(1000, small)
	// Batches of 60 bytes: the counter is above 100 at the third, counted from the
	// last entry's batch on.
	for i := range int64(8) {
		x.AddBatch(60*i, 1000+10*i+9, 5000+i, 60)
	}
	var got [][2]int64
	for i := range x.Offsets.Len() {
		offset, position := x.Offsets.Entry(i)
		got = append(got, [2]int64{offset, position})
	}
	require.Equal(t, [][2]int64{{1029, 120}, {1049, 240}, {1069, 360}}, got)
	timestamp, offset, ok := x.Times.Last()
	require.True(t, ok)
	require.Equal(t, [2]int64{5006, 1069}, [2]int64{timestamp, offset})
	x.Close()
	timestamp, offset, _ = x.Times.Last()
	require.Equal(t, [2]int64{5007, 1079}, [2]int64{timestamp, offset})
	x.Close()
	require.Equal(t, 4, x.Times.Len(), "closing twice adds nothing")
}

func TestIntervalIsExceededNotReached(t *testing.T) {
	x := NewIndex(0, small)
	x.AddBatch(0, 0, 1, 100)
	x.AddBatch(100, 1, 2, 1)
	require.Zero(t, x.Offsets.Len())
	x.AddBatch(101, 2, 3, 1)
	require.Equal(t, 1, x.Offsets.Len())
}

func TestTimeIndexHoldsTheLargestSoFarAndItsOffset(t *testing.T) {
	x := NewIndex(0, IndexOptions{Interval: 0, MaxBytes: 1 << 10})
	for i, timestamp := range []int64{50, 90, 70, 80, 90, 95} {
		x.AddBatch(int64(i)*10+0, int64(i), timestamp, 10)
	}
	var got [][2]int64
	for i := range x.Times.Len() {
		timestamp, offset := x.Times.Entry(i)
		got = append(got, [2]int64{timestamp, offset})
	}
	require.Equal(t, [][2]int64{{90, 1}, {95, 5}}, got)
	timestamp, offset := x.Times.Lookup(94)
	require.Equal(t, [2]int64{90, 1}, [2]int64{timestamp, offset})
	timestamp, offset = x.Times.Lookup(89)
	require.Equal(t, [2]int64{NoTimestamp, 0}, [2]int64{timestamp, offset})
}

func TestBatchesWithoutTimestampGetNoTimeEntry(t *testing.T) {
	x := NewIndex(0, IndexOptions{Interval: 0, MaxBytes: 1 << 10})
	for i := range int64(5) {
		x.AddBatch(i*10, i, NoTimestamp, 10)
	}
	x.Close()
	require.Equal(t, 4, x.Offsets.Len())
	require.Zero(t, x.Times.Len())
}

func TestOneSlotOfTheTimeIndexIsKeptForTheLastEntry(t *testing.T) {
	x := NewIndex(0, IndexOptions{Interval: 0, MaxBytes: 40}) // 5 offset entries, 3 time entries
	for i := range int64(4) {
		require.Equal(t, i == 3, x.Full())
		x.AddBatch(i*10, i, i, 10)
	}
	require.Equal(t, 3, x.Offsets.Len())
	require.False(t, x.Offsets.Full())
	require.Equal(t, 2, x.Times.Len())
	x.Close()
	require.Equal(t, 3, x.Times.Len())
	require.False(t, x.Times.Add(99, 99, true) && x.Times.Len() > 4)
}

func TestOffsetIndexRefusesWhatItCannotHold(t *testing.T) {
	x := NewOffsetIndex(100, 16)
	require.False(t, x.Add(99, 10))
	require.False(t, x.Add(100+MaxRelativeOffset+1, 10))
	require.False(t, x.Add(110, 1<<31))
	require.True(t, x.Add(110, 10))
	require.False(t, x.Add(110, 20))
	require.False(t, x.Add(120, 10))
	require.True(t, x.Add(100+MaxRelativeOffset, MaxRelativeOffset))
	require.True(t, x.Full())
	offset, position := x.Lookup(1 << 40)
	require.Equal(t, [2]int64{100 + MaxRelativeOffset, MaxRelativeOffset}, [2]int64{offset, position})
}

func TestLookupsFindTheGreatestEntryBelow(t *testing.T) {
	x := NewOffsetIndex(100, 1<<20)
	for i := range int64(1000) {
		require.True(t, x.Add(109+10*i, 50+100*i))
	}
	for offset := int64(90); offset < 10_200; offset++ {
		want, wantPosition := int64(100), int64(0)
		if offset >= 109 {
			i := min((offset-109)/10, 999)
			want, wantPosition = 109+10*i, 50+100*i
		}
		entry, position := x.Lookup(offset)
		require.Equal(t, [2]int64{want, wantPosition}, [2]int64{entry, position})
	}
	entry, start := x.LookupPosition(49)
	require.Equal(t, [2]int64{100, 0}, [2]int64{entry, start})
	entry, start = x.LookupPosition(149)
	require.Equal(t, [2]int64{109, 50}, [2]int64{entry, start})
	entry, start = x.LookupPosition(150)
	require.Equal(t, [2]int64{119, 150}, [2]int64{entry, start})
}

func TestTruncatedIndexesGoOnAsIfNothingHadBeenBehind(t *testing.T) {
	x := NewIndex(0, small)
	for i := range int64(20) {
		x.AddBatch(60*i, i, i, 60)
	}
	x.Truncate(10, 600) // before batch 10, which lies at 600
	offset, position, ok := x.Offsets.Last()
	require.True(t, ok)
	require.Equal(t, [2]int64{8, 480}, [2]int64{offset, position})
	timestamp, _ := x.MaxTimestamp()
	require.Equal(t, int64(8), timestamp)
	x.Observe(record(9, 0, 1, 1))
	timestamp, _ = x.MaxTimestamp()
	require.Equal(t, int64(1_700_000_000_009), timestamp)

	y := NewIndex(0, small)
	x.Reset(0, small)
	for i := range int64(20) {
		x.AddBatch(60*i, i, i, 60)
		if i < 10 {
			y.AddBatch(60*i, i, i, 60)
		}
	}
	x.Truncate(10, 600)
	for i := int64(10); i < 40; i++ {
		x.AddBatch(60*i, i, i+100, 60)
		y.AddBatch(60*i, i, i+100, 60)
	}
	require.Equal(t, y.Offsets.AppendTo(nil), x.Offsets.AppendTo(nil))
	require.Equal(t, y.Times.AppendTo(nil), x.Times.AppendTo(nil))
	x.Truncate(0, 0)
	require.Zero(t, x.Offsets.Len())
	require.Zero(t, x.Times.Len())
}

func TestWrittenIndexesLoad(t *testing.T) {
	mem := vfs.NewMem()
	require.NoError(t, mem.MkdirAll("d", 0o700))
	x := NewIndex(7, small)
	for i := range int64(50) {
		x.AddBatch(60*i, 7+i, 1000+i, 60)
	}
	x.Close()
	require.NoError(t, x.Write(mem, "d"))
	y := NewIndex(7, small)
	require.NoError(t, y.Load(mem, "d", 3000, 57))
	require.Equal(t, x.Offsets.AppendTo(nil), y.Offsets.AppendTo(nil))
	require.Equal(t, x.Times.AppendTo(nil), y.Times.AppendTo(nil))
	xt, xo := x.MaxTimestamp()
	yt, yo := y.MaxTimestamp()
	require.Equal(t, [2]int64{xt, xo}, [2]int64{yt, yo})

	// Against a log that was cut they are wrong, and say so.
	for _, end := range [][2]int64{{2000, 57}, {3000, 50}, {0, 7}} {
		_, isCorrupt := asError[*CorruptError](y.Load(mem, "d", end[0], end[1]))
		require.True(t, isCorrupt, end)
		require.Zero(t, y.Offsets.Len()+y.Times.Len())
	}
	require.NoError(t, mem.Remove("d/"+TimeIndexName(7)))
	require.ErrorIs(t, y.Load(mem, "d", 3000, 57), fs.ErrNotExist)
	require.Zero(t, y.Offsets.Len())
}

// Zeros must not parse as entries (dque, iggy, lavinmq).
func TestPreallocatedIndexesEndWhereTheirEntriesDo(t *testing.T) {
	offsets := NewOffsetIndex(0, 1<<20)
	times := NewTimeIndex(0, 1<<20)
	for i := int64(1); i < 9; i++ {
		offsets.Add(i, i*100)
		times.Add(i, i, false)
	}
	loaded := NewOffsetIndex(0, 1<<20)
	require.NoError(t, loaded.Decode(append(offsets.AppendTo(nil), make([]byte, 8000)...), 1000))
	require.Equal(t, offsets.AppendTo(nil), loaded.AppendTo(nil))
	loadedTimes := NewTimeIndex(0, 1<<20)
	require.NoError(t, loadedTimes.Decode(append(times.AppendTo(nil), make([]byte, 12000)...), 1000))
	require.Equal(t, times.AppendTo(nil), loadedTimes.AppendTo(nil))
	require.NoError(t, loaded.Decode(make([]byte, 10<<20), 1000))
	require.Zero(t, loaded.Len())
	require.NoError(t, loadedTimes.Decode(make([]byte, timeEntrySize), 1000))
	require.Equal(t, 1, loadedTimes.Len(), "one batch at time 0")
}

func TestWrongIndexesAreTypedErrors(t *testing.T) {
	offsets := func(entries ...uint32) []byte {
		var b []byte
		for _, e := range entries {
			b = binary.BigEndian.AppendUint32(b, e)
		}
		return b
	}
	x := NewOffsetIndex(0, 1<<20)
	for name, data := range map[string][]byte{
		"length": make([]byte, 9), "cut": offsets(1, 10, 2)[:12], "order": offsets(2, 10, 1, 20), "same": offsets(2, 10, 2, 20),
		"positions": offsets(1, 20, 2, 10), "first at 0": offsets(1, 0), "behind the end": offsets(1, 1000), "negative": offsets(1<<31, 10),
		"hole": offsets(1, 10, 0, 0, 2, 20),
	} {
		_, ok := asError[*CorruptError](x.Decode(data, 1000))
		require.True(t, ok, name)
		require.Zero(t, x.Len())
	}
	times := NewTimeIndex(0, 1<<20)
	for name, data := range map[string][]byte{
		"length": make([]byte, 13), "time order": offsets(0, 5, 1, 0, 4, 2), "same time": offsets(0, 5, 1, 0, 5, 2),
		"offset order": offsets(0, 5, 2, 0, 6, 1), "behind the end": offsets(0, 5, 1000), "negative time": offsets(1<<31, 5, 1),
		"negative offset": offsets(0, 5, 1<<31), "hole": offsets(0, 5, 1, 0, 0, 0, 0, 6, 2),
	} {
		_, ok := asError[*CorruptError](times.Decode(data, 1000))
		require.True(t, ok, name)
		require.Zero(t, times.Len())
	}
}

func TestLookupsRunBesideTheWriter(t *testing.T) {
	x := NewIndex(0, IndexOptions{Interval: 0, MaxBytes: 1 << 20})
	done := make(chan struct{})
	var readers sync.WaitGroup
	for seed := range uint64(3) {
		readers.Go(func() {
			r := rand.New(rand.NewPCG(seed, 1))
			for {
				select {
				case <-done:
					return
				default:
				}
				target := r.Int64N(2000)
				offset, position := x.Offsets.Lookup(target)
				if offset > target || position != offset*10 {
					t.Errorf("entry (%d, %d) for %d", offset, position, target)
				}
				if timestamp, offset := x.Times.Lookup(target); timestamp > target || timestamp >= 0 && timestamp != offset {
					t.Errorf("entry (%d, %d) for %d", timestamp, offset, target)
				}
			}
		})
	}
	for range 20 {
		for i := range int64(2000) {
			x.AddBatch(i*10, i, i, 10)
		}
		x.Truncate(1000, 10_000)
		for i := int64(1000); i < 2000; i++ {
			x.AddBatch(i*10, i, i, 10)
		}
		x.Truncate(0, 0)
	}
	close(done)
	readers.Wait()
}

func TestAnEmptyIndexHoldsNoMemoryAndAddingAllocatesRarely(t *testing.T) {
	require.LessOrEqual(t, testing.AllocsPerRun(10, func() { NewIndex(0, small) }), 1.0)
	x := NewIndex(0, IndexOptions{Interval: 0, MaxBytes: 1 << 20})
	i := int64(0)
	require.Zero(t, testing.AllocsPerRun(10_000, func() {
		x.AddBatch(i*10, i, i, 10)
		i++
	}))
}

func FuzzIndexDecode(f *testing.F) {
	for path, base := range goldenLogs(f) {
		f.Add(golden(f, path[:len(path)-4]+indexSuffix), base)
		f.Add(golden(f, path[:len(path)-4]+timeIndexSuffix), base)
	}
	f.Fuzz(func(t *testing.T, data []byte, base int64) {
		base &= 1 << 40
		x := NewOffsetIndex(base, 1<<20)
		if err := x.Decode(data, 1<<30); err != nil {
			corruptOrNewer(t, err)
			require.Zero(t, x.Len())
		} else {
			again := x.AppendTo(nil)
			require.Equal(t, data[:len(again)], slices.Clip(append([]byte{}, again...)))
			require.True(t, isZero(data[len(again):]))
			for i := range x.Len() {
				offset, position := x.Entry(i)
				entry, found := x.Lookup(offset)
				require.Equal(t, [2]int64{offset, position}, [2]int64{entry, found})
			}
		}
		y := NewTimeIndex(base, 1<<20)
		if err := y.Decode(data, 1<<62); err != nil {
			corruptOrNewer(t, err)
			require.Zero(t, y.Len())
		} else {
			again := y.AppendTo(nil)
			require.Equal(t, data[:len(again)], append([]byte{}, again...))
			require.True(t, isZero(data[len(again):]))
		}
	})
}

func BenchmarkIndexAdd(b *testing.B) {
	x := NewIndex(0, IndexOptions{Interval: 4096, MaxBytes: 10 << 20})
	i := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		x.AddBatch(i*170, i, i, 170)
		i++
	}
}

func BenchmarkIndexLookup(b *testing.B) {
	x := NewOffsetIndex(0, 10<<20)
	for i := int64(1); i < 250_000; i++ {
		x.Add(i*24, i*4096)
	}
	i := int64(0)
	for b.Loop() {
		i = (i + 1_234_567) % 6_000_000
		x.Lookup(i)
	}
}
