package consumer

import (
	"context"
	"errors"
	"iter"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/mmap"
	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
)

// Borrowed is a run of records of one partition, read where they lie: in the mapped segment. Nothing is copied and, in
// uncompressed batches, nothing allocated for a record.
//
// The bytes are valid until Release, which must be called, soon, on the goroutine that reads the consumer: until then
// the mapping stays, a rebalance waits, and Store.Close names the lease. Retention and deletion do not disturb them. A
// file that somebody else truncates faults the goroutine that touches the bytes; All runs its own steps, not the host's
// loop body, under a guard.
type Borrowed struct {
	partition.TopicPartition
	consumer *Consumer
	cursor   *cursor
	from     partition.Offset
	next     partition.Offset // behind the last record that All went past
	epoch    partition.LeaderEpoch
	bytes    []byte
	lease    partition.Lease
	aborted  []partition.AbortedTxn
	released bool
}

// PollBorrowed returns the next run of records of one partition, at most Config.MaxPartitionBytes, and waits until there
// is one; it reads nothing ahead, and shows interceptors nothing. Until the run is released, the consumer gives nothing
// else. Errors are those of Poll.
func (c *Consumer) PollBorrowed(ctx context.Context) (*Borrowed, error) {
	called := clock.Elapsed(c.clock)
	stop, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	c.pollBegins(called)
	lent := false
	defer func() {
		c.pollEnds()
		if lent {
			c.pause(stop)
		} else {
			c.finish(stop)
		}
	}()
	for {
		b, err := c.borrow(ctx)
		if err != nil {
			return nil, err
		}
		if b != nil {
			c.borrowed, lent = b, true
			return b, nil
		}
	}
}

// borrow fetches one partition's batches without copying them. The caller has the turn.
func (c *Consumer) borrow(ctx context.Context) (*Borrowed, error) {
	if c.signals.Load() != 0 {
		if err := c.look(ctx); err != nil {
			return nil, err
		}
	}
	c.dropFetched()
	if c.someLost {
		if err := c.tellTruncation(ctx); err != nil {
			return nil, err
		}
	}
	f := c.set
	if !f.prepare(c.cursors, c.first, c.config.MaxPartitionBytes) {
		return nil, c.idle(true)
	}
	c.readsOn()
	maxWait := c.config.MaxWait
	if c.config.MinBytes == 1 {
		maxWait = waitForRecord
	}
	if f.atOnce {
		maxWait = 0
	}
	asleep := c.asleep()
	c.waiting.Store(true)
	results, err := c.source.Fetch(asleep, partition.FetchRequest{
		Partitions: f.positions, MinBytes: c.config.MinBytes, MaxBytes: c.config.MaxPartitionBytes, MaxWait: maxWait,
		ReadCommitted: c.config.Isolation == ReadCommitted, Reuse: f.results,
	})
	c.waiting.Store(false)
	c.fetches.Add(1)
	if err != nil {
		if asleep.Err() != nil && errors.Is(err, context.Canceled) {
			c.roused()
			return nil, nil
		}
		return nil, err
	}
	f.results = results
	var run *Borrowed
	empty := true
	for i := range results {
		r, of := &results[i], f.asked[i]
		if r.Err != nil {
			if err == nil && run == nil {
				err = c.handle(ctx, fault{of, r.Err, r.CorruptNext})
			}
			continue
		}
		of.cursor.saw(r)
		empty = empty && len(r.Batches) == 0
		if len(r.Batches) > 0 && err == nil && run == nil {
			k := of.cursor
			run = &Borrowed{
				TopicPartition: k.tp, consumer: c, cursor: k, from: k.position, next: k.position, epoch: k.epoch,
				bytes: r.Batches, lease: r.Lease, aborted: r.Aborted,
			}
			r.Batches, r.Lease = nil, partition.Lease{} // moved
			c.first = of.index + 1
			continue
		}
		r.Lease.Release()
		r.Batches = nil
	}
	if empty && err == nil && f.atOnce {
		f.nothing(c.config.Isolation)
	}
	return run, err
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
	c.drop()
}

// view is a batch of a run. What its header says is kept, because the bytes may be touched under a guard only.
type view struct {
	batch batch.Batch
	next  partition.Offset
	epoch partition.LeaderEpoch
	skip  bool // a control batch, or one of an aborted transaction
}

// All walks the records of the run. Key, Value and the headers are borrowed until Release; the slice of headers until
// the next record. Going on to the next record finishes the one before; leaving the loop early leaves that record and
// what follows for the next PollBorrowed, or another All. A non-nil error comes with a zero Record and is the last pair:
// *log.CorruptionError, which the next PollBorrowed goes behind with Config.OnCorruption Skip. After Release there are
// no records.
func (b *Borrowed) All() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var rec Record
		b.consumer.aborted.begin(b.aborted)
		for rest := b.bytes; len(rest) > 0; {
			v, err := b.open(rest)
			if err != nil {
				yield(Record{}, b.corrupt(v, err))
				return
			}
			rest = rest[len(v.batch):]
			if !v.skip && v.next > b.next && !b.walk(v, &rec, yield) {
				return
			}
			if v.next > b.next { // a gap, or what is no data
				b.next, b.epoch = v.next, v.epoch
			}
		}
	}
}

// open looks at the first batch of rest.
func (b *Borrowed) open(rest []byte) (v view, err error) {
	fault := mmap.Guard(func() {
		var first batch.Batch
		if first, err = batch.Peek(rest); err != nil {
			return
		}
		v = view{first, partition.Offset(first.NextOffset()), partition.LeaderEpoch(first.LeaderEpoch()), b.consumer.aborted.skips(first)}
		if !v.skip && v.next > b.next {
			b.consumer.iterator.Detach() // records of the batch before are borrowed until Release
			first.Iterate(&b.consumer.iterator, maxDecompressed)
		}
	})
	return v, errors.Join(fault, err)
}

// walk yields the records of one batch. It returns false if the walk is over.
func (b *Borrowed) walk(v view, rec *Record, yield func(Record, error) bool) bool {
	it, until := &b.consumer.iterator, b.cursor.until
	for {
		more := false
		if err := mmap.Guard(func() { more = it.Next() }); err != nil {
			yield(Record{}, b.corrupt(view{}, err))
			return false
		}
		if !more {
			break
		}
		r := it.Record()
		if r.Offset < int64(b.next) {
			continue
		}
		if until != noBound && r.Offset >= int64(until) {
			b.next, b.bytes = max(b.next, until), nil
			return false
		}
		b.consumer.recordOf(b.cursor, v.epoch, r, rec)
		if !yield(*rec, nil) || b.released {
			return false
		}
		b.next, b.epoch = partition.Offset(r.Offset)+1, v.epoch
		b.consumer.given++
		b.consumer.givenBytes += int64(len(rec.Key) + len(rec.Value))
	}
	if err := it.Err(); err != nil {
		yield(Record{}, b.corrupt(v, err))
		return false
	}
	return true
}

// corrupt makes the error of a batch that cannot be walked. With Skip, the run ends behind it.
func (b *Borrowed) corrupt(v view, cause error) error {
	err := &log.CorruptionError{Path: b.TopicPartition.String(), Offset: b.next, NextOffset: max(b.next, v.next), Err: cause}
	if b.consumer.config.OnCorruption == Skip && v.next > b.next {
		b.consumer.skipped.Add(1)
		b.next = v.next
	}
	b.bytes = nil // the walk is over
	return err
}

// Release gives the bytes back and acknowledges the records that All went past. Releasing twice does nothing.
func (b *Borrowed) Release() {
	if b.released {
		return
	}
	c := b.consumer
	b.released, b.bytes = true, nil
	c.iterator.Clear()
	b.lease.Release()
	c.tally(b.cursor)
	if b.next != b.from {
		b.cursor.finish(b.next, b.epoch)
		b.cursor.read = b.epoch
		b.cursor.jump(b.next)
	}
	if c.looping.CompareAndSwap(false, true) { // nothing is in hand any more
		c.release()
		c.looping.Store(false)
	}
}
