package log

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/segment"
)

// recoverSwaps finishes or takes back the exchange of segments that a crash has interrupted, as cleanswap.go orders its steps and as
// Apache Kafka's LogLoader does with its own, and returns the directory as it is then. A log that is open for reading only gets the
// result in memory.
func (l *Log) recoverSwaps(d listing) (listing, error) {
	if len(d.cleaned)+len(d.swapped) == 0 {
		return d, nil
	}
	if err := l.identify(); err != nil {
		return d, err
	}
	var commits []segment.Name
	for _, n := range d.swapped {
		if n.Kind == segment.KindLog && !below(d.cleaned, n.Base) {
			commits = append(commits, n)
		}
	}
	slices.SortFunc(commits, func(a, b segment.Name) int { return cmp.Compare(a.Base, b.Base) })
	if l.config.ReadOnly {
		return l.showSwaps(d, commits)
	}
	for _, n := range append(d.cleaned, d.swapped...) {
		if !slices.ContainsFunc(commits, func(c segment.Name) bool { return c.Base == n.Base }) {
			if err := l.removeIfThere(cleanedName(n)); err != nil {
				return d, err
			}
		}
	}
	for _, n := range commits {
		if err := l.recoverSwap(d, n.Base); err != nil {
			return d, err
		}
	}
	if err := l.syncDir(); err != nil {
		return d, err
	}
	return l.list()
}

// below says whether something is being made whose offset is at most base: then Kafka's cleaner had not committed base.
func below(cleaned []segment.Name, base int64) bool {
	return slices.ContainsFunc(cleaned, func(n segment.Name) bool { return n.Base <= base })
}

// cleanedName is the inverse of segment.ParseName for a file of a new segment.
func cleanedName(n segment.Name) string {
	stem := orphanName(n)
	switch n.Kind {
	case segment.KindLog:
		stem = segment.LogName(n.Base)
	case segment.KindSnapshot:
		stem = segment.SnapshotName(n.Base)
	}
	if n.State == segment.Swap {
		return stem + segment.SwapSuffix
	}
	return stem + segment.CleanedSuffix
}

// recoverSwap goes on with the committed segment of base.
func (l *Log) recoverSwap(d listing, base int64) error {
	next, whole, err := l.scanSwap(base)
	if err != nil {
		return err
	}
	if !whole && (hasBase(d.segments, Offset(base)) || deletedLog(d.deleted, base) || next == Offset(base)) {
		return l.takeBack(d, base)
	}
	for _, s := range d.segments {
		if int64(s.base) == base || int64(s.base) > base && s.base < next {
			if err := l.setAsideOld(int64(s.base)); err != nil {
				return err
			}
		}
	}
	for _, n := range d.orphans {
		if n.Base >= base && Offset(n.Base) < next { // whose records had been set aside
			if err := l.removeIfThere(orphanName(n)); err != nil {
				return err
			}
		}
	}
	if err := l.syncDir(); err != nil {
		return err
	}
	log := segment.LogName(base)
	for _, name := range []string{segment.IndexName(base), segment.TimeIndexName(base), segment.TxnIndexName(base), log} {
		if err := l.rename(name+segment.SwapSuffix, name); err != nil && (name == log || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	return nil
}

// scanSwap reads a .swap file: the offset behind its last batch, and whether all of it is as it was written.
func (l *Log) scanSwap(base int64) (next Offset, whole bool, err error) {
	path := l.path(segment.LogName(base) + segment.SwapSuffix)
	file, err := l.config.FS.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return 0, false, storageError(nil, "open", path, err)
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return 0, false, storageError(nil, "stat", path, err)
	}
	r, err := segment.Scan(file, 0, size, base, segment.ScanOptions{Compacted: true}, func(int64, batch.Batch) error { return nil })
	if err != nil {
		return 0, false, storageError(nil, "scan", path, err)
	}
	return Offset(r.Next), r.Clean(), nil
}

// takeBack puts the old segments back in the place of a damaged new one, which stays where it is until a cleaning makes it again.
func (l *Log) takeBack(d listing, base int64) error {
	for _, name := range d.deleted {
		n := segment.ParseName(name)
		if n.Kind != segment.KindLog || n.Base < base || hasBase(d.segments, Offset(n.Base)) {
			continue
		}
		if err := l.rename(name, segment.LogName(n.Base)); err != nil {
			return err
		}
	}
	if err := l.syncDir(); err != nil {
		return err
	}
	l.find(Finding{Kind: Foreign, Path: l.path(segment.LogName(base) + segment.SwapSuffix), Offset: Offset(base), NextOffset: Offset(base),
		Action: ActionKept, Detail: "a cleaned segment is damaged, and not used"})
	return nil
}

func deletedLog(deleted []string, base int64) bool {
	return slices.Contains(deleted, segment.LogName(base)+segment.DeletedSuffix)
}

// showSwaps has committed segments stand where they will be.
func (l *Log) showSwaps(d listing, commits []segment.Name) (listing, error) {
	for _, n := range commits {
		next, whole, err := l.scanSwap(n.Base)
		if err != nil {
			return d, err
		}
		if !whole && (hasBase(d.segments, Offset(n.Base)) || next == Offset(n.Base)) {
			continue
		}
		info, err := l.config.FS.Stat(l.path(segment.LogName(n.Base) + segment.SwapSuffix))
		if err != nil {
			return d, storageError(nil, "stat", l.path(segment.LogName(n.Base)+segment.SwapSuffix), err)
		}
		d.segments = slices.DeleteFunc(d.segments, func(s *logSegment) bool {
			return int64(s.base) == n.Base || int64(s.base) > n.Base && s.base < next
		})
		s := &logSegment{base: Offset(n.Base), size: info.Size(), modified: info.ModTime().UnixMilli()}
		s.swapped.Store(true)
		d.segments = append(d.segments, s)
	}
	slices.SortFunc(d.segments, func(a, b *logSegment) int { return cmp.Compare(a.base, b.base) })
	return d, nil
}
