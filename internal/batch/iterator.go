package batch

import (
	"errors"

	"github.com/partlog/partlog/internal/compress"
)

// Iterator walks the records of one batch after another. The zero value is
// ready for Batch.Iterate. Kept and used again, it allocates nothing for
// uncompressed batches, and for compressed ones only while its buffer grows.
// It is for one goroutine at a time.
type Iterator struct {
	data   []byte // the records, uncompressed
	pos    int    // of the next record in data
	number int    // of the next record
	count  int

	baseOffset    int64
	baseTimestamp int64
	maxTimestamp  int64
	last, limit   int32 // last offset delta seen, largest allowed
	logAppendTime bool
	renumber      bool // offsets count from baseOffset on, whatever the records say

	record  Record
	headers []Header
	names   [nameSlots]string // header keys seen lately, so that they are not allocated again
	buf     []byte            // decompression buffer
	err     error
}

const (
	// Header keys are few and come again and again. A table this small finds
	// them without a map, and cannot be made to grow by a sender of many.
	nameSlots = 32

	// A decompression buffer above this size is given up when batches turn
	// small again.
	largeBuffer = 1 << 20
)

// Iterate makes it walk b from its first record, whatever it did before. A
// compressed batch is decompressed at once, into the iterator's own buffer,
// but not to more than max bytes; 0 is DefaultMaxBytes. Errors come out of it.Err. b must not
// change while it is walked. Neither the CRC nor the header's rules are
// checked.
func (b Batch) Iterate(it *Iterator, max int) {
	it.data, it.pos, it.number, it.err = nil, 0, 0, nil
	if len(b) < HeaderSize {
		it.count, it.err = 0, ErrShort
		return
	}
	it.baseOffset, it.baseTimestamp, it.maxTimestamp = b.BaseOffset(), b.BaseTimestamp(), b.MaxTimestamp()
	it.last, it.limit, it.logAppendTime, it.renumber = -1, b.LastOffsetDelta(), b.IsLogAppendTime(), false
	it.count = int(b.Count())
	if it.count < 0 {
		it.fail(FieldCount, nil)
		return
	}
	switch codec := b.Codec(); {
	case codec == compress.None:
		it.data = b[HeaderSize:]
	case !codec.Valid():
		it.fail(FieldCodec, &compress.UnknownCodecError{Codec: codec})
	default:
		if max <= 0 {
			max = DefaultMaxBytes
		}
		it.decompress(b[HeaderSize:], codec, max)
	}
}

// IterateRenumbered is Iterate for a batch that is to be encoded again: what its records say of their offsets is not
// looked at, and they count from the base offset on. It is for batches of clients, where none is missing.
func (b Batch) IterateRenumbered(it *Iterator, max int) {
	b.Iterate(it, max)
	it.renumber = true
}

func (it *Iterator) decompress(src []byte, codec compress.Codec, max int) {
	if cap(it.buf) > largeBuffer && len(it.buf) < cap(it.buf)/8 {
		it.buf = nil
	}
	buf, err := compress.Decompress(it.buf[:0], src, codec, max)
	if err != nil {
		it.fail(FieldCompressed, err)
		return
	}
	it.buf, it.data = buf, buf
}

// Next goes to the next record and reports whether there is one. It returns
// false at the end and at the first error, which Err tells apart.
func (it *Iterator) Next() bool {
	if it.number >= it.count {
		if it.err == nil && it.pos != len(it.data) {
			it.fail(FieldRest, nil)
		}
		return false
	}
	size, start := varint(it.data, it.pos)
	if start < 0 || size < minRecordSize-1 || int(size) > len(it.data)-start {
		return it.fail(FieldRecord, nil)
	}
	end := start + int(size)
	body := it.data[start:end:end]

	// Byte 0 of the body is the record's attributes, which mean nothing yet.
	// A position below zero passes through varint and varlong.
	timestamp, i := varlong(body, 1)
	delta, i := varint(body, i)
	if it.renumber {
		delta = int32(it.number)
	}
	if i < 0 || delta <= it.last || delta > it.limit {
		return it.fail(FieldOffset, nil)
	}
	it.last = delta

	r := &it.record
	r.Offset = it.baseOffset + int64(delta)
	r.Timestamp = it.baseTimestamp + timestamp
	if it.logAppendTime {
		r.Timestamp = it.maxTimestamp
	}

	n, i := varint(body, i)
	if i < 0 || int(n) > len(body)-i {
		return it.fail(FieldKey, nil)
	}
	r.Key = nil
	if n >= 0 {
		r.Key = body[i : i+int(n) : i+int(n)]
		i += int(n)
	}

	n, i = varint(body, i)
	if i < 0 || int(n) > len(body)-i {
		return it.fail(FieldValue, nil)
	}
	r.Value = nil
	if n >= 0 {
		r.Value = body[i : i+int(n) : i+int(n)]
		i += int(n)
	}

	r.Headers = nil
	if i == len(body)-1 && body[i] == 0 {
		i++
	} else {
		i = it.readHeaders(body, i)
	}
	if i != len(body) {
		return it.fail(FieldHeaders, nil)
	}
	it.pos = end
	it.number++
	return true
}

// readHeaders reads a count and that many headers into the iterator's slice
// and returns the position after them, or a negative one.
func (it *Iterator) readHeaders(body []byte, i int) int {
	count, i := varint(body, i)
	if i < 0 || count < 0 || int(count) > (len(body)-i)/minHeaderSize {
		return -1
	}
	it.headers = it.headers[:0]
	for range count {
		var n int32
		if n, i = varint(body, i); i < 0 || n < 0 || int(n) > len(body)-i {
			return -1
		}
		h := Header{Key: it.name(body[i : i+int(n)])}
		i += int(n)
		if n, i = varint(body, i); i < 0 || int(n) > len(body)-i {
			return -1
		}
		if n >= 0 {
			h.Value = body[i : i+int(n) : i+int(n)]
			i += int(n)
		}
		it.headers = append(it.headers, h)
	}
	if count > 0 {
		it.record.Headers = it.headers
	}
	return i
}

// name returns b as a string, the one made last time if it was seen lately.
// Strings, unlike the byte slices of a record, may be kept for ever.
func (it *Iterator) name(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	slot := &it.names[(len(b)+5*int(b[0])+11*int(b[len(b)-1]))%nameSlots]
	if *slot != string(b) {
		*slot = string(b)
	}
	return *slot
}

// Record returns the record that Next went to. It, its headers and their
// values, key and value are borrowed until the next call of Next or Iterate:
// they point into the batch, or into the iterator's buffer if the batch is
// compressed. Header keys may be kept.
func (it *Iterator) Record() *Record { return &it.record }

// Err returns why Next returned false: nil at the end of the batch, ErrShort,
// or a *CorruptError.
func (it *Iterator) Err() error { return it.err }

// Detach gives the decompression buffer to the caller, so that records of a
// compressed batch outlive the next Iterate; the walk may go on. It returns
// nil when the batch is not compressed, as its records point into the batch.
func (it *Iterator) Detach() []byte {
	if len(it.buf) == 0 || len(it.data) == 0 || &it.buf[0] != &it.data[0] {
		return nil
	}
	buf := it.buf
	it.buf = nil
	return buf
}

// Clear drops every reference to the batch, so that it can be freed or
// unmapped while the iterator is kept, and keeps the iterator's own buffers.
func (it *Iterator) Clear() {
	it.data, it.pos, it.number, it.count, it.err = nil, 0, 0, 0, nil
	it.record = Record{}
	clear(it.headers[:cap(it.headers)])
}

// fail ends the walk. It returns false for Next to return.
func (it *Iterator) fail(f Field, cause error) bool {
	if cause == nil {
		cause = errMalformed
	}
	it.err = &CorruptError{Field: f, BaseOffset: it.baseOffset, Record: it.number, Err: cause}
	if f == FieldCount || f == FieldCodec || f == FieldCompressed || f == FieldRest {
		it.err.(*CorruptError).Record = NoRecord
	}
	it.count = it.number
	return false
}

var errMalformed = errors.New("malformed")
