package log

import (
	"errors"
	"io/fs"
	"os"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/segment"
)

// Commit has the new segment take the place of the old one, durably, and closes the log: the next open finishes that, and has to go through recovery from
// Base on, as what was derived from the damaged segment (producers' states, transactions, epochs) is not believed. The owner must have made sure of
// that before: its recovery point is at most Base.
//
// Errors: ErrUnproven; those of the file system, after which the old segment is in its place or, if the names could not be synced, the log is poisoned.
func (m *Mending) Commit() error {
	l := m.log
	if m.step != mendDone {
		return unproven("offset %d and what is behind it is missing", m.need)
	}
	if err := m.out.finish(); err != nil {
		return err
	}
	if err := m.proofread(); err != nil {
		return err
	}
	if err := m.commit(); err != nil {
		return err
	}
	m.Close()
	l.Abandon()
	return nil
}

// commit has the new segment take the place of the old one. Nothing is done to the log after that, even before it is closed: what it would write down, as
// snapshots of producers, is what the damaged segment had said.
func (m *Mending) commit() error {
	l := m.log
	l.admin.Lock()
	defer l.admin.Unlock()
	err := l.failureError()
	switch {
	case l.closed.Load():
		err = ErrClosed
	case m.segment.removed.Load():
		err = unproven("the segment has been deleted meanwhile")
	}
	if err == nil {
		err = m.forget()
	}
	if err == nil {
		err = l.commitSwap(&swap{base: m.segment.base})
	}
	m.committed = err == nil
	if err == nil {
		l.mu.Lock()
		l.failure = ErrClosed
		l.mu.Unlock()
	}
	return err
}

// Base returns the base offset of the segment that is being mended.
func (m *Mending) Base() Offset { return m.segment.base }

// proofread reads the new file as the next open will.
func (m *Mending) proofread() error {
	l, base := m.log, int64(m.segment.base)
	path := l.path(segment.LogName(base) + segment.CleanedSuffix)
	file, err := l.config.FS.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return storageError(nil, "open", path, err)
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return storageError(nil, "stat", path, err)
	}
	r, err := segment.Scan(file, 0, size, base, segment.ScanOptions{Compacted: l.gapsLawful(), Epochs: m.epochs}, func(int64, batch.Batch) error { return nil })
	if err != nil {
		return storageError(nil, "scan", path, err)
	}
	// Compaction may have removed what a finished segment ended with. The last one ends where the log does.
	if next := Offset(r.Next); !r.Clean() || next != m.out.next || next > m.bound || next < m.bound && (m.last || !l.gapsLawful()) {
		return unproven("the mended segment would end at %d, and not at %d", r.Next, m.bound)
	}
	return nil
}

// forget removes what was made of the damaged segment and could be believed by the next open: snapshots of producers behind it, and the sums that have them.
func (m *Mending) forget() error {
	if !m.idempotent {
		return nil
	}
	l := m.log
	d, err := l.list()
	if err != nil {
		return err
	}
	var names []string
	for _, at := range d.snapshots {
		if at > m.segment.base {
			names = append(names, segment.SnapshotName(int64(at)))
		}
	}
	for _, s := range l.segmentList() {
		if s.base > m.segment.base {
			names = append(names, segment.SumName(int64(s.base)))
		}
	}
	for _, name := range names {
		if err := l.config.FS.Remove(l.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return writeError("remove", l.path(name), err)
		}
	}
	return l.syncSwap()
}

// Close ends the mending. Without a Commit the log is as before.
func (m *Mending) Close() {
	l := m.log
	if m.file != nil {
		_ = m.file.Close()
		m.file = nil
	}
	if m.out != nil {
		m.out.close()
		if !m.committed && !l.closed.Load() {
			l.removeCleaned(m.out.base)
		}
		m.out = nil
	}
	l.cleaner.mu.Lock()
	l.cleaner.mending = false
	l.cleaner.mu.Unlock()
}
