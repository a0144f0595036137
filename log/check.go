package log

import (
	"errors"
	"fmt"

	"github.com/partlog/partlog/internal/batch"
)

// check makes sure that the bytes [from, to) may be believed: brought into memory, and checked once since the open. Blocks that this
// process wrote or that recovery scanned are believed as they are.
func (l *Log) check(s *logSegment, src *source, m *mapped, from, to int64) error {
	if m != nil {
		if err := m.populate(from, to, src.end); err != nil {
			return src.suspect(from, err)
		}
	}
	for {
		block := s.checked.firstUnchecked(from, to)
		if block < 0 {
			return nil
		}
		if err := l.checkBlock(s, src, m, block); err != nil {
			return err
		}
		s.checked.set(block)
	}
}

var (
	errBaseOffset  = errors.New("base offset does not follow the batch before")
	errLeaderEpoch = errors.New("leader epoch is below that of the batch before")
	errIndexEntry  = errors.New("index entry is of another batch")
)

// checkBlock checks every batch that overlaps a block, and the block's sum if the segment has a sidecar. A batch's checksum leaves out
// its base offset, length and leader epoch: those have to fit its neighbours.
func (l *Log) checkBlock(s *logSegment, src *source, m *mapped, block int64) error {
	begin := block * checkBlock
	end := min(begin+checkBlock, src.end)
	entry, position := s.index.Load().Offsets.LookupPosition(begin)
	if m != nil {
		if err := m.populate(position, end, src.end); err != nil {
			return src.suspect(position, err)
		}
	}
	if sum := s.checked.sum; sum != nil && int(block) < len(sum.Blocks) && src.end >= sum.Size {
		b, err := src.bytes(begin, int(min(begin+checkBlock, sum.Size)-begin))
		if err != nil {
			return err
		}
		if err := sum.VerifyBlock(int(block), b); err != nil {
			return src.suspect(begin, err)
		}
	}
	compacted := l.gapsLawful()
	var previous chain
	if position == 0 {
		previous = chain{next: int64(s.base), epoch: batch.None, compacted: compacted}
	} else {
		b, _, err := src.header(position)
		if err != nil {
			return err
		}
		if b.LastOffset() != entry {
			return src.suspect(position, errIndexEntry)
		}
		previous = chain{next: b.BaseOffset(), epoch: b.LeaderEpoch(), compacted: compacted}
	}
	for position < end {
		b, err := src.whole(position)
		if err != nil {
			return err
		}
		if err := previous.follow(b); err != nil {
			return src.suspect(position, err)
		}
		if err := b.CheckCRC(); err != nil {
			return src.suspect(position, err)
		}
		position += int64(len(b))
	}
	return nil
}

// chain is what a batch must fit that follows another.
type chain struct {
	next      int64
	epoch     int32
	compacted bool // gaps between offsets are lawful
}

// follow says whether b continues the chain, and makes it its end.
func (c *chain) follow(b batch.Batch) error {
	base, last := b.BaseOffset(), b.LastOffset()
	if base < c.next || base > c.next && !c.compacted || last < base {
		return fmt.Errorf("%w: %d, want %d", errBaseOffset, base, c.next)
	}
	if b.LeaderEpoch() < c.epoch {
		return fmt.Errorf("%w: %d, was %d", errLeaderEpoch, b.LeaderEpoch(), c.epoch)
	}
	c.next, c.epoch = last+1, b.LeaderEpoch()
	return nil
}
