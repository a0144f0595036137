package log

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// rolled is a finished segment that Seal has work for.
type rolled struct {
	segment *logSegment
	file    vfs.File // not nil: not synced yet
	// producers is the state at the end of the segment, for the snapshot that begins the next one.
	producers []segment.ProducerEntry
	next      Offset // base of the next segment
}

// prepare makes the active segment ready for r: repaired after a failed write, rolled when r does not belong into it.
func (l *Log) prepare(r *waiter, s *Settings) error {
	w := &l.writer
	if err := l.failureError(); err != nil {
		return err
	}
	if w.garbage > 0 {
		if err := l.repairGarbage(); err != nil {
			return err
		}
	}
	if l.mustRoll(r, w.tail, s) {
		base := r.base
		if w.segment == nil && w.next < base && l.gapsLawful() && int64(r.last-w.next) <= segment.MaxRelativeOffset {
			base = w.next // the log begins with a gap, as compaction leaves it, not later
		}
		return l.roll(base)
	}
	if w.file == nil { // parked
		return l.openActive()
	}
	return nil
}

// mustRoll applies Apache Kafka's LogSegment.shouldRoll to a batch that would be written at position.
func (l *Log) mustRoll(r *waiter, position int64, s *Settings) bool {
	w := &l.writer
	if r.batch == nil {
		return false
	}
	if w.closing || w.segment == nil || int64(r.last-w.segment.base) > segment.MaxRelativeOffset {
		return true
	}
	if position == 0 {
		return false
	}
	if position+int64(len(r.batch)) > s.SegmentBytes || w.segment.index.Load().Full() {
		return true
	}
	if s.SegmentAge == Unlimited {
		return false
	}
	// Time is the records' own, as far as they have one: a copy of an old log rolls as the original did. A first batch from the
	// future would keep the segment open, so then it is the clock's.
	waited := time.Duration(-1)
	if w.first >= 0 {
		waited = time.Duration(r.batch.MaxTimestamp()-w.first) * time.Millisecond
	}
	if waited < 0 && position == w.tail {
		waited = l.clock.Now().Sub(w.created)
	}
	return waited > s.SegmentAge-w.jitter
}

// roll finishes the active segment, if there is one, and begins that of base. When it fails the old one stays active.
func (l *Log) roll(base Offset) error {
	w, s := &l.writer, l.settings.Load()
	if w.segment != nil && w.segment.base == base {
		return l.clearActive()
	}
	always := s.Sync == SyncAlways
	old, oldFile := w.segment, w.file
	if old != nil && w.reserved < 0 && !w.closing { // nothing was written to it since it was opened, so nobody has given back what was reserved before
		if err := l.trimUntouched(); err != nil {
			return err
		}
	}
	if old != nil && oldFile != nil {
		preallocated := w.zeroed > w.tail
		if err := l.trim(oldFile, w.tail); err != nil {
			return err
		}
		w.zeroed, w.step = w.tail, 0
		// Before the next one is there: so a finished segment has all its records, and its size, for certain.
		if always && (preallocated || l.Durable() < w.next) {
			if err := l.syncActive(); err != nil {
				return err
			}
		}
	}
	next, err := l.createSegment(base)
	if err != nil {
		return err
	}
	l.mu.Lock()
	if old != nil {
		r := &rolled{segment: old, file: oldFile, producers: l.producersAtLocked(base), next: base}
		open := restore(r.producers).firstOpen()
		old.updateAborted(func(t *abortedList) { t.openAtEnd = open })
		if always {
			r.file = nil
		} else if oldFile != nil {
			l.unsyncedRolled.Add(1)
		}
		l.pending = append(l.pending, r)
	}
	l.setSegmentsLocked(append(slices.Clip(slices.Clone(l.segmentList())), next))
	l.mu.Unlock()
	if old != nil {
		now := milliseconds(l.clock.Now())
		old.mu.Lock()
		old.size, old.modified, old.seen = w.tail, now, now
		old.mu.Unlock()
		if always && oldFile != nil {
			_ = oldFile.Close() // synced, so nothing can be lost any more
		}
		w.counts.Rolls++
	}
	return nil
}

// clearActive has the active segment take what it begins with. It may hold nothing but what a crash has left, which there was no space to set aside
// when the log was opened: that is tried again, as another segment cannot begin where this one does.
func (l *Log) clearActive() error {
	w := &l.writer
	if !w.closing {
		return nil
	}
	w.segment.mu.Lock()
	damaged := len(w.segment.damage) > 0
	w.segment.mu.Unlock()
	if damaged {
		return storageError(ErrCorrupt, "append to", l.logPath(w.segment), errors.New("it begins with bytes that are bad"))
	}
	if w.file == nil {
		if err := l.openActive(); err != nil {
			return err
		}
	}
	path := l.logPath(w.segment)
	size, err := w.file.Size()
	if err != nil {
		return storageError(nil, "stat", path, err)
	}
	w.closing = false
	if size > w.tail {
		f := Finding{Kind: TornTail, Path: path, Position: w.tail, Offset: w.next, NextOffset: w.next, Bytes: size - w.tail}
		if err = l.cutOff(w.segment, f, size); err == nil && w.closing {
			err = storageError(ErrNoSpace, "append to", path, errors.New("what a crash has left in it cannot be set aside"))
		}
	}
	w.closing = err != nil
	return err
}

// createSegment makes the file of a new segment and has the writer point to it. Its name is durable in every mode: names are lost
// independently of each other, and without this one the records of later segments, or the removal of earlier ones, would be kept.
func (l *Log) createSegment(base Offset) (*logSegment, error) {
	s := l.settings.Load()
	seg := &logSegment{base: base}
	seg.index.Store(segment.NewIndex(int64(base), s.index()))
	path := l.logPath(seg)
	file, err := l.config.FS.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		// Left by a roll that failed behind this point: empty, and nobody else's.
		file, err = l.reopenEmpty(path)
	}
	if err != nil {
		return nil, writeError("create segment", path, err)
	}
	l.newNames.Store(true)
	if err := l.syncNames(); err != nil {
		_ = file.Close()
		return nil, err
	}
	seg.written.Store(seg.mark(base, 0))
	seg.shown.Store(seg.mark(base, 0))
	seg.checked.reset(0)
	seg.aborted.Store(&abortedList{})
	seg.loaded.Store(true)
	l.closeTxnIndex()
	w := &l.writer
	w.noTxnIndex = false
	w.segment, w.file, w.tail, w.next = seg, file, 0, base
	w.zeroed, w.reserved, w.step, w.garbage, w.first, w.closing = 0, 0, 0, 0, -1, false
	w.created, w.jitter, w.imprint = l.clock.Now(), jitter(s), Imprint{}
	return seg, nil
}

func (l *Log) reopenEmpty(path string) (vfs.File, error) {
	file, err := l.config.FS.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if size, err := file.Size(); err != nil || size > 0 {
		_ = file.Close()
		return nil, errors.Join(fs.ErrExist, err)
	}
	return file, nil
}

func jitter(s *Settings) time.Duration {
	if s.SegmentJitter <= 0 || s.SegmentAge <= 0 {
		return 0
	}
	return rand.N(min(s.SegmentJitter, s.SegmentAge))
}

// producersAtLocked is the producers' state before base: that of now, less the batches that have their place behind base and are not
// written yet. A snapshot that had them would answer a batch lost in a crash as a duplicate.
func (l *Log) producersAtLocked(base Offset) []segment.ProducerEntry {
	if l.producers.count() == 0 {
		return nil
	}
	state := l.producers.clone()
	var later []*waiter
	for _, head := range []*waiter{l.writer.run, l.queue.first} {
		for x := head; x != nil; x = x.next {
			if x.batch != nil && x.base >= base {
				later = append(later, x)
			}
		}
	}
	for i := len(later) - 1; i >= 0; i-- {
		state.revert(later[i].undo)
	}
	return state.entries()
}

// Roll finishes the active segment and begins another; nothing happens while it is empty.
func (l *Log) Roll() error {
	if err := l.touch(); err != nil {
		return err
	}
	l.acquire()
	defer l.release()
	if err := l.failureError(); err != nil {
		return err
	}
	if l.writer.segment == nil || l.writer.tail == 0 {
		return nil
	}
	if l.writer.garbage > 0 {
		if err := l.repairGarbage(); err != nil {
			return err
		}
	}
	return l.roll(l.writer.next)
}
