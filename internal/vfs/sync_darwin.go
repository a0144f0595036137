package vfs

import "golang.org/x/sys/unix"

// syncData asks for F_FULLFSYNC: fsync alone leaves the data in the drive's own cache on macOS. Network and FAT volumes
// do not know it and have to do with fsync.
func syncData(fd int) error {
	for {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_FULLFSYNC, 0)
		if err == unix.ENOTSUP || err == unix.EINVAL || err == unix.ENOTTY {
			err = unix.Fsync(fd)
		}
		if err != unix.EINTR {
			return err
		}
	}
}

func syncNames(fd int) error { return syncData(fd) }

// dropCache does nothing: macOS has no call that forgets pages of an open file.
func dropCache(int, int64, int64) error { return nil }

// reserve does nothing: what it would gain has not been measured here.
func reserve(int, int64, int64) error { return nil }
