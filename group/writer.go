package group

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// queued is what a group wants written.
type queued struct {
	group   *hosted
	id      appendID
	records []record
	since   time.Time
}

// maxBatchBytes is up to where pieces of work share a batch; a larger one goes alone. It is half of what the offsets topic
// takes (max.message.bytes), unless that was changed.
const maxBatchBytes = 512 << 10

// keptBytes bounds the buffer that a partition keeps for its next batch.
const keptBytes = 16 << 10

// enqueueLocked queues work at its partition. If nobody writes there, the request that is being stepped will, else a
// goroutine of its own.
func (c *coordinator) enqueueLocked(q queued) {
	p := q.group.in
	p.queue = append(p.queue, q)
	if p.writing {
		return
	}
	p.writing = true
	p.work.Add(1)
	c.wg.Add(1)
	if c.caller && c.work == nil {
		c.work = p
		return
	}
	go c.write(p, false)
}

// write appends what is queued at a partition until nothing is, or once if it is a caller who does it. Invariant: one
// writer a partition, so records reach the log in the order in which the machines gave them out.
func (c *coordinator) write(p *offsetsPartition, once bool) {
	defer c.wg.Done()
	defer p.work.Done()
	for {
		c.mu.Lock()
		work := p.queue
		p.queue = nil
		if len(work) == 0 {
			p.writing = false
			c.unlock()
			return
		}
		now := c.config.Clock.Now()
		for _, q := range work {
			waited := max(0, now.Sub(q.since))
			c.stats.QueueTime += waited
			c.stats.MaxQueueTime = max(c.stats.MaxQueueTime, waited)
		}
		c.mu.Unlock()

		results := c.appendAll(p, &p.builder, work, now.UnixMilli())

		c.mu.Lock()
		for i, q := range work {
			c.stepLocked(q.group, c.event(results[i], q.id))
		}
		if once && len(p.queue) > 0 {
			p.work.Add(1)
			c.wg.Add(1)
			go c.write(p, false) // a caller does not work for others
			c.mu.Unlock()
			return
		}
		c.release()
	}
}

// appended is the log's answer to a piece of work: where its first record is.
type appended struct {
	base partition.Offset
	err  error
}

// event is what the machine hears of it. In a cluster nothing is kept in memory for want of space: the next coordinator would not have it.
func (c *coordinator) event(a appended, id appendID) appendedEvent {
	return appendedEvent{id: id, base: a.base, err: a.err, noSpace: !c.moves && errors.Is(a.err, partition.ErrNoSpace)}
}

// appendAll writes each piece of work as one batch, together with others as far as they fit, and returns an answer for
// each. now is the records' timestamp, in milliseconds.
func (c *coordinator) appendAll(p *offsetsPartition, b *batch.Builder, work []queued, now int64) []appended {
	out := make([]appended, len(work))
	for first, end := 0, 0; first < len(work); first = end {
		size := 0
		for end = first; end < len(work); end++ {
			n := work[end].size()
			if end > first && size+n > maxBatchBytes {
				break
			}
			size += n
		}
		c.appendTogether(p, b, work[first:end], out[first:end], now)
	}
	return out
}

// appendTogether writes pieces of work as one batch. If the topic does not take that, each goes alone, so that only those
// that are too large are refused.
func (c *coordinator) appendTogether(p *offsetsPartition, b *batch.Builder, work []queued, out []appended, now int64) {
	for _, q := range work {
		for _, r := range q.records {
			b.Append(now, r.key, r.value, nil)
		}
	}
	base, err := c.appendBatch(p, b, nil, len(work) > 1)
	if len(work) > 1 && errors.Is(err, partition.ErrMessageTooLarge) {
		for i := range work {
			c.appendTogether(p, b, work[i:i+1], out[i:i+1], now)
		}
		return
	}
	for i, q := range work {
		out[i] = appended{base, err}
		base += partition.Offset(len(q.records))
	}
}

// size is at least what the records take in a batch.
func (q *queued) size() int {
	n := 0
	for _, r := range q.records {
		n += len(r.key) + len(r.value) + 4*binary.MaxVarintLen32
	}
	return n
}

// appendTxn appends what a group commits in a producer's transaction. It has a goroutine of its own, because the append
// may wait for the end of the producer's previous transaction; it is one batch, because it counts whole or not at all.
// EndTxn makes it durable.
func (c *coordinator) appendTxn(g *hosted, e appendEffect) {
	var b batch.Builder
	b.Reset(nil, batch.Options{Transactional: true, ProducerID: e.txn.Producer.ID, Epoch: e.txn.Producer.Epoch})
	now := c.config.Clock.Now().UnixMilli()
	for _, r := range e.records {
		b.Append(now, r.key, r.value, nil)
	}
	base, err := c.appendBatch(g.in, &b, e.txn, false)
	c.mu.Lock()
	c.stepLocked(g, c.event(appended{base, err}, e.id))
	c.unlock()
}

// appendBatch appends the builder's batch and empties it. One that is too large and can be divided is no failure to tell of.
func (c *coordinator) appendBatch(p *offsetsPartition, b *batch.Builder, txn *TxnCommit, divisible bool) (partition.Offset, error) {
	records := b.Count()
	started := c.config.Clock.Now()
	data, err := b.Finish()
	defer func() { // the bytes are free again after the append
		if cap(data) > keptBytes {
			data = nil
		}
		b.Reset(data[:0], batch.Options{})
	}()
	var result partition.AppendResult
	if err == nil {
		r := partition.AppendRequest{
			TopicPartition: partition.TopicPartition{Topic: OffsetsTopic, Partition: p.index},
			Batch:          data, Acks: partition.AcksAll, Internal: true,
		}
		ctx := context.Background() // what is queued has been accepted, and those who asked may be many
		if c.moves {
			ctx = p.life // other nodes have to answer, and may not
		}
		if txn != nil {
			ctx, r.TransactionalID, r.Acks = p.life, txn.TransactionalID, partition.AcksLeader
			r.TxnAdded = txn.PartitionAdded
		}
		result, err = c.backend.Append(ctx, r)
	}
	c.mu.Lock()
	defer c.release()
	c.stats.AppendTime += c.config.Clock.Now().Sub(started)
	if err != nil {
		if (txn != nil || c.moves) && c.closing && errors.Is(err, context.Canceled) {
			err = partition.ErrClosed
		}
		if !divisible || !errors.Is(err, partition.ErrMessageTooLarge) {
			c.tellLocked(WriteFailedInfo{Partition: p.index, Records: records, Kept: txn == nil && !c.moves && errors.Is(err, partition.ErrNoSpace), Err: err})
		}
		if c.moves {
			err = moved(err)
		}
		return 0, fmt.Errorf("append to %s-%d: %w", OffsetsTopic, p.index, err)
	}
	c.stats.Appends++
	c.stats.Records += uint64(records)
	return result.BaseOffset, nil
}
