package producer

import (
	"context"
	"runtime/debug"
	"sync"
	"time"

	"github.com/partlog/partlog/partition"
)

// View is one topic as a place for keys of type K and values of type V. It holds nothing that needs closing, and is
// safe for any number of goroutines.
type View[K, V any] struct {
	p     *Producer
	tx    *Tx // nil outside transactions
	topic string
	key   Encoder[K]
	value Encoder[V]
}

// For returns a typed view of a topic; K and V are inferred from the encoders:
//
//	orders := producer.For(p, "orders", producer.String, producer.JSON[Order])
func For[K, V any](p *Producer, topic string, key Encoder[K], value Encoder[V]) *View[K, V] {
	return &View[K, V]{p: p, topic: topic, key: key, value: value}
}

// In returns the view inside a transaction: what is sent through it is part of tx.
//
//	err := p.Transact(ctx, func(tx *producer.Tx) error {
//		_, err := orders.In(tx).Send(ctx, "customer-42", Order{Cents: 1999})
//		return err
//	})
//
// An error of an encoder comes back from Send and leaves the transaction as it is; SendAsync, which has nobody to tell
// for sure, leaves it to be aborted.
func (v *View[K, V]) In(tx *Tx) *View[K, V] {
	in := *v
	if in.tx = tx; tx != nil {
		in.p = tx.p
	}
	return &in
}

// TypedRecord is a Record with a key and a value that are not yet encoded. Encoders add to its Headers; the caller's
// slice is not changed.
type TypedRecord[K, V any] struct {
	Key       K
	Value     V
	Headers   []partition.Header
	Partition Target
	Timestamp time.Time
	Acks      Requirement
}

// Send encodes and sends a record as Producer.Send does. If an encoder fails, the error is *EncodeError.
func (v *View[K, V]) Send(ctx context.Context, key K, value V) (Result, error) {
	return v.SendRecord(ctx, TypedRecord[K, V]{Key: key, Value: value})
}

// SendRecord is Send for a record with headers, a partition, a timestamp or acks of its own.
func (v *View[K, V]) SendRecord(ctx context.Context, r TypedRecord[K, V]) (Result, error) {
	s := scratches.Get().(*scratch)
	defer s.release()
	rec, err := v.encode(s, r, false)
	if err != nil {
		return v.p.refusedSend(rec, err)
	}
	return v.send(ctx, rec)
}

// SendAsync encodes and sends a record as Producer.SendAsync does; done may be nil. If an encoder fails, done is
// called with an *EncodeError before SendAsync returns.
func (v *View[K, V]) SendAsync(ctx context.Context, key K, value V, done func(Result)) {
	v.SendRecordAsync(ctx, TypedRecord[K, V]{Key: key, Value: value}, done)
}

// SendRecordAsync is SendAsync for a record with headers, a partition, a timestamp or acks of its own.
func (v *View[K, V]) SendRecordAsync(ctx context.Context, r TypedRecord[K, V], done func(Result)) {
	s := scratches.Get().(*scratch)
	defer s.release()
	rec, err := v.encode(s, r, false)
	if err != nil {
		if v.tx != nil {
			v.tx.refuse(err)
		}
		v.p.refusedAsync(rec, err, done)
		return
	}
	if v.tx != nil {
		v.tx.SendAsync(ctx, rec, done)
		return
	}
	v.p.SendAsync(ctx, rec, done)
}

// Delete sends a tombstone: the key with a null value, which removes the key from a compacted topic.
func (v *View[K, V]) Delete(ctx context.Context, key K) (Result, error) {
	s := scratches.Get().(*scratch)
	defer s.release()
	rec, err := v.encode(s, TypedRecord[K, V]{Key: key}, true)
	if err != nil {
		return v.p.refusedSend(rec, err)
	}
	return v.send(ctx, rec)
}

func (v *View[K, V]) send(ctx context.Context, rec Record) (Result, error) {
	if v.tx != nil {
		return v.tx.Send(ctx, rec)
	}
	return v.p.Send(ctx, rec)
}

// encode builds the untyped record in s, which must live until it has been sent.
func (v *View[K, V]) encode(s *scratch, r TypedRecord[K, V], tombstone bool) (rec Record, err error) {
	part := "key"
	defer func() {
		if x := recover(); x != nil {
			pe := &PanicError{In: "encoder", Value: x, Stack: debug.Stack()}
			v.p.panicked(pe)
			err = &EncodeError{Topic: v.topic, Part: part, Err: pe}
		}
	}()
	rec = Record{Topic: v.topic, Partition: r.Partition, Timestamp: r.Timestamp, Acks: r.Acks}
	e := &s.envelope
	e.Topic, e.IsKey, e.Null = v.topic, true, false
	e.Headers = append(e.Headers[:0], r.Headers...)
	b, err := v.key(s.buf[:0], r.Key, e)
	if err != nil {
		return rec, &EncodeError{Topic: v.topic, Part: part, Err: err}
	}
	if e.Null {
		b = b[:0]
	}
	n, keyNull := len(b), e.Null
	part, e.IsKey, e.Null = "value", false, tombstone
	if !tombstone {
		if b, err = v.value(b, r.Value, e); err != nil {
			return rec, &EncodeError{Topic: v.topic, Part: part, Err: err}
		}
	}
	if b == nil {
		b = []byte{}
	}
	s.buf = b
	if !keyNull {
		rec.Key = b[:n:n]
	}
	if !e.Null {
		rec.Value = b[n:]
	}
	rec.Headers = e.Headers
	return rec, nil
}

// scratch is where a view encodes a record, before Send copies it into a batch.
type scratch struct {
	buf      []byte
	envelope Envelope
}

// maxScratch bounds what a pooled scratch keeps after a large record.
const maxScratch = 64 << 10

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func (s *scratch) release() {
	if cap(s.buf) > maxScratch {
		s.buf = nil
	}
	clear(s.envelope.Headers)
	s.envelope.Headers = s.envelope.Headers[:0]
	scratches.Put(s)
}
