package consumer

import (
	"context"
	"io"
	"iter"
	"slices"
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
// (ResetNone), *log.CorruptionError (Stop; per-record with Skip), or the source's. One with bounds ends without an
// error when they are reached.
func (c *Consumer) Records(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		stop, err := c.begin(ctx)
		if err != nil {
			yield(Record{}, err)
			return
		}
		defer c.finish(stop)
		for {
			c.acknowledge()
			k, r, err := c.next(ctx, true)
			if err == io.EOF {
				return
			}
			if err != nil {
				if !yield(Record{}, err) || !c.skippable(err) {
					return
				}
				continue
			}
			rec := c.give(k, r)
			c.hand, c.handFrom, c.handNext = k, rec.Offset, rec.Offset+1
			c.intercept(&rec)
			if !yield(rec, nil) {
				return
			}
		}
	}
}

// Poll returns the next records, at least one and at most Config.MaxPollRecords, and waits until there is one. Calling
// it again, or beginning a loop, acknowledges the records of the call before. io.EOF says that every bound is reached;
// other errors are those of Records. With Config.OnCorruption Skip, a call after a *log.CorruptionError goes on.
func (c *Consumer) Poll(ctx context.Context) ([]Record, error) {
	stop, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer c.finish(stop)
	if err := c.late; err != nil {
		c.late = nil
		return nil, err
	}
	var records []Record
	for len(records) < c.config.MaxPollRecords {
		k, r, err := c.next(ctx, len(records) == 0)
		if err != nil && len(records) > 0 {
			if c.skippable(err) {
				c.late = err // for the next call: told once, and told
			}
			break // any other error is met again
		}
		if err != nil {
			return nil, err
		}
		if r == nil {
			break
		}
		if records == nil {
			records = make([]Record, 0, c.config.MaxPollRecords)
		}
		rec := c.give(k, r)
		c.pollFrom[k] = rec.Offset + 1
		c.intercept(&rec)
		records = append(records, rec)
	}
	return records, nil
}

// finishPoll acknowledges what the Poll before returned.
func (c *Consumer) finishPoll() {
	for k, next := range c.pollFrom {
		k.finished.Store(int64(next))
	}
	clear(c.pollFrom)
}

// give makes the caller's record and moves the cursor behind it.
func (c *Consumer) give(k *cursor, r *batch.Record) Record {
	epoch := c.set.chunks[c.at].current.LeaderEpoch()
	if k.epoch.Load() != epoch {
		k.epoch.Store(epoch)
	}
	k.position = partition.Offset(r.Offset) + 1
	c.given++
	c.givenBytes += int64(len(r.Key) + len(r.Value))
	rec := recordOf(k, partition.LeaderEpoch(epoch), r)
	if len(r.Headers) > 0 {
		rec.Headers = slices.Clone(r.Headers)
	}
	return rec
}

// recordOf makes a record that shares everything with r.
func recordOf(k *cursor, epoch partition.LeaderEpoch, r *batch.Record) Record {
	rec := Record{
		Topic: k.tp.Topic, Partition: k.tp.Partition, Offset: partition.Offset(r.Offset), LeaderEpoch: epoch,
		Key: r.Key, Value: r.Value, Headers: r.Headers,
	}
	if r.Timestamp >= 0 {
		rec.Timestamp = time.UnixMilli(r.Timestamp)
	}
	return rec
}

func (c *Consumer) intercept(r *Record) {
	for _, f := range c.config.Interceptors {
		f(r)
	}
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
