package journal

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/partlog/partlog/internal/vfs"
)

// storage keeps entries. Recovery uses the first group, in this order, and the Journal the second.
type storage interface {
	// sections tells which of the names hold entries, in the order of their indexes, and which index the names promise; the
	// data is not read yet. pending: an interrupted truncation has to be finished, and the sections are what it will leave.
	sections(names []string) (list []section, pending bool, err error)
	// finish completes the truncation.
	finish() error
	// replace durably makes the good entries of v the first ones, removing everything before them.
	replace(sections []section, v verdict) error
	// start opens for appending what the scan has found good.
	start(sections []section, v verdict) error

	// append makes an envelope durable. rolled: a segment is full, so that the mark is due.
	append(index uint64, envelope []byte) (rolled bool, err error)
	// dropFront durably removes all entries before first.
	dropFront(first uint64) error
	close() error
}

// onMachine reports whether files are the operating system's, below whatever makes them fail.
func onMachine(fsys vfs.FS) bool {
	for {
		f, ok := fsys.(*vfs.Fault)
		if !ok {
			return fsys == vfs.OS
		}
		fsys = f.Base()
	}
}

// newStorage picks tidwall/wal for the operating system's files, and one file for any other.
func newStorage(fsys vfs.FS, o Options) storage {
	if onMachine(fsys) {
		return &walStore{fs: fsys, dir: o.Dir, segmentBytes: o.SegmentBytes}
	}
	return &fileStore{fs: fsys, dir: o.Dir, markEvery: o.SegmentBytes}
}

const (
	directoryMode = 0o700
	fileMode      = 0o600

	// maxFileBytes is more than any file of a journal can have. Larger ones are not read into memory.
	maxFileBytes = MaxSnapshot + 4096
)

func join(dir, name string) string { return filepath.Join(dir, name) }

// readFile reads a file whole. With settle, it is first made durable, and then read from the disk rather than from what
// the page cache believes: after a failed sync the two differ, and only the first survives.
func readFile(fsys vfs.FS, path string, settle bool) (data []byte, err error) {
	flag := os.O_RDONLY
	if settle {
		flag = os.O_RDWR
	}
	file, err := fsys.OpenFile(path, flag, 0)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
	}()
	if settle {
		if err := file.Sync(); err != nil {
			return nil, err
		}
		if err := file.DropCache(0, 0); err != nil {
			return nil, err
		}
	}
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	if size > maxFileBytes {
		return nil, fmt.Errorf("%s: %d bytes is more than a file of a journal can have", path, size)
	}
	data = make([]byte, size)
	n, err := file.ReadAt(data, 0)
	if err == io.EOF {
		err = nil // shrunk in the meantime; n says by how much
	}
	return data[:n], err
}
