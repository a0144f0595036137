package log

import (
	"errors"
	"io/fs"
	"slices"
	"sync"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/segment"
)

// The key index (Settings.KeyIndex) says at which offsets a key has records, by the key's hash. Of a segment that is appended to, or was
// not sealed yet, it is in memory; a sealed segment's is a .keyindex file. Both are caches, made from the batches when somebody first
// asks: a file that is missing, damaged or of another end is made again.

// keyList is the key index of one segment in memory: for each hash a chain through entries, newest first.
type keyList struct {
	mu      sync.Mutex // guards all below; taken last
	heads   map[uint64]uint32
	entries []keyLink
	next    Offset // what is below it is in the list
	it      batch.Iterator
}

// keyLink is a record of a key.
type keyLink struct {
	relative uint32 // offset, less the segment's base
	before   uint32 // place in entries of the key's record before, plus one; 0 if there is none
}

func newKeyList(base Offset) *keyList { return &keyList{heads: make(map[uint64]uint32), next: base} }

// add adds a batch, unless it is there already. Records of control batches have no keys of anybody's.
func (k *keyList) add(b batch.Batch, base Offset) {
	k.mu.Lock()
	defer k.mu.Unlock()
	first := Offset(b.BaseOffset())
	if first < k.next {
		return
	}
	k.next = Offset(b.LastOffset()) + 1
	if b.IsControl() {
		return
	}
	b.Iterate(&k.it, batch.DefaultMaxBytes)
	for k.it.Next() {
		r := k.it.Record()
		if r.Key == nil {
			continue
		}
		hash := segment.KeyHash(r.Key)
		k.entries = append(k.entries, keyLink{relative: uint32(Offset(r.Offset) - base), before: k.heads[hash]})
		k.heads[hash] = uint32(len(k.entries))
	}
}

// lookup appends the relative offsets of a hash, ascending.
func (k *keyList) lookup(hash uint64, dst []uint32) []uint32 {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := len(dst)
	for i := k.heads[hash]; i > 0; i = k.entries[i-1].before {
		dst = append(dst, k.entries[i-1].relative)
	}
	slices.Reverse(dst[n:])
	return dst
}

// sorted returns what a file of it has.
func (k *keyList) sorted() []segment.KeyEntry {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]segment.KeyEntry, 0, len(k.entries))
	for hash, i := range k.heads {
		for ; i > 0; i = k.entries[i-1].before {
			out = append(out, segment.KeyEntry{Hash: hash, Relative: k.entries[i-1].relative})
		}
	}
	return out
}

// indexKeys adds batches that have been written and published to the active segment's list, if it has one.
func (l *Log) indexKeys(r, end *waiter) {
	s := l.writer.segment
	s.keying.Lock()
	defer s.keying.Unlock()
	k := s.keys.Load()
	for ; r != end; r = r.next {
		if r.batch == nil {
			continue
		}
		if k == nil {
			if r.base != s.base {
				return // made from the file when somebody asks
			}
			k = newKeyList(s.base)
			s.keys.Store(k)
		}
		k.add(r.batch, s.base)
	}
}

// keysOf returns the list of a segment that has no file, making it from the batches. What the writer has published by now is in the
// file; what it publishes from here on it adds itself, after this.
func (l *Log) keysOf(s *logSegment) (*keyList, error) {
	if err := l.ensure(s); err != nil {
		return nil, err
	}
	s.keying.Lock()
	defer s.keying.Unlock()
	if k := s.keys.Load(); k != nil {
		return k, nil
	}
	k := newKeyList(s.base)
	_, end := s.writtenEnd()
	if err := l.readKeys(s, k, end); err != nil {
		return nil, err
	}
	s.keys.Store(k)
	return k, nil
}

// readKeys adds the batches below position end of the file of s.
func (l *Log) readKeys(s *logSegment, k *keyList, end int64) error {
	file, err := l.openForRead(s)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = segment.Scan(file, 0, end, int64(s.base), segment.ScanOptions{Compacted: l.gapsLawful()}, func(_ int64, b batch.Batch) error {
		k.add(b, s.base)
		return nil
	})
	return err
}

// lookupKey appends the offsets in s of records whose key has that hash, ascending.
func (l *Log) lookupKey(s *logSegment, last bool, hash uint64, dst []Offset) ([]Offset, error) {
	var relative []uint32
	k := s.keys.Load()
	if k == nil && !last {
		var err error
		if relative, err = l.lookupKeyFile(s, hash); err == nil {
			return appendRelative(dst, s.base, relative), nil
		} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, segment.ErrCorrupt) {
			return dst, err
		}
	}
	if k == nil {
		var err error
		if k, err = l.keysOf(s); err != nil {
			return dst, err
		}
	}
	return appendRelative(dst, s.base, k.lookup(hash, nil)), nil
}

func appendRelative(dst []Offset, base Offset, relative []uint32) []Offset {
	for _, r := range relative {
		dst = append(dst, base+Offset(r))
	}
	return dst
}

func (l *Log) lookupKeyFile(s *logSegment, hash uint64) ([]uint32, error) {
	if err := l.ensure(s); err != nil {
		return nil, err
	}
	file, err := l.config.FS.OpenFile(l.path(segment.KeyIndexName(int64(s.base))), 0, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	next, _ := s.writtenEnd()
	index, err := segment.OpenKeyIndex(file, size, l.sumID(s), int64(next))
	if err != nil {
		return nil, err
	}
	return index.Lookup(file, hash, nil)
}

// writeKeyIndex makes the file of a finished segment and drops the list. admin is held. A full disk is no failure: it is a cache.
func (l *Log) writeKeyIndex(s *logSegment) {
	if !l.settings.Load().KeyIndex || s.damaged.Load() {
		return
	}
	if s.keys.Load() == nil {
		if _, err := l.lookupKeyFile(s, 0); err == nil {
			return
		}
	}
	k, err := l.keysOf(s)
	if err != nil {
		return
	}
	next, _ := s.writtenEnd()
	if segment.WriteKeyIndex(l.config.FS, l.config.Dir, l.sumID(s), int64(next), k.sorted()) == nil {
		s.keys.Store(nil)
	}
}
