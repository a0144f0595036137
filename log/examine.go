package log

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// scanned is what a scan of a whole segment file found.
type scanned struct {
	index    *segment.Index
	next     Offset // after the last good batch
	position int64
	damage   []damage // between good batches
	kinds    []string // of damage
	tail     *segment.Damage
	last     batch.Batch // header of the last good batch
}

var errBeyond = errors.New("batch belongs to the next segment")

// scanFile reads the first size bytes of the file of s and checks every batch, and every block for which there is a sum. Batches
// from bound on belong to the next segment.
func (l *Log) scanFile(s *logSegment, file io.ReaderAt, size int64, bound Offset, visit func(int64, batch.Batch) error) (*scanned, error) {
	bad, err := l.badBlocks(s, file, size)
	if err != nil {
		return nil, err
	}
	sc := &scanned{index: segment.NewIndex(int64(s.base), l.settings.Load().index()), next: s.base}
	var open *damage // batches of a block that fails its sum
	o := segment.ScanOptions{Compacted: l.gapsLawful(), Epochs: l.knownEpochs()}
	result, err := segment.Scan(file, 0, size, int64(s.base), o, func(position int64, b batch.Batch) error {
		base, end := Offset(b.BaseOffset()), position+int64(len(b))
		if base >= bound {
			return errBeyond
		}
		sc.next, sc.position = Offset(b.LastOffset())+1, end
		sc.last = append(sc.last[:0], b[:batch.HeaderSize]...)
		if cause := overlap(bad, position, end); cause != nil {
			if open == nil {
				open = &damage{position: position, offset: base, err: cause}
			}
			open.nextPosition, open.next = end, sc.next
			return nil
		}
		if open != nil {
			sc.damage, sc.kinds, open = append(sc.damage, *open), append(sc.kinds, CorruptMiddle), nil
		}
		sc.index.Add(position, b)
		if visit != nil {
			return visit(position, b)
		}
		return nil
	})
	l.mu.Lock()
	l.report.ScannedBytes += result.Bytes
	l.mu.Unlock()
	if err != nil && !errors.Is(err, errBeyond) {
		return nil, storageError(nil, "scan", l.logPath(s), err)
	}
	if open != nil {
		sc.damage, sc.kinds = append(sc.damage, *open), append(sc.kinds, CorruptMiddle)
	}
	for i := range result.Damage {
		d := &result.Damage[i]
		if d.Kind != segment.CorruptMiddle {
			sc.tail = d
			continue
		}
		kind := CorruptMiddle
		if d.Position == d.NextPosition {
			kind = MissingSegment
		}
		sc.damage = append(sc.damage, damage{position: d.Position, nextPosition: d.NextPosition,
			offset: Offset(d.Offset), next: Offset(d.NextOffset), err: d.Err})
		sc.kinds = append(sc.kinds, kind)
	}
	return sc, nil
}

// badBlock is a block of the .log file that fails its sum.
type badBlock struct {
	from, to int64
	err      error
}

// badBlocks compares the file with its sum, if there is one.
func (l *Log) badBlocks(s *logSegment, file io.ReaderAt, size int64) (bad []badBlock, err error) {
	if !s.hasSum.Load() {
		return nil, nil
	}
	sum, err := segment.LoadSum(l.config.FS, l.config.Dir, l.sumID(s))
	if err != nil {
		return nil, nil // the sidecar itself is damaged: loadSum says so
	}
	f := sum.File(segment.LogName(int64(s.base)))
	if f == nil {
		return nil, nil
	}
	buf := getBuffer(checkBlock)
	defer putBuffer(buf)
	for i := range f.Blocks {
		from := int64(i) * checkBlock
		to := min(from+checkBlock, f.Size)
		if to > size {
			// A block that is not whole cannot be compared, and so not be believed: it may be another file's.
			return append(bad, badBlock{from, to, errShortFile}), nil
		}
		if n, err := file.ReadAt((*buf)[:to-from], from); int64(n) < to-from {
			return nil, err
		}
		if err := f.VerifyBlock(i, (*buf)[:to-from]); err != nil {
			bad = append(bad, badBlock{from, to, err})
		}
	}
	if size > f.Size {
		bad = append(bad, badBlock{f.Size, size, errLongFile})
	}
	return bad, nil
}

var errLongFile = errors.New("the file is longer than it was")

func overlap(bad []badBlock, from, to int64) error {
	for _, b := range bad {
		if from < b.to && b.from < to {
			return b.err
		}
	}
	return nil
}

// scanLocked loads s by reading all of it. s.mu is held.
func (l *Log) scanLocked(s *logSegment, file vfs.File, size int64, last bool, bound Offset) error {
	sc, err := l.scanFile(s, file, size, bound, nil)
	if err != nil {
		return err
	}
	s.checked.reset(0) // everything has been
	l.setDamageLocked(s, sc)
	l.tailDamageLocked(s, sc, size, last, bound)
	if !last && !l.config.ReadOnly && !s.damaged.Load() {
		_ = l.rewriteIndex(s, sc.index) // a cache
	}
	l.setLoaded(s, sc.index, sc.next, sc.position, last, bound)
	return nil
}

// rewriteIndex replaces the index files of a finished segment. Its sum is of the old ones: Seal makes another.
func (l *Log) rewriteIndex(s *logSegment, index *segment.Index) error {
	if s.hasSum.Load() {
		if err := l.config.FS.Remove(l.path(segment.SumName(int64(s.base)))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		s.hasSum.Store(false)
	}
	index.Close()
	return index.Write(l.config.FS, l.config.Dir)
}

// setDamageLocked makes sc's damage that of s. s.mu is held.
func (l *Log) setDamageLocked(s *logSegment, sc *scanned) {
	s.damage = nil
	for i, d := range sc.damage {
		l.addDamageLocked(s, sc.kinds[i], d)
	}
	s.damaged.Store(len(s.damage) > 0)
}

// tailDamageLocked judges what is behind the last good batch. In a finished segment it is damage if records are missing; in the last
// one activate cuts it off if the records that should be there are.
func (l *Log) tailDamageLocked(s *logSegment, sc *scanned, size int64, last bool, bound Offset) {
	if last {
		bound = l.End()
	}
	if sc.tail == nil || sc.next >= bound {
		return
	}
	kind := map[segment.ScanKind]string{segment.ZeroTail: ZeroTail, segment.StaleTail: StaleTail, segment.TornTail: TornTail, segment.ForeignTail: Foreign}[sc.tail.Kind]
	l.addDamageLocked(s, kind, damage{position: sc.position, nextPosition: size, offset: sc.next, next: bound, err: sc.tail.Err})
}

// addDamageLocked quarantines a range of s, whose mu is held.
func (l *Log) addDamageLocked(s *logSegment, kind string, d damage) {
	if d.err == nil {
		d.err = errMissing
	}
	i := len(s.damage)
	for i > 0 && s.damage[i-1].offset > d.offset {
		i--
	}
	s.damage = append(s.damage[:i], append([]damage{d}, s.damage[i:]...)...)
	s.damaged.Store(true)
	l.mu.Lock()
	l.corruptions++
	l.mu.Unlock()
	l.find(Finding{Kind: kind, Path: l.logPath(s), Position: d.position, Offset: d.offset, NextOffset: d.next,
		Bytes: max(d.nextPosition-d.position, 0), Action: ActionQuarantined, Detail: d.err.Error()})
}

func (s *logSegment) hasDamageLocked(offset Offset) bool {
	for _, d := range s.damage {
		if d.offset <= offset && offset < d.next {
			return true
		}
	}
	return false
}

// nextDamage returns the damage that holds offset, or else the first behind it.
func (s *logSegment) nextDamage(offset Offset) (d damage, inside bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.damage {
		if offset < d.next {
			return d, d.offset <= offset
		}
	}
	return damage{offset: math.MaxInt64}, false
}

// behindDamage returns position, or where the last damage below offset ends if that is further on.
func (s *logSegment) behindDamage(offset Offset, position int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.damage {
		if d.next <= offset {
			position = max(position, d.nextPosition)
		}
	}
	return position
}

// corruption is the error of a read at from, which d holds.
func (l *Log) corruption(s *logSegment, d damage, from Offset) error {
	return &CorruptionError{Path: l.logPath(s), Position: d.position, Offset: max(from, d.offset), NextOffset: d.next, Err: d.err}
}

// corruptNow is the error of a read that stays suspicious although examine has found nothing: the disk, or somebody who writes to the
// file, gives other bytes each time.
func (l *Log) corruptNow(e *suspicion) error {
	_, bound := l.boundOf(e.segment)
	return &CorruptionError{Path: l.logPath(e.segment), Position: e.position, Offset: e.segment.base,
		NextOffset: min(bound, l.extent()), Err: e.err}
}

// examine reads all of a segment that has aroused suspicion, rebuilds its index, and quarantines what cannot be served.
func (l *Log) examine(s *logSegment) error {
	if list := l.segmentList(); len(list) > 0 && list[len(list)-1] == s {
		l.acquire() // nothing is appended, and so indexed, meanwhile
		defer l.release()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.removed.Load() {
		return errReplaced // or cut off, or deleted: whoever reads looks again
	}
	last, bound := l.boundOf(s)
	next, end := s.writtenEnd()
	file, err := l.openForRead(s)
	if e, ok := errors.AsType[*suspicion](err); ok {
		if !s.hasDamageLocked(s.base) {
			l.addDamageLocked(s, MissingSegment, damage{nextPosition: end, offset: s.base, next: next, err: e.err})
		}
		l.closeActive(s)
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return storageError(nil, "stat", l.logPath(s), err)
	}
	if last {
		size = min(size, end) // the rest is being written; a finished file is compared with its sum as it is
	}
	sc, err := l.scanFile(s, file, size, bound, nil)
	if err != nil {
		return err
	}
	l.setDamageLocked(s, sc)
	if sc.next < next {
		cause := errShortFile
		if sc.tail != nil && sc.tail.Err != nil {
			cause = sc.tail.Err
		}
		l.addDamageLocked(s, CorruptMiddle, damage{position: sc.position, nextPosition: end, offset: sc.next, next: next, err: cause})
		if last {
			l.closeActive(s)
		}
	}
	for block := range (s.checked.trusted + checkBlock - 1) / checkBlock {
		s.checked.set(block)
	}
	for i := range s.hints {
		s.hints[i].Store(0)
	}
	s.index.Store(sc.index)
	if !s.damaged.Load() {
		l.find(Finding{Kind: WrongIndex, Path: l.path(segment.IndexName(int64(s.base))), Offset: s.base, NextOffset: next, Action: ActionRebuilt,
			Detail: fmt.Sprintf("%d batches checked", sc.index.Offsets.Len())})
	}
	return nil
}

// closeActive has the next append begin a new segment when s, which is damaged at its end, is the active one.
func (l *Log) closeActive(s *logSegment) {
	if l.writer.segment == s {
		l.writer.closing = true
	}
}
