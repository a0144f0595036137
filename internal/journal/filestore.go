package journal

import (
	"errors"
	"fmt"
	"os"

	"github.com/partlog/partlog/internal/vfs"
)

// fileStore keeps the entries in one append-only file: envelope after envelope, nothing between.
type fileStore struct {
	fs        vfs.FS
	dir       string
	markEvery int64

	file  vfs.File
	size  int64 // of the file; everything below is durable
	since int64 // bytes since the mark was due
}

func (s *fileStore) path() string { return join(s.dir, entriesName) }

func (s *fileStore) sections(names []string) (list []section, pending bool, err error) {
	for _, name := range names {
		switch kind, _ := parseName(name); kind {
		case entriesFile:
			list = append(list, section{name: name})
		case segmentFile, startFile, endFile:
			return nil, false, &CorruptError{Path: join(s.dir, name), Position: -1, Index: 1, Err: errOtherStorage}
		}
	}
	return list, false, nil
}

func (s *fileStore) finish() error { return nil }

func (s *fileStore) replace(sections []section, v verdict) error {
	var image []byte
	for _, p := range v.good {
		image = append(image, sections[p.section].data[p.start:p.end]...)
	}
	return vfs.WriteFileAtomic(s.fs, s.path(), image)
}

func (s *fileStore) start(sections []section, _ verdict) error {
	file, err := s.fs.OpenFile(s.path(), os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return err
	}
	size, err := file.Size()
	if err == nil && len(sections) > 0 && size != int64(len(sections[0].data)) {
		err = fmt.Errorf("%s: has %d bytes, had %d a moment ago", s.path(), size, len(sections[0].data))
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	s.file, s.size = file, size
	return nil
}

func (s *fileStore) append(_ uint64, envelope []byte) (rolled bool, err error) {
	if _, err := s.file.WriteAt(envelope, s.size); err != nil {
		return false, err
	}
	if err := s.file.Sync(); err != nil {
		return false, err
	}
	s.size += int64(len(envelope))
	s.since += int64(len(envelope))
	if s.since < s.markEvery {
		return false, nil
	}
	s.since = 0
	return true, nil
}

// dropFront writes the file anew. It holds what two compactions leave, so that is little.
func (s *fileStore) dropFront(first uint64) error {
	data, err := readFile(s.fs, s.path(), false)
	if err != nil {
		return err
	}
	if int64(len(data)) != s.size {
		return fmt.Errorf("%s: has %d bytes, %d were written", s.path(), len(data), s.size)
	}
	whole := section{name: entriesName, data: data}
	list, _, err := whole.pieces()
	if err != nil {
		return err
	}
	from := len(data)
	for _, p := range list {
		if p.gap != nil {
			return &CorruptError{Path: s.path(), Index: first, Position: int64(p.start), Err: p.gap}
		}
		if p.entry.index >= first {
			from = p.start
			break
		}
	}
	if err := s.close(); err != nil {
		return err
	}
	if err := vfs.WriteFileAtomic(s.fs, s.path(), data[from:]); err != nil {
		return err
	}
	if s.file, err = s.fs.OpenFile(s.path(), os.O_RDWR, fileMode); err != nil {
		return err
	}
	s.size = int64(len(data) - from)
	return nil
}

func (s *fileStore) close() error {
	if s.file == nil {
		return nil
	}
	file := s.file
	s.file = nil
	return file.Close()
}
