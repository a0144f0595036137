package log

import (
	"github.com/partlog/partlog/internal/batch"
)

// OffsetForTimestamp returns the first record that readers may see whose timestamp, in milliseconds, is at least ts, and that
// timestamp (KIP-33). Without one it returns End and -1.
func (l *Log) OffsetForTimestamp(ts int64) (offset Offset, found int64, err error) {
	err = errReplaced
	for err == errReplaced { // there is a new list of segments
		offset, found, err = l.offsetForTimestamp(ts)
	}
	return offset, found, err
}

func (l *Log) offsetForTimestamp(ts int64) (Offset, int64, error) {
	if l.closed.Load() {
		return 0, -1, ErrClosed
	}
	for _, s := range l.segmentList() {
		offset, found, err := l.timestampIn(s, ts)
		if err != nil && s.removed.Load() {
			return 0, -1, errReplaced // or retention has taken it
		}
		if err != nil {
			return 0, -1, err
		}
		if found >= 0 {
			return offset, found, nil
		}
	}
	return l.End(), -1, nil
}

// OffsetForMaxTimestamp returns the first record with the largest timestamp, and that timestamp (KIP-734); End and -1 when there is no
// record with a timestamp.
func (l *Log) OffsetForMaxTimestamp() (offset Offset, found int64, err error) {
	err = errReplaced
	for err == errReplaced {
		offset, found, err = l.offsetForMaxTimestamp()
	}
	return offset, found, err
}

func (l *Log) offsetForMaxTimestamp() (Offset, int64, error) {
	if l.closed.Load() {
		return 0, -1, ErrClosed
	}
	newest := int64(-1)
	for _, s := range l.segmentList() {
		largest, err := l.largestTimestamp(s)
		if err != nil && s.removed.Load() {
			return 0, -1, errReplaced
		}
		if err != nil {
			return 0, -1, err
		}
		newest = max(newest, largest)
	}
	if newest < 0 {
		return l.End(), -1, nil
	}
	return l.OffsetForTimestamp(newest)
}

// largestTimestamp returns the largest timestamp of s that readers may see.
func (l *Log) largestTimestamp(s *logSegment) (int64, error) {
	if err := l.ensure(s); err != nil {
		return -1, err
	}
	next, _ := s.end()
	newest, offset, _ := s.index.Load().Times.Last()
	if l.config.Replicated {
		next = min(next, l.Visible())
	}
	if Offset(offset) >= next {
		newest, offset = -1, int64(s.base)
	}
	// Behind the last entry there may be a larger one.
	err := l.replay(max(l.Start(), Offset(offset)), next, func(_ int64, b batch.Batch) error {
		if Offset(b.BaseOffset()) >= s.base && Offset(b.LastOffset()) < next {
			newest = max(newest, b.MaxTimestamp())
		}
		return nil
	})
	return newest, err
}

// timestampIn searches s; found is -1 when s has no such record.
func (l *Log) timestampIn(s *logSegment, ts int64) (offset Offset, found int64, err error) {
	if err := l.ensure(s); err != nil {
		return 0, -1, err
	}
	next, _ := s.end()
	start := l.Start()
	if l.config.Replicated {
		next = min(next, l.Visible())
	}
	if next <= start {
		return 0, -1, nil
	}
	// The entry says that no record up to its offset has a larger timestamp than its own. It is believed only if the batch it names
	// has that timestamp; the file has no checksum of its own.
	entry, from := s.index.Load().Times.Lookup(ts - 1)
	if entry >= 0 && !l.entryHolds(s, entry, Offset(from)) {
		if err := l.examine(s); err != nil {
			return 0, -1, err
		}
		entry, from = s.index.Load().Times.Lookup(ts - 1)
	}
	if entry < 0 {
		from = int64(s.base)
	}
	found = -1
	var it batch.Iterator
	err = l.retry(func() error {
		return l.eachWhole(s, max(start, Offset(from)), next, func(b batch.Batch) bool {
			if b.MaxTimestamp() < ts || b.IsControl() && b.Count() == 0 {
				return true
			}
			for b.Iterate(&it, batch.DefaultMaxBytes); it.Next(); {
				if r := it.Record(); r.Timestamp >= ts && Offset(r.Offset) >= start {
					offset, found = Offset(r.Offset), r.Timestamp
					return false
				}
			}
			return true
		})
	})
	return offset, found, err
}

// entryHolds says whether the batch that ends with offset has the timestamp that the time index says.
func (l *Log) entryHolds(s *logSegment, timestamp int64, offset Offset) bool {
	holds := false
	err := l.eachHeader(s, offset, offset+1, func(b batch.Batch) bool {
		holds = Offset(b.LastOffset()) == offset && b.MaxTimestamp() == timestamp
		return false
	})
	return err == nil && holds
}

// eachHeader gives visit the headers of the batches of s that hold [from, next), until it returns false.
func (l *Log) eachHeader(s *logSegment, from, next Offset, visit func(batch.Batch) bool) error {
	return l.each(s, from, next, false, visit)
}

// eachWhole is eachHeader with the whole batches.
func (l *Log) eachWhole(s *logSegment, from, next Offset, visit func(batch.Batch) bool) error {
	return l.each(s, from, next, true, visit)
}

func (l *Log) each(s *logSegment, from, next Offset, whole bool, visit func(batch.Batch) bool) error {
	_, size := s.end()
	if size == 0 {
		return nil
	}
	file, err := l.openForRead(s)
	if err != nil {
		return err
	}
	defer file.Close()
	src := source{segment: s, file: file, end: size}
	defer src.close()
	_, position := s.index.Load().Offsets.Lookup(int64(from))
	for position < size {
		if d, bad := s.damageAt(position); bad {
			position = d.nextPosition
			continue
		}
		b, n, err := src.header(position)
		if err == nil && whole && !s.damaged.Load() {
			err = l.check(s, &src, nil, position, position+n)
		}
		if err == nil {
			b, n, err = src.header(position)
		}
		if err != nil {
			return err
		}
		if Offset(b.BaseOffset()) >= next {
			return nil
		}
		if Offset(b.LastOffset()) >= from {
			if whole {
				if b, err = src.whole(position); err != nil {
					return err
				}
			}
			if !visit(b) {
				return nil
			}
		}
		position += n
	}
	return nil
}
