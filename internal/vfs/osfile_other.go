//go:build !linux && !darwin

package vfs

import (
	"errors"
	"io/fs"
	"os"

	"github.com/partlog/partlog/internal/mmap"
)

// OpenFile gives a file over package os: portable, without a mapping.
func (osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	const known = os.O_RDONLY | os.O_WRONLY | os.O_RDWR | os.O_CREATE | os.O_EXCL | os.O_TRUNC
	if flag&^known != 0 {
		return nil, pathError("open", name, fs.ErrInvalid)
	}
	if info, err := os.Lstat(name); err == nil && !info.Mode().IsRegular() {
		return nil, pathError("open", name, ErrNotRegular)
	}
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

type osFile struct {
	*os.File
}

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (osFile) Reserve(int64, int64) error { return nil }

func (osFile) DropCache(int64, int64) error { return nil }

func (f osFile) Map(n int64) (mmap.Region, error) {
	return nil, pathError("map", f.Name(), errors.ErrUnsupported)
}
