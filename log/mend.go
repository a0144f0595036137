package log

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// Mending puts right what is damaged in one segment of a replicated log that nobody writes to, with batches of another copy, if it can be proved that
// those are the ones that were there:
//
//   - the batches before and behind the damage are, byte by byte, those that the other copy has there;
//   - between them the other's are whole (length, checksum), and their offsets follow each other from where the damage begins to where it ends;
//   - each has the leader epoch that this log's epoch cache has for its offset.
//
// The segment is written anew beside the old one, which takes its place as compaction does it (see cleanswap.go), so that a crash at any time leaves
// the one or the other. The old segment's good batches are copied, and checked once more.
//
//	m, err := l.BeginMending()
//	for from, more := m.Need(); more; from, more = m.Need() {
//		err = m.Feed(batches of the leader from there on, below its high watermark)
//	}
//	err = m.Commit()
//
// It is for one goroutine. Whatever it ends with, Close gives back what it holds.
type Mending struct {
	log     *Log
	segment *logSegment
	bound   Offset   // behind the segment
	last    bool     // no segment is behind it
	file    vfs.File // the damaged one; nil: it is gone
	end     int64    // of its batches
	holes   []damage // still to be filled; the first is being filled
	out     *cleanFile
	epochs  *segment.Epochs

	position   int64 // up to where the old file has been copied, or passed over
	step       mendStep
	need       Offset
	edge       []byte // the batch before or behind the hole
	edged      bool   // there is one
	idempotent bool   // a batch of an idempotent producer has been put in
	records    int64  // put in
	committed  bool
}

type mendStep uint8

const (
	mendBefore  mendStep = iota // the batch before the hole is to be compared
	mendFilling                 // the hole is being filled
	mendBehind                  // the batch behind it is to be compared
	mendDone
)

// ErrUnproven says that a damaged range cannot be mended, because it cannot be proved that another copy's batches are those that were there:
// the copy has to be made anew. The error says why.
var ErrUnproven = errors.New("it cannot be proved which bytes are right")

// ErrUndamaged says that there is no damage that is known of.
var ErrUndamaged = errors.New("nothing is damaged")

func unproven(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnproven, fmt.Sprintf(format, args...))
}

// Damage is a range of offsets that cannot be read: a read of it is a *CorruptionError.
type Damage struct{ Offset, NextOffset Offset }

// Damage lists what is known to be damaged, by offset. What nobody has read since the open may be damaged and not be known.
func (l *Log) Damage() (all []Damage) {
	for _, s := range l.segmentList() {
		s.mu.Lock()
		for _, d := range s.damage {
			all = append(all, Damage{d.offset, d.next})
		}
		s.mu.Unlock()
	}
	return all
}

// BeginMending begins to mend the first segment that is known to be damaged. Compactions end, and none begins before Close.
//
// Errors: ErrUndamaged; ErrUnproven; ErrReadOnly, ErrClosed; those of the file system.
func (l *Log) BeginMending() (*Mending, error) {
	if l.config.ReadOnly {
		return nil, ErrReadOnly
	}
	if err := l.touch(); err != nil {
		return nil, err
	}
	l.cleaner.mu.Lock()
	if c := l.cleaner.current; c != nil {
		c.abort(ErrCleaningAborted)
	}
	if l.cleaner.mending {
		l.cleaner.mu.Unlock()
		return nil, fmt.Errorf("%w: it is being mended already", ErrUnproven)
	}
	l.cleaner.mending = true
	l.cleaner.mu.Unlock()
	m := &Mending{log: l}
	if err := m.begin(); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func (m *Mending) begin() error {
	l := m.log
	l.admin.Lock()
	err := l.failureError()
	if err == nil {
		err = l.finishSwap()
	}
	if err == nil {
		err = l.dropCleaned() // what a cleaning has left would take precedence
	}
	l.admin.Unlock()
	if err != nil {
		return err
	}
	for _, s := range l.segmentList() {
		if s.damaged.Load() {
			m.segment = s
			break
		}
	}
	if m.segment == nil {
		return ErrUndamaged
	}
	m.epochs = l.knownEpochs()
	if m.epochs == nil {
		return unproven("the leader epochs are not known")
	}
	if err := m.survey(); err != nil {
		return err
	}
	if m.out, err = l.createCleaned(m.segment.base); err != nil {
		return err
	}
	return m.goOn()
}

// survey finds what is damaged in the file as it is now.
func (m *Mending) survey() error {
	l, s := m.log, m.segment
	last, bound := l.boundOf(s)
	if last {
		bound = l.Written()
	}
	m.bound, m.last = bound, last
	file, err := l.openForRead(s)
	if e, gone := errors.AsType[*suspicion](err); gone {
		m.holes = []damage{{offset: s.base, next: bound, err: e.err}}
		return nil
	}
	if err != nil {
		return err
	}
	m.file = file
	size, err := file.Size()
	if err != nil {
		return storageError(nil, "stat", l.logPath(s), err)
	}
	if _, end := s.writtenEnd(); last && l.touched() {
		size = min(size, end) // what is behind is preallocated
	}
	sc, err := l.scanFile(s, file, size, bound, nil)
	if err != nil {
		return err
	}
	m.end = size
	m.holes = sc.damage
	if sc.next < bound && (sc.tail != nil || last || !l.gapsLawful()) {
		m.holes = append(m.holes, damage{position: sc.position, nextPosition: size, offset: sc.next, next: bound, err: errMissing})
	}
	m.holes = merged(m.holes)
	for _, h := range m.holes {
		if h.offset >= h.next || h.next > bound {
			return unproven("damage [%d, %d) of the segment [%d, %d)", h.offset, h.next, s.base, bound)
		}
	}
	return nil
}

// merged sorts damage, and makes one of what lies side by side.
func merged(all []damage) (out []damage) {
	slices.SortFunc(all, func(a, b damage) int { return cmp.Compare(a.position, b.position) })
	for _, d := range all {
		if n := len(out); n > 0 && d.position <= out[n-1].nextPosition {
			last := &out[n-1]
			last.nextPosition, last.offset, last.next = max(last.nextPosition, d.nextPosition), min(last.offset, d.offset), max(last.next, d.next)
			continue
		}
		out = append(out, d)
	}
	return out
}

// Need returns from which offset on the leader's batches are wanted next; more is false when nothing is.
func (m *Mending) Need() (from Offset, more bool) { return m.need, m.step != mendDone }

// Mended returns how many records of the other copy have been put in.
func (m *Mending) Mended() int64 { return m.records }

// goOn copies the old file's good batches up to the next hole, or to the end.
func (m *Mending) goOn() error {
	to := m.end
	if len(m.holes) > 0 {
		to = m.holes[0].position
	}
	m.edged = false
	if m.file != nil && to > m.position {
		if err := m.copyGood(to); err != nil {
			return err
		}
	}
	if len(m.holes) == 0 {
		m.step = mendDone
		return nil
	}
	h := m.holes[0]
	if !m.edged && h.offset > m.log.Start() {
		if err := m.neighbour(h.offset - 1); err != nil {
			return err
		}
	}
	if m.step, m.need = mendFilling, h.offset; m.edged {
		m.step, m.need = mendBefore, Offset(batch.Batch(m.edge).BaseOffset())
	}
	return nil
}

// copyGood copies the batches between the position and to, all of which have to be good.
func (m *Mending) copyGood(to int64) error {
	l, s := m.log, m.segment
	o := segment.ScanOptions{Next: int64(m.out.next), Compacted: l.gapsLawful(), Epochs: m.epochs}
	r, err := segment.Scan(m.file, m.position, to, int64(s.base), o, func(_ int64, b batch.Batch) error {
		if known := m.epochs.At(b.BaseOffset()); known != b.LeaderEpoch() { // which no checksum covers
			return unproven("the batch at offset %d is of epoch %d, and that offset was of epoch %d", b.BaseOffset(), b.LeaderEpoch(), known)
		}
		m.edge, m.edged = append(m.edge[:0], b...), true
		return m.out.copyOf(b)
	})
	if err != nil {
		return err
	}
	if !r.Clean() {
		return unproven("%s reads differently each time", l.logPath(s))
	}
	m.position = to
	return nil
}

// neighbour has the batch that holds an offset be the edge of the hole.
func (m *Mending) neighbour(offset Offset) error {
	v, err := m.log.ReadReplica(offset, 1)
	if err != nil {
		return unproven("the batch with offset %d, next to the damage: %v", offset, err)
	}
	defer v.Release()
	b, err := batch.Peek(v.Bytes)
	if err != nil || Offset(b.BaseOffset()) > offset || Offset(b.LastOffset()) < offset {
		return unproven("there is no batch with offset %d, next to the damage", offset)
	}
	m.edge, m.edged = append(m.edge[:0], b...), true
	return nil
}

// Feed takes batches of the other copy, which begin at or before what is needed. What is incomplete at their end, or behind what is needed, is not looked at.
//
// Errors: ErrUnproven; those of the file system. After an error there is nothing left but Close.
func (m *Mending) Feed(batches []byte) error {
	for len(batches) > 0 && m.step != mendDone {
		b, err := batch.Peek(batches)
		if errors.Is(err, batch.ErrShort) {
			return nil
		}
		if err == nil {
			err = b.CheckCRC()
		}
		if err != nil {
			return unproven("the leader's batch at or behind offset %d: %v", m.need, err)
		}
		batches = batches[len(b):]
		if Offset(b.LastOffset()) < m.need {
			continue
		}
		if err := m.take(b); err != nil {
			return err
		}
	}
	return nil
}

func (m *Mending) take(b batch.Batch) error {
	switch m.step {
	case mendBefore, mendBehind:
		if !bytes.Equal(b, m.edge) {
			return unproven("the leader has another batch than this copy at offset %d, next to the damage", m.need)
		}
		if m.step == mendBefore {
			m.step, m.need = mendFilling, m.holes[0].offset
			return nil
		}
		if err := m.filled(); err != nil {
			return err
		}
		if m.step == mendBefore && m.need == Offset(b.BaseOffset()) {
			return m.take(b) // nothing else lies between two holes: it is in front of the next one as well
		}
		return nil
	}
	h, gaps := m.holes[0], m.log.gapsLawful()
	base, next := Offset(b.BaseOffset()), Offset(b.NextOffset())
	if gaps && base != m.need && h.next > m.log.Cleaned() { // what the leader's compaction has removed may be what hid older records here
		return unproven("the leader's compaction has removed offsets from %d on, and this copy's has not come so far", m.need)
	}
	if gaps && base >= h.next { // compaction has removed the rest
		if err := m.closeHole(); err != nil {
			return err
		}
		if m.step == mendBehind {
			return m.take(b)
		}
		return nil
	}
	switch {
	case base != m.need && !(gaps && base > m.need) || next > h.next || next <= base:
		return unproven("the leader's batch [%d, %d) does not fit into the damaged range from %d to %d", base, next, m.need, h.next)
	case m.epochs.At(int64(base)) != b.LeaderEpoch():
		return unproven("the leader's batch at offset %d is of epoch %d, and here that offset was of epoch %d", base, b.LeaderEpoch(), m.epochs.At(int64(base)))
	}
	if err := m.out.copyOf(b); err != nil {
		return err
	}
	m.idempotent = m.idempotent || b.ProducerID() >= 0
	m.records += int64(b.Count())
	if m.need = next; next == h.next {
		return m.closeHole()
	}
	return nil
}

// closeHole is the end of a hole: what is behind it is to be compared, if there is anything.
func (m *Mending) closeHole() error {
	h := m.holes[0]
	if h.next >= m.log.Written() {
		return m.filled()
	}
	if err := m.neighbour(h.next); err != nil {
		return err
	}
	m.step, m.need = mendBehind, Offset(batch.Batch(m.edge).BaseOffset())
	return nil
}

// filled goes behind a hole.
func (m *Mending) filled() error {
	m.position = m.holes[0].nextPosition
	m.holes = m.holes[1:]
	return m.goOn()
}
