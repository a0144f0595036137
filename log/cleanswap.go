package log

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/partlog/partlog/internal/segment"
)

// How a cleaned segment takes the place of those it was made of. Each step leaves files from which the next open goes on or back
// (see cleanrecovery.go); no step is begun before those above it are durable:
//
//	<base>.log.cleaned and its caches are written and synced, and their names     an open removes them
//	caches: .cleaned -> .swap                                                     likewise
//	<base>.log.cleaned -> <base>.log.swap                                         committed: an open goes on from here
//	old segments: caches, sums and snapshots removed, .log -> .log.deleted
//	caches: .swap lost; <base>.log.swap -> <base>.log                             done
//	.log.deleted removed                                                          an open removes them
//
// A new segment is in the log as soon as it is committed; its file may be called .swap still.

// errReplaced says that a segment has been replaced by a cleaned one: what is looked for is to be found there.
var errReplaced = errors.New("segment has been replaced")

// swap is a committed exchange of segments.
type swap struct {
	old  []*logSegment
	new  *logSegment
	base Offset
	txns bool // there is a .txnindex

	aside  bool // the old files are out of the way, durably
	placed bool // the new ones are in their places
}

// swapIn has f, complete, take the place of old, whose offsets end with bound.
func (l *Log) swapIn(f *cleanFile, old []*logSegment, bound Offset) error {
	l.admin.Lock()
	defer l.admin.Unlock()
	if l.closed.Load() {
		return ErrClosed
	}
	if err := l.failureError(); err != nil {
		return err
	}
	if at := l.placeOf(old); at < 0 {
		return ErrCleaningAborted
	}
	w := &swap{old: old, base: f.base, txns: len(f.aborted) > 0}
	if err := l.commitSwap(w); err != nil {
		return err
	}
	f.committed = true
	last := old[len(old)-1]
	s := &logSegment{base: f.base}
	last.mu.Lock()
	s.modified, s.seen = last.modified, last.seen
	last.mu.Unlock()
	s.size = f.size()
	s.checked.reset(0)
	s.index.Store(f.index)
	s.written.Store(s.mark(f.next, f.size()))
	s.shown.Store(s.mark(f.next, f.size()))
	s.swapped.Store(true)
	s.hasTxnIndex.Store(w.txns)
	s.aborted.Store(l.cleanedAborted(f, last))
	s.loaded.Store(true)
	w.new = s
	l.mu.Lock()
	list := slices.Clone(l.segmentList())
	at := slices.Index(list, old[0])
	l.setSegmentsLocked(slices.Replace(list, at, at+len(old), s))
	l.mu.Unlock()
	for _, o := range old {
		o.removed.Store(true)
		o.replaced.Store(true) // last: who sees this sees both
	}
	l.cleaner.swap.Store(w)
	return l.finishSwap()
}

// cleanedAborted is the list of aborted transactions of f, whose last source was old.
func (l *Log) cleanedAborted(f *cleanFile, old *logSegment) *abortedList {
	t := &abortedList{}
	t.entries, _ = decodeAborted(f.aborted, f.base) // cannot fail on its own encoding
	if known := old.aborted.Load(); known != nil {
		t.openAtEnd = known.openAtEnd
	}
	return t
}

// placeOf returns where old is in the log, -1 if it is not any more as it was.
func (l *Log) placeOf(old []*logSegment) int {
	list := l.segmentList()
	at := slices.Index(list, old[0])
	if at < 0 || at+len(old) >= len(list) {
		return -1
	}
	for i, o := range old {
		if list[at+i] != o || o.damaged.Load() {
			return -1
		}
	}
	return at
}

// commitSwap renames the files to .swap, the records last. After an error all is as before, or, when names could not be synced, the log is
// poisoned.
func (l *Log) commitSwap(w *swap) error {
	var err error
	for _, name := range l.cacheNames(w) {
		if err == nil {
			err = l.rename(name+segment.CleanedSuffix, name+segment.SwapSuffix)
		}
	}
	if err == nil {
		err = l.syncSwap()
	}
	log := segment.LogName(int64(w.base))
	if err == nil {
		err = l.rename(log+segment.CleanedSuffix, log+segment.SwapSuffix)
	}
	if err == nil {
		err = l.syncSwap()
	}
	if err != nil {
		l.removeCleaned(w.base)
	}
	return err
}

// finishSwap does what is left of a committed swap. It is tried again before anything else changes the log's files. admin is held.
func (l *Log) finishSwap() error {
	w := l.cleaner.swap.Load()
	if w == nil {
		return nil
	}
	if !w.aside {
		for _, o := range w.old {
			if err := l.setAsideOld(int64(o.base)); err != nil {
				return err
			}
		}
		if err := l.syncSwap(); err != nil {
			return err
		}
		w.aside = true
	}
	if !w.placed {
		for _, name := range append(l.cacheNames(w), segment.LogName(int64(w.base))) {
			// What is not there any more has its place already: a rename that failed may have been done.
			if err := l.rename(name+segment.SwapSuffix, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		w.placed = true
		w.new.swapped.Store(false)
	}
	if err := l.syncSwap(); err != nil {
		return err
	}
	for _, o := range w.old {
		o.retireMapping()
		_ = l.removeIfThere(segment.LogName(int64(o.base)) + segment.DeletedSuffix) // the next open does
	}
	l.cleaner.swap.Store(nil)
	return nil
}

// setAsideOld removes what belongs to the old segment of base, and renames its records: a sum or an index of them must never be taken
// for one of the new segment, nor a snapshot, of producers whose markers may have gone, be believed with the new records behind it.
func (l *Log) setAsideOld(base int64) error {
	names := []string{segment.SumName(base), segment.IndexName(base), segment.TimeIndexName(base), segment.TxnIndexName(base), segment.KeyIndexName(base)}
	if base > 0 {
		names = append(names, segment.SnapshotName(base))
	}
	for _, name := range names {
		if err := l.removeIfThere(name); err != nil {
			return err
		}
	}
	log := segment.LogName(base)
	if err := l.rename(log, log+segment.DeletedSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// cacheNames are the files of the new segment beside its records.
func (l *Log) cacheNames(w *swap) []string {
	names := []string{segment.IndexName(int64(w.base)), segment.TimeIndexName(int64(w.base))}
	if w.txns {
		names = append(names, segment.TxnIndexName(int64(w.base)))
	}
	return names
}

// removeCleaned removes the files of a segment that was not committed.
func (l *Log) removeCleaned(base Offset) {
	for _, name := range cleanedNames(int64(base)) {
		_ = l.removeIfThere(name) // tried again before the next cleaning, and at the next open
	}
}

// cleanedNames are all names that the files of a new segment have on their way, the committing one first.
func cleanedNames(base int64) []string {
	var names []string
	for _, name := range []string{segment.LogName(base), segment.IndexName(base), segment.TimeIndexName(base), segment.TxnIndexName(base)} {
		names = append(names, name+segment.SwapSuffix, name+segment.CleanedSuffix)
	}
	return names
}

// dropCleaned removes what a cleaning that failed has left. One that cannot be removed could be taken, by the next open, for a
// younger one's.
func (l *Log) dropCleaned() error {
	d, err := l.list()
	if err != nil {
		return err
	}
	left := append(d.cleaned, d.swapped...)
	for _, n := range left {
		for _, name := range cleanedNames(n.Base) {
			if err := l.removeIfThere(name); err != nil {
				return err
			}
		}
	}
	if len(left) == 0 {
		return nil
	}
	return l.syncSwap()
}

func (l *Log) rename(from, to string) error {
	if err := l.config.FS.Rename(l.path(from), l.path(to)); err != nil {
		return writeError("rename", l.path(from), err)
	}
	return nil
}

// syncSwap makes names durable. As with files, a later success would prove nothing after a failure.
func (l *Log) syncSwap() error {
	if err := l.config.FS.SyncDir(l.config.Dir); err != nil {
		return l.poison(err)
	}
	return nil
}

func (l *Log) syncDir() error {
	if err := l.config.FS.SyncDir(l.config.Dir); err != nil {
		return storageError(nil, "sync directory", l.config.Dir, err)
	}
	return nil
}
