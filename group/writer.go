package group

import (
	"context"
	"errors"
	"fmt"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// queued is what a group wants written.
type queued struct {
	group   *hosted
	id      appendID
	records []record
}

// maxBatchBytes is where a batch of the offsets topic is closed. It is half of the topic's max.message.bytes: a record
// larger than the other half goes alone and, if it is larger than the whole, harms nobody else.
const maxBatchBytes = 512 << 10

func (c *coordinator) enqueueLocked(q queued) {
	p := q.group.in
	p.queue = append(p.queue, q)
	if !p.writing {
		p.writing = true
		c.wg.Go(func() { c.write(p) })
	}
}

// write appends what is queued at a partition until nothing is. Invariant: one writer a partition, so records reach
// the log in the order in which the machines gave them out.
func (c *coordinator) write(p *offsetsPartition) {
	var b batch.Builder
	b.Reset(nil, batch.Options{})
	for {
		c.mu.Lock()
		work := p.queue
		p.queue = nil
		if len(work) == 0 {
			p.writing = false
			c.unlock()
			return
		}
		c.mu.Unlock()

		errs := c.appendAll(p, &b, work)

		c.mu.Lock()
		for i, q := range work {
			err := errs[i]
			c.stepLocked(q.group, appendedEvent{id: q.id, err: err, noSpace: errors.Is(err, partition.ErrNoSpace)})
		}
		c.unlock()
	}
}

// appendAll writes records in as few batches as they fit, and returns an error for each piece of work: the first of
// the batches that it is in.
func (c *coordinator) appendAll(p *offsetsPartition, b *batch.Builder, work []queued) []error {
	errs := make([]error, len(work))
	now := c.config.Clock.Now().UnixMilli()
	first := 0 // piece of work with the first record of the open batch
	flush := func(last int) {
		if b.Count() == 0 {
			return
		}
		if err := c.appendBatch(p, b); err != nil {
			for i := first; i <= last; i++ {
				if errs[i] == nil {
					errs[i] = err
				}
			}
		}
	}
	for i, q := range work {
		for _, r := range q.records {
			if b.Count() > 0 && b.SizeWith(r.key, r.value, nil) > maxBatchBytes {
				flush(i)
				first = i
			}
			b.Append(now, r.key, r.value, nil)
		}
	}
	flush(len(work) - 1)
	return errs
}

func (c *coordinator) appendBatch(p *offsetsPartition, b *batch.Builder) error {
	records := b.Count()
	started := c.config.Clock.Now()
	data, err := b.Finish()
	defer func() { b.Reset(data[:0], batch.Options{}) }() // the bytes are free again after the append
	if err == nil {
		// No caller's context: what is queued has been accepted, and those who asked may be many.
		_, err = c.backend.Append(context.Background(), partition.AppendRequest{
			TopicPartition: partition.TopicPartition{Topic: OffsetsTopic, Partition: p.index},
			Batch:          data, Acks: partition.AcksAll, Internal: true,
		})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.AppendTime += c.config.Clock.Now().Sub(started)
	if err != nil {
		c.tellLocked(WriteFailedInfo{Partition: p.index, Records: records, Kept: errors.Is(err, partition.ErrNoSpace), Err: err})
		return fmt.Errorf("append to %s-%d: %w", OffsetsTopic, p.index, err)
	}
	c.stats.Appends++
	c.stats.Records += uint64(records)
	return nil
}
