package batch

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/compress"
)

var codecs = []compress.Codec{compress.None, compress.Gzip, compress.Snappy, compress.LZ4, compress.Zstd}

// withHeaders makes a batch of 50 records with two headers each.
func withHeaders(t testing.TB, codec compress.Codec) Batch {
	var w Builder
	w.Reset(nil, Options{Codec: codec})
	for i := range int64(50) {
		w.Append(goldenTime+i*1000, []byte("key"), bytes.Repeat([]byte("v"), 100),
			[]Header{{Key: "trace", Value: fmt.Appendf(nil, "%d", i)}, {Key: "none"}})
	}
	b, err := w.Finish()
	require.NoError(t, err)
	return b
}

func TestAKeptIteratorAllocatesNothing(t *testing.T) {
	for _, codec := range codecs {
		if raceEnabled && codec != compress.None {
			continue
		}
		b := withHeaders(t, codec)
		var it Iterator
		n := 0
		allocs := testing.AllocsPerRun(200, func() {
			for b.Iterate(&it, DefaultMaxBytes); it.Next(); n++ {
			}
		})
		require.NoError(t, it.Err())
		require.Equal(t, 201*50, n)
		// A pool may lose its contents to the collector now and then.
		require.LessOrEqual(t, allocs, 0.5, codec)
	}
}

func TestNullAndEmptyAreDifferent(t *testing.T) {
	for _, codec := range codecs {
		var w Builder
		w.Reset(nil, Options{Codec: codec})
		w.Append(1, nil, nil, nil)
		w.Append(1, []byte{}, []byte{}, []Header{})
		w.Append(1, []byte("k"), nil, []Header{{Key: ""}, {Key: "e", Value: []byte{}}, {Key: "n"}})
		b, err := w.Finish()
		require.NoError(t, err)

		var it Iterator
		b.Iterate(&it, DefaultMaxBytes)
		require.True(t, it.Next())
		require.Equal(t, Record{Offset: 0, Timestamp: 1}, *it.Record())
		require.True(t, it.Next())
		require.Equal(t, Record{Offset: 1, Timestamp: 1, Key: []byte{}, Value: []byte{}}, *it.Record())
		require.True(t, it.Next())
		require.Nil(t, it.Record().Value)
		require.Equal(t, []Header{{Key: ""}, {Key: "e", Value: []byte{}}, {Key: "n"}}, it.Record().Headers)
		require.False(t, it.Next())
		require.NoError(t, it.Err())
	}
}

func TestARecordsSlicesCannotReachTheirNeighbours(t *testing.T) {
	b := withHeaders(t, compress.None)
	before := append([]byte(nil), b...)
	var it Iterator
	for b.Iterate(&it, 0); it.Next(); {
		r := it.Record()
		_ = append(r.Key, "overwritten"...)
		_ = append(r.Value, "overwritten"...)
		for _, h := range r.Headers {
			_ = append(h.Value, "overwritten"...)
		}
	}
	require.NoError(t, it.Err())
	require.Equal(t, before, []byte(b))
}

func TestHeaderKeysOutliveTheirBatch(t *testing.T) {
	b := withHeaders(t, compress.None)
	var it Iterator
	b.Iterate(&it, 0)
	require.True(t, it.Next())
	key := it.Record().Headers[0].Key
	clear(b)
	require.Equal(t, "trace", key)

	// More keys than the table has slots, all of them right.
	var w Builder
	w.Reset(nil, Options{})
	for i := range 10 * nameSlots {
		w.Append(1, nil, nil, []Header{{Key: fmt.Sprintf("header-%d", i)}})
	}
	b, err := w.Finish()
	require.NoError(t, err)
	i := 0
	for b.Iterate(&it, 0); it.Next(); i++ {
		require.Equal(t, fmt.Sprintf("header-%d", i), it.Record().Headers[0].Key)
	}
	require.Equal(t, 10*nameSlots, i)
}

func TestADetachedBufferKeepsItsRecords(t *testing.T) {
	var it Iterator
	first, second := withHeaders(t, compress.LZ4), build(t, 200, Options{Codec: compress.LZ4})
	first.Iterate(&it, DefaultMaxBytes)
	require.True(t, it.Next())
	value := it.Record().Value
	require.NotNil(t, it.Detach())
	require.Nil(t, it.Detach(), "only once")
	require.True(t, it.Next(), "the walk goes on")
	second.Iterate(&it, DefaultMaxBytes)
	for it.Next() {
	}
	require.Equal(t, bytes.Repeat([]byte("v"), 100), value)

	withHeaders(t, compress.None).Iterate(&it, 0)
	require.True(t, it.Next())
	require.Nil(t, it.Detach(), "uncompressed records lie in the batch")
}

func TestAClearedIteratorHoldsNothingOfTheBatch(t *testing.T) {
	b := withHeaders(t, compress.None)
	var it Iterator
	b.Iterate(&it, 0)
	require.True(t, it.Next())
	it.Clear()
	require.Equal(t, Record{}, *it.Record())
	require.False(t, it.Next())
	require.NoError(t, it.Err())
	for _, h := range it.headers[:cap(it.headers)] {
		require.Nil(t, h.Value)
	}
	b.Iterate(&it, 0)
	require.True(t, it.Next())
}

func TestALargeBufferIsGivenUpWhenBatchesTurnSmall(t *testing.T) {
	var w Builder
	w.Reset(nil, Options{Codec: compress.LZ4})
	w.Append(1, nil, make([]byte, 4<<20), nil)
	large, err := w.Finish()
	require.NoError(t, err)
	small := build(t, 3, Options{Codec: compress.LZ4})
	var it Iterator
	walk := func(b Batch) {
		for b.Iterate(&it, DefaultMaxBytes); it.Next(); {
		}
		require.NoError(t, it.Err())
	}
	walk(large)
	walk(large)
	require.Greater(t, cap(it.buf), largeBuffer)
	walk(small)
	walk(small)
	require.Less(t, cap(it.buf), largeBuffer)
}

func TestIterateOfNoBatchIsAnError(t *testing.T) {
	var it Iterator
	Batch(nil).Iterate(&it, 0)
	require.False(t, it.Next())
	require.ErrorIs(t, it.Err(), ErrShort)

	b := build(t, 1, Options{})
	b[posAttributes+1] = 6
	b.Iterate(&it, DefaultMaxBytes)
	require.False(t, it.Next())
	require.ErrorIs(t, it.Err(), ErrCorrupt)
	require.ErrorAs(t, it.Err(), new(*compress.UnknownCodecError))

	b = build(t, 1, Options{})
	put32(posCount, -5)(b)
	b.Iterate(&it, DefaultMaxBytes)
	require.False(t, it.Next())
	require.ErrorIs(t, it.Err(), ErrCorrupt)
}
