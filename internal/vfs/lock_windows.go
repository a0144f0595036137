package vfs

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/windows"
)

// fileID is the full name: Windows locks conflict within a process too, so this is only the second line.
type fileID string

// Lock takes LockFileEx on one byte far behind the end of the file, because a lock on Windows keeps others from reading
// what it covers, and the owner's record is there to be read.
func (osFS) Lock(name string) (io.Closer, error) {
	full, err := filepath.Abs(name)
	if err != nil {
		return nil, pathError("lock", name, err)
	}
	id := fileID(strings.ToLower(full))
	if !held.take(id) {
		return nil, pathError("lock", name, ErrLocked)
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		held.give(id)
		return nil, err
	}
	at := &windows.Overlapped{OffsetHigh: 1 << 30}
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	if err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, at); err != nil {
		_ = f.Close()
		held.give(id)
		if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
			err = ErrLocked
		}
		return nil, pathError("lock", name, err)
	}
	return &lock{name: name, release: func() error {
		err := f.Close()
		held.give(id)
		return err
	}}, nil
}
