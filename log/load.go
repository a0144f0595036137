package log

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// ensure loads s at its first use since Open.
func (l *Log) ensure(s *logSegment) error {
	if s.loaded.Load() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loaded.Load() {
		return nil
	}
	if err := l.identify(); err != nil {
		return err
	}
	last, bound := l.boundOf(s)
	file, err := l.openForRead(s)
	if e, ok := errors.AsType[*suspicion](err); ok {
		l.setMissing(s, last, bound, e.err)
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
	s.size = size
	index := segment.NewIndex(int64(s.base), l.settings.Load().index())
	err = index.Load(l.config.FS, l.config.Dir, size, int64(bound))
	if err == nil {
		err = l.loadSum(s, index)
	}
	if err == nil {
		var end chainEnd
		end, err = l.walkTail(s, file, index, size)
		if err != nil && end.next == bound && contentEnd(file, end.position, size) == end.position {
			err = nil // every record is there, and preallocated zeros that a crash has brought back
		}
		// An end that is not the one that should be there is not believed before every batch has been checked: a flipped bit in the
		// last header looks the same.
		if err == nil && (!last && end.next == bound || last && end.next == l.End()) {
			s.checked.trusted = end.position
			l.setLoaded(s, index, end.next, end.position, last, bound)
			return nil
		}
	}
	if size > 0 && !errors.Is(err, fs.ErrNotExist) && err != nil {
		l.find(Finding{Kind: WrongIndex, Path: l.path(segment.IndexName(int64(s.base))), Offset: s.base, NextOffset: s.base, Action: ActionRebuilt, Detail: err.Error()})
	}
	return l.scanLocked(s, file, min(size, math.MaxUint32>>1), last, bound)
}

// boundOf returns the base of the segment behind s, or that s is the last.
func (l *Log) boundOf(s *logSegment) (last bool, bound Offset) {
	list := l.segmentList()
	i := segmentAt(list, s.base)
	if i+1 < len(list) {
		return false, list[i+1].base
	}
	return true, math.MaxInt64
}

// setLoaded publishes what loading found: batches up to next and position. s.mu is held.
func (l *Log) setLoaded(s *logSegment, index *segment.Index, next Offset, position int64, last bool, bound Offset) {
	if s.checked.bits == nil {
		sum := s.checked.sum
		s.checked.reset(s.checked.trusted)
		s.checked.sum = sum
	}
	s.index.Store(index)
	s.written.Store(s.mark(next, position))
	s.shown.Store(s.mark(next, position))
	if last {
		l.reconcile(s, next, position)
	} else if next < bound && bound > l.Start() && !l.gapsLawful() && !s.hasDamageLocked(next) {
		l.addDamageLocked(s, MissingSegment, damage{position: position, nextPosition: s.size, offset: next, next: bound, err: errMissing})
	}
	s.loaded.Store(true)
}

// setMissing has all of s missing: somebody has removed its file.
func (l *Log) setMissing(s *logSegment, last bool, bound Offset, cause error) {
	if last {
		bound = max(l.End(), s.base)
	}
	l.addDamageLocked(s, MissingSegment, damage{offset: s.base, next: bound, err: cause})
	l.setLoaded(s, segment.NewIndex(int64(s.base), l.settings.Load().index()), s.base, 0, last, bound)
}

// reconcile compares the end of the last segment with what the owner said. The files decide when they have more: to believe the
// owner's lower number would overwrite records. When they have less the missing records are damage, and their offsets are not used
// again.
func (l *Log) reconcile(s *logSegment, next Offset, position int64) {
	l.mu.Lock()
	known := l.next
	if l.state == stateCold && next > known {
		l.next = next
		for _, v := range []interface{ Store(int64) }{&l.written, &l.durable, &l.visible} {
			if v != &l.visible || !l.config.Replicated {
				v.Store(int64(next))
			}
		}
	}
	l.mu.Unlock()
	if next < known && !s.hasDamageLocked(next) {
		l.addDamageLocked(s, MissingSegment, damage{position: position, nextPosition: s.size, offset: next, next: known, err: errShortFile})
	}
}

// loadSum reads the sidecar, if there is one, and compares the indexes with it. s.mu is held.
func (l *Log) loadSum(s *logSegment, index *segment.Index) error {
	if !s.hasSum.Load() {
		return nil
	}
	sum, err := segment.LoadSum(l.config.FS, l.config.Dir, l.sumID(s))
	if err != nil {
		s.hasSum.Store(false)
		l.find(Finding{Kind: WrongSum, Path: l.path(segment.SumName(int64(s.base))), Offset: s.base, NextOffset: s.base, Action: ActionKept, Detail: err.Error()})
		return nil
	}
	for name, data := range map[string][]byte{
		segment.IndexName(int64(s.base)):     index.Offsets.AppendTo(nil),
		segment.TimeIndexName(int64(s.base)): index.Times.AppendTo(nil),
	} {
		if f := sum.File(name); f != nil {
			if err := verifyBytes(f, data); err != nil {
				return err
			}
		}
	}
	s.checked.sum = sum.File(segment.LogName(int64(s.base)))
	if f := s.checked.sum; f != nil && f.Size != s.size {
		return errShortFile
	}
	return nil
}

func (l *Log) sumID(s *logSegment) segment.SumID {
	return segment.SumID{TopicID: l.config.TopicID, Partition: l.config.Partition, Base: int64(s.base)}
}

func verifyBytes(f *segment.FileSum, data []byte) error {
	if int64(len(data)) != f.Size {
		return errShortFile
	}
	for i := range f.Blocks {
		if err := f.VerifyBlock(i, data[i*checkBlock:min((i+1)*checkBlock, len(data))]); err != nil {
			return err
		}
	}
	return nil
}

type chainEnd struct {
	next     Offset
	position int64
}

// walkTail follows the headers behind the last index entry to the end of the file. An error says that index or file are not as they
// should be.
func (l *Log) walkTail(s *logSegment, file vfs.File, index *segment.Index, size int64) (chainEnd, error) {
	src := source{segment: s, file: file, end: size}
	defer src.close()
	entry, position, ok := index.Offsets.Last()
	end := chainEnd{next: s.base, position: position}
	for end.position < size {
		b, n, err := src.header(end.position)
		if err != nil {
			return end, err
		}
		if ok && end.position == position && b.LastOffset() != entry {
			return end, src.suspect(position, errIndexEntry)
		}
		if last := Offset(b.LastOffset()); last < Offset(b.BaseOffset()) || end.position > position && Offset(b.BaseOffset()) < end.next || last-s.base > segment.MaxRelativeOffset {
			return end, src.suspect(end.position, errBaseOffset)
		}
		index.Observe(b)
		end.next = Offset(b.LastOffset()) + 1
		end.position += n
	}
	if at, offset, ok := index.Times.Last(); ok && Offset(offset) >= end.next {
		return end, src.suspect(at, errIndexEntry)
	}
	return end, nil
}

// touch loads what appends need: the active segment, the producers and the epochs.
func (l *Log) touch() error {
	l.loading.Lock()
	defer l.loading.Unlock()
	l.mu.Lock()
	state, failure := l.state, l.failure
	l.mu.Unlock()
	switch {
	case state == stateClosed || l.closed.Load():
		return ErrClosed
	case failure != nil:
		return failure
	case state == stateReady:
		return nil
	}
	if err := l.prepareDir(); err != nil {
		return err
	}
	list := l.segmentList()
	if len(list) > 0 {
		if err := l.activate(list[len(list)-1]); err != nil {
			return err
		}
	}
	epochs, producers := l.epochs, l.producers
	if !l.recovered {
		end := l.End()
		var err error
		if epochs, err = l.loadEpochs(end); err != nil {
			return err
		}
		if err = l.loadStableLocked(); err != nil {
			return err
		}
		producers = l.producers
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == stateCold {
		l.epochs, l.producers, l.state = epochs, producers, stateReady
	}
	l.writer.next = l.next
	if w := &l.writer; w.segment != nil {
		l.activateAborted(w.segment)
	}
	return nil
}

// activate makes s the segment that appends go to.
func (l *Log) activate(s *logSegment) error {
	if err := l.ensure(s); err != nil {
		return err
	}
	next, position := s.writtenEnd()
	w := &l.writer
	w.segment, w.tail, w.next, w.zeroed = s, position, next, position
	w.first, w.epoch, w.created = batch.None, batch.None, time.UnixMilli(s.modified)
	w.jitter = jitter(l.settings.Load())
	// Nothing is added behind damage: the next append begins a new segment.
	w.closing = w.closing || next != l.End()
	s.mu.Lock()
	for _, d := range s.damage {
		w.closing = w.closing || d.position >= position
	}
	size := s.size
	s.mu.Unlock()
	if l.config.ReadOnly || w.closing {
		return nil
	}
	if err := l.openActive(); err != nil {
		return err
	}
	if size > position {
		f := Finding{Kind: TornTail, Path: l.logPath(s), Position: position, Offset: next, NextOffset: next, Bytes: size - position}
		if contentEnd(w.file, position, size) == position {
			f.Kind = ZeroTail
		}
		if err := l.cutOff(s, f, size); err != nil || w.closing {
			return err
		}
		s.mu.Lock()
		s.size = position
		s.mu.Unlock()
	}
	if position > 0 {
		src := source{segment: s, file: w.file, end: position}
		defer src.close()
		b, _, err := src.header(0)
		if err != nil {
			return err
		}
		w.first = b.MaxTimestamp()
		w.imprint = Imprint{Base: s.base, First: b.CRC()}
	}
	return nil
}

// openActive opens the active segment's file for writing.
func (l *Log) openActive() error {
	w := &l.writer
	path := l.logPath(w.segment)
	file, err := l.config.FS.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return storageError(nil, "open", path, err)
	}
	w.file, w.reserved = file, 0
	if l.settings.Load().Sync != SyncAlways {
		w.reserved = -1 // by a process that was killed, perhaps
	}
	return nil
}
