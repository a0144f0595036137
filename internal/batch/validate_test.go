package batch

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/compress"
)

// A change to a good batch, and what it makes of it.
type spoiled struct {
	name  string
	spoil func(b Batch)
	is    error
	field Field
}

func put16(at int, v uint16) func(Batch) {
	return func(b Batch) { binary.BigEndian.PutUint16(b[at:], v) }
}

func put32(at int, v int32) func(Batch) {
	return func(b Batch) { binary.BigEndian.PutUint32(b[at:], uint32(v)) }
}

func put64(at int, v int64) func(Batch) {
	return func(b Batch) { binary.BigEndian.PutUint64(b[at:], uint64(v)) }
}

var shapes = []spoiled{
	{"base offset", put64(posBaseOffset, 1), ErrInvalidRecord, FieldBaseOffset},
	{"length too long", put32(posLength, 1000), ErrCorrupt, FieldLength},
	{"length too short", put32(posLength, HeaderSize-FrameSize), ErrCorrupt, FieldLength},
	{"magic", func(b Batch) { b[posMagic] = 1 }, ErrCorrupt, FieldMagic},
	{"codec", put16(posAttributes, 5), ErrInvalidRecord, FieldCodec},
	{"control", put16(posAttributes, attrControl), ErrInvalidRecord, FieldAttributes},
	{"delete horizon", put16(posAttributes, attrDeleteHorizon), ErrInvalidRecord, FieldAttributes},
	{"log append time", put16(posAttributes, attrLogAppendTime), ErrInvalidTimestamp, FieldTimestamp},
	{"no records", func(b Batch) { put32(posCount, 0)(b); put32(posLastOffsetDelta, -1)(b) }, ErrInvalidRecord, FieldCount},
	{"negative count", func(b Batch) { put32(posCount, -1)(b); put32(posLastOffsetDelta, -2)(b) }, ErrInvalidRecord, FieldCount},
	{"count and offsets differ", put32(posLastOffsetDelta, 3), ErrInvalidRecord, FieldLastOffsetDelta},
	{"more records than bytes", func(b Batch) {
		put32(posCount, math.MaxInt32)(b)
		put32(posLastOffsetDelta, math.MaxInt32-1)(b)
	}, ErrInvalidRecord, FieldCount},
	{"producer without sequence", put64(posProducerID, 5), ErrInvalidRecord, FieldProducer},
	{"producer without epoch", func(b Batch) { put64(posProducerID, 5)(b); put32(posBaseSequence, 0)(b) }, ErrInvalidRecord, FieldProducer},
	{"transaction without producer", put16(posAttributes, attrTransactional), ErrInvalidRecord, FieldProducer},
}

func TestAClientsHeaderMustFollowTheRules(t *testing.T) {
	require.NoError(t, build(t, 3, Options{}).CheckShape())
	require.NoError(t, build(t, 3, Options{Idempotent: true}).CheckShape())
	require.NoError(t, build(t, 3, Options{Transactional: true, Codec: compress.Zstd}).CheckShape())
	require.ErrorIs(t, Batch(nil).CheckShape(), ErrShort)
	require.ErrorIs(t, Batch(make([]byte, HeaderSize-1)).CheckShape(), ErrShort)
	for _, c := range shapes {
		b := build(t, 3, Options{})
		c.spoil(b)
		b.UpdateCRC()
		requireRefused(t, c, b.CheckShape())
		if c.name == "length too long" {
			require.ErrorIs(t, b.Validate(ValidateOptions{Client: true}), ErrShort)
			continue
		}
		requireRefused(t, c, b.Validate(ValidateOptions{Client: true}))
	}
}

func requireRefused(t *testing.T, c spoiled, err error) {
	t.Helper()
	require.ErrorIs(t, err, c.is, c.name)
	require.NotEmpty(t, err.Error())
	switch e := err.(type) {
	case *CorruptError:
		require.Equal(t, c.field, e.Field, c.name)
	case *InvalidError:
		require.Equal(t, c.field, e.Field, c.name)
	default:
		require.Fail(t, "untyped error", "%s: %v", c.name, err)
	}
}

// body replaces the records of a batch by hand-made bytes and says how many
// there are.
func body(count, lastDelta int32, records ...byte) Batch {
	b := Batch(append(make([]byte, HeaderSize), records...))
	b.setHeader(0, lastDelta, count)
	put64(posProducerID, None)(b)
	put16(posProducerEpoch, math.MaxUint16)(b)
	put32(posBaseSequence, None)(b)
	b.UpdateCRC()
	return b
}

func TestMalformedRecordsAreFoundAndNamed(t *testing.T) {
	good := []byte{12, 0, 0, 0, 1, 1, 0} // null key and value, no headers
	for _, c := range []struct {
		name  string
		b     Batch
		field Field
	}{
		{"no bytes", body(1, 0), FieldRecord},
		{"length of zero", body(1, 0, 0), FieldRecord},
		{"negative length", body(1, 0, 1, 0, 0, 0, 1, 1, 0), FieldRecord},
		{"length beyond the end", body(1, 0, 14, 0, 0, 0, 1, 1, 0), FieldRecord},
		{"length that never ends", body(1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), FieldRecord},
		{"length of 33 bits", body(1, 0, 0x8c, 0x80, 0x80, 0x80, 0x10, 0, 0, 0, 1, 1, 0), FieldRecord},
		{"timestamp that never ends", body(1, 0, 12, 0, 0xff, 0xff, 0xff, 0xff, 0xff), FieldOffset},
		{"negative offset", body(1, 0, 12, 0, 0, 1, 1, 1, 0), FieldOffset},
		{"offset beyond the last", body(1, 0, 12, 0, 0, 2, 1, 1, 0), FieldOffset},
		{"the same offset twice", body(2, 1, append(append([]byte{}, good...), good...)...), FieldOffset},
		{"key beyond the record", body(1, 0, 12, 0, 0, 0, 8, 1, 0), FieldKey},
		{"value beyond the record", body(1, 0, 12, 0, 0, 0, 1, 8, 0), FieldValue},
		{"negative header count", body(1, 0, 12, 0, 0, 0, 1, 1, 1), FieldHeaders},
		{"more headers than bytes", body(1, 0, 12, 0, 0, 0, 1, 1, 2), FieldHeaders},
		{"null header key", body(1, 0, 16, 0, 0, 0, 1, 1, 2, 1, 1), FieldHeaders},
		{"header key beyond the record", body(1, 0, 16, 0, 0, 0, 1, 1, 2, 4, 1), FieldHeaders},
		{"header value beyond the record", body(1, 0, 16, 0, 0, 0, 1, 1, 2, 0, 2), FieldHeaders},
		{"bytes left in the record", body(1, 0, 14, 0, 0, 0, 1, 1, 0, 0), FieldHeaders},
		{"bytes after the last record", body(1, 0, append(append([]byte{}, good...), 0)...), FieldRest},
		{"fewer records than counted", body(2, 1, good...), FieldRecord},
	} {
		var it Iterator
		for c.b.Iterate(&it, 0); it.Next(); {
		}
		var corrupt *CorruptError
		require.ErrorAs(t, it.Err(), &corrupt, c.name)
		require.Equal(t, c.field, corrupt.Field, c.name)
		require.False(t, it.Next(), "the first error is the last")
		require.Equal(t, corrupt, it.Err())

		require.ErrorIs(t, c.b.Validate(ValidateOptions{}), ErrCorrupt, c.name)
		// What a client made so is not damage: sending it again is no use.
		if c.b.CheckShape() == nil {
			err := c.b.Validate(ValidateOptions{Client: true})
			require.ErrorIs(t, err, ErrInvalidRecord, c.name)
			require.NotErrorIs(t, err, ErrCorrupt, c.name)
		}
	}
	require.NoError(t, body(1, 0, good...).Validate(ValidateOptions{Repair: true}))
}

func TestAGapBetweenOffsetsIsLegalOnlyInALog(t *testing.T) {
	b := body(2, 9, 12, 0, 0, 4, 1, 1, 0, 12, 0, 0, 14, 1, 1, 0)
	require.NoError(t, b.Validate(ValidateOptions{}))
	all := records(t, b)
	require.Equal(t, []int64{2, 7}, []int64{all[0].Offset, all[1].Offset})
	require.ErrorIs(t, b.Validate(ValidateOptions{Client: true}), ErrInvalidRecord)
}

// What some old clients send: Kafka encodes it again, but only if it is compressed, and only if that is all.
func TestACompressedBatchWithWrongOffsetsIsToldFromABadOne(t *testing.T) {
	for _, codec := range codecs {
		for name, c := range map[string]struct {
			records []byte
			want    error
		}{
			"the same twice":  {[]byte{12, 0, 0, 0, 1, 1, 0, 12, 0, 0, 0, 1, 1, 0}, ErrOffsets},
			"a gap":           {[]byte{12, 0, 0, 2, 1, 1, 0, 12, 0, 0, 6, 1, 1, 0}, ErrOffsets},
			"backwards":       {[]byte{12, 0, 0, 2, 1, 1, 0, 12, 0, 0, 0, 1, 1, 0}, ErrOffsets},
			"negative":        {[]byte{12, 0, 0, 1, 1, 1, 0, 12, 0, 0, 2, 1, 1, 0}, ErrOffsets},
			"and a bad key":   {[]byte{12, 0, 0, 2, 1, 1, 0, 12, 0, 0, 2, 8, 1, 0}, ErrInvalidRecord},
			"and one missing": {[]byte{12, 0, 0, 2, 1, 1, 0}, ErrInvalidRecord},
			"and one more":    {[]byte{12, 0, 0, 0, 1, 1, 0, 12, 0, 0, 0, 1, 1, 0, 12, 0, 0, 4, 1, 1, 0}, ErrInvalidRecord},
			"no offset":       {[]byte{14, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 12, 0, 0, 2, 1, 1, 0}, ErrInvalidRecord},
		} {
			packed, err := compress.Compress(nil, c.records, codec, compress.DefaultLevel)
			require.NoError(t, err)
			b := body(2, 1, packed...)
			b[posAttributes+1] = byte(codec)
			b.UpdateCRC()
			want := c.want
			if codec == compress.None {
				want = ErrInvalidRecord
			}
			require.ErrorIs(t, b.Validate(ValidateOptions{Client: true, Repair: true}), want, "%s %s", codec, name)
			require.ErrorIs(t, b.Validate(ValidateOptions{}), ErrCorrupt, "in a log it is damage")
			if want != ErrOffsets {
				continue
			}
			require.ErrorIs(t, b.Validate(ValidateOptions{Client: true, KeyRequired: true}), ErrInvalidRecord)
			var it Iterator
			n := int64(0)
			for b.IterateRenumbered(&it, 0); it.Next(); n++ {
				require.Equal(t, n, it.Record().Offset)
			}
			require.NoError(t, it.Err())
			require.Equal(t, int64(2), n)
			b.Iterate(&it, 0) // the next batch is not renumbered
			for it.Next() {
			}
			require.ErrorIs(t, it.Err(), ErrCorrupt)
		}
	}
}

func TestAWrongMaxTimestampIsRepairedOrRefused(t *testing.T) {
	for _, wrong := range []int64{0, None, goldenTime, goldenTime + 3, math.MaxInt64} {
		b := build(t, 3, Options{})
		right := append(Batch(nil), b...)
		put64(posMaxTimestamp, wrong)(b)
		b.UpdateCRC()
		require.ErrorIs(t, b.Validate(ValidateOptions{Client: true}), ErrInvalidTimestamp)
		require.ErrorIs(t, b.Validate(ValidateOptions{}), ErrCorrupt)
		require.NoError(t, b.Validate(ValidateOptions{Client: true, Repair: true}))
		require.Equal(t, right, b)
	}
}

func TestTimestampBoundsAndMissingKeysNameTheirRecords(t *testing.T) {
	var w Builder
	w.Reset(nil, Options{Codec: compress.LZ4})
	w.Append(1000, []byte("k"), nil, nil)
	w.Append(999, []byte("k"), nil, nil)
	w.Append(2001, []byte("k"), nil, nil)
	w.Append(None, []byte("k"), nil, nil)
	w.Append(2000, nil, []byte("v"), nil)
	b, err := w.Finish()
	require.NoError(t, err)
	require.NoError(t, b.Validate(ValidateOptions{Client: true}))

	err = b.Validate(ValidateOptions{Client: true, OldestTimestamp: 1000, NewestTimestamp: 2000})
	require.ErrorIs(t, err, ErrInvalidTimestamp)
	require.NotErrorIs(t, err, ErrInvalidRecord)
	var invalid *InvalidError
	require.ErrorAs(t, err, &invalid)
	require.Equal(t, 2, invalid.Refused)
	require.Equal(t, []int{1, 2}, []int{invalid.Records[0].Record, invalid.Records[1].Record})
	require.ErrorContains(t, err, "999")

	err = b.Validate(ValidateOptions{Client: true, KeyRequired: true})
	require.ErrorIs(t, err, ErrInvalidRecord)
	require.ErrorAs(t, err, &invalid)
	require.Equal(t, []RecordError{{Record: 4, Field: FieldKey, Reason: "a compacted topic needs a key"}}, invalid.Records)

	err = b.Validate(ValidateOptions{Client: true, KeyRequired: true, NewestTimestamp: 2000})
	require.ErrorIs(t, err, ErrInvalidTimestamp, "one bad timestamp decides the kind")
	b.SetLogAppendTime(5000)
	require.NoError(t, b.Validate(ValidateOptions{NewestTimestamp: 2000}))
}

func TestTheListOfRefusedRecordsIsBounded(t *testing.T) {
	var w Builder
	w.Reset(nil, Options{})
	for range 5 * MaxRecordErrors {
		w.Append(1, nil, nil, nil)
	}
	b, err := w.Finish()
	require.NoError(t, err)
	var invalid *InvalidError
	require.ErrorAs(t, b.Validate(ValidateOptions{Client: true, KeyRequired: true}), &invalid)
	require.Len(t, invalid.Records, MaxRecordErrors)
	require.Equal(t, 5*MaxRecordErrors, invalid.Refused)
}

func TestABombIsRefusedByValidateAndIterate(t *testing.T) {
	for _, codec := range []compress.Codec{compress.Gzip, compress.Snappy, compress.LZ4, compress.Zstd} {
		var w Builder
		w.Reset(nil, Options{Codec: codec})
		w.Append(goldenTime, nil, make([]byte, 1<<20), nil)
		b, err := w.Finish()
		require.NoError(t, err)
		var tooLarge *compress.TooLargeError
		err = b.Validate(ValidateOptions{Client: true, MaxBytes: 1 << 20})
		require.ErrorIs(t, err, ErrInvalidRecord)
		require.ErrorAs(t, err, &tooLarge)
		var it Iterator
		b.Iterate(&it, 1<<20)
		require.False(t, it.Next())
		require.ErrorAs(t, it.Err(), &tooLarge)
		require.NoError(t, b.Validate(ValidateOptions{Client: true, MaxBytes: 1<<20 + 100}))
	}
}

func TestValidateChecksTheCRCUnlessToldNotTo(t *testing.T) {
	b := build(t, 1, Options{})
	b[posCRC] ^= 1
	require.ErrorIs(t, b.Validate(ValidateOptions{Client: true}), ErrCorrupt)
	require.NoError(t, b.Validate(ValidateOptions{Client: true, SkipCRC: true}))
	require.ErrorIs(t, append(b, 0).Validate(ValidateOptions{}), ErrCorrupt, "a byte too many")
}
