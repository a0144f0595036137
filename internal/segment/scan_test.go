package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
)

// scanned is what a scan of data, a segment from base on, visits and returns.
func scanned(t testing.TB, data []byte, base int64, o ScanOptions) ([]batch.Batch, ScanResult) {
	var batches []batch.Batch
	end := int64(0)
	next := base
	result, err := Scan(bytes.NewReader(data), 0, int64(len(data)), base, o, func(position int64, b batch.Batch) error {
		require.NoError(t, b.CheckCRC())
		require.Equal(t, data[position:position+int64(len(b))], []byte(b))
		require.GreaterOrEqual(t, position, end)
		require.GreaterOrEqual(t, b.BaseOffset(), next)
		end, next = position+int64(len(b)), b.NextOffset()
		batches = append(batches, slices.Clone(b))
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, end, result.End)
	require.Equal(t, next, result.Next)
	require.Equal(t, int64(len(batches)), result.Batches)

	// Every byte is in a batch or in a range of damage, and in one only.
	total := result.Bytes
	at := int64(0)
	for i, d := range result.Damage {
		require.GreaterOrEqual(t, d.Position, at)
		require.GreaterOrEqual(t, d.NextPosition, d.Position)
		require.LessOrEqual(t, d.Zeroed, d.NextPosition-d.Position)
		require.Error(t, d.Err)
		require.Equal(t, d.Kind != CorruptMiddle, i == len(result.Damage)-1 && result.Kind != CleanEnd)
		total += d.NextPosition - d.Position
		at = d.NextPosition
	}
	require.Equal(t, int64(len(data)), total)
	return batches, result
}

// five are batches 100, 110, ..., 140 of ten records each, some 700 bytes long,
// and the positions at which they begin, with the end as a sixth.
func five() (batches []batch.Batch, positions []int64) {
	positions = []int64{0}
	for i := range int64(5) {
		b := record(100+10*i, 3, 10, 600)
		batches = append(batches, b)
		positions = append(positions, positions[i]+int64(len(b)))
	}
	return batches, positions
}

func join(parts ...any) []byte {
	var data []byte
	for _, p := range parts {
		switch p := p.(type) {
		case []batch.Batch:
			for _, b := range p {
				data = append(data, b...)
			}
		case batch.Batch:
			data = append(data, p...)
		case []byte:
			data = append(data, p...)
		}
	}
	return data
}

func modified(b batch.Batch, f func(batch.Batch)) batch.Batch {
	b = slices.Clone(b)
	f(b)
	return b
}

func TestScanClassifiesWhatItFinds(t *testing.T) {
	b, at := five()
	end := at[5]
	flip := func(i int) func(batch.Batch) { return func(b batch.Batch) { b[i] ^= 0x10 } }
	zeros := make([]byte, 3000)
	garbage := bytes.Repeat([]byte{0xa7, 2, 0x91}, 500)

	// A value that holds two batches which would continue the log, were they not
	// in a value.
	var nested batch.Builder
	nested.Reset(nil, batch.Options{})
	nested.Append(1, nil, join(record(150, 3, 1, 50), record(151, 3, 1, 50)), nil)
	built, err := nested.Finish()
	require.NoError(t, err)
	outer := modified(built, func(b batch.Batch) { b.SetBaseOffset(150); b.SetLeaderEpoch(3) })

	type damage struct {
		kind         ScanKind
		from, to     int64
		offset, next int64
	}
	for _, test := range []struct {
		name    string
		data    []byte
		options ScanOptions
		offsets []int64 // base offsets of the batches that are visited
		kind    ScanKind
		damage  []damage
	}{
		{"empty file", nil, ScanOptions{}, nil, CleanEnd, nil},
		{"clean", join(b), ScanOptions{}, []int64{100, 110, 120, 130, 140}, CleanEnd, nil},
		{"zeros only", zeros, ScanOptions{}, nil, ZeroTail, []damage{{ZeroTail, 0, 3000, 100, -1}}},
		{"fewer zeros than a header", join(b, zeros[:7]), ScanOptions{}, []int64{100, 110, 120, 130, 140}, ZeroTail,
			[]damage{{ZeroTail, end, end + 7, 150, -1}}},
		{"preallocated", join(b, zeros), ScanOptions{}, []int64{100, 110, 120, 130, 140}, ZeroTail,
			[]damage{{ZeroTail, end, end + 3000, 150, -1}}},
		{"torn in the header", join(b[:4], b[4][:30]), ScanOptions{}, []int64{100, 110, 120, 130}, TornTail,
			[]damage{{TornTail, at[4], at[4] + 30, 140, -1}}},
		{"torn in the records", join(b[:4], b[4][:300]), ScanOptions{}, []int64{100, 110, 120, 130}, TornTail,
			[]damage{{TornTail, at[4], at[4] + 300, 140, -1}}},
		{"torn before zeros", join(b[:4], b[4][:300], zeros), ScanOptions{}, []int64{100, 110, 120, 130}, TornTail,
			[]damage{{TornTail, at[4], at[4] + 3300, 140, -1}}},
		{"header lost, records kept", join(b[:4], zeros[:61], b[4][61:], zeros), ScanOptions{}, []int64{100, 110, 120, 130}, TornTail,
			[]damage{{TornTail, at[4], end + 3000, 140, -1}}},
		{"last batch flipped", join(b[:4], modified(b[4], flip(100))), ScanOptions{}, []int64{100, 110, 120, 130}, TornTail,
			[]damage{{TornTail, at[4], end, 140, -1}}},
		{"garbage", join(b, garbage), ScanOptions{}, []int64{100, 110, 120, 130, 140}, TornTail,
			[]damage{{TornTail, end, end + 1500, 150, -1}}},
		{"garbage only", garbage, ScanOptions{}, nil, TornTail, []damage{{TornTail, 0, 1500, 100, -1}}},
		{"torn batch whose value holds batches", join(b, outer[:len(outer)-1]), ScanOptions{}, []int64{100, 110, 120, 130, 140}, TornTail,
			[]damage{{TornTail, end, end + int64(len(outer)) - 1, 150, -1}}},
		{"flipped batch whose value holds batches", join(b, modified(outer, flip(20)), zeros), ScanOptions{}, []int64{100, 110, 120, 130, 140}, TornTail,
			[]damage{{TornTail, end, end + int64(len(outer)) + 3000, 150, -1}}},

		{"middle flipped in the records", join(b[:2], modified(b[2], flip(300)), b[3:]), ScanOptions{}, []int64{100, 110, 130, 140}, CleanEnd,
			[]damage{{CorruptMiddle, at[2], at[3], 120, 130}}},
		{"first flipped in the checksum", join(modified(b[0], flip(18)), b[1:]), ScanOptions{}, []int64{110, 120, 130, 140}, CleanEnd,
			[]damage{{CorruptMiddle, 0, at[1], 100, 110}}},
		{"middle flipped in the base offset", join(b[:2], modified(b[2], flip(7)), b[3:]), ScanOptions{}, []int64{100, 110, 130, 140}, CleanEnd,
			[]damage{{CorruptMiddle, at[2], at[3], 120, 130}}},
		{"middle flipped in the epoch, lower", join(b[:2], modified(b[2], func(b batch.Batch) { b.SetLeaderEpoch(2) }), b[3:]), ScanOptions{},
			[]int64{100, 110, 130, 140}, CleanEnd, []damage{{CorruptMiddle, at[2], at[3], 120, 130}}},
		{"middle flipped in the epoch, higher", join(b[:2], modified(b[2], func(b batch.Batch) { b.SetLeaderEpoch(7) }), b[3:]), ScanOptions{},
			[]int64{100, 110, 130, 140}, CleanEnd, []damage{{CorruptMiddle, at[2], at[3], 120, 130}}},
		{"first flipped in the epoch, higher", join(modified(b[0], func(b batch.Batch) { b.SetLeaderEpoch(7) }), b[1:]), ScanOptions{},
			[]int64{110, 120, 130, 140}, CleanEnd, []damage{{CorruptMiddle, 0, at[1], 100, 110}}},
		{"middle flipped in the length, higher", join(b[:2], modified(b[2], flip(8)), b[3:]), ScanOptions{}, []int64{100, 110, 130, 140}, CleanEnd,
			[]damage{{CorruptMiddle, at[2], at[3], 120, 130}}},
		{"middle flipped in the length, lower", join(b[:2], modified(b[2], func(b batch.Batch) { b[10] = 0 }), b[3:]), ScanOptions{},
			[]int64{100, 110, 130, 140}, CleanEnd, []damage{{CorruptMiddle, at[2], at[3], 120, 130}}},
		{"middle flipped in the magic", join(b[:2], modified(b[2], flip(16)), b[3:]), ScanOptions{}, []int64{100, 110, 130, 140}, CleanEnd,
			[]damage{{CorruptMiddle, at[2], at[3], 120, 130}}},
		{"middle zeroed", join(b[:2], zeros[:len(b[2])], b[3:]), ScanOptions{}, []int64{100, 110, 130, 140}, CleanEnd,
			[]damage{{CorruptMiddle, at[2], at[3], 120, 130}}},
		{"header zeroed", join(b[:2], zeros[:61], b[2][61:], b[3:]), ScanOptions{}, []int64{100, 110, 130, 140}, CleanEnd,
			[]damage{{CorruptMiddle, at[2], at[3], 120, 130}}},
		{"two batches garbage", join(b[:1], garbage[:at[3]-at[1]], b[3:]), ScanOptions{}, []int64{100, 130, 140}, CleanEnd,
			[]damage{{CorruptMiddle, at[1], at[3], 110, 130}}},
		{"two places", join(modified(b[0], flip(99)), b[1:3], modified(b[3], flip(30)), b[4]), ScanOptions{}, []int64{110, 120, 140}, CleanEnd,
			[]damage{{CorruptMiddle, 0, at[1], 100, 110}, {CorruptMiddle, at[3], at[4], 130, 140}}},
		{"middle and tail", join(b[:1], modified(b[1], flip(99)), b[2:4], b[4][:200]), ScanOptions{}, []int64{100, 120, 130}, TornTail,
			[]damage{{CorruptMiddle, at[1], at[2], 110, 120}, {TornTail, at[4], at[4] + 200, 140, -1}}},
		{"middle before zeros", join(b[:1], modified(b[1], flip(99)), b[2:], zeros), ScanOptions{}, []int64{100, 120, 130, 140}, ZeroTail,
			[]damage{{CorruptMiddle, at[1], at[2], 110, 120}, {ZeroTail, end, end + 3000, 150, -1}}},
		{"batch missing", join(b[:2], b[3:]), ScanOptions{}, []int64{100, 110, 130, 140}, CleanEnd,
			[]damage{{CorruptMiddle, at[2], at[2], 120, 130}}},
		{"batch missing, compacted", join(b[:2], b[3:]), ScanOptions{Compacted: true}, []int64{100, 110, 130, 140}, CleanEnd, nil},
		{"base offset too high, compacted", join(b[:2], modified(b[2], func(b batch.Batch) { b.SetBaseOffset(124) }), b[3:]), ScanOptions{Compacted: true},
			[]int64{100, 110, 130, 140}, CleanEnd, []damage{{CorruptMiddle, at[2], at[3], 120, 130}}},
		{"flipped after a gap, compacted", join(b[:1], modified(b[2], flip(99)), b[3:]), ScanOptions{Compacted: true},
			[]int64{100, 130, 140}, CleanEnd, []damage{{CorruptMiddle, at[1], at[1] + int64(len(b[2])), 110, 130}}},

		{"stale: the same again", join(b, b), ScanOptions{}, []int64{100, 110, 120, 130, 140}, StaleTail,
			[]damage{{StaleTail, end, 2 * end, 150, -1}}},
		{"stale: older offsets", join(b[:4], record(90, 3, 10, 600)), ScanOptions{}, []int64{100, 110, 120, 130}, StaleTail,
			[]damage{{StaleTail, at[4], at[4] + int64(len(record(90, 3, 10, 600))), 140, -1}}},
		{"stale: an older epoch that continues the offsets", join(b[:3], record(130, 2, 10, 600), record(140, 2, 10, 600)), ScanOptions{},
			[]int64{100, 110, 120}, StaleTail, []damage{{StaleTail, at[3], end, 130, -1}}},
		{"stale: an older epoch behind a new one that is known", join(b[:3], record(130, 4, 10, 600), record(140, 3, 10, 600)),
			ScanOptions{Epochs: &Epochs{entries: []EpochStart{{3, 100}, {4, 130}}}}, []int64{100, 110, 120, 130}, StaleTail,
			[]damage{{StaleTail, at[4], end, 140, -1}}},
		{"stale: last batch too high", join(b[:3], b[4]), ScanOptions{}, []int64{100, 110, 120}, StaleTail,
			[]damage{{StaleTail, at[3], at[4], 130, -1}}},
		{"stale: epoch above the highest", join(b[:4], modified(b[4], func(b batch.Batch) { b.SetLeaderEpoch(1 << 20) })), ScanOptions{MaxLeaderEpoch: 5},
			[]int64{100, 110, 120, 130}, StaleTail, []damage{{StaleTail, at[4], end, 140, -1}}},
		{"stale: another segment under this name", join(b), ScanOptions{Next: 100, LeaderEpoch: 4}, nil, StaleTail,
			[]damage{{StaleTail, 0, end, 100, -1}}},
		{"stale and torn", join(b, b[0], b[1][:99]), ScanOptions{}, []int64{100, 110, 120, 130, 140}, StaleTail,
			[]damage{{StaleTail, end, end + at[1] + 99, 150, -1}}},
		{"stale, then the log goes on", join(b[:4], b[1], b[4], record(150, 3, 1, 10)), ScanOptions{}, []int64{100, 110, 120, 130, 140, 150}, CleanEnd,
			[]damage{{CorruptMiddle, at[4], at[4] + int64(len(b[1])), 140, 140}}},
		{"epochs rise", join(b[:2], record(120, 4, 10, 600), record(130, 9, 10, 600)), ScanOptions{}, []int64{100, 110, 120, 130}, CleanEnd, nil},

		{"magic 1", join(b, legacyMessage()), ScanOptions{}, []int64{100, 110, 120, 130, 140}, ForeignTail,
			[]damage{{ForeignTail, end, end + int64(len(legacyMessage())), 150, -1}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			batches, result := scanned(t, test.data, 100, test.options)
			var offsets []int64
			for _, b := range batches {
				offsets = append(offsets, b.BaseOffset())
			}
			require.Equal(t, test.offsets, offsets)
			require.Equal(t, test.kind.String(), result.Kind.String())
			var found []damage
			for _, d := range result.Damage {
				found = append(found, damage{d.Kind, d.Position, d.NextPosition, d.Offset, d.NextOffset})
			}
			require.Equal(t, test.damage, found)
			require.Equal(t, test.kind != CleanEnd, result.Tail() != nil)
		})
	}
}

func legacyMessage() []byte {
	m := make([]byte, 40)
	binary.BigEndian.PutUint64(m, 150)
	binary.BigEndian.PutUint32(m[8:], 28)
	m[16] = 1
	copy(m[26:], "something old")
	binary.BigEndian.PutUint32(m[12:], crc32.ChecksumIEEE(m[16:]))
	return m
}

// Redpanda took a batch whose checksum happened to be 0 for the end of the log.
func TestABatchWithChecksumZeroIsValidAndZerosAreNot(t *testing.T) {
	// CRC-32C is linear, so some value of the last four bytes makes it 0.
	b := record(0, 0, 1, 200)
	tail := len(b) - 5 // before the record's count of headers
	for i := range 32 {
		b[tail-i/8] &^= 1 << (i % 8)
	}
	covered := func() uint32 { return crc32.Checksum(b[batchCovered:], castagnoli) }
	zero := covered()
	var effect, bits [32]uint32
	for i := range 32 {
		b[tail-i/8] ^= 1 << (i % 8)
		effect[i], bits[i] = covered()^zero, 1<<i
		b[tail-i/8] ^= 1 << (i % 8)
	}
	var solution uint32
	for bit := range 32 { // Gauss: make effect[bit] the one with that bit
		pivot := slices.IndexFunc(effect[bit:], func(e uint32) bool { return e>>bit&1 == 1 }) + bit
		effect[bit], effect[pivot], bits[bit], bits[pivot] = effect[pivot], effect[bit], bits[pivot], bits[bit]
		for i := range 32 {
			if i != bit && effect[i]>>bit&1 == 1 {
				effect[i], bits[i] = effect[i]^effect[bit], bits[i]^bits[bit]
			}
		}
	}
	for bit := range 32 {
		if zero>>bit&1 == 1 {
			solution ^= bits[bit]
		}
	}
	for i := range 32 {
		b[tail-i/8] |= byte(solution>>i&1) << (i % 8)
	}
	b.UpdateCRC()
	require.Zero(t, b.CRC())
	batches, result := scanned(t, join(b, record(1, 0, 1, 10)), 0, ScanOptions{})
	require.Len(t, batches, 2)
	require.True(t, result.Clean())
}

// Off by one in a verification: every bit that can flip is noticed, costs no
// other batch, and never makes a wrong record.
func TestEveryFlippedBitCostsAtMostItsBatch(t *testing.T) {
	b, at := five()
	clean := join(b)
	for i := range clean {
		for bit := range 8 {
			data := slices.Clone(clean)
			data[i] ^= 1 << bit
			batches, result := scanned(t, data, 100, ScanOptions{LeaderEpoch: 3, MaxLeaderEpoch: 3})
			victim := 0
			for int64(i) >= at[victim+1] {
				victim++
			}
			require.Equal(t, slices.Delete(slices.Clone(b), victim, victim+1), batches, "byte %d bit %d", i, bit)
			require.Len(t, result.Damage, 1)
			require.Equal(t, at[victim], result.Damage[0].Position)
			require.Equal(t, at[victim+1], result.Damage[0].NextPosition)
			require.Equal(t, victim == 4, result.Kind != CleanEnd)
		}
	}
}

func TestEveryCutLeavesTheWholeBatchesBeforeIt(t *testing.T) {
	b, at := five()
	clean := join(b)
	for n := range clean {
		batches, result := scanned(t, clean[:n], 100, ScanOptions{})
		whole := 0
		for at[whole+1] <= int64(n) {
			whole++
		}
		require.Equal(t, append([]batch.Batch(nil), b[:whole]...), batches)
		if int64(n) == at[whole] {
			require.True(t, result.Clean())
		} else {
			// The first bytes of a base offset are zero.
			require.Equal(t, int64(n) < at[whole]+8, result.Kind == ZeroTail)
			require.Equal(t, int64(n) >= at[whole]+8, result.Kind == TornTail)
		}
	}
}

func TestSectorsLostInTheMiddleAreCountedAsZeroed(t *testing.T) {
	var data []byte
	for i := range int64(40) {
		data = append(data, record(i, 0, 1, 700)...)
	}
	clear(data[8192:12288])
	batches, result := scanned(t, data, 0, ScanOptions{})
	require.Len(t, result.Damage, 1)
	require.Equal(t, CorruptMiddle, result.Damage[0].Kind)
	require.GreaterOrEqual(t, result.Damage[0].Zeroed, int64(4096))
	require.Greater(t, len(batches), 30)
}

func TestScanFromTheMiddleExpectsTheGivenOffset(t *testing.T) {
	b, at := five()
	data := join(b)
	var offsets []int64
	visit := func(_ int64, b batch.Batch) error { offsets = append(offsets, b.BaseOffset()); return nil }
	result, err := Scan(bytes.NewReader(data), at[3], at[5], 100, ScanOptions{Next: 130, LeaderEpoch: 3}, visit)
	require.NoError(t, err)
	require.True(t, result.Clean())
	require.Equal(t, []int64{130, 140}, offsets)
	require.Equal(t, int64(150), result.Next)
	require.Equal(t, int32(3), result.LeaderEpoch)
}

// Batches larger than the window, larger than what is believed of a length
// field, and those that straddle its end.
func TestBatchesOfAnySizeAreScanned(t *testing.T) {
	var b []batch.Batch
	next := int64(0)
	for _, size := range []int{100, windowSize - 100, 10, windowSize, windowSize + 1, 3*windowSize + 7, 50, windowLimit + 5, 1, 300_000, 300_000, 300_000, 300_000, 300_000} {
		b = append(b, record(next, 0, 1, size))
		next++
	}
	data := join(b)
	batches, result := scanned(t, data, 0, ScanOptions{})
	require.True(t, result.Clean())
	require.Equal(t, b, batches)

	// The same with the large one damaged at its end: nothing is lost but it.
	position := int64(len(join(b[:8])))
	data[position-1] ^= 1
	batches, result = scanned(t, data, 0, ScanOptions{})
	require.Equal(t, slices.Delete(slices.Clone(b), 7, 8), batches)
	require.Len(t, result.Damage, 1)
	require.Equal(t, position, result.Damage[0].NextPosition)
}

func TestSearchForTheNextBatchIsBounded(t *testing.T) {
	// Every 61 bytes a plausible header that claims all the rest of the file.
	data := make([]byte, 4<<20)
	rand := uint32(1)
	for i := range data {
		rand = rand*1664525 + 1013904223
		data[i] = byte(rand >> 24)
	}
	for i := 0; i+batch.HeaderSize <= len(data); i += batch.HeaderSize {
		h := batch.Batch(data[i:])
		copy(h, make([]byte, batch.HeaderSize))
		h.SetBaseOffset(1000)
		binary.BigEndian.PutUint32(h[batchLength:], uint32(len(data)-i-batch.FrameSize))
		h[batchMagic] = magic2
		h[batchCRC] = 1
	}
	data[0] = 0xff
	reader := &countingReader{Reader: bytes.NewReader(data)}
	result, err := Scan(reader, 0, int64(len(data)), 0, ScanOptions{}, func(int64, batch.Batch) error { return nil })
	require.NoError(t, err)
	require.Equal(t, TornTail, result.Kind)
	require.ErrorIs(t, result.Damage[0].Err, ErrSearchLimit)
	require.Less(t, reader.n, int64(30*len(data)))
}

type countingReader struct {
	*bytes.Reader
	n int64
}

func (r *countingReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.Reader.ReadAt(p, off)
	r.n += int64(n)
	return n, err
}

func TestScanReturnsWhatTheVisitorAndTheDiskSay(t *testing.T) {
	b, at := five()
	data := join(b)
	stop := errors.New("enough")
	n := 0
	result, err := Scan(bytes.NewReader(data), 0, at[5], 100, ScanOptions{}, func(int64, batch.Batch) error {
		if n++; n == 3 {
			return stop
		}
		return nil
	})
	require.ErrorIs(t, err, stop)
	require.Equal(t, at[2], result.End)

	_, err = Scan(bytes.NewReader(data), 0, at[5]+100, 100, ScanOptions{}, func(int64, batch.Batch) error { return nil })
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestScanAllocatesNothingPerBatch(t *testing.T) {
	var data, holes []byte
	for i := range int64(2000) {
		data = append(data, record(i, 0, 1, 10)...)
		holes = append(holes, record(2*i, 0, 1, 10)...)
	}
	for name, o := range map[string]ScanOptions{"dense": {}, "compacted": {Compacted: true}} {
		reader := bytes.NewReader(data)
		if o.Compacted {
			reader = bytes.NewReader(holes)
		}
		n := testing.AllocsPerRun(10, func() {
			result, err := Scan(reader, 0, reader.Size(), 0, o, func(int64, batch.Batch) error { return nil })
			if err != nil || result.Batches != 2000 {
				t.Error(err, result)
			}
		})
		require.LessOrEqual(t, n, 5.0, name)
	}
}

func FuzzScan(f *testing.F) {
	b, _ := five()
	f.Add(join(b), false)
	f.Add(join(b[:2], b[3:]), true)
	f.Add(join(b, make([]byte, 100)), false)
	f.Add(join(b[:2], b[2][:100], b[3:]), false)
	f.Add(join(b, b), false)
	f.Add(legacyMessage(), false)
	f.Add(golden(f, "testdata/golden-txn-0/00000000000000000000.log"), false)
	f.Fuzz(func(t *testing.T, data []byte, compacted bool) {
		o := ScanOptions{Compacted: compacted}
		batches, result := scanned(t, data, 100, o)

		// What comes before the tail is what a scan finds when the tail is cut.
		again, second := scanned(t, data[:result.End], 100, o)
		require.Equal(t, len(batches), len(again))
		for i := range batches {
			require.Equal(t, batches[i], again[i])
		}
		require.Equal(t, CleanEnd, second.Kind)
		require.Equal(t, result.End, second.End)
		require.Equal(t, result.Next, second.Next)
	})
}

func benchmarkScan(b *testing.B, size int) {
	var data []byte
	for next := int64(0); len(data) < 64<<20; next++ {
		data = append(data, record(next, 0, 1, size)...)
	}
	length := len(record(0, 0, 1, size))
	path := b.TempDir() + "/" + LogName(0)
	writeFile(b, path, data)
	file := openFile(b, path)
	b.Run("scan", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			result, err := Scan(file, 0, int64(len(data)), 0, ScanOptions{}, func(int64, batch.Batch) error { return nil })
			if err != nil || !result.Clean() {
				b.Fatal(err, result)
			}
		}
	})
	// The physical limit: the same bytes read, and the checksum of each batch,
	// whose place is known.
	b.Run("raw", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		buf := make([]byte, windowSize+length)
		for b.Loop() {
			for position := int64(0); position < int64(len(data)); position += windowSize {
				n, err := file.ReadAt(buf, position)
				if err != nil && err != io.EOF {
					b.Fatal(err)
				}
				for p := 0; p < windowSize && p+length <= n; p += length {
					crc32.Checksum(buf[p+batchCovered:p+length], castagnoli)
				}
			}
		}
	})
	// The same bytes read, and one checksum over each read: what no format with
	// batches can reach.
	b.Run("blocks", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		buf := make([]byte, windowSize)
		for b.Loop() {
			for position := int64(0); position < int64(len(data)); position += windowSize {
				n, err := file.ReadAt(buf, position)
				if err != nil && err != io.EOF {
					b.Fatal(err)
				}
				crc32.Checksum(buf[:n], castagnoli)
			}
		}
	})
}

func BenchmarkScan100B(b *testing.B)  { benchmarkScan(b, 100) }
func BenchmarkScan1KiB(b *testing.B)  { benchmarkScan(b, 1<<10) }
func BenchmarkScan16KiB(b *testing.B) { benchmarkScan(b, 16<<10) }
func BenchmarkScan1MiB(b *testing.B)  { benchmarkScan(b, 1<<20) }
