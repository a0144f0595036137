package vfs

import "golang.org/x/sys/unix"

func syncData(fd int) error {
	for {
		if err := unix.Fdatasync(fd); err != unix.EINTR {
			return err
		}
	}
}

func syncNames(fd int) error { return retry(func() error { return unix.Fsync(fd) }) }

func reserve(fd int, off, n int64) error {
	return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, off, n)
}

func dropCache(fd int, off, n int64) error {
	return retry(func() error { return unix.Fadvise(fd, off, n, unix.FADV_DONTNEED) })
}
