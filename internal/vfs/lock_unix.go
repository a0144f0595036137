//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package vfs

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// fileID is what makes a file the same under every name.
type fileID struct {
	device, inode uint64
}

// Lock takes flock(2), which goes away with the process, however that ends.
func (osFS) Lock(name string) (io.Closer, error) {
	for {
		l, err := lockOnce(name)
		if !errors.Is(err, errMoved) {
			return l, err
		}
	}
}

// errMoved says that the file was removed or replaced between its opening and its locking: a lock on it excludes nobody.
var errMoved = errors.New("replaced while being locked")

func lockOnce(name string) (io.Closer, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Open(name, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		return err
	})
	if err != nil {
		return nil, pathError("lock", name, err)
	}
	id, err := lockFD(fd, name)
	if err != nil {
		_ = unix.Close(fd)
		return nil, pathError("lock", name, err)
	}
	return &lock{name: name, release: func() error {
		err := unix.Close(fd) // which unlocks; a child process does not have the descriptor
		held.give(id)
		if err != nil {
			return pathError("unlock", name, err)
		}
		return nil
	}}, nil
}

func lockFD(fd int, name string) (fileID, error) {
	var stat, named unix.Stat_t
	if err := retry(func() error { return unix.Fstat(fd, &stat) }); err != nil {
		return fileID{}, err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return fileID{}, ErrNotRegular
	}
	id := fileID{uint64(stat.Dev), uint64(stat.Ino)}
	if !held.take(id) {
		return fileID{}, ErrLocked
	}
	err := retry(func() error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrLocked
	}
	if err == nil {
		err = retry(func() error { return unix.Lstat(name, &named) })
		if errors.Is(err, unix.ENOENT) || err == nil && (fileID{uint64(named.Dev), uint64(named.Ino)}) != id {
			err = errMoved
		}
	}
	if err != nil {
		held.give(id)
	}
	return id, err
}
