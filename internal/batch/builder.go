package batch

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/partlog/partlog/internal/compress"
)

// Options are what a Builder writes into a batch's header.
type Options struct {
	Codec compress.Codec
	Level int // 0 or compress.DefaultLevel is the codec's default

	// Idempotent says that the batch carries ProducerID, Epoch and
	// BaseSequence (KIP-98); without it, and without Transactional, they are
	// not looked at and -1 is written for all three.
	Idempotent    bool
	Transactional bool // implies Idempotent
	ProducerID    int64
	Epoch         int16
	BaseSequence  int32
}

// ErrBatchTooLarge is returned by Finish when the batch cannot be expressed:
// more than 2 GiB, or more than 2147483647 records.
var ErrBatchTooLarge = errors.New("record batch too large")

// ErrNoRecords is returned by Finish when nothing was appended.
var ErrNoRecords = errors.New("record batch without records")

// Builder writes records straight into the layout of a batch. The zero value
// is ready for Reset. Used again, it allocates only while its buffers grow.
// It is for one goroutine at a time.
type Builder struct {
	buf []byte // room for the header, then the records, uncompressed
	out []byte // the finished batch, if compressed

	count         int64
	baseTimestamp int64
	maxTimestamp  int64
	options       Options
}

// Reset begins a new batch, in buf's memory (its contents do not matter), or
// in the builder's own if buf is nil. Whatever Finish returned before is no
// longer valid, unless it lies in a buffer that the caller gave and now
// replaces.
//
// It panics if the options carry a producer id without Idempotent or
// Transactional: the batch would silently lose its protection.
func (b *Builder) Reset(buf []byte, o Options) {
	if buf != nil {
		b.buf = buf
	}
	if cap(b.buf) < HeaderSize {
		b.buf = make([]byte, HeaderSize, firstCapacity)
	}
	b.buf = b.buf[:HeaderSize]
	b.count, b.baseTimestamp, b.maxTimestamp = 0, None, None
	if !o.Idempotent && !o.Transactional {
		if o.ProducerID > 0 {
			panic("BUG: batch.Options has a ProducerID but is not Idempotent")
		}
		o.ProducerID, o.Epoch, o.BaseSequence = None, None, None
	}
	b.options = o
}

const firstCapacity = 1024

// SetProducer sets producer id, epoch and the first record's sequence number
// at any time before Finish, for callers who know them only when the batch
// closes. It makes the batch idempotent.
func (b *Builder) SetProducer(id int64, epoch int16, baseSequence int32) {
	b.options.ProducerID, b.options.Epoch, b.options.BaseSequence = id, epoch, baseSequence
}

// Append adds a record. timestamp is in milliseconds since 1970; the first
// record's is what the others are written relative to. A nil key, value or
// header value is null. The bytes are copied.
func (b *Builder) Append(timestamp int64, key, value []byte, headers []Header) {
	if b.count == 0 {
		b.baseTimestamp, b.maxTimestamp = timestamp, timestamp
	} else if timestamp > b.maxTimestamp {
		b.maxTimestamp = timestamp
	}
	time, delta := zigzag(timestamp-b.baseTimestamp), uint64(b.count)<<1
	b.count++

	size := 2 + uvarintSize(time) + uvarintSize(delta) + bytesSize(key) + bytesSize(value)
	if len(headers) > 0 {
		size += headersSize(headers)
	}
	need := uvarintSize(uint64(size)<<1) + size
	i := len(b.buf)
	if cap(b.buf)-i < need {
		b.grow(need)
	}
	w := b.buf[:i+need]
	i = putUvarint(w, i, uint64(size)<<1)
	w[i] = 0 // attributes
	i = putUvarint(w, i+1, time)
	i = putUvarint(w, i, delta)
	i = putBytes(w, i, key)
	i = putBytes(w, i, value)
	if len(headers) == 0 {
		w[i] = 0
	} else {
		putHeaders(w, i, headers)
	}
	b.buf = w
}

// headersSize is what headers take beyond a one-byte count of zero.
func headersSize(headers []Header) int {
	n := varintSize(int64(len(headers))) - 1
	for i := range headers {
		n += varintSize(int64(len(headers[i].Key))) + len(headers[i].Key) + bytesSize(headers[i].Value)
	}
	return n
}

func putHeaders(w []byte, i int, headers []Header) {
	i = putUvarint(w, i, uint64(len(headers))<<1)
	for n := range headers {
		h := &headers[n]
		i = putUvarint(w, i, uint64(len(h.Key))<<1)
		i += copy(w[i:], h.Key)
		i = putBytes(w, i, h.Value)
	}
}

// grow makes room for n more bytes, doubling, so that a batch of any size
// costs a handful of allocations the first time.
func (b *Builder) grow(n int) {
	size := max(2*cap(b.buf), len(b.buf)+n, firstCapacity)
	buf := make([]byte, len(b.buf), size)
	copy(buf[HeaderSize:], b.buf[HeaderSize:])
	b.buf = buf
}

// Count returns how many records have been appended.
func (b *Builder) Count() int { return int(b.count) }

// Len returns the size of the batch in bytes as it is now, header included,
// before compression.
func (b *Builder) Len() int { return len(b.buf) }

// SizeWith returns an upper bound for what Len would be after this record is
// appended, whatever its timestamp.
func (b *Builder) SizeWith(key, value []byte, headers []Header) int {
	return len(b.buf) + RecordSize(key, value, headers)
}

// MaxTimestamp returns the largest timestamp appended, -1 before the first.
func (b *Builder) MaxTimestamp() int64 { return b.maxTimestamp }

// Finish compresses the records if a codec is set, always, as Kafka's clients
// do, writes the header and returns the batch, with base offset 0 and leader
// epoch -1. The batch belongs to the builder and is valid until Reset; the
// caller may patch it through its setters. Finish may be called again, after
// SetProducer or more Appends, and returns the batch anew.
//
// Errors: ErrNoRecords, ErrBatchTooLarge, a *compress.LevelError or
// *compress.UnknownCodecError.
func (b *Builder) Finish() (Batch, error) {
	if b.count == 0 {
		return nil, ErrNoRecords
	}
	whole := b.buf
	if b.options.Codec != compress.None {
		var err error
		if whole, err = b.compress(); err != nil {
			return nil, err
		}
	}
	if len(whole)-FrameSize > math.MaxInt32 || b.count > math.MaxInt32 {
		return nil, ErrBatchTooLarge
	}
	attributes := uint16(b.options.Codec)
	if b.options.Transactional {
		attributes |= attrTransactional
	}
	h := whole[:HeaderSize:HeaderSize]
	binary.BigEndian.PutUint64(h[posBaseOffset:], 0)
	binary.BigEndian.PutUint32(h[posLength:], uint32(len(whole)-FrameSize))
	binary.BigEndian.PutUint32(h[posLeaderEpoch:], math.MaxUint32)
	h[posMagic] = Magic
	binary.BigEndian.PutUint16(h[posAttributes:], attributes)
	binary.BigEndian.PutUint32(h[posLastOffsetDelta:], uint32(b.count-1))
	binary.BigEndian.PutUint64(h[posBaseTimestamp:], uint64(b.baseTimestamp))
	binary.BigEndian.PutUint64(h[posMaxTimestamp:], uint64(b.maxTimestamp))
	binary.BigEndian.PutUint64(h[posProducerID:], uint64(b.options.ProducerID))
	binary.BigEndian.PutUint16(h[posProducerEpoch:], uint16(b.options.Epoch))
	binary.BigEndian.PutUint32(h[posBaseSequence:], uint32(b.options.BaseSequence))
	binary.BigEndian.PutUint32(h[posCount:], uint32(b.count))
	done := Batch(whole)
	done.UpdateCRC()
	return done, nil
}

// compress writes the compressed records into the second buffer, behind room
// for a header.
func (b *Builder) compress() ([]byte, error) {
	if cap(b.out) < HeaderSize {
		b.out = make([]byte, HeaderSize, max(firstCapacity, len(b.buf)/2))
	}
	level := b.options.Level
	if level == 0 {
		level = compress.DefaultLevel
	}
	out, err := compress.Compress(b.out[:HeaderSize], b.buf[HeaderSize:], b.options.Codec, level)
	if err != nil {
		return nil, err
	}
	b.out = out
	return out, nil
}
