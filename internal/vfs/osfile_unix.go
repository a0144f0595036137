//go:build linux || darwin

package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/partlog/partlog/internal/mmap"
)

func (osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	const known = os.O_RDONLY | os.O_WRONLY | os.O_RDWR | os.O_CREATE | os.O_EXCL | os.O_TRUNC
	if flag&^known != 0 {
		return nil, pathError("open", name, unix.EINVAL)
	}
	// O_NONBLOCK means nothing to a regular file and keeps the open of a pipe from waiting for its other end.
	flag |= unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Open(name, flag, uint32(perm.Perm()))
		return err
	})
	if err != nil {
		return nil, pathError("open", name, err)
	}
	var stat unix.Stat_t
	err = retry(func() error { return unix.Fstat(fd, &stat) })
	if err == nil && stat.Mode&unix.S_IFMT != unix.S_IFREG {
		err = ErrNotRegular
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, pathError("open", name, err)
	}
	return &osFile{fd: fd, name: name, idle: make(chan struct{})}, nil
}

// osFile is a descriptor and the number of calls that are using it. The descriptor is closed when nobody does, because
// the system gives a closed number to the next file that is opened, and a late write would go there.
//
// Without a lock, because:
//   - state is twice the number of calls in progress, plus one once Close has been called; enter and leave move it by
//     two.
//   - Close sets the lowest bit, which only one call can. enter backs out when it finds the bit set.
//   - state is 1 when Close has been called and nobody is inside. Whoever brings it there (the last leave, or Close
//     itself) is the only one for whom descriptor and calls have met zero, but for an enter that backs out and brings it
//     there again; ended keeps it at one.
type osFile struct {
	fd    int
	name  string
	state atomic.Int64
	ended atomic.Bool
	idle  chan struct{} // closed when Close has been called and nobody is inside
}

func (f *osFile) enter(op string) error {
	if f.state.Add(2)&1 != 0 {
		f.leave()
		return pathError(op, f.name, fs.ErrClosed)
	}
	return nil
}

func (f *osFile) leave() {
	if f.state.Add(-2) == 1 {
		f.end()
	}
}

func (f *osFile) end() {
	if !f.ended.Swap(true) {
		close(f.idle)
	}
}

func (f *osFile) Close() error {
	for {
		state := f.state.Load()
		if state&1 != 0 {
			return pathError("close", f.name, fs.ErrClosed)
		}
		if f.state.CompareAndSwap(state, state|1) {
			if state == 0 {
				f.end()
			}
			break
		}
	}
	<-f.idle
	// Not retried after EINTR: the descriptor is gone by then on Linux, and may belong to somebody else.
	if err := unix.Close(f.fd); err != nil && !errors.Is(err, unix.EINTR) {
		return pathError("close", f.name, err)
	}
	return nil
}

func (f *osFile) Name() string { return f.name }

func (f *osFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.enter("read"); err != nil {
		return 0, err
	}
	n, err := readFull(unix.Pread, f.fd, p, off)
	f.leave()
	if err != nil && err != io.EOF {
		err = pathError("read", f.name, err)
	}
	return n, err
}

func (f *osFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.enter("write"); err != nil {
		return 0, err
	}
	n, err := writeFull(unix.Pwrite, f.fd, p, off)
	f.leave()
	if err != nil {
		err = pathError("write", f.name, err)
	}
	return n, err
}

func (f *osFile) Size() (int64, error) {
	if err := f.enter("stat"); err != nil {
		return 0, err
	}
	defer f.leave()
	var stat unix.Stat_t
	if err := retry(func() error { return unix.Fstat(f.fd, &stat) }); err != nil {
		return 0, pathError("stat", f.name, err)
	}
	return stat.Size, nil
}

func (f *osFile) Truncate(size int64) error {
	if err := f.enter("truncate"); err != nil {
		return err
	}
	defer f.leave()
	if err := retry(func() error { return unix.Ftruncate(f.fd, size) }); err != nil {
		return pathError("truncate", f.name, err)
	}
	return nil
}

func (f *osFile) Reserve(off, n int64) error {
	if err := f.enter("reserve"); err != nil {
		return err
	}
	defer f.leave()
	if err := retry(func() error { return reserve(f.fd, off, n) }); err != nil {
		return pathError("reserve", f.name, err)
	}
	return nil
}

func (f *osFile) Sync() error {
	if err := f.enter("sync"); err != nil {
		return err
	}
	err := syncData(f.fd)
	f.leave()
	if err != nil {
		return pathError("sync", f.name, err)
	}
	return nil
}

func (f *osFile) DropCache(off, n int64) error {
	if err := f.enter("drop cache"); err != nil {
		return err
	}
	defer f.leave()
	if err := dropCache(f.fd, off, n); err != nil {
		return pathError("drop cache", f.name, err)
	}
	return nil
}

func (f *osFile) Map(n int64) (mmap.Region, error) {
	if err := f.enter("map"); err != nil {
		return nil, err
	}
	defer f.leave()
	region, err := mmap.Map(f.fd, n)
	if err != nil {
		return nil, pathError("map", f.name, err)
	}
	return region, nil
}

func (osFS) SyncDir(name string) error {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return pathError("sync directory", name, err)
	}
	err = syncNames(fd)
	if closing := unix.Close(fd); err == nil {
		err = closing
	}
	if err != nil {
		return pathError("sync directory", name, err)
	}
	return nil
}

// maxTransfer bounds one system call: macOS refuses 2 GiB, Linux cuts it short.
const maxTransfer = 1 << 30

// writeFull writes all of p, whatever the system cuts short or interrupts.
func writeFull(pwrite func(int, []byte, int64) (int, error), fd int, p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := pwrite(fd, p[done:min(len(p), done+maxTransfer)], off+int64(done))
		if n > 0 {
			done += n
		}
		switch {
		case err == unix.EINTR:
		case err != nil:
			return done, err
		case n == 0:
			return done, io.ErrUnexpectedEOF // no progress and no reason: not for ever
		}
	}
	return done, nil
}

// readFull fills p, or stops with io.EOF at the end of the file.
func readFull(pread func(int, []byte, int64) (int, error), fd int, p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := pread(fd, p[done:min(len(p), done+maxTransfer)], off+int64(done))
		if n > 0 {
			done += n
		}
		switch {
		case err == unix.EINTR:
		case err != nil:
			return done, err
		case n == 0:
			return done, io.EOF
		}
	}
	return done, nil
}
