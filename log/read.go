package log

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"sync/atomic"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/mmap"
	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// Read returns whole batches of [from, limit), borrowed from the log's memory: up to maxBytes, but at least one. The first batch may
// begin before from. It never reaches above Visible. An empty view with Next == from says that there is nothing to read yet; with a higher
// one, that compaction has removed what was there. Release
// the view soon: it keeps a mapping in place, also when retention has removed the file.
//
// Errors: ErrOffsetOutOfRange; *CorruptionError, whose NextOffset is where reading can go on; ErrClosed; or of the file system.
func (l *Log) Read(from, limit Offset, maxBytes int) (View, error) {
	v, _, err := l.read(&l.visible, from, limit, maxBytes)
	return v, err
}

// read is Read, up to bound at most, and says which segment the view is of: nil if it is empty.
func (l *Log) read(bound *atomic.Int64, from, limit Offset, maxBytes int) (v View, s *logSegment, err error) {
	err = errReplaced
	for err == errReplaced { // there is a new list of segments
		err = l.retry(func() error {
			s = nil
			turn := l.truncations.Load()
			p, err := l.seek(bound, from, limit, maxBytes)
			if err != nil || p.segment == nil {
				v = View{Next: p.next}
				return err
			}
			s = p.segment
			if v, err = l.borrow(p); err == nil && l.truncations.Load() != turn {
				v.Release() // see shielded
				return errReplaced
			}
			return err
		})
	}
	return v, s, err
}

// ReadInto appends what Read would return to dst, and returns the offset to go on from. It is safe from faults of the mapping.
func (l *Log) ReadInto(dst []byte, from, limit Offset, maxBytes int) ([]byte, Offset, error) {
	out, next := dst, from
	err := errReplaced
	for err == errReplaced {
		err = l.retry(func() error {
			turn := l.truncations.Load()
			p, err := l.seek(&l.visible, from, limit, maxBytes)
			next = p.next
			if err != nil || p.segment == nil {
				return err
			}
			if out, err = l.copyTo(dst, p); err == nil && l.truncations.Load() != turn {
				return errReplaced
			}
			return err
		})
	}
	if err != nil {
		return dst, from, err
	}
	return out, next, nil
}

// place is a run of batches in a segment's file.
type place struct {
	segment    *logSegment // nil: nothing to read
	mapped     *mapped     // referenced; nil: read the file
	start, end int64       // positions
	next       Offset      // offset after the run
}

// seek finds the run that a read returns, which ends at bound at most: Visible, or Written.
func (l *Log) seek(bound *atomic.Int64, from, limit Offset, maxBytes int) (place, error) {
	if l.closed.Load() {
		return place{next: from}, ErrClosed
	}
	highest := Offset(bound.Load())
	if start := l.Start(); from < start || from > highest {
		if end := l.End(); from < start || from > end {
			return place{next: from}, &OffsetOutOfRangeError{Offset: from, Start: start, End: end}
		}
	}
	limit = min(limit, highest)
	list := l.segmentList()
	for i := segmentAt(list, from); from < limit; i++ {
		if i < 0 && len(list) > 0 && from < list[0].base {
			// The beginning of the log is not where it was at the clean close.
			return place{next: from}, &CorruptionError{Path: l.logPath(list[0]), Offset: from, NextOffset: list[0].base, Err: errMissing}
		}
		if i < 0 || i == len(list) {
			break
		}
		s := list[i]
		if err := l.ensure(s); err != nil {
			return place{next: from}, err
		}
		next, end := s.end()
		if from >= next && i+1 < len(list) && from >= list[i+1].base {
			continue // another roll since the list was read cannot be: bases only grow
		}
		upTo := Offset(math.MaxInt64)
		if i+1 < len(list) {
			upTo = list[i+1].base
		}
		if s.damaged.Load() {
			d, inside := s.nextDamage(from)
			if inside {
				return place{next: from}, l.corruption(s, d, from)
			}
			if d.offset < next {
				next, end = d.offset, d.position
			}
		}
		if from >= next {
			if upTo == math.MaxInt64 {
				break // written, but not shown yet
			}
			if !l.gapsLawful() {
				return place{next: from}, l.corruption(s, damage{position: end, offset: next, next: upTo, err: errMissing}, from)
			}
			from = upTo
			continue
		}
		p, err := l.span(s, from, min(limit, next), next, end, maxBytes)
		return p, err
	}
	return place{next: from}, nil
}

// span finds the run in s, whose batches end with offset next at position end.
func (l *Log) span(s *logSegment, from, limit, next Offset, end int64, maxBytes int) (p place, err error) {
	p = place{segment: s, next: from, mapped: l.acquireMapping(s, end)}
	src := source{segment: s, end: end}
	if p.mapped != nil {
		src.data = p.mapped.Bytes()
		fault := mmap.Guard(func() { err = l.measure(s, &src, &p, from, limit, next, maxBytes) })
		if fault != nil {
			err = src.suspect(0, fault)
		}
		if err != nil || p.segment == nil {
			if fault != nil {
				s.retireMapping()
			}
			p.mapped.Release()
			p.mapped = nil
		}
		return p, err
	}
	file, err := l.openForRead(s)
	if err != nil {
		return p, err
	}
	defer file.Close()
	defer src.close()
	src.file = file
	err = l.measure(s, &src, &p, from, limit, next, maxBytes)
	return p, err
}

// measure sets p's positions and next offset; p.segment is nil when no whole batch lies below limit.
func (l *Log) measure(s *logSegment, src *source, p *place, from, limit, next Offset, maxBytes int) error {
	start, n, err := l.locate(s, src, p.mapped, from)
	if err != nil {
		return err
	}
	stop, stopNext := src.end, next
	if limit < next {
		if stop, _, err = l.locate(s, src, p.mapped, limit); err != nil {
			return err
		}
		if stop <= start {
			p.segment = nil
			b, _, err := src.header(start)
			if err == nil && Offset(b.BaseOffset()) >= limit {
				p.next = limit // compaction has removed all in between
			}
			return err
		}
		stopNext = limit
	}
	maximum := int64(max(maxBytes, 1))
	p.start, p.next = start, stopNext
	switch {
	case start+maximum >= stop:
		p.end = stop
	case n >= maximum:
		p.end = start + n
	default:
		// The last batch that begins by then: from the index entry before, so that not every header is touched.
		position := start + n
		if _, entry := s.index.Load().Offsets.LookupPosition(start + maximum); entry > position {
			position = entry
		}
		for {
			_, size, err := src.header(position)
			if err != nil {
				return err
			}
			if position+size > start+maximum {
				break
			}
			position += size
		}
		p.end = position
	}
	if err := l.check(s, src, p.mapped, start, p.end); err != nil {
		return err
	}
	if p.end < stop || stopNext < next {
		b, _, err := src.header(p.end)
		if err != nil {
			return err
		}
		p.next = Offset(b.BaseOffset())
	}
	s.remember(p.next, p.end)
	return nil
}

// locate returns where the batch that holds offset, or else the first one behind it, starts, and its size. There must be one.
func (l *Log) locate(s *logSegment, src *source, m *mapped, offset Offset) (position, size int64, err error) {
	position, _ = s.recall(offset)
	if s.damaged.Load() {
		position = s.behindDamage(offset, position) // what is quarantined is not walked through
	}
	for {
		if err := l.check(s, src, m, position, position+1); err != nil {
			return 0, 0, err
		}
		b, n, err := src.header(position)
		if err != nil {
			return 0, 0, err
		}
		if Offset(b.LastOffset()) >= offset {
			return position, n, nil
		}
		position += n
	}
}

// borrow makes p a view.
func (l *Log) borrow(p place) (View, error) {
	l.countRead(p)
	if p.mapped != nil {
		return l.leases.begin(p.mapped.Bytes()[p.start:p.end:p.end], p.next, p.mapped.Mapping, nil), nil
	}
	buf := getBuffer(int(p.end - p.start))
	if err := l.readFile(p, *buf); err != nil {
		putBuffer(buf)
		return View{}, err
	}
	return l.leases.begin(*buf, p.next, nil, buf), nil
}

// copyTo appends p's bytes to dst.
func (l *Log) copyTo(dst []byte, p place) ([]byte, error) {
	l.countRead(p)
	n := int(p.end - p.start)
	old := len(dst)
	if cap(dst)-old < n {
		grown := make([]byte, old, old+n)
		copy(grown, dst)
		dst = grown
	}
	out := dst[:old+n]
	if p.mapped == nil {
		if err := l.readFile(p, out[old:]); err != nil {
			return nil, err
		}
		return out, checkCopy(p, out[old:])
	}
	fault := mmap.Guard(func() { copy(out[old:], p.mapped.Bytes()[p.start:p.end]) })
	p.mapped.Release()
	if fault != nil {
		p.segment.retireMapping()
		return nil, &suspicion{segment: p.segment, position: p.start, err: fault}
	}
	return out, checkCopy(p, out[old:])
}

// checkCopy checks the batches that were copied, each time: who copies can afford it, and it finds what has happened to the file since
// it was checked.
func checkCopy(p place, b []byte) error {
	for at := 0; at < len(b); {
		one, err := batch.Peek(b[at:])
		if err == nil {
			err = one.CheckCRC()
		}
		if err != nil {
			return &suspicion{segment: p.segment, position: p.start + int64(at), err: err}
		}
		at += len(one)
	}
	return nil
}

func (l *Log) countRead(p place) {
	l.reads.reads.Add(1)
	l.reads.bytes.Add(p.end - p.start)
	if p.mapped == nil {
		l.reads.pread.Add(1)
	}
}

// readFile reads p from the file into b.
func (l *Log) readFile(p place, b []byte) error {
	file, err := l.openForRead(p.segment)
	if err != nil {
		return err
	}
	defer file.Close()
	n, err := file.ReadAt(b, p.start)
	switch {
	case n == len(b):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return &suspicion{segment: p.segment, position: p.start, err: errShortFile}
	}
	return storageError(nil, "read", l.logPath(p.segment), err)
}

var (
	errMissing   = errors.New("the records are in no file")
	errShortFile = errors.New("the file is shorter than it was")
)

// retry repeats f after having examined a segment that made it suspicious.
func (l *Log) retry(f func() error) error {
	for attempt := 0; ; attempt++ {
		turn := l.truncations.Load()
		err := f()
		e, ok := errors.AsType[*suspicion](err)
		if !ok {
			return err
		}
		if l.truncations.Load() != turn {
			return errReplaced // by a truncation
		}
		if attempt == maxExaminations {
			return l.corruptNow(e)
		}
		if err := l.examine(e.segment); err != nil {
			return err
		}
	}
}

const maxExaminations = 2

// openForRead opens the file of s.
func (l *Log) openForRead(s *logSegment) (vfs.File, error) {
	f, err := l.openSegment(s, os.O_RDONLY)
	switch {
	case s.replaced.Load():
		if err == nil {
			_ = f.Close() // which may be the new one's
		}
		return nil, errReplaced
	case err == nil:
		return f, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, storageError(nil, "open", l.logPath(s), err)
	case s.removed.Load():
		return nil, &OffsetOutOfRangeError{Offset: s.base, Start: l.Start(), End: l.Visible()}
	}
	return nil, &suspicion{segment: s, err: err}
}

// openSegment opens the file of s, which may be on its way from one name to another.
func (l *Log) openSegment(s *logSegment, flag int) (vfs.File, error) {
	if s.swapped.Load() {
		f, err := l.config.FS.OpenFile(l.logPath(s)+segment.SwapSuffix, flag, 0)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	return l.config.FS.OpenFile(l.logPath(s), flag, 0)
}
