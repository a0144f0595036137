package group

import (
	"errors"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/mmap"
	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
)

// tailWait bounds one wait of a tail; appends wake it.
const tailWait = time.Hour

// watchLocked lets a group know of the next marker of a producer after a place in the log. The marker may be there
// already: the one who appended the offsets comes here only afterwards.
func (c *coordinator) watchLocked(g *hosted, producer int64, from partition.Offset) {
	p := g.in
	if p.txns == nil {
		p.txns = make(map[int64]map[*hosted]bool)
	}
	if p.txns[producer] == nil {
		p.txns[producer] = make(map[*hosted]bool)
	}
	p.txns[producer][g] = true
	if !p.tailing && p.tailRetry == nil {
		p.tailNext = from
		c.startTailLocked(p)
		return
	}
	p.tailNext = min(p.tailNext, from)
}

func (c *coordinator) startTailLocked(p *offsetsPartition) {
	if c.openLocked(p) != nil {
		return
	}
	p.tailing = true
	c.wg.Go(func() { c.tail(p) })
}

// tail reads the markers of a partition while somebody waits for one.
func (c *coordinator) tail(p *offsetsPartition) {
	t := tail{c: c, p: p}
	for {
		c.mu.Lock()
		if c.closing || p.gone || len(p.txns) == 0 {
			p.tailing = false
			c.unlock()
			return
		}
		from := p.tailNext
		c.unlock()

		next, err := t.read(from)

		c.mu.Lock()
		for _, m := range t.markers {
			c.endTxnLocked(p, m)
		}
		if p.tailNext == from { // else it was moved back: what follows is read again
			p.tailNext = next
		}
		if err != nil && c.openLocked(p) == nil {
			p.tailing = false
			c.retryTailLocked(p, err)
			c.unlock()
			return
		}
		c.unlock()
	}
}

// retryTailLocked starts a tail again after a while.
func (c *coordinator) retryTailLocked(p *offsetsPartition, err error) {
	c.tellLocked(ReadFailedInfo{Partition: p.index, Err: err})
	p.tailRetry = c.config.Clock.AfterFunc(c.config.RetryInterval, func() {
		c.mu.Lock()
		defer c.unlock()
		p.tailRetry = nil
		c.startTailLocked(p)
	})
}

// endTxnLocked tells the groups that wait for a producer of its marker.
func (c *coordinator) endTxnLocked(p *offsetsPartition, m markerEvent) {
	for g := range p.txns[m.producer] {
		c.stepLocked(g, m)
		if !g.awaitedBy(m.producer) {
			delete(p.txns[m.producer], g)
		}
	}
	if len(p.txns[m.producer]) == 0 {
		delete(p.txns, m.producer)
	}
}

// tail is what one reader of markers keeps from read to read.
type tail struct {
	c       *coordinator
	p       *offsetsPartition
	results []partition.FetchResult
	markers []markerEvent // of the last read
	it      batch.Iterator
	buf     []byte
}

// read waits for batches from an offset on, takes the markers out of them, and returns the offset after them.
func (t *tail) read(from partition.Offset) (next partition.Offset, err error) {
	t.markers = t.markers[:0]
	tp := partition.TopicPartition{Topic: OffsetsTopic, Partition: t.p.index}
	t.results, err = t.c.backend.Fetch(t.p.life, partition.FetchRequest{
		Partitions: []partition.FetchPosition{{TopicPartition: tp, Offset: from, LeaderEpoch: partition.LeaderEpochUnknown, MaxBytes: loadBytes}},
		MaxWait:    tailWait, Reuse: t.results,
	})
	if err != nil || len(t.results) == 0 {
		return from, err
	}
	r := &t.results[0]
	defer r.Lease.Release()
	if _, ok := errors.AsType[*log.CorruptionError](r.Err); ok && r.CorruptNext > from {
		t.corrupt(from, r.CorruptNext, r.Err)
		return r.CorruptNext, nil
	}
	if errors.Is(r.Err, partition.ErrOffsetOutOfRange) && r.LogStart > from {
		return r.LogStart, nil
	}
	if r.Err != nil {
		return from, r.Err
	}
	if err := mmap.Guard(func() { t.buf = append(t.buf[:0], r.Batches...) }); err != nil {
		return from, err
	}
	for data := t.buf; len(data) > 0; {
		b, err := batch.Peek(data)
		if err != nil {
			return from, err
		}
		if b.IsControl() {
			t.readControl(b)
		}
		from = partition.Offset(b.NextOffset())
		data = data[len(b):]
	}
	return from, nil
}

func (t *tail) readControl(b batch.Batch) {
	err := b.CheckCRC()
	if err == nil {
		for b.Iterate(&t.it, maxDecompressed); t.it.Next(); {
			if m, ok := readMarker(b.ProducerID(), t.it.Record()); ok {
				t.markers = append(t.markers, m)
			}
		}
		err = t.it.Err()
	}
	if err != nil {
		t.corrupt(partition.Offset(b.BaseOffset()), partition.Offset(b.NextOffset()), err)
	}
}

func (t *tail) corrupt(from, next partition.Offset, err error) {
	t.c.mu.Lock()
	defer t.c.unlock()
	t.c.tellLocked(CorruptInfo{Partition: t.p.index, Offset: from, NextOffset: next, Err: err})
}
