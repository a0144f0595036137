package log

import (
	"errors"
	"os"
	"strconv"
	"sync/atomic"

	"github.com/partlog/partlog/internal/mmap"
)

// mapped is the mapping of a segment's file, and which blocks of it have been brought into memory. Touching a page that is not there
// stops the thread and, with it, the scheduler; so each block is populated, by a system call that the scheduler knows of, before it is
// touched for the first time.
type mapped struct {
	*mmap.Mapping
	size int64           // of the mapping; its bytes may be looked at with a reference only
	warm []atomic.Uint32 // bits, as in checks
}

// populateAhead is how much is populated at once.
const populateAhead = 1 << 20

// acquireMapping returns a reference to a mapping that shows the first end bytes of s, nil where reads have to do without.
func (l *Log) acquireMapping(s *logSegment, end int64) *mapped {
	if m := s.mapping.Load(); m != nil && m.size >= end && m.Acquire() {
		if s.mapping.Load() == m {
			return m
		}
		m.Release() // taken out in between, and so nobody may count on knowing of this reference: see shielded
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.mapping.Load(); m != nil {
		if m.size >= end && m.Acquire() {
			return m
		}
		s.mapping.Store(nil)
		m.Retire()
	}
	if s.noMap || s.removed.Load() || end == 0 {
		return nil
	}
	m := l.mapSegment(s, end)
	if m == nil || !m.Acquire() {
		return nil
	}
	s.mapping.Store(m)
	if l.closed.Load() || s.removed.Load() {
		// Whoever set that may have looked for the mapping before it was there.
		s.mapping.Store(nil)
		m.Retire()
	}
	if s.replaced.Load() {
		m.Release() // it may be of the file that has come in its place
		return nil
	}
	return m
}

// mapSegment maps the file of s with s.mu held. The active segment's is mapped to its largest size, so that it is done once.
func (l *Log) mapSegment(s *logSegment, end int64) *mapped {
	budget := l.config.Maps
	if budget != nil && !budget.Reserve() {
		return nil
	}
	length, flag := end, os.O_RDONLY
	if list := l.segmentList(); strconv.IntSize == 64 && len(list) > 0 && list[len(list)-1] == s && !l.config.ReadOnly {
		// Opened for writing: on an overlay file system the first such open moves the file, and a mapping made before does not show
		// what is written later.
		length, flag = max(end, l.settings.Load().SegmentBytes), os.O_RDWR
	}
	file, err := l.openSegment(s, flag)
	var region mmap.Region
	if err == nil {
		region, err = file.Map(length)
		_ = file.Close()
	}
	if err == nil && int64(len(region.Bytes())) < end {
		_ = region.Unmap()
		err = errShortFile
	}
	if err != nil {
		s.noMap = errors.Is(err, errors.ErrUnsupported)
		if budget != nil {
			budget.Return()
		}
		return nil
	}
	m := &mapped{Mapping: mmap.NewMapping(region), size: int64(len(region.Bytes())), warm: make([]atomic.Uint32, (len(region.Bytes())+32*checkBlock-1)/(32*checkBlock))}
	if budget != nil {
		m.AfterUnmap(budget.Return)
	}
	return m
}

// populate brings [from, to) of the file, which has end bytes, into memory unless that was done before.
func (m *mapped) populate(from, to, end int64) error {
	for block := from / checkBlock; block*checkBlock < to; block++ {
		if m.warm[block/32].Load()&(1<<(block%32)) != 0 {
			continue
		}
		begin := block * checkBlock
		stop := min(begin+populateAhead, end)
		if err := m.Region().Populate(begin, stop-begin); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		// A block that is not full yet counts too: what will be added to it has just been written.
		for b := block; b*checkBlock < stop; b++ {
			m.warm[b/32].Or(1 << (b % 32))
		}
	}
	return nil
}

// retireMapping ends the use of the mapping: of a removed or faulty file, or to save mappings. Views keep it until they are released.
func (s *logSegment) retireMapping() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.mapping.Swap(nil); m != nil {
		m.Retire()
	}
}
