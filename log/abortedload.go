package log

import (
	"bytes"
	"cmp"
	"errors"
	"io/fs"
	"slices"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/segment"
)

// loadAborted finds the aborted transactions of s at the first use of them since Open: in the .txnindex, if a sum says that it is right,
// else in the batches, where there may be any. Without a sum nothing says that the file is whole.
func (l *Log) loadAborted(s *logSegment) (*abortedList, error) {
	if !l.stableKnown.Load() {
		if err := l.loadStable(); err != nil {
			return nil, err
		}
	}
	return l.loadAbortedReady(s)
}

// loadAbortedReady is loadAborted once the producers are loaded.
func (l *Log) loadAbortedReady(s *logSegment) (*abortedList, error) {
	l.loadingAborted.Lock()
	defer l.loadingAborted.Unlock()
	t := s.aborted.Load()
	if t != nil && t.from <= s.base {
		return t, nil
	}
	if err := l.ensure(s); err != nil {
		return nil, err
	}
	older, err := l.knownAborted(s)
	if err == nil && older == nil {
		older, err = l.rebuildAborted(s)
	}
	if err != nil {
		return nil, err
	}
	return s.updateAborted(func(t *abortedList) {
		if t.from == 0 && len(t.entries) == 0 {
			*t = *older
			return
		}
		// The segment was taken into use before: what has been written since is in t.
		n := firstEndingFrom(older.entries, t.from)
		t.entries, t.from = append(slices.Clone(older.entries[:n]), t.entries...), 0
	}), nil
}

// knownAborted returns what can be believed without a look at the batches, nil if that is nothing.
func (l *Log) knownAborted(s *logSegment) (*abortedList, error) {
	if !s.hasSum.Load() {
		if !s.hasTxnIndex.Load() && !l.transactional.Load() {
			return &abortedList{openAtEnd: l.openAtEndOf(s)}, nil
		}
		return nil, nil
	}
	sum, err := segment.LoadSum(l.config.FS, l.config.Dir, l.sumID(s))
	if err != nil {
		return nil, nil // ensure has said so
	}
	data, err := segment.ReadTxnIndex(l.config.FS, l.config.Dir, int64(s.base))
	f := sum.File(segment.TxnIndexName(int64(s.base)))
	switch {
	case f == nil && errors.Is(err, fs.ErrNotExist):
		return &abortedList{openAtEnd: l.openAtEndOf(s)}, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, segment.ErrCorrupt):
		return nil, err
	case err != nil || f == nil || verifyBytes(f, data) != nil:
		return nil, nil
	}
	entries, err := decodeAborted(data, s.base)
	if err != nil {
		return nil, nil
	}
	return &abortedList{entries: entries, openAtEnd: l.openAtEndOf(s)}, nil
}

// openAtEndOf asks the producer snapshot behind s which transactions are open there.
func (l *Log) openAtEndOf(s *logSegment) Offset {
	last, bound := l.boundOf(s)
	if last {
		return 0
	}
	entries, err := segment.ReadSnapshot(l.config.FS, l.config.Dir, int64(bound))
	if err != nil {
		return 0 // producersAt reports it where it matters
	}
	return restore(entries).firstOpen()
}

// rebuildAborted finds the aborted transactions of s in the batches, and puts the file right.
func (l *Log) rebuildAborted(s *logSegment) (*abortedList, error) {
	last, bound := l.boundOf(s)
	state, err := l.producersAt(s.base)
	if err != nil {
		return nil, err
	}
	t := &abortedList{}
	_, size := s.writtenEnd()
	file, err := l.openForRead(s)
	if _, missing := errors.AsType[*suspicion](err); missing {
		return t, nil // reads report it
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if !last {
		// All of it, as the sum has it: behind the batches there may be zeros that a crash has brought back.
		if size, err = file.Size(); err != nil {
			return nil, storageError(nil, "stat", l.logPath(s), err)
		}
	}
	sc, err := l.scanFile(s, file, size, bound, func(_ int64, b batch.Batch) error {
		if e := state.replay(b, Offset(b.BaseOffset()), noOffset); e != nil && e.aborted {
			t.add(e)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !last {
		t.openAtEnd = state.firstOpen()
	}
	l.keepDamaged(s, t, sc.damage)
	l.repairTxnIndex(s, t)
	return t, nil
}

// keepDamaged adds what the .txnindex knows of markers that cannot be read any more.
func (l *Log) keepDamaged(s *logSegment, t *abortedList, damaged []damage) {
	if len(damaged) == 0 || !s.hasTxnIndex.Load() {
		return
	}
	data, err := segment.ReadTxnIndex(l.config.FS, l.config.Dir, int64(s.base))
	if err != nil {
		return
	}
	entries, _ := decodeAborted(data, s.base)
	for _, e := range entries {
		if slices.ContainsFunc(damaged, func(d damage) bool { return d.offset <= e.Last && e.Last < d.next }) {
			t.entries = append(t.entries, e)
		}
	}
	slices.SortFunc(t.entries, func(a, b AbortedTxn) int { return cmp.Compare(a.Last, b.Last) })
}

// repairTxnIndex compares the .txnindex of s with t, which was made from the batches, and replaces it if it is another. A failure is
// none: the file is a cache. Beside a live writer it is the writer's.
func (l *Log) repairTxnIndex(s *logSegment, t *abortedList) {
	base := int64(s.base)
	if len(t.entries) == 0 && !s.hasTxnIndex.Load() {
		return
	}
	want := encodeAborted(nil, t.entries)
	got, err := segment.ReadTxnIndex(l.config.FS, l.config.Dir, base)
	if err == nil && bytes.Equal(got, want) && len(want) > 0 || l.config.ReadOnly {
		return
	}
	f := Finding{Kind: WrongIndex, Path: l.path(segment.TxnIndexName(base)), Offset: s.base, NextOffset: s.base, Action: ActionKept,
		Detail: "is not what the batches say"}
	if err != nil {
		f.Detail = err.Error()
	} else if len(got) == 0 {
		f.Detail = "is empty"
	}
	if err := l.replaceTxnIndex(s, want); err == nil {
		f.Action = ActionRebuilt
	} else {
		f.Detail = err.Error()
		s.abortedDirty.Store(true)
	}
	l.find(f)
}

// replaceTxnIndex writes the .txnindex of s. A sum of another one goes: Seal makes it again.
func (l *Log) replaceTxnIndex(s *logSegment, data []byte) error {
	base := int64(s.base)
	if s.hasSum.Load() {
		sum, err := segment.LoadSum(l.config.FS, l.config.Dir, l.sumID(s))
		f := (*segment.FileSum)(nil)
		if err == nil {
			f = sum.File(segment.TxnIndexName(base))
		}
		if same := f == nil && len(data) == 0 || f != nil && verifyBytes(f, data) == nil; !same {
			if err := l.removeIfThere(segment.SumName(base)); err != nil {
				return err
			}
			s.hasSum.Store(false)
		}
	}
	if err := segment.WriteTxnIndex(l.config.FS, l.config.Dir, base, data); err != nil {
		return err
	}
	s.hasTxnIndex.Store(len(data) > 0)
	return nil
}

// activateAborted has a list ready for what will be written to the active segment. What it has already is looked for when somebody wants
// to know: that may be a look at all of it. mu is held.
func (l *Log) activateAborted(s *logSegment) {
	from := l.next
	if l.stableKnown.Load() && !l.transactional.Load() && !s.hasTxnIndex.Load() {
		from = 0
	}
	l.writer.noTxnIndex = s.aborted.CompareAndSwap(nil, &abortedList{from: from}) && from > s.base || s.abortedDirty.Load()
}

// truncateAborted gives to, which is from cut to offset next, what is left of its list.
func (l *Log) truncateAborted(from, to *logSegment, next Offset) {
	t := abortedList{from: next}
	if known := from.aborted.Load(); known != nil {
		t.from = min(known.from, next)
		t.entries = slices.Clone(known.entries[:firstEndingFrom(known.entries, next)])
	}
	to.aborted.Store(&t)
	to.hasTxnIndex.Store(from.hasTxnIndex.Load())
	to.abortedDirty.Store(true)
	l.writer.noTxnIndex = true
}
