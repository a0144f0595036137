package log

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// judge tells an unfinished write from damage.
type judge struct {
	log  *Log
	file vfs.File
	size int64
	last bool
	full int64 // position behind the last byte that is not zero; 0: not known yet
}

const sector = 512

// unfinished says whether the bad bytes [from, to), which have good batches behind them, may be what a crash has left of writes that
// were not synced. A log's bytes only ever turn from zero to what is written, and a disk keeps or loses whole sectors. So a batch of
// which something was lost is all zero where it overlaps some sector. Bits that have flipped do not look like that. In SyncAlways,
// besides, it is never further from the end than is written between two syncs, and never in a finished segment.
func (j *judge) unfinished(from, to int64) bool {
	if j.log.settings.Load().Sync == SyncAlways {
		if !j.last || j.content()-from > maxUnsynced+int64(j.log.settings.Load().MaxMessageBytes) {
			return false
		}
	}
	buf := getBuffer(stagingSize)
	defer putBuffer(buf)
	for from < to {
		n := min(to-from, stagingSize-from%sector) // whole sectors, but for the first and the last
		if m, err := j.file.ReadAt((*buf)[:n], from); int64(m) < n || err != nil && !errors.Is(err, io.EOF) {
			return true // shorter than it was
		}
		for at := from; at < from+n; {
			end := min((at/sector+1)*sector, from+n)
			if allZero((*buf)[at-from : end-from]) {
				return true
			}
			at = end
		}
		from += n
	}
	return false
}

// content returns the position behind the last byte of the file that is not zero.
func (j *judge) content() int64 {
	if j.full == 0 {
		j.full = contentEnd(j.file, 0, j.size)
	}
	return j.full
}

// contentEnd returns the position behind the last byte of [from, to) that is not zero, from when there is none.
func contentEnd(file io.ReaderAt, from, to int64) int64 {
	buf := getBuffer(stagingSize)
	defer putBuffer(buf)
	for to > from {
		begin := max(from, to-stagingSize)
		b := (*buf)[:to-begin]
		if n, _ := file.ReadAt(b, begin); n < len(b) {
			return to
		}
		for i := len(b) - 1; i >= 0; i-- {
			if b[i] != 0 {
				return begin + int64(i) + 1
			}
		}
		to = begin
	}
	return from
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// cutOff removes the bytes of s from f.Position on, after it has kept a copy of what is not zero. Without space for the copy they stay
// where they are, and the next append begins a new segment. Recovery and the first touch after a clean close use it, before
// the file is mapped.
func (l *Log) cutOff(s *logSegment, f Finding, size int64) error {
	f.Action = ActionTruncated
	if l.config.ReadOnly {
		f.Action = ActionKept
		l.find(f)
		return nil
	}
	path := l.logPath(s)
	file, err := l.config.FS.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return storageError(nil, "open", path, err)
	}
	defer file.Close()
	if f.Kind != ZeroTail {
		lost := contentEnd(file, f.Position, size) - f.Position
		f.SavedAs, err = l.saveTorn(s, file, f.Position, lost)
		if errors.Is(err, ErrNoSpace) {
			f.Action, f.Detail = ActionKept, err.Error()
			l.find(f)
			l.writer.closing = true
			return nil
		}
		if err != nil {
			return err
		}
		l.mu.Lock()
		l.report.Truncated += lost
		l.mu.Unlock()
	}
	if size > f.Position {
		if err := file.Truncate(f.Position); err != nil {
			return storageError(nil, "truncate", path, err)
		}
		if err := file.Sync(); err != nil {
			return storageError(nil, "sync", path, err)
		}
	}
	if f.Bytes > 0 {
		l.find(f)
	}
	return nil
}

// saveTorn copies n bytes from position of the file of s into a .torn file and returns its path.
func (l *Log) saveTorn(s *logSegment, file vfs.File, position, n int64) (string, error) {
	if n == 0 {
		return "", nil
	}
	path, exists, err := l.tornPath(s.base, position, file, n)
	if err != nil || exists {
		return path, err
	}
	tmp := path + segment.TmpSuffix
	out, err := l.config.FS.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return "", writeError("create", tmp, err)
	}
	err = copyBytes(out, file, position, n)
	if err == nil {
		err = out.Sync()
	}
	err = errors.Join(err, out.Close())
	if err == nil {
		err = l.config.FS.Rename(tmp, path)
	}
	if err == nil {
		err = l.config.FS.SyncDir(l.config.Dir)
	}
	if err != nil {
		_ = l.config.FS.Remove(tmp)
		return "", writeError("save", path, err)
	}
	return path, nil
}

// tornPath finds a name for the bytes: that of the position, unless other bytes have it from an earlier recovery.
func (l *Log) tornPath(base Offset, position int64, file io.ReaderAt, n int64) (path string, exists bool, err error) {
	name := segment.TornName(int64(base), position)
	for i := 0; ; i++ {
		path = l.path(name)
		if i > 0 {
			path = fmt.Sprintf("%s.%d", path, i)
		}
		same, err := sameBytes(l.config.FS, path, file, position, n)
		if errors.Is(err, os.ErrNotExist) {
			return path, false, nil
		}
		if err != nil || same {
			return path, same, err
		}
	}
}

func sameBytes(fsys vfs.FS, path string, file io.ReaderAt, position, n int64) (bool, error) {
	old, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return false, err
	}
	defer old.Close()
	if size, err := old.Size(); err != nil || size != n {
		return false, err
	}
	a, b := getBuffer(stagingSize), getBuffer(stagingSize)
	defer putBuffer(a)
	defer putBuffer(b)
	for done := int64(0); done < n; {
		m := min(n-done, stagingSize)
		if got, err := old.ReadAt((*a)[:m], done); int64(got) < m {
			return false, err
		}
		if got, err := file.ReadAt((*b)[:m], position+done); int64(got) < m {
			return false, err
		}
		if string((*a)[:m]) != string((*b)[:m]) {
			return false, nil
		}
		done += m
	}
	return true, nil
}

func copyBytes(out io.WriterAt, in io.ReaderAt, position, n int64) error {
	buf := getBuffer(stagingSize)
	defer putBuffer(buf)
	for done := int64(0); done < n; {
		b := (*buf)[:min(n-done, stagingSize)]
		if m, err := in.ReadAt(b, position+done); m < len(b) {
			return errors.Join(io.ErrUnexpectedEOF, err)
		}
		if _, err := out.WriteAt(b, done); err != nil {
			return err
		}
		done += int64(len(b))
	}
	return nil
}

// setAside renames segments that lie behind a cut, last first so that what remains is always a prefix.
func (r *recovery) setAside(list []*logSegment) error {
	for i := len(list) - 1; i >= 0; i-- {
		s := list[i]
		path := r.logPath(s)
		f := Finding{Kind: TornTail, Path: path, Offset: s.base, NextOffset: s.base, Bytes: s.size, Action: ActionTruncated}
		if r.config.ReadOnly {
			f.Action = ActionKept
			r.find(f)
			continue
		}
		file, err := r.openForRead(s)
		if err != nil {
			return err
		}
		lost := contentEnd(file, 0, s.size)
		f.SavedAs, err = r.saveTorn(s, file, 0, lost)
		_ = file.Close()
		if err != nil {
			return err
		}
		if err := r.removeFiles(s); err != nil {
			return err
		}
		r.mu.Lock()
		r.report.Truncated += lost
		r.mu.Unlock()
		r.find(f)
	}
	return nil
}
