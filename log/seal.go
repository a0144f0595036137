package log

import (
	"errors"
	"os"
	"slices"

	"github.com/partlog/partlog/internal/segment"
)

// Seal does one piece of background work: it syncs a rolled segment, writes its indexes and the producer snapshot behind it, or writes
// one segment's .sum sidecar. done says that nothing is left. Appends and reads go on meanwhile.
func (l *Log) Seal() (done bool, err error) {
	l.admin.Lock()
	defer l.admin.Unlock()
	switch {
	case l.closed.Load():
		return true, ErrClosed
	case l.config.ReadOnly:
		return true, nil
	}
	if err := l.failureError(); err != nil {
		return true, err
	}
	if err := l.finishSwap(); err != nil {
		return false, err
	}
	if done, err := l.sealNext(); err != nil || !done {
		return false, err
	}
	if err := l.writeEpochs(); err != nil {
		return false, err
	}
	return l.sumNext()
}

// sealNext writes what belongs to the oldest rolled segment. admin is held.
func (l *Log) sealNext() (done bool, err error) {
	if err := l.syncRolled(); err != nil {
		return false, err
	}
	l.mu.Lock()
	if len(l.pending) == 0 {
		l.mu.Unlock()
		return true, nil
	}
	r := l.pending[0]
	l.mu.Unlock()
	if !r.segment.removed.Load() {
		index := r.segment.index.Load()
		index.Close()
		if err := index.Write(l.config.FS, l.config.Dir); err != nil {
			return false, writeError("write indexes of", l.logPath(r.segment), err)
		}
		if err := l.saveAborted(r.segment); err != nil {
			return false, err
		}
		if err := l.writeSnapshot(r.next, r.producers); err != nil {
			return false, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	// Retention may have taken it out of the list in between.
	if i := slices.Index(l.pending, r); i >= 0 {
		l.pending = slices.Delete(l.pending, i, i+1)
	}
	return false, nil
}

func (l *Log) writeSnapshot(at Offset, entries []segment.ProducerEntry) error {
	if err := segment.WriteSnapshot(l.config.FS, l.config.Dir, int64(at), entries); err != nil {
		return writeError("write", l.path(segment.SnapshotName(int64(at))), err)
	}
	return nil
}

// writeEpochs brings the epoch checkpoint up to date.
func (l *Log) writeEpochs() error {
	l.mu.Lock()
	if !l.epochs.dirty {
		l.mu.Unlock()
		return nil
	}
	changes := l.epochs.changes
	var copied segment.Epochs
	for _, e := range l.epochs.Entries() {
		copied.Assign(e.Epoch, e.Start)
	}
	l.mu.Unlock()
	if err := copied.Write(l.config.FS, l.config.Dir); err != nil {
		return writeError("write", l.path(segment.EpochCheckpointName), err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epochs.dirty = l.epochs.changes != changes
	return nil
}

// sumNext writes the sidecar of the first finished segment that has none. Bytes that this process has not written are checked first:
// a sum says that they are what was written.
func (l *Log) sumNext() (done bool, err error) {
	list := l.segmentList()
	for i := range len(list) - 1 {
		s := list[i]
		if s.hasSum.Load() || s.noSum.Load() || s.removed.Load() {
			continue
		}
		if l.unsealed(s) {
			return false, nil // rolled a moment ago: a sum says of its records, which have not been synced, that they are there
		}
		if err := l.ensure(s); err != nil {
			return false, err
		}
		if err := l.sumSegment(s); err != nil {
			if s.removed.Load() {
				return false, nil
			}
			return false, err
		}
		return false, nil
	}
	return true, nil
}

// unsealed reports whether sealNext has not come to s, or to one before it.
func (l *Log) unsealed(s *logSegment) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pending) > 0 && l.pending[0].segment.base <= s.base
}

func (l *Log) sumSegment(s *logSegment) error {
	if !s.damaged.Load() && s.checked.trusted > 0 {
		if err := l.checkAll(s); err != nil {
			return err
		}
	}
	if s.damaged.Load() {
		s.noSum.Store(true)
		return nil
	}
	if err := l.indexFiles(s); err != nil {
		return err
	}
	if _, err := l.loadAborted(s); err != nil {
		return err
	}
	if err := l.saveAborted(s); err != nil {
		return err
	}
	l.writeKeyIndex(s)
	sum, err := segment.BuildSum(l.config.FS, l.config.Dir, l.sumID(s), segment.SumFiles(int64(s.base)))
	if err == nil {
		err = sum.Write(l.config.FS, l.config.Dir)
	}
	if err != nil {
		return writeError("write sum of", l.logPath(s), err)
	}
	s.hasSum.Store(true)
	return nil
}

// checkAll checks every block of s that has not been.
func (l *Log) checkAll(s *logSegment) error {
	_, end := s.writtenEnd()
	err := l.retry(func() error {
		file, err := l.openForRead(s)
		if err != nil {
			return err
		}
		defer file.Close()
		src := source{segment: s, file: file, end: end}
		defer src.close()
		if s.damaged.Load() {
			return nil
		}
		return l.check(s, &src, nil, 0, end)
	})
	if errors.Is(err, ErrCorrupt) {
		return nil
	}
	return err
}

// indexFiles writes the index files of s again if they are not there.
func (l *Log) indexFiles(s *logSegment) error {
	for _, name := range []string{segment.IndexName(int64(s.base)), segment.TimeIndexName(int64(s.base))} {
		if _, err := l.config.FS.Stat(l.path(name)); errors.Is(err, os.ErrNotExist) {
			index := s.index.Load()
			index.Close()
			if err := index.Write(l.config.FS, l.config.Dir); err != nil {
				return writeError("write indexes of", l.logPath(s), err)
			}
			return nil
		}
	}
	return nil
}
