package log

import (
	"errors"
	"slices"

	"github.com/partlog/partlog/internal/segment"
)

// TruncateTo removes every record from offset on, or from the beginning of the batch that holds it: for a follower whose tail its
// leader does not have (KIP-101). Views of removed records must have been released: their bytes are zeroed. After an error the log must
// be closed and opened again.
func (l *Log) TruncateTo(offset Offset) error {
	l.admin.Lock()
	defer l.admin.Unlock()
	if l.config.ReadOnly {
		return ErrReadOnly
	}
	if err := l.touch(); err != nil {
		return err
	}
	if err := errors.Join(l.syncRolled(), l.finishSwap()); err != nil {
		return err
	}
	l.acquire()
	defer l.release()
	if err := l.failureError(); err != nil {
		return err
	}
	w := &l.writer
	if offset >= w.next {
		return nil
	}
	if start := l.Start(); offset < start {
		return &OffsetOutOfRangeError{Offset: offset, Start: start, End: w.next}
	}
	list := l.segmentList()
	i := max(segmentAt(list, offset), 0)
	if err := l.ensure(list[i]); err != nil {
		return err
	}
	position, next, err := l.batchAt(list[i], offset)
	if err != nil {
		return err
	}

	// Nobody reads above the new end from here on.
	l.mu.Lock()
	l.next = next
	for _, v := range []interface {
		Load() int64
		Store(int64)
	}{&l.written, &l.durable, &l.visible} {
		v.Store(min(v.Load(), int64(next)))
	}
	l.pending = slices.DeleteFunc(l.pending, func(r *rolled) bool { return r.segment.base >= list[i].base })
	l.setSegmentsLocked(slices.Clone(list[:i+1]))
	l.mu.Unlock()
	l.cleaner.cleaned.Store(min(l.cleaner.cleaned.Load(), int64(list[i].base))) // below it, no record goes
	l.closeTxnIndex()
	if w.file != nil {
		if err := w.file.Close(); err != nil {
			return storageError(nil, "close", l.logPath(w.segment), err)
		}
		w.file = nil
	}
	// Last first, so that what a crash leaves is a log with a longer tail, never one with a hole.
	for j := len(list) - 1; j > i; j-- {
		list[j].removed.Store(true)
		if err := l.removeFiles(list[j]); err != nil {
			return err
		}
		list[j].retireMapping()
	}
	if err := l.reviveAt(list[i], position, next); err != nil {
		return err
	}
	return l.forgetState(next)
}

// batchAt returns where the batch that holds offset starts, and its base offset; the end of s when there is none.
func (l *Log) batchAt(s *logSegment, offset Offset) (position int64, base Offset, err error) {
	base, position = s.writtenEnd()
	if offset >= base {
		return position, base, nil
	}
	file, err := l.openForRead(s)
	if err != nil {
		return 0, 0, err
	}
	defer file.Close()
	src := source{segment: s, file: file, end: position}
	defer src.close()
	at, _, err := l.locate(s, &src, nil, offset)
	if err != nil {
		return 0, 0, err
	}
	b, _, err := src.header(at)
	if err != nil {
		return 0, 0, err
	}
	return at, Offset(b.BaseOffset()), nil
}

// reviveAt cuts s to position, where offset next would be, and makes it the active segment. What is cut off is zeroed from the end
// backwards and synced before anything is written there, see repairGarbage.
func (l *Log) reviveAt(s *logSegment, position int64, next Offset) error {
	base := int64(s.base)
	for _, name := range []string{segment.SumName(base), segment.IndexName(base), segment.TimeIndexName(base), segment.KeyIndexName(base)} {
		if err := l.removeIfThere(name); err != nil {
			return err
		}
	}
	revived := &logSegment{base: s.base, modified: s.modified, seen: s.seen}
	w := &l.writer
	w.segment, w.tail, w.next = revived, position, next
	if err := l.openActive(); err != nil {
		return err
	}
	size, err := w.file.Size()
	if err != nil {
		return storageError(nil, "stat", l.logPath(s), err)
	}
	if w.garbage = size; size > position {
		if err := l.repairGarbage(); err != nil {
			return err
		}
	}
	sc, err := l.scanFile(revived, w.file, position, next, nil)
	if err != nil {
		return err
	}
	revived.size = position
	revived.checked.reset(0)
	l.setDamageLocked(revived, sc) // nobody else has it yet
	revived.index.Store(sc.index)
	revived.written.Store(revived.mark(next, position))
	revived.shown.Store(revived.mark(next, position))
	revived.loaded.Store(true)
	l.truncateAborted(s, revived, next)
	list := slices.Clone(l.segmentList())
	list[len(list)-1] = revived
	l.mu.Lock()
	l.setSegmentsLocked(list)
	l.mu.Unlock()
	s.removed.Store(true)
	s.retireMapping()
	w.closing, w.epoch, w.imprint = sc.next < next, -1, Imprint{}
	if sc.last != nil {
		w.first = -1
	}
	return nil
}

// forgetState brings epochs and producers back to what they were at next.
func (l *Log) forgetState(next Offset) error {
	d, err := l.list()
	if err != nil {
		return err
	}
	for _, at := range d.snapshots {
		if at > next {
			if err := l.removeIfThere(segment.SnapshotName(int64(at))); err != nil {
				return err
			}
		}
	}
	state, err := l.loadProducers(next)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.producers.ended {
		if e.last < next && e.last >= l.Visible() {
			state.ended = append(state.ended, e) // followers truncate above what is visible
		}
	}
	l.producers = state
	l.showUnstableLocked()
	if l.epochs.TruncateFromEnd(int64(next)) {
		l.epochs.dirty = true
	}
	return nil
}
