package consumer

import (
	"context"
	"errors"
	"iter"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/mmap"
	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
)

// Borrowed is a run of records of one partition, read where they lie: in the mapped segment. Nothing is copied and, in
// uncompressed batches, nothing allocated.
//
// The bytes are valid until Release, which must be called, soon: until then the mapping stays, and Store.Close names
// the lease. Retention and deletion do not disturb them. A file that somebody else truncates faults the goroutine that
// touches the bytes; All runs its own steps, not the host's loop body, under a guard.
type Borrowed struct {
	partition.TopicPartition
	consumer *Consumer
	cursor   *cursor
	version  int
	from     partition.Offset
	next     partition.Offset // behind the last record that All went past
	result   *partition.FetchResult
	iterator batch.Iterator
	released bool
}

// PollBorrowed returns the next run of records of one partition, and waits until there is one; it reads nothing ahead.
// The run before must have been released. Errors are those of Poll. One run exists at a time: it is the consumer's, and
// used again by the next call.
func (c *Consumer) PollBorrowed(ctx context.Context) (*Borrowed, error) {
	stop, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer c.finish(stop)
	if c.borrowed == nil {
		c.borrowed = &Borrowed{released: true}
	}
	b := c.borrowed
	if !b.released {
		return nil, errors.New("the run before has not been released")
	}
	for {
		k, result, err := c.borrow(ctx)
		if err != nil {
			return nil, err
		}
		if k != nil {
			b.TopicPartition, b.consumer, b.cursor, b.version = k.tp, c, k, k.version
			b.from, b.next, b.result, b.released = k.position, k.position, result, false
			return b, nil
		}
	}
}

// borrow fetches one partition's batches without copying them. The caller has the turn.
func (c *Consumer) borrow(ctx context.Context) (*cursor, *partition.FetchResult, error) {
	if c.signals.Load() != 0 {
		if err := c.look(ctx); err != nil {
			return nil, nil, err
		}
	}
	c.dropFetched()
	f := c.set
	if !f.prepare(c.cursors, c.rotation, c.config.MaxPartitionBytes) {
		return nil, nil, c.idle(true)
	}
	c.rotation++
	c.mu.Lock()
	wait := c.wait
	c.mu.Unlock()
	c.waiting.Store(true)
	results, err := c.source.Fetch(wait, partition.FetchRequest{
		Partitions: f.positions, MinBytes: c.config.MinBytes, MaxBytes: 1, MaxWait: waitForRecord, Reuse: f.results,
	})
	c.waiting.Store(false)
	c.fetches.Add(1)
	if err != nil {
		if c.signals.Load() != 0 && errors.Is(err, context.Canceled) {
			return nil, nil, nil
		}
		return nil, nil, err
	}
	f.results = results
	for i := range results {
		r, k := &results[i], f.cursors[i]
		if r.Err != nil {
			if err := c.handle(ctx, fault{cursor: k, version: f.versions[i], err: r.Err, next: r.CorruptNext}); err != nil {
				return nil, nil, err
			}
			continue
		}
		k.highWatermark.Store(int64(r.HighWatermark))
		k.logStart.Store(int64(r.LogStart))
		if len(r.Batches) > 0 {
			return k, r, nil // MaxBytes 1: no other partition has any
		}
	}
	return nil, nil, nil
}

// dropFetched forgets what other ways of reading have fetched and not yielded.
func (c *Consumer) dropFetched() {
	if f := c.ahead; f != nil {
		<-f.done
		c.ahead = nil
	}
	for _, k := range c.cursors {
		if k.fetch != k.position {
			k.jump(k.position)
		}
	}
	c.set.chunks, c.set.faults, c.at = c.set.chunks[:0], c.set.faults[:0], 0
}

// All walks the records of the run. Key, Value and the headers are borrowed until Release. Going on to the next record
// finishes the one before; leaving the loop early leaves that record and what follows for the next PollBorrowed. It may
// be called once. A non-nil error comes with a zero Record and is the last pair: *log.CorruptionError or *mmap.FaultError.
func (b *Borrowed) All() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for rest := b.result.Batches; len(rest) > 0; {
			current, err := b.open(rest)
			if err != nil {
				yield(Record{}, err)
				return
			}
			rest = rest[len(current):]
			if !current.IsControl() && !b.walk(current, yield) {
				return
			}
			b.next = max(b.next, partition.Offset(current.NextOffset()))
		}
	}
}

// open begins with the first batch of rest.
func (b *Borrowed) open(rest []byte) (current batch.Batch, err error) {
	fault := mmap.Guard(func() {
		current, err = batch.Peek(rest)
		if err == nil && !current.IsControl() {
			current.Iterate(&b.iterator, maxDecompressed)
		}
	})
	return current, errors.Join(fault, err)
}

// walk yields the records of one batch. It returns false if the walk is over.
func (b *Borrowed) walk(current batch.Batch, yield func(Record, error) bool) bool {
	epoch := partition.LeaderEpoch(current.LeaderEpoch())
	for {
		more := false
		if err := mmap.Guard(func() { more = b.iterator.Next() }); err != nil {
			yield(Record{}, err)
			return false
		}
		if !more {
			break
		}
		r := b.iterator.Record()
		if r.Offset < int64(b.from) {
			continue
		}
		if until := b.cursor.until; until != noBound && r.Offset >= int64(until) {
			b.next = until
			return false
		}
		if !yield(recordOf(b.cursor, epoch, r), nil) {
			return false
		}
		b.next = partition.Offset(r.Offset) + 1
	}
	if err := b.iterator.Err(); err != nil {
		yield(Record{}, &log.CorruptionError{
			Path: b.TopicPartition.String(), Offset: b.next, NextOffset: partition.Offset(current.NextOffset()), Err: err,
		})
		return false
	}
	return true
}

// Release gives the bytes back and acknowledges the records that All went past. Releasing twice does nothing.
func (b *Borrowed) Release() {
	if b.released {
		return
	}
	b.released = true
	b.iterator.Clear()
	b.result.Lease.Release()
	if b.next != b.from {
		b.cursor.finished.Store(int64(b.next))
	}
}

// settle moves a cursor behind what a released run has read of it, if nothing else has moved it since. The caller has
// the turn.
func (c *Consumer) settle() {
	if b := c.borrowed; b != nil && b.released && b.cursor != nil {
		if b.cursor.version == b.version {
			b.cursor.jump(b.next)
		}
		b.cursor = nil
	}
}
