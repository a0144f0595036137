package batch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/partlog/partlog/internal/compress"
)

// franz encodes the records as franz-go does, uncompressed.
func franz(all []Record, o Options) Batch {
	k := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: int32(len(all) - 1), NumRecords: int32(len(all)),
		FirstTimestamp: all[0].Timestamp, MaxTimestamp: all[0].Timestamp,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
	}
	if o.Idempotent || o.Transactional {
		k.ProducerID, k.ProducerEpoch, k.FirstSequence = o.ProducerID, o.Epoch, o.BaseSequence
	}
	if o.Transactional {
		k.Attributes |= 16
	}
	for i, r := range all {
		k.MaxTimestamp = max(k.MaxTimestamp, r.Timestamp)
		kr := kmsg.Record{TimestampDelta64: r.Timestamp - all[0].Timestamp, OffsetDelta: int32(i), Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			kr.Headers = append(kr.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
		}
		kr.Length = int32(len(kr.AppendTo(nil)) - 1) // without the one byte of a zero length
		k.Records = kr.AppendTo(k.Records)
	}
	k.Length = int32(HeaderSize - FrameSize + len(k.Records))
	b := Batch(k.AppendTo(nil))
	b.UpdateCRC()
	return b
}

// requireWritten builds the records with every codec and compares the bytes
// with franz-go's where they are not compressed, the records always, and the
// size with what SizeWith promised.
func requireWritten(t require.TestingT, w *Builder, all []Record, o Options) {
	for _, codec := range codecs {
		o.Codec = codec
		w.Reset(nil, o)
		for i, r := range all {
			most := w.SizeWith(r.Key, r.Value, r.Headers)
			w.Append(r.Timestamp, r.Key, r.Value, r.Headers)
			require.LessOrEqual(t, w.Len(), most)
			require.Equal(t, i+1, w.Count())
		}
		b, err := w.Finish()
		require.NoError(t, err)
		require.NoError(t, b.CheckShape())
		require.NoError(t, b.Validate(ValidateOptions{Client: true}))
		if codec == compress.None {
			require.Equal(t, []byte(franz(all, o)), []byte(b))
			require.Equal(t, w.Len(), len(b))
		}
		var it Iterator
		n := 0
		for b.Iterate(&it, DefaultMaxBytes); it.Next(); n++ {
			want := all[n]
			want.Offset = int64(n)
			if len(want.Headers) == 0 {
				want.Headers = nil
			}
			require.Equal(t, want, *it.Record())
		}
		require.NoError(t, it.Err())
		require.Equal(t, len(all), n)
	}
}

func TestBuilderWritesWhatFranzGoWrites(t *testing.T) {
	// Sizes and times around every change of a varint's length.
	sizes := []int{0, 1, 62, 63, 64, 65, 8191, 8192, 8193}
	var all []Record
	for _, n := range sizes {
		for _, d := range []int64{0, 1, -1, 63, 64, -64, -65, 8191, 8192, 1 << 20, 1 << 27, 1 << 31, 1 << 34, 1 << 41, 1 << 48, 1 << 55} {
			all = append(all, Record{Timestamp: goldenTime + d, Key: make([]byte, n/2), Value: make([]byte, n)})
		}
	}
	all = append(all, Record{Timestamp: goldenTime}, Record{Timestamp: None, Key: []byte{}, Value: []byte{}},
		Record{Timestamp: math.MinInt64}, Record{Timestamp: math.MaxInt64})
	for n := range 130 {
		all = append(all, Record{Timestamp: goldenTime, Headers: make([]Header, n)})
	}
	all = append(all, Record{Timestamp: goldenTime, Headers: []Header{
		{Key: string(make([]byte, 64)), Value: make([]byte, 64)}, {Key: string(make([]byte, 8192)), Value: []byte{}}}})
	var w Builder
	requireWritten(t, &w, all, Options{})
	requireWritten(t, &w, all, Options{Transactional: true, ProducerID: math.MaxInt64, Epoch: math.MaxInt16, BaseSequence: math.MaxInt32})
}

var (
	drawBytes = rapid.OneOf(rapid.Just([]byte(nil)), rapid.Just([]byte{}), rapid.SliceOfN(rapid.Byte(), 1, 200))
	drawTime  = rapid.OneOf(rapid.Int64Range(None, 1<<41), rapid.Int64())
)

func drawRecord(t *rapid.T) Record {
	r := Record{Timestamp: drawTime.Draw(t, "time"), Key: drawBytes.Draw(t, "key"), Value: drawBytes.Draw(t, "value")}
	for range rapid.IntRange(0, 3).Draw(t, "headers") {
		r.Headers = append(r.Headers, Header{Key: rapid.String().Draw(t, "header"), Value: drawBytes.Draw(t, "header value")})
	}
	return r
}

func TestAnyRecordsComeBackFromEveryCodec(t *testing.T) {
	var w Builder
	rapid.Check(t, func(t *rapid.T) {
		all := make([]Record, rapid.IntRange(1, 30).Draw(t, "records"))
		for i := range all {
			all[i] = drawRecord(t)
		}
		requireWritten(t, &w, all, Options{Idempotent: rapid.Bool().Draw(t, "idempotent"),
			BaseSequence: rapid.Int32Min(0).Draw(t, "sequence")})
	})
}

func TestTheHotPathAllocatesNothing(t *testing.T) {
	var w Builder
	value := make([]byte, 100)
	headers := []Header{{Key: "trace", Value: value[:10]}}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		w.Reset(nil, Options{Idempotent: true})
		w.Append(goldenTime, nil, value, nil)
		w.Append(goldenTime, value, value, headers)
		_, _ = w.Finish()
	}))
}

func TestBuilderUsesTheCallersBufferAndGrowsBeyondIt(t *testing.T) {
	buf := make([]byte, 500)
	var w Builder
	w.Reset(buf, Options{})
	w.Append(1, nil, []byte("v"), nil)
	b, err := w.Finish()
	require.NoError(t, err)
	require.Same(t, &buf[0], &b[0])

	kept := append(Batch(nil), b...)
	w.Reset(make([]byte, 3), Options{})
	for i := range 100 {
		w.Append(int64(i), []byte("key"), make([]byte, i*10), nil)
	}
	large, err := w.Finish()
	require.NoError(t, err)
	require.NoError(t, large.Validate(ValidateOptions{Client: true}))
	require.Equal(t, kept, b, "the buffer that was replaced is the caller's again")
}

// A header left in a reused buffer must not shine through.
func TestADirtyBufferChangesNothing(t *testing.T) {
	clean := build(t, 2, Options{})
	dirty := bytes.Repeat([]byte{0xff}, 4096)
	for _, codec := range codecs {
		var w Builder
		w.Reset(dirty, Options{Codec: codec})
		w.out = bytes.Repeat([]byte{0xff}, 4096)
		for i := range int64(2) {
			w.Append(goldenTime+i, []byte("key"), []byte("value"), nil)
		}
		b, err := w.Finish()
		require.NoError(t, err)
		if codec == compress.None {
			require.Equal(t, clean, b)
		}
		require.NoError(t, b.Validate(ValidateOptions{Client: true}))
		require.Equal(t, int16(codec), b.Attributes())
	}
}

func TestFinishAgainAfterMoreRecordsOrAnotherProducer(t *testing.T) {
	for _, codec := range codecs {
		var w Builder
		w.Reset(nil, Options{Codec: codec})
		w.Append(goldenTime, []byte("key"), []byte("value"), nil)
		_, err := w.Finish()
		require.NoError(t, err)
		w.Append(goldenTime+1, []byte("key"), []byte("value"), nil)
		w.SetProducer(5, 6, 7)
		b, err := w.Finish()
		require.NoError(t, err)
		require.Equal(t, build(t, 2, Options{Codec: codec, Idempotent: true, ProducerID: 5, Epoch: 6, BaseSequence: 7}), b)
		require.Equal(t, int64(goldenTime+1), w.MaxTimestamp())
	}
}

func TestFinishRefusesWhatIsNoBatch(t *testing.T) {
	var w Builder
	w.Reset(nil, Options{})
	_, err := w.Finish()
	require.ErrorIs(t, err, ErrNoRecords)
	w.Reset(nil, Options{Codec: 5})
	w.Append(1, nil, nil, nil)
	_, err = w.Finish()
	require.ErrorAs(t, err, new(*compress.UnknownCodecError))
	w.Reset(nil, Options{Codec: compress.LZ4, Level: 99})
	w.Append(1, nil, nil, nil)
	_, err = w.Finish()
	require.ErrorAs(t, err, new(*compress.LevelError))
	require.Panics(t, func() { w.Reset(nil, Options{ProducerID: 5}) })
}

func TestVarintsOfEveryLengthComeBack(t *testing.T) {
	for shift := range 64 {
		for _, v := range []int64{1 << shift, 1<<shift - 1, -1 << shift, -1<<shift - 1, 0, -1} {
			var w [12]byte
			n := putUvarint(w[:], 1, zigzag(v))
			require.Equal(t, varintSize(v), n-1)
			require.Equal(t, binary.AppendVarint(nil, v), w[1:n])
			got, i := varlong(w[:], 1)
			require.Equal(t, n, i)
			require.Equal(t, v, got)
			narrow, i := varint(w[:], 1)
			if int64(int32(v)) == v {
				require.Equal(t, n, i)
				require.Equal(t, int32(v), narrow)
			} else {
				require.Negative(t, i, fmt.Sprint(v))
			}
			_, i = varlong(w[:n-1], 1)
			require.Negative(t, i)
		}
	}
	_, i := varlong([]byte{0}, -1)
	require.Negative(t, i)
	_, i = varint(nil, -1)
	require.Negative(t, i)
}
