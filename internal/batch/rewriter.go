package batch

import (
	"encoding/binary"

	"github.com/partlog/partlog/internal/compress"
)

// Rewriter takes records out of batches, as compaction does. What stays is copied as it is: nothing is decoded beyond what
// decides. The zero value is ready; used again it allocates only while its buffers grow. It is for one goroutine at a time.
//
//	for err := w.Read(b, 0); err == nil && w.Next(); {
//		if wanted(w.Offset(), w.Key()) { w.Keep() }
//	}
type Rewriter struct {
	b      Batch
	data   []byte // the records, uncompressed
	pos    int    // of the next record in data
	number int    // of the next record
	count  int
	last   int32 // offset delta seen last
	limit  int32 // largest one allowed
	err    error

	start int // of the current record in data
	time  int64
	key   []byte
	null  bool // its value is

	spans   []span // of data, kept; adjoining ones are joined
	kept    int
	maxTime int64 // largest timestamp delta of what is kept

	plain, out []byte
}

type span struct{ from, to int }

// Read makes w walk b, of which nothing is kept so far. A compressed batch is decompressed, to at most max bytes; 0 is
// DefaultMaxBytes. b must not change until the next Read. The CRC is not checked. The error is a *CorruptError.
func (w *Rewriter) Read(b Batch, max int) error {
	w.b, w.data, w.pos, w.number, w.err = b, nil, 0, 0, nil
	w.spans, w.kept = w.spans[:0], 0
	w.last, w.limit, w.count = -1, b.LastOffsetDelta(), int(b.Count())
	if max <= 0 {
		max = DefaultMaxBytes
	}
	switch codec := b.Codec(); {
	case w.count < 0:
		w.fail(FieldCount, nil)
	case codec == compress.None:
		w.data = b[HeaderSize:]
	case !codec.Valid():
		w.fail(FieldCodec, &compress.UnknownCodecError{Codec: codec})
	default:
		if cap(w.plain) > largeBuffer && len(w.plain) < cap(w.plain)/8 {
			w.plain = nil
		}
		plain, err := compress.Decompress(w.plain[:0], b[HeaderSize:], codec, max)
		if err != nil {
			w.fail(FieldCompressed, err)
			break
		}
		w.plain, w.data = plain, plain
	}
	return w.err
}

// Next goes to the next record and reports whether there is one; Err says why not.
func (w *Rewriter) Next() bool {
	if w.number >= w.count {
		if w.err == nil && w.pos != len(w.data) {
			w.fail(FieldRest, nil)
		}
		return false
	}
	data := w.data
	size, i := varint(data, w.pos)
	if i < 0 || size < minRecordSize-1 || int(size) > len(data)-i {
		return w.fail(FieldRecord, nil)
	}
	end := i + int(size)
	body := data[:end:end]
	w.start = w.pos
	w.time, i = varlong(body, i+1)
	delta, i := varint(body, i)
	if i < 0 || delta <= w.last || delta > w.limit {
		return w.fail(FieldOffset, nil)
	}
	w.last = delta
	n, i := varint(body, i)
	if i < 0 || int(n) > end-i {
		return w.fail(FieldKey, nil)
	}
	w.key = nil
	if n >= 0 {
		w.key = body[i : i+int(n) : i+int(n)]
		i += int(n)
	}
	n, i = varint(body, i)
	if i < 0 || int(n) > end-i {
		return w.fail(FieldValue, nil)
	}
	w.null = n < 0
	w.pos = end
	w.number++
	return true
}

// Err returns why Next returned false: nil at the end of the batch, or a *CorruptError.
func (w *Rewriter) Err() error { return w.err }

// Offset returns the current record's offset.
func (w *Rewriter) Offset() int64 { return w.b.BaseOffset() + int64(w.last) }

// Key returns the current record's key, nil for null; it is valid until the next Read.
func (w *Rewriter) Key() []byte { return w.key }

// ValueNull reports whether the current record is a tombstone.
func (w *Rewriter) ValueNull() bool { return w.null }

// Keep keeps the current record.
func (w *Rewriter) Keep() {
	if w.kept == 0 || w.time > w.maxTime {
		w.maxTime = w.time
	}
	w.kept++
	if n := len(w.spans); n > 0 && w.spans[n-1].to == w.start {
		w.spans[n-1].to = w.pos
		return
	}
	w.spans = append(w.spans, span{w.start, w.pos})
}

// Kept returns how many records have been kept.
func (w *Rewriter) Kept() int { return w.kept }

// Append appends the batch with what was kept, at least one record, to dst and returns the longer slice. Offsets, leader epoch, producer,
// sequence, the time of a LogAppendTime batch, codec and bits stay; the largest timestamp is that of what was kept. A horizon
// of 0 or more, in milliseconds, becomes the batch's delete horizon (KIP-534), and the records are written relative to it. Compression is
// at the codec's default level.
func (w *Rewriter) Append(dst []byte, horizon int64) ([]byte, error) {
	b, start := w.b, len(dst)
	attributes, baseTime, maxTime := uint16(b.Attributes()), b.BaseTimestamp(), b.MaxTimestamp()
	if !b.IsLogAppendTime() {
		maxTime = baseTime + w.maxTime
	}
	dst = append(dst, b[:HeaderSize]...)
	var err error
	switch {
	case horizon < 0 && b.Codec() == compress.None:
		dst = w.appendSpans(dst)
	default:
		w.out = w.out[:0]
		if horizon >= 0 {
			w.shift(baseTime, horizon)
			baseTime = horizon
			attributes |= attrDeleteHorizon
		} else {
			w.out = w.appendSpans(w.out)
		}
		if dst, err = compress.Compress(dst, w.out, b.Codec(), compress.DefaultLevel); err != nil {
			return dst[:start], err
		}
	}
	done := Batch(dst[start:])
	done.setHeader(attributes, b.LastOffsetDelta(), int32(w.kept))
	done.SetBaseOffset(b.BaseOffset())
	done.SetLeaderEpoch(b.LeaderEpoch())
	binary.BigEndian.PutUint64(done[posBaseTimestamp:], uint64(baseTime))
	binary.BigEndian.PutUint64(done[posMaxTimestamp:], uint64(maxTime))
	done.UpdateCRC()
	return dst, nil
}

func (w *Rewriter) appendSpans(dst []byte) []byte {
	for _, s := range w.spans {
		dst = append(dst, w.data[s.from:s.to]...)
	}
	return dst
}

// shift writes what was kept to w.out, with timestamps relative to another base.
func (w *Rewriter) shift(from, to int64) {
	fixed := w.b.IsLogAppendTime()
	var buf [24]byte
	for _, s := range w.spans {
		for at := s.from; at < s.to; {
			size, i := varint(w.data, at)
			end := i + int(size)
			attributes := w.data[i]
			delta, rest := varlong(w.data, i+1)
			timestamp := from + delta
			if fixed {
				timestamp = w.b.MaxTimestamp()
			}
			time := zigzag(timestamp - to)
			n := putUvarint(buf[:], 0, uint64(1+uvarintSize(time)+end-rest)<<1)
			buf[n] = attributes
			n = putUvarint(buf[:], n+1, time)
			w.out = append(w.out, buf[:n]...)
			w.out = append(w.out, w.data[rest:end]...)
			at = end
		}
	}
}

func (w *Rewriter) fail(f Field, cause error) bool {
	if cause == nil {
		cause = errMalformed
	}
	e := &CorruptError{Field: f, BaseOffset: w.b.BaseOffset(), Record: w.number, Err: cause}
	if f == FieldCount || f == FieldCodec || f == FieldCompressed || f == FieldRest {
		e.Record = NoRecord
	}
	w.err, w.count = e, w.number
	return false
}

// BuildGap appends a batch without records that does nothing but say that the offsets of b were given out, as BuildEmpty's does, but is
// no producer's, of no transaction and no control batch.
func BuildGap(dst []byte, b Batch) []byte {
	start := len(dst)
	dst = BuildEmpty(dst, b)
	e := Batch(dst[start:])
	binary.BigEndian.PutUint16(e[posAttributes:], uint16(e.Attributes())&attrLogAppendTime)
	e.SetProducer(None, None, None)
	return dst
}
