package log

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/partlog/partlog/internal/mutant"
	"github.com/partlog/partlog/internal/segment"
)

// TruncateTo removes every record from offset on, or from the beginning of the batch that holds it: for a follower whose tail its
// leader does not have (KIP-101). Offsets from there on are given again, to other records; Visible falls if it was above. Appends that are queued
// are ErrNotLeaderOrFollower. The owner's recovery point must have been lowered before: a crash leaves the log with what TruncateTo
// removes, a part of it from the end on missing, or without it.
//
// Reads go on meanwhile, and see the log before or after it. Views of removed records stay as they are: the segment that is cut is copied
// up to the cut, into a file of its own, if one of them is out, which costs a write of up to Settings.SegmentBytes; nobody waits for whoever has it.
// (Only replicas read above the high watermark, and followers are truncated above it: without ReadReplica no such views are.) After an error the log
// must be closed and opened again.
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
		// A leader that has appended nothing leaves an epoch without records at the end, which is what a follower is asked to give up.
		l.mu.Lock()
		defer l.mu.Unlock()
		if !mutant.On(mutant.EpochCacheNotTruncated) && l.epochs.TruncateFromEnd(int64(w.next)) {
			l.epochs.changed(w.next)
		}
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
	var d done
	defer d.wakeAll()
	l.syncing.Lock() // no rolled file is being synced
	l.mu.Lock()
	l.failQueuedLocked(&d)
	l.next = next
	for _, v := range []interface {
		Load() int64
		Store(int64)
	}{&l.written, &l.durable, &l.visible} {
		v.Store(min(v.Load(), int64(next)))
	}
	l.dropPendingLocked(list[i].base)
	l.setSegmentsLocked(slices.Clone(list[:i+1]))
	l.truncations.Add(1)
	l.mu.Unlock()
	l.syncing.Unlock()
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

// Reads are shielded from truncations thus. A truncation publishes the new end, raises truncations, takes the segment's mapping out, and then
// looks for views that reach above the end, and for reads that are going on: those have a reference on the mapping and no lease. If there is any it does
// not touch the file, and leaves it to them. A read loads truncations, finds its place, begins its lease, and loads truncations again: if it has
// changed, the read is made again. So a truncation that does not see the lease, or the reference, is seen by the read. What has been read
// from the file itself is made again likewise.

// shielded says whether somebody has a view of mapped bytes from offset on, or is reading m, which has been taken out; nil: there was none.
func (l *Log) shielded(m *mapped, offset Offset) bool {
	var readers int64
	if m != nil {
		readers = m.Readers()
	}
	s := &l.leases
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ring.next == nil {
		return readers > 0
	}
	for x := s.ring.next; x != &s.ring; x = x.next {
		if x.mapping != nil && x.upTo > offset {
			return true
		}
		if m != nil && x.mapping == m.Mapping {
			readers--
		}
	}
	return readers > 0
}

// dropPendingLocked forgets what Seal was to do for the segments from base on. syncing is held too.
func (l *Log) dropPendingLocked(base Offset) {
	l.pending = slices.DeleteFunc(l.pending, func(r *rolled) bool {
		if r.segment.base < base {
			return false
		}
		if r.file != nil { // rolled a moment ago
			_ = r.file.Close()
			l.unsyncedRolled.Add(-1)
		}
		return true
	})
}

// failQueuedLocked takes the appends out of the queue that have a place, which is not to be any more, and lists them in d. The producers' state is
// made anew.
func (l *Log) failQueuedLocked(d *done) {
	for _, w := range l.queue.takeAppends() {
		w.err = fmt.Errorf("%w: the log has been truncated", ErrNotLeaderOrFollower)
		d.push(w)
	}
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
	if s.hasSum.Load() {
		// A sum of more than will be there would call all of it damaged.
		if err := l.config.FS.SyncDir(l.config.Dir); err != nil {
			return l.poison(err)
		}
	}
	revived := &logSegment{base: s.base, modified: s.modified, seen: s.seen}
	w := &l.writer
	w.segment, w.tail, w.next = revived, position, next
	s.mu.Lock()
	s.removed.Store(true) // no mapping is made any more
	m := s.mapping.Swap(nil)
	s.mu.Unlock()
	if m != nil {
		m.Retire()
	}
	if l.shielded(m, next) {
		if err := l.copyCut(s, position); err != nil {
			return err
		}
	}
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
	w.closing, w.epoch, w.imprint = sc.next < next, -1, Imprint{}
	if sc.last != nil {
		w.first = -1
	}
	return nil
}

// copyCut replaces the file of s by one with its first bytes, up to position. Mappings of the old one stay.
func (l *Log) copyCut(s *logSegment, position int64) error {
	path := l.logPath(s)
	tmp := path + segment.TmpSuffix
	in, err := l.config.FS.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return storageError(nil, "open", path, err)
	}
	defer in.Close()
	out, err := l.config.FS.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return writeError("create", tmp, err)
	}
	if err = copyBytes(out, in, 0, position); err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err == nil {
		err = l.config.FS.Rename(tmp, path)
	}
	if err != nil {
		_ = l.config.FS.Remove(tmp)
		return writeError("cut", path, err)
	}
	if err := l.config.FS.SyncDir(l.config.Dir); err != nil {
		return l.poison(err)
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
	if !l.config.Replicated {
		for _, e := range l.producers.ended {
			if e.last < next && e.last >= l.Visible() {
				state.ended = append(state.ended, e)
			}
		}
	}
	l.takeProducersLocked(state)
	l.showUnstableLocked()
	if !mutant.On(mutant.EpochCacheNotTruncated) && l.epochs.TruncateFromEnd(int64(next)) {
		l.epochs.changed(next)
	}
	return nil
}

// takeProducersLocked replaces the producers' state. No guard of before fits it.
func (l *Log) takeProducersLocked(state *producers) {
	state.lastGuard = l.producers.lastGuard
	state.settle(l.Visible())
	l.producers = state
}
