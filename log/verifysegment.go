package log

import (
	"errors"
	"fmt"
	"io/fs"
	"math"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/segment"
)

// segment checks all files of s. size is how much of the file to look at, -1 all.
func (v *verifier) segment(s *logSegment, size int64, last bool) error {
	path := v.logPath(s)
	if !v.begun {
		v.next = v.report.Start
	}
	if s.base > max(v.next, v.report.Start) && !(v.begun && v.gapsLawful()) || v.begun && s.base < v.next {
		v.add(Finding{Kind: MissingSegment, Path: path, Offset: max(v.next, v.report.Start), NextOffset: s.base, Detail: errMissing.Error()}, true)
	}
	v.begun, v.next = true, s.base
	file, err := v.openForRead(s)
	if e, ok := errors.AsType[*suspicion](err); ok {
		err = storageError(nil, "open", path, e.err)
	}
	if err != nil {
		return err
	}
	defer file.Close()
	whole, err := file.Size()
	if err != nil {
		return storageError(nil, "stat", path, err)
	}
	if size < 0 || size > whole {
		size = whole
	}
	_, bound := v.boundOf(s)
	v.txns.begin(v, s)
	entries := v.loadEntries(s, size, bound, last)
	sc, err := v.scanFile(s, file, size, bound, func(position int64, b batch.Batch) error {
		v.report.Batches++
		v.report.Records += int64(b.Count())
		v.report.Bytes += int64(len(b))
		if err := b.Validate(batch.ValidateOptions{SkipCRC: true}); err != nil {
			v.add(Finding{Kind: CorruptMiddle, Path: path, Position: position, Offset: Offset(b.BaseOffset()), NextOffset: Offset(b.NextOffset()),
				Bytes: int64(len(b)), Detail: err.Error()}, true)
		}
		v.epochs.Assign(b.LeaderEpoch(), b.BaseOffset())
		entries.batch(position, b)
		v.txns.batch(b)
		return v.ctx.Err()
	})
	if err != nil {
		return err
	}
	v.report.Segments++
	v.next = sc.next
	for i, d := range sc.damage {
		if d.next <= v.report.Start {
			continue // deleted anyway
		}
		v.add(Finding{Kind: sc.kinds[i], Path: path, Position: d.position, Offset: d.offset, NextOffset: d.next,
			Bytes: d.nextPosition - d.position, Detail: d.err.Error()}, true)
	}
	if sc.tail != nil && (last || bound > v.report.Start) {
		v.tail(sc, path, size, last, bound)
	}
	entries.finish(v)
	v.txns.finish(v, s, len(sc.damage) > 0, last)
	return v.sum(s)
}

// tail reports what is behind the last good batch. Zeros behind all records are preallocation; so may be an unfinished write in a
// segment that somebody is writing to.
func (v *verifier) tail(sc *scanned, path string, size int64, last bool, bound Offset) {
	kind := map[segment.ScanKind]string{segment.TornTail: TornTail, segment.ZeroTail: ZeroTail, segment.StaleTail: StaleTail, segment.ForeignTail: Foreign}[sc.tail.Kind]
	complete := last && sc.next >= v.end || !last && sc.next == bound
	harmless := complete && (kind == ZeroTail || v.live && last)
	next := sc.next
	if !last {
		next = bound
	}
	if harmless && v.live {
		return
	}
	f := Finding{Kind: kind, Path: path, Position: sc.position, Offset: sc.next, NextOffset: next, Bytes: size - sc.position}
	if sc.tail.Err != nil {
		f.Detail = sc.tail.Err.Error()
	}
	v.add(f, !harmless)
}

// sum compares all files of s with its sidecar. The .log file's blocks have been compared by the scan.
func (v *verifier) sum(s *logSegment) error {
	if !s.hasSum.Load() {
		return nil
	}
	path := v.path(segment.SumName(int64(s.base)))
	sum, err := segment.LoadSum(v.config.FS, v.config.Dir, v.sumID(s))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			v.add(Finding{Kind: WrongSum, Path: path, Offset: s.base, NextOffset: s.base, Detail: err.Error()}, false)
		}
		return nil
	}
	log := v.logPath(s)
	return sum.VerifyAll(v.config.FS, v.config.Dir, func(e *segment.SumError) error {
		kind, damage := WrongIndex, false
		if e.Path == log {
			kind, damage = CorruptMiddle, true
		}
		v.add(Finding{Kind: kind, Path: e.Path, Position: e.Position, Bytes: e.Size, Offset: s.base, NextOffset: s.base, Detail: e.Reason}, damage)
		return v.ctx.Err()
	})
}

// indexEntries are the entries of a segment's index files, compared with the batches as they come by.
type indexEntries struct {
	index         *segment.Index
	offset, times int // entries compared
	largest       int64
	base          Offset
	wrong         []Finding
	offsets, time string // paths
}

// loadEntries reads the index files. The active segment's may be missing or behind: they are written when it is finished or closed.
func (v *verifier) loadEntries(s *logSegment, size int64, bound Offset, last bool) *indexEntries {
	e := &indexEntries{largest: -1, base: s.base, offsets: v.path(segment.IndexName(int64(s.base))), time: v.path(segment.TimeIndexName(int64(s.base)))}
	if last && !v.offline {
		return e
	}
	index := segment.NewIndex(int64(s.base), segment.IndexOptions{Interval: 1, MaxBytes: math.MaxInt32})
	err := index.Load(v.config.FS, v.config.Dir, size, int64(bound))
	switch {
	case err == nil:
		e.index = index
	case errors.Is(err, fs.ErrNotExist):
		if !last && v.offline {
			e.wrong = append(e.wrong, Finding{Kind: WrongIndex, Path: e.offsets, Offset: s.base, NextOffset: s.base, Detail: "an index file is missing"})
		}
	default:
		e.wrong = append(e.wrong, Finding{Kind: WrongIndex, Path: e.offsets, Offset: s.base, NextOffset: s.base, Detail: err.Error()})
	}
	return e
}

func (e *indexEntries) report(path string, position int64, offset Offset, detail string) {
	if len(e.wrong) < 10 {
		e.wrong = append(e.wrong, Finding{Kind: WrongIndex, Path: path, Position: position, Offset: offset, NextOffset: offset, Detail: detail})
	}
}

func (e *indexEntries) batch(position int64, b batch.Batch) {
	if e.index == nil {
		return
	}
	for e.offset < e.index.Offsets.Len() {
		offset, at := e.index.Offsets.Entry(e.offset)
		if at > position {
			break
		}
		if at < position || offset != b.LastOffset() {
			e.report(e.offsets, int64(e.offset)*8, Offset(offset), fmt.Sprintf("entry says that offset %d is at %d; the batch at %d ends with %d", offset, at, position, b.LastOffset()))
		}
		e.offset++
	}
	e.largest = max(e.largest, b.MaxTimestamp())
	for e.times < e.index.Times.Len() {
		timestamp, offset := e.index.Times.Entry(e.times)
		if offset > b.LastOffset() {
			break
		}
		if offset < b.LastOffset() || timestamp != b.MaxTimestamp() || timestamp < e.largest {
			e.report(e.time, int64(e.times)*12, Offset(offset), fmt.Sprintf("entry says that %d is the largest timestamp up to offset %d; the batch that ends with %d has %d", timestamp, offset, b.LastOffset(), b.MaxTimestamp()))
		}
		e.times++
	}
}

// finish reports what was wrong, and entries that no batch has answered.
func (e *indexEntries) finish(v *verifier) {
	if e.index != nil && (e.offset < e.index.Offsets.Len() || e.times < e.index.Times.Len()) {
		e.report(e.offsets, 0, e.base, "entries point behind the end")
	}
	for _, f := range e.wrong {
		v.add(f, false)
	}
}
