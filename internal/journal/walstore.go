package journal

import (
	"fmt"

	"github.com/tidwall/wal"

	"github.com/partlog/partlog/internal/vfs"
)

// walStore keeps the entries in a tidwall/wal. The rules that make it safe:
//
//  1. Only this type touches the wal.Log, under the Journal's lock, and it never calls Read: several readers corrupt its
//     segment cache. Recovery parses the files itself.
//  2. Every entry is an envelope, so zeros and flipped lengths, which wal takes for entries, are none.
//  3. One change is one Write. A batch is not atomic.
//  4. The directory is locked before wal sees it; wal has no lock, and opening it finishes another process's truncation.
//  5. wal is opened only on files that the scan has verified, after the torn end has been cut (it refuses or misreads it).
//  6. Torn and lost are told apart by the synced index of the entries; wal does not know the difference.
//  7. Any error gives up the handle. wal's memory is ahead of its file after an error, and a retry writes other entries
//     than it acknowledges.
//  8. The directory is synced after open, roll and truncation, which wal never does. When it rolls is not told, so bytes
//     are counted here.
//  9. Segments are small, since wal keeps the last one in memory; its default options are a shared pointer, so copied.
//  10. Compaction is a snapshot, then TruncateFront.
//  11. The version is pinned by TestWalIsTheAuditedVersion.
type walStore struct {
	fs           vfs.FS
	dir          string
	segmentBytes int64

	log      *wal.Log
	tailBase uint64 // index of the first entry of the last segment
	tail     int64  // its size in bytes
}

func (s *walStore) options() *wal.Options {
	o := *wal.DefaultOptions
	o.NoSync = false
	o.SegmentSize = int(s.segmentBytes)
	o.LogFormat = wal.Binary
	o.AllowEmpty = true
	o.DirPerms = directoryMode
	o.FilePerms = fileMode
	return &o
}

// sections follows wal's own rules for an interrupted truncation: everything sorted before the last START is obsolete,
// and so is everything after the first END, and the segment of the same name.
func (s *walStore) sections(names []string) (list []section, pending bool, err error) {
	start, end := -1, -1
	for _, name := range names { // sorted, so that "n" precedes "n.END" and "n.START"
		kind, base := parseName(name)
		switch kind {
		case entriesFile:
			return nil, false, &CorruptError{Path: join(s.dir, name), Position: -1, Index: 1, Err: errOtherStorage}
		case segmentFile:
		case startFile:
			start = len(list)
		case endFile:
			if end < 0 {
				end = len(list)
			}
		default:
			continue
		}
		list = append(list, section{name: name, base: base, framed: true})
	}
	switch {
	case start >= 0 && end >= 0:
		return nil, false, &CorruptError{Path: join(s.dir, list[start].name), Position: -1, Index: list[start].base, Err: errTruncation}
	case start >= 0:
		list = list[start:]
	case end >= 0:
		list = list[:end+1]
		if end > 0 && list[end-1].base == list[end].base {
			list = append(list[:end-1], list[end])
		}
	}
	return list, start >= 0 || end >= 0, nil
}

// finish lets wal complete the truncation, which it does on opening.
func (s *walStore) finish() error {
	err := guard(func() error {
		log, err := wal.Open(s.dir, s.options())
		if err != nil {
			return err
		}
		return log.Close()
	})
	if err != nil {
		return err
	}
	return s.fs.SyncDir(s.dir)
}

// replace leaves wal a truncation to finish: a START file with the entries to begin with. That is atomic.
func (s *walStore) replace(sections []section, v verdict) error {
	var image []byte
	for _, p := range v.good {
		if p.section == v.good[0].section {
			image = append(image, sections[p.section].data[p.start:p.end]...)
		}
	}
	if err := vfs.WriteFileAtomic(s.fs, join(s.dir, segmentName(v.first)+startSuffix), image); err != nil {
		return err
	}
	return s.finish()
}

func (s *walStore) start(sections []section, v verdict) error {
	s.tailBase, s.tail = 1, 0
	if n := len(sections); n > 0 {
		s.tailBase, s.tail = sections[n-1].base, int64(len(sections[n-1].data))
	}
	err := guard(func() (err error) {
		s.log, err = wal.Open(s.dir, s.options())
		return err
	})
	if err != nil {
		return err
	}
	first, err := s.log.FirstIndex()
	if err != nil {
		return err
	}
	last, err := s.log.LastIndex()
	if err != nil {
		return err
	}
	if first != v.first || last != v.last.index {
		return fmt.Errorf("tidwall/wal sees entries %d to %d, recovery saw %d to %d", first, last, v.first, v.last.index)
	}
	return nil
}

func (s *walStore) append(index uint64, envelope []byte) (rolled bool, err error) {
	// These two conditions are those of wal's writeBatch.
	if s.tail > s.segmentBytes {
		rolled, s.tailBase, s.tail = true, index, 0
	}
	if err := guard(func() error { return s.log.Write(index, envelope) }); err != nil {
		return false, err
	}
	s.tail += int64(uvarintLen(uint64(len(envelope))) + len(envelope))
	if s.tail >= s.segmentBytes {
		rolled, s.tailBase, s.tail = true, index+1, 0
	}
	if rolled {
		if err := s.fs.SyncDir(s.dir); err != nil {
			return false, err
		}
	}
	return rolled, nil
}

func (s *walStore) dropFront(first uint64) error {
	if err := guard(func() error { return s.log.TruncateFront(first) }); err != nil {
		return err
	}
	if first >= s.tailBase {
		info, err := s.fs.Stat(join(s.dir, segmentName(first)))
		if err != nil {
			return err
		}
		s.tailBase, s.tail = first, info.Size()
	}
	return s.fs.SyncDir(s.dir)
}

func (s *walStore) close() error {
	if s.log == nil {
		return nil
	}
	log := s.log
	s.log = nil
	return guard(log.Close)
}

// guard turns a panic of wal into an error: it indexes its segments without checking them.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("tidwall/wal panicked: %v", v)
		}
	}()
	return f()
}
