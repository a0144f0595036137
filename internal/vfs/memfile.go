package vfs

import (
	"io"
	"io/fs"
	"math"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/partlog/partlog/internal/mmap"
)

// memFile is a handle on a file of a Mem.
type memFile struct {
	fs            *Mem
	node          *inode
	name          string
	reads, writes bool
	closed        atomic.Bool
}

// lock is what guards the contents of the file.
func (f *memFile) lock() *sync.RWMutex {
	if f.fs.crash != nil {
		return &f.fs.mu
	}
	return &f.node.mu
}

// check refuses what the handle cannot do.
func (f *memFile) check(op string, may bool, off int64) error {
	switch {
	case f.closed.Load():
		return pathError(op, f.name, fs.ErrClosed)
	case !may:
		return pathError(op, f.name, syscall.EBADF)
	case off < 0:
		return pathError(op, f.name, syscall.EINVAL)
	}
	return nil
}

func (f *memFile) Name() string { return f.name }

func (f *memFile) Close() error {
	if f.closed.Swap(true) {
		return pathError("close", f.name, fs.ErrClosed)
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.node.opens--
	f.fs.freeLocked(f.node)
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.check("read", f.reads, off); err != nil {
		return 0, err
	}
	mu := f.lock()
	mu.RLock()
	n := f.node.content.readAt(p, off)
	mu.RUnlock()
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.check("write", f.writes, off); err != nil {
		return 0, err
	}
	if off > math.MaxInt64-pageSize-int64(len(p)) {
		return 0, pathError("write", f.name, syscall.EFBIG)
	}
	if len(p) == 0 {
		return 0, nil
	}
	mu := f.lock()
	mu.Lock()
	defer mu.Unlock()
	room := f.fs.charge(f.node, off+int64(len(p))) - off
	n := int(max(min(room, int64(len(p))), 0))
	if n > 0 {
		f.node.content.writeAt(p[:n], off)
		f.fs.touch(f.node)
	}
	if n < len(p) {
		return n, pathError("write", f.name, syscall.ENOSPC)
	}
	return n, nil
}

func (f *memFile) Size() (int64, error) {
	if err := f.check("stat", true, 0); err != nil {
		return 0, err
	}
	mu := f.lock()
	mu.RLock()
	defer mu.RUnlock()
	return f.node.content.size(), nil
}

func (f *memFile) Truncate(size int64) error {
	if err := f.check("truncate", f.writes, size); err != nil {
		return err
	}
	mu := f.lock()
	mu.Lock()
	defer mu.Unlock()
	f.fs.truncateFile(f.node, size)
	return nil
}

// Reserve does nothing: memory that is not written to is not taken.
func (f *memFile) Reserve(off, _ int64) error { return f.check("reserve", f.writes, off) }

func (f *memFile) Sync() error {
	if err := f.check("sync", true, 0); err != nil {
		return err
	}
	if f.fs.crash == nil {
		return nil
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.fs.crash.sync(f.node)
	return nil
}

func (f *memFile) DropCache(off, n int64) error {
	if err := f.check("drop cache", true, off); err != nil {
		return err
	}
	if f.fs.crash == nil {
		return nil
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.node.content.(*paged).dropCache(off, n)
	return nil
}

func (f *memFile) Map(n int64) (mmap.Region, error) {
	if err := f.check("map", f.reads, n); err != nil {
		return nil, err
	}
	mu := f.lock()
	mu.Lock()
	defer mu.Unlock()
	v, shown := f.node.content.view(n)
	return &memRegion{mu: mu, view: v, buf: v.buf[:shown:shown], drop: f.node.content.drop}, nil
}
