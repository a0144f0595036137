package vfs

import (
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFileAtomic gives the file of that name the contents data (mode 0600 when it is new), durably, so that a crash at
// any point leaves the old contents or the new: it writes name+".tmp", syncs it, renames it and syncs the directory. Two
// calls for one name must not overlap. After an error the old contents are in place, or, if only the last sync failed,
// either.
func WriteFileAtomic(fsys FS, name string, data []byte) error {
	tmp := name + ".tmp"
	if err := writeFile(fsys, tmp, data, 0o600); err != nil {
		_ = fsys.Remove(tmp) // the first error tells more; a leftover is overwritten next time
		return err
	}
	if err := fsys.Rename(tmp, name); err != nil {
		_ = fsys.Remove(tmp)
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}

func writeFile(fsys FS, name string, data []byte, perm fs.FileMode) error {
	f, err := fsys.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// ReadFile returns the contents of a file, of at most max bytes: a longer one is ErrTooBig, so
// that a foreign or damaged file cannot take all memory.
func ReadFile(fsys FS, name string, max int64) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > max {
		return nil, pathError("read", name, ErrTooBig)
	}
	data := make([]byte, size)
	n, err := f.ReadAt(data, 0)
	if n == len(data) {
		err = nil // io.EOF beside all that was asked for
	}
	return data[:n], err
}
