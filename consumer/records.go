package consumer

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// Records walks the records as they come, in offset order within each partition, and waits for more at the end. It may
// be called again after a loop has ended; each sequence is for one loop.
//
// Reaching the next iteration acknowledges the record; break, return and panic do not: the next loop begins with that
// record again.
//
// A non-nil error comes with a zero Record; unless documented as per-record it is the last pair. An endless sequence
// always ends with its reason: ctx's error, ErrClosed, *ExpelledError, ErrConcurrentUse, partition.ErrOffsetOutOfRange
// (ResetNone), *log.CorruptionError (Stop; per-record with Skip, as far as it is known where the damage ends),
// *TruncationError (ResetNone; per-record else), ErrNoOffset, Config.Start's, group.ErrFencedInstanceID, or the source's.
// One with bounds ends without an error when they are reached.
func (c *Consumer) Records(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		stop, err := c.begin(ctx)
		if err != nil {
			yield(Record{}, err)
			return
		}
		defer c.finish(stop)
		var rec Record
		for {
			c.acknowledge()
			k, r, err := c.next(ctx, true)
			if err != nil {
				if err == io.EOF || !yield(Record{}, err) || !c.skippable(err) {
					return
				}
				continue
			}
			c.give(k, r, &rec)
			if c.hand != k.cursor {
				c.hand = k.cursor
			}
			c.inHand, c.handFrom, c.handNext, c.handEpoch = true, rec.Offset, rec.Offset+1, k.epoch
			if len(c.config.Interceptors) > 0 {
				c.intercept(&rec)
			}
			if !yield(rec, nil) {
				return
			}
		}
	}
}

// give makes the caller's record and moves the cursor behind it.
func (c *Consumer) give(k *chunk, r *batch.Record, rec *Record) {
	k.cursor.position = partition.Offset(r.Offset) + 1
	c.given++
	c.givenBytes += int64(len(r.Key) + len(r.Value))
	c.recordOf(k.cursor, k.epoch, r, rec)
	if len(r.Headers) > 0 {
		rec.Headers = c.keep(r.Headers)
	}
}

// recordOf makes a record that shares everything with r.
func (c *Consumer) recordOf(k *cursor, epoch partition.LeaderEpoch, r *batch.Record, rec *Record) {
	rec.Topic, rec.Partition, rec.LeaderEpoch = k.tp.Topic, k.tp.Partition, epoch
	rec.Offset = partition.Offset(r.Offset)
	rec.Key, rec.Value, rec.Headers = r.Key, r.Value, r.Headers
	if r.Timestamp != c.milliseconds { // neighbours often have the same
		c.milliseconds, c.timestamp = r.Timestamp, time.Time{}
		if r.Timestamp >= 0 {
			c.timestamp = time.UnixMilli(r.Timestamp)
		}
	}
	rec.Timestamp = c.timestamp
}

// headersBlock is how many headers are allocated together.
const headersBlock = 128

// keep copies headers, which the iterator will use again, into a block that the records of one fetch share.
func (c *Consumer) keep(h []batch.Header) []partition.Header {
	n := len(c.headers)
	if n+len(h) > cap(c.headers) {
		c.headers, n = make([]partition.Header, 0, max(headersBlock, len(h))), 0
	}
	c.headers = append(c.headers, h...)
	return c.headers[n:len(c.headers):len(c.headers)]
}

// intercept shows the record to the interceptors, in a place of its own: one whose address is given away is allocated.
func (c *Consumer) intercept(r *Record) {
	if len(c.config.Interceptors) == 0 {
		return
	}
	c.shown = *r
	for _, f := range c.config.Interceptors {
		f(&c.shown)
	}
	*r, c.shown = c.shown, Record{}
}

// Records walks a consumer's records with key and value decoded. The contract is that of Consumer.Records; a
// *DecodeError is per-record, with a zero record beside it and the undecoded one in it.
func Records[K, V any](ctx context.Context, c *Consumer, key Decoder[K], value Decoder[V]) iter.Seq2[TypedRecord[K, V], error] {
	return func(yield func(TypedRecord[K, V], error) bool) {
		var at Envelope
		for r, err := range c.Records(ctx) {
			var typed TypedRecord[K, V]
			if err == nil {
				typed, err = decode(&at, r, key, value)
			}
			if !yield(typed, err) {
				return
			}
		}
	}
}

func decode[K, V any](at *Envelope, r Record, key Decoder[K], value Decoder[V]) (TypedRecord[K, V], error) {
	*at = Envelope{Topic: r.Topic, IsKey: true, Headers: r.Headers}
	k, err := key(r.Key, at)
	if err != nil {
		return TypedRecord[K, V]{}, &DecodeError{Raw: r, IsKey: true, Err: err}
	}
	at.IsKey = false
	v, err := value(r.Value, at)
	if err != nil {
		return TypedRecord[K, V]{}, &DecodeError{Raw: r, Err: err}
	}
	return TypedRecord[K, V]{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, LeaderEpoch: r.LeaderEpoch, Timestamp: r.Timestamp,
		Key: k, Value: v, KeyNull: r.Key == nil, ValueNull: r.Value == nil, Headers: r.Headers, Raw: r,
	}, nil
}
