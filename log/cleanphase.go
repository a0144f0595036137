package log

import (
	"errors"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/segment"
)

// mapNext maps the keys of one batch.
func (c *Cleaning) mapNext() error {
	first := c.result.First
	if c.reader.segment == nil {
		c.at++
		if c.at >= len(c.list) || c.result.Limit <= first {
			return c.mapped()
		}
		return c.reader.open(c.list[c.at], first)
	}
	b, err := c.reader.next()
	if err != nil {
		return err
	}
	if b == nil {
		c.reader.close()
		return nil
	}
	c.work += int64(len(b))
	c.result.MapBytesRead += int64(len(b))
	switch {
	case Offset(b.LastOffset()) < first:
		return nil // nor are its transactions among those of c.txns, unless they end behind
	case b.IsControl():
		c.txns.control(b)
		return nil
	case c.txns.data(b) || b.Count() == 0:
		return nil
	}
	if err := c.rewrite.Read(b, 0); err != nil {
		return c.undecodable(b, err)
	}
	for c.rewrite.Next() {
		offset := Offset(c.rewrite.Offset())
		if offset < first {
			continue
		}
		if c.rewrite.Key() == nil {
			c.result.Invalid++ // here, as copying need not look into a batch of them
			continue
		}
		if full, ok := c.keys.put(c.rewrite.Key(), offset); !ok {
			c.end = full
			c.at = len(c.list)
			c.reader.close()
			return nil
		}
	}
	if err := c.rewrite.Err(); err != nil {
		return c.undecodable(b, err)
	}
	return nil
}

// undecodable is the error of a batch whose checksum is right, but not what is in it.
func (c *Cleaning) undecodable(b batch.Batch, err error) error {
	s := c.reader.segment
	return &CorruptionError{Path: c.log.logPath(s), Position: c.reader.position - int64(len(b)), Offset: Offset(b.BaseOffset()), NextOffset: Offset(b.NextOffset()), Err: err}
}

// mapped goes from mapping to copying.
func (c *Cleaning) mapped() error {
	if full, ok := c.keys.flush(); !ok {
		c.end = full
	}
	if c.set != nil {
		c.set = c.keys.survivors(c.result.First, c.end)
	}
	aborted, err := c.log.Aborted(nil, c.list0(), c.result.Limit)
	if errors.Is(err, ErrOffsetOutOfRange) {
		return ErrCleaningAborted // the beginning has been deleted
	}
	if err != nil {
		return err
	}
	c.txns = newCleanTxns(aborted)
	c.phase, c.at, c.until = cleanCopying, -1, 0
	n := 0
	for n < len(c.list) && (c.list[n].base < c.end || c.end == c.result.Limit) {
		n++
	}
	c.list = c.list[:n]
	return nil
}

func (c *Cleaning) list0() Offset {
	if len(c.list) == 0 {
		return c.result.First
	}
	return c.list[0].base
}

// copyNext writes what stays of one batch.
func (c *Cleaning) copyNext() error {
	if c.out == nil {
		if c.until == len(c.list) {
			c.log.cleaner.cleaned.Store(int64(c.end))
			c.result.Cleaned = c.end
			c.phase = cleanOver
			return nil
		}
		return c.beginGroup()
	}
	if c.reader.segment == nil {
		if c.at++; c.at == c.until {
			return c.endGroup()
		}
		c.result.Segments++
		s := c.list[c.at]
		c.reader.checked = s.base >= c.result.First && c.boundOf(c.at) <= c.end // while it was mapped
		return c.reader.open(s, s.base)
	}
	b, err := c.reader.next()
	if err != nil {
		return err
	}
	if b == nil {
		c.reader.close()
		return nil
	}
	before := c.out.size()
	if err := c.clean(b); err != nil {
		return err
	}
	c.work += int64(len(b)) + c.out.size() - before
	return nil
}

// beginGroup takes as many segments as fit into one (Cleaner.groupSegmentsBySize).
func (c *Cleaning) beginGroup() error {
	c.group = c.until
	var bytes, offsets, times int64
	limit, indexLimit := min(c.settings.SegmentBytes, MaxSegmentBytes), int64(c.settings.IndexBytes)
	base := c.list[c.group].base
	for c.until < len(c.list) {
		s := c.list[c.until]
		if err := c.log.ensure(s); err != nil {
			return err
		}
		index := s.index.Load()
		bytes += s.bytes()
		offsets += int64(index.Offsets.Len()) * 8
		times += int64(index.Times.Len()) * 12
		next := c.boundOf(c.until)
		if c.until > c.group && (bytes > limit || offsets > indexLimit || times > indexLimit || int64(next-1-base) > segment.MaxRelativeOffset) {
			break
		}
		c.until++
		c.bound = next
	}
	lasts, err := c.lastBatches()
	if err != nil {
		return err
	}
	c.lasts = lasts
	c.at = c.group - 1
	c.changed = c.until-c.group > 1
	c.out, err = c.log.createCleaned(base)
	return err
}

// boundOf returns the offset behind segment i of the list.
func (c *Cleaning) boundOf(i int) Offset {
	_, bound := c.log.boundOf(c.list[i])
	return bound
}

// lastBatches finds which batch of each producer has to stay (UnifiedLog.lastRecordsOfActiveProducers).
func (c *Cleaning) lastBatches() (map[int64]lastBatch, error) {
	states, err := c.log.Producers()
	if err != nil || len(states) == 0 {
		return nil, err
	}
	lasts := make(map[int64]lastBatch, len(states))
	for _, p := range states {
		lasts[p.ProducerID] = lastBatch{offset: p.LastOffset, epoch: p.Epoch}
	}
	return lasts, nil
}

// endGroup swaps the new segment in.
func (c *Cleaning) endGroup() error {
	if !c.changed {
		c.dropOut()
		return nil
	}
	if err := c.out.finish(); err != nil {
		return err
	}
	if err := c.log.swapIn(c.out, c.list[c.group:c.until], c.bound); err != nil {
		return err
	}
	c.result.Swapped++
	c.out.close()
	c.out = nil
	return nil
}
