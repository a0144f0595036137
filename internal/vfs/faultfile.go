package vfs

import "github.com/partlog/partlog/internal/mmap"

// faultFile is a file of a Fault.
type faultFile struct {
	File
	fault *Fault
}

// loser is a file whose Sync can fail and lose what it was to write.
type loser interface {
	lose()
}

func (f *memFile) lose() {
	if f.fs.crash == nil {
		return
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.fs.crash.lose(f.node)
}

// lose hands on to a file of a Mem below two Faults.
func (f *faultFile) lose() {
	if l, ok := f.File.(loser); ok {
		l.lose()
	}
}

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	v := f.fault.before(Op{Kind: OpRead, Path: f.Name(), Off: off, Len: int64(len(p))})
	return f.transfer("read", v, f.File.ReadAt, p, off)
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	v := f.fault.before(Op{Kind: OpWrite, Path: f.Name(), Off: off, Len: int64(len(p))})
	return f.transfer("write", v, f.File.WriteAt, p, off)
}

func (f *faultFile) transfer(op string, v verdict, act func([]byte, int64) (int, error), p []byte, off int64) (int, error) {
	if v.err == nil {
		return act(p, off)
	}
	if !v.effect {
		p = p[:min(max(v.short, 0), int64(len(p)))]
	}
	n := 0
	if len(p) > 0 {
		var err error
		if n, err = act(p, off); err != nil {
			return n, err
		}
	}
	return n, pathError(op, f.Name(), v.err)
}

func (f *faultFile) Sync() error {
	v := f.fault.before(Op{Kind: OpSync, Path: f.Name()})
	if v.err == nil {
		return f.File.Sync()
	}
	switch {
	case v.effect:
		if err := f.File.Sync(); err != nil {
			return err
		}
	case v.lose:
		f.lose()
	}
	return pathError("sync", f.Name(), v.err)
}

func (f *faultFile) Truncate(size int64) error {
	op := Op{Kind: OpTruncate, Path: f.Name(), Off: size}
	return f.fault.do(op, func() error { return f.File.Truncate(size) })
}

func (f *faultFile) Size() (size int64, err error) {
	err = f.fault.do(Op{Kind: OpSize, Path: f.Name()}, func() (err error) {
		size, err = f.File.Size()
		return err
	})
	return size, err
}

func (f *faultFile) DropCache(off, n int64) error {
	op := Op{Kind: OpDropCache, Path: f.Name(), Off: off, Len: n}
	return f.fault.do(op, func() error { return f.File.DropCache(off, n) })
}

func (f *faultFile) Map(n int64) (region mmap.Region, err error) {
	err = f.fault.do(Op{Kind: OpMap, Path: f.Name(), Len: n}, func() (err error) {
		region, err = f.File.Map(n)
		return err
	})
	if err != nil && region != nil {
		_ = region.Unmap() // made, and reported as failed
		region = nil
	}
	return region, err
}

// Close gives the descriptor up even if it is to fail, as the system does.
func (f *faultFile) Close() error {
	v := f.fault.before(Op{Kind: OpClose, Path: f.Name()})
	if err := f.File.Close(); err != nil || v.err == nil {
		return err
	}
	return pathError("close", f.Name(), v.err)
}
