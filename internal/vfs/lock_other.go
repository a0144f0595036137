//go:build !linux && !darwin && !freebsd && !netbsd && !openbsd && !dragonfly && !windows

package vfs

import (
	"errors"
	"io"
)

type fileID string

// Lock returns errors.ErrUnsupported: a lock that excludes nobody would be worse.
func (osFS) Lock(name string) (io.Closer, error) {
	return nil, pathError("lock", name, errors.ErrUnsupported)
}
