package log

import (
	"errors"
	"slices"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/segment"
)

// KeyOffsets appends the offsets from from on of records that may have this key, ascending: all that have it, and any other with the same
// hash, so the reader compares. Offsets whose records compaction has removed may be among them, and those of aborted transactions are.
// What is appended while it runs may be missing. It needs Settings.KeyIndex; without, every segment is read at its first use. Errors:
// ErrClosed, those of the file system.
func (l *Log) KeyOffsets(dst []Offset, key []byte, from Offset) (offsets []Offset, err error) {
	err = errReplaced
	for err == errReplaced { // there is a new list of segments
		offsets, err = l.keyOffsets(dst, key, from)
	}
	return offsets, err
}

func (l *Log) keyOffsets(dst []Offset, key []byte, from Offset) ([]Offset, error) {
	if l.closed.Load() {
		return dst, ErrClosed
	}
	hash, start := segment.KeyHash(key), len(dst)
	from = max(from, l.Start())
	list := l.segmentList()
	for i := max(segmentAt(list, from), 0); i < len(list); i++ {
		var err error
		if dst, err = l.lookupKey(list[i], i == len(list)-1, hash, dst); err != nil {
			return dst, l.keyError(list[i], err)
		}
	}
	out := dst[start:]
	i, _ := slices.BinarySearch(out, from)
	return append(dst[:start], out[i:]...), nil
}

// LastOfKey returns the offset of the last record that has this key, -1 if there is none. Records of aborted transactions do not
// count; those of an open one do.
func (l *Log) LastOfKey(key []byte) (last Offset, err error) {
	err = errReplaced
	for err == errReplaced {
		last, err = l.lastOfKey(key)
	}
	return last, err
}

func (l *Log) lastOfKey(key []byte) (Offset, error) {
	if l.closed.Load() {
		return -1, ErrClosed
	}
	hash := segment.KeyHash(key)
	var offsets []Offset
	list := l.segmentList()
	for i := len(list) - 1; i >= 0; i-- {
		var err error
		if offsets, err = l.lookupKey(list[i], i == len(list)-1, hash, offsets[:0]); err != nil {
			return -1, l.keyError(list[i], err)
		}
		for j := len(offsets) - 1; j >= 0 && offsets[j] >= l.Start(); j-- {
			has, err := l.hasKey(offsets[j], key)
			if err != nil && list[i].removed.Load() {
				return -1, errReplaced
			}
			if err != nil || has {
				return offsets[j], err
			}
		}
	}
	return -1, nil
}

// keyError is an error of a lookup in s: one of a segment that was taken out meanwhile says nothing about the log.
func (l *Log) keyError(s *logSegment, err error) error {
	if err == errReplaced || s.removed.Load() {
		return errReplaced // or retention has
	}
	if e, ok := errors.AsType[*suspicion](err); ok {
		return l.corruptNow(e)
	}
	return storageError(nil, "look up a key in", l.logPath(s), err)
}

// hasKey reports whether the record at an offset is there, has the key, and is not aborted.
func (l *Log) hasKey(offset Offset, key []byte) (bool, error) {
	b, err := l.readWritten(offset)
	if err != nil || len(b) == 0 {
		return false, err
	}
	var it batch.Iterator
	b.Iterate(&it, batch.DefaultMaxBytes)
	for it.Next() {
		r := it.Record()
		if Offset(r.Offset) != offset {
			continue
		}
		if r.Key == nil || string(r.Key) != string(key) {
			return false, nil
		}
		if !b.IsTransactional() {
			return true, nil
		}
		aborted, err := l.abortedAt(b, offset)
		return !aborted, err
	}
	return false, it.Err()
}

// readWritten returns a copy of the batch that holds an offset, or the first behind it, also one above Visible; nothing if there is none.
func (l *Log) readWritten(offset Offset) (b batch.Batch, err error) {
	err = l.retry(func() error {
		list := l.segmentList()
		i := segmentAt(list, offset)
		if i < 0 {
			return nil
		}
		s := list[i]
		if err := l.ensure(s); err != nil {
			return err
		}
		next, end := s.writtenEnd()
		if offset >= next {
			return nil
		}
		if s.damaged.Load() {
			if d, inside := s.nextDamage(offset); inside {
				return l.corruption(s, d, offset)
			}
		}
		file, err := l.openForRead(s)
		if err != nil {
			return err
		}
		defer file.Close()
		src := source{segment: s, file: file, end: end}
		defer src.close()
		position, _, err := l.locate(s, &src, nil, offset)
		if err != nil {
			return err
		}
		whole, err := src.whole(position)
		b = slices.Clone(whole)
		return err
	})
	return b, err
}

// abortedAt reports whether a transactional batch belongs to an aborted transaction.
func (l *Log) abortedAt(b batch.Batch, offset Offset) (bool, error) {
	if offset >= l.LastStable() {
		return false, nil // open, or not known yet
	}
	aborted, err := l.Aborted(nil, offset, offset+1)
	return slices.ContainsFunc(aborted, func(a AbortedTxn) bool {
		return a.ProducerID == b.ProducerID() && a.First <= offset && offset <= a.Last
	}), err
}
