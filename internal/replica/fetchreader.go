package replica

import (
	"encoding/binary"
	"math"
	"time"
)

// wireReader reads Kafka's flexible encoding. What is counted is never more than there are bytes for: kmsg's reader believes a number of tags, and
// a few bytes from a peer keep it busy for a minute.
type wireReader struct {
	b   []byte
	bad bool
}

func (r *wireReader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.bad, r.b = true, nil
		return nil
	}
	taken := r.b[:n:n]
	r.b = r.b[n:]
	return taken
}

func (r *wireReader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *wireReader) i32() int32 {
	if b := r.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *wireReader) i64() int64 {
	if b := r.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (r *wireReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count is the length of an array whose elements have at least size bytes, 0 for null.
func (r *wireReader) count(size int) int {
	n := r.uvarint()
	if n == 0 {
		return 0
	}
	if n-1 > uint64(len(r.b)/size) {
		r.bad, r.b = true, nil
		return 0
	}
	return int(n - 1)
}

// bytes are nil for null.
func (r *wireReader) bytes() []byte {
	n := r.uvarint()
	if n == 0 {
		return nil
	}
	if n-1 > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	return r.take(int(n - 1))
}

func (r *wireReader) topic() (id TopicID) {
	copy(id[:], r.take(len(id)))
	return id
}

// tags gives each tag's value to f, which may be nil.
func (r *wireReader) tags(f func(tag uint64, value *wireReader)) {
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		tag, size := r.uvarint(), r.uvarint()
		if size > uint64(len(r.b)) {
			r.bad, r.b = true, nil
			return
		}
		value := wireReader{b: r.take(int(size))}
		if f != nil {
			f(tag, &value)
			r.bad = r.bad || value.bad
		}
	}
}

// ReadFetchRequest reads what AppendFetchRequest has written into r, whose slices are used again.
func ReadFetchRequest(r *FetchRequest, body []byte) error {
	w := wireReader{b: body}
	partitions, forgotten := r.Partitions[:0], r.Forgotten[:0]
	*r = FetchRequest{Node: NoNode, BrokerEpoch: -1}
	r.MaxWait = time.Duration(w.i32()) * time.Millisecond
	r.MinBytes, r.MaxBytes = w.i32(), w.i32()
	w.take(1) // isolation level
	r.SessionID, r.SessionEpoch = w.i32(), w.i32()
	for n := w.count(18); n > 0 && !w.bad; n-- {
		topic := w.topic()
		for n := w.count(33); n > 0 && !w.bad; n-- {
			p := FetchPartition{TopicPartition: TopicPartition{Topic: topic, Index: w.i32()}}
			p.LeaderEpoch, p.Offset, p.LastEpoch, p.LogStart, p.MaxBytes = w.i32(), w.i64(), w.i32(), w.i64(), w.i32()
			p.HighWatermark = -1
			w.tags(func(tag uint64, value *wireReader) {
				if tag == 1 {
					if p.HighWatermark = value.i64(); p.HighWatermark == math.MaxInt64 {
						p.HighWatermark = -1 // not told
					}
				}
			})
			partitions = append(partitions, p)
		}
		w.tags(nil)
	}
	for n := w.count(18); n > 0 && !w.bad; n-- {
		topic := w.topic()
		for n := w.count(4); n > 0 && !w.bad; n-- {
			forgotten = append(forgotten, TopicPartition{Topic: topic, Index: w.i32()})
		}
		w.tags(nil)
	}
	w.bytes() // rack
	w.tags(func(tag uint64, value *wireReader) {
		if tag == 1 {
			r.Node, r.BrokerEpoch = NodeID(value.i32()), value.i64()
		}
	})
	r.Partitions, r.Forgotten = partitions, forgotten
	if w.bad || r.Node < 0 || r.MaxWait < 0 {
		return ErrMalformedFetch
	}
	return nil
}

// ReadFetchResponse reads the body of a Fetch response into r, whose slice is used again. Records are slices of body.
func ReadFetchResponse(r *FetchResponse, body []byte) error {
	w := wireReader{b: body}
	w.i32() // throttle
	r.Code, r.SessionID, r.Partitions = Code(w.u16()), w.i32(), r.Partitions[:0]
	for n := w.count(18); n > 0 && !w.bad; n-- {
		topic := w.topic()
		for n := w.count(37); n > 0 && !w.bad; n-- {
			a := FetchAnswer{TopicPartition: TopicPartition{Topic: topic, Index: w.i32()}, Answer: refusal(Code(w.u16()))}
			a.HighWatermark = w.i64()
			w.i64() // last stable offset
			a.LogStart = w.i64()
			for n := w.count(17); n > 0 && !w.bad; n-- { // aborted transactions
				w.take(16)
				w.tags(nil)
			}
			w.i32() // preferred read replica
			a.Records = w.bytes()
			w.tags(func(tag uint64, value *wireReader) {
				switch tag {
				case 0:
					a.DivergingEpoch, a.DivergingEnd = value.i32(), value.i64()
				case 1:
					a.Leader, a.LeaderEpoch = NodeID(value.i32()), value.i32()
				case logEndTag:
					a.LogEnd = value.i64()
				}
			})
			r.Partitions = append(r.Partitions, a)
		}
		w.tags(nil)
	}
	w.tags(nil)
	if w.bad {
		return ErrMalformedFetch
	}
	return nil
}
