package vfs

import (
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"sync"
	"sync/atomic"
)

// Fault is a file system on which chosen operations fail, and of which every operation can be watched. It is safe for
// concurrent use. Without rules and hook it passes everything on.
type Fault struct {
	base FS
	seq  atomic.Int64
	hook atomic.Pointer[func(Op)]
	busy atomic.Bool // there are rules

	mu     sync.Mutex // guards rules, what Armed says, and counts
	rules  []*Armed
	counts map[OpKind]int
}

// NewFault wraps base.
func NewFault(base FS) *Fault { return &Fault{base: base, counts: map[OpKind]int{}} }

// Base returns the wrapped file system.
func (f *Fault) Base() FS { return f.base }

// Add puts a rule to work. Where several match an operation, each counts it and the first decides. A malformed Path is a
// mistake in a test, and panics.
func (f *Fault) Add(r Rule) *Armed {
	if _, err := path.Match(r.Path, ""); err != nil {
		panic("BUG: rule with a malformed path: " + r.Path)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	a := &Armed{rule: r.withDefaults(), fault: f}
	f.rules = append(f.rules, a)
	f.busy.Store(true)
	return a
}

// Clear lifts all rules.
func (f *Fault) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.rules {
		a.lifted = true
	}
	f.disarmLocked()
}

func (f *Fault) disarmLocked() {
	f.rules = slices.DeleteFunc(f.rules, func(a *Armed) bool { return a.lifted })
	f.busy.Store(len(f.rules) > 0)
}

// OnOp has hook called before every operation of the kinds in Mutations, whether or not it is going to fail: where crash
// loops take their clones. It runs on the caller's goroutine with no lock held, may use the base file system, and does
// not see its own operations if it does; those on the Fault itself it would. nil ends it.
func (f *Fault) OnOp(hook func(Op)) {
	if hook == nil {
		f.hook.Store(nil)
		return
	}
	f.hook.Store(&hook)
}

// Ops returns how many operations of all kinds there have been.
func (f *Fault) Ops() int64 { return f.seq.Load() }

// Failed returns how many operations of these kinds rules have made fail.
func (f *Fault) Failed(kinds OpKind) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for kind, count := range f.counts {
		if kind&kinds != 0 {
			n += count
		}
	}
	return n
}

// before numbers an operation, shows it to the hook and asks the rules.
func (f *Fault) before(op Op) verdict {
	op.Seq = f.seq.Add(1)
	if hook := f.hook.Load(); hook != nil && op.Kind&Mutations != 0 {
		(*hook)(op)
	}
	if !f.busy.Load() {
		return verdict{}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var decided verdict
	for _, a := range f.rules {
		if v, fails := a.judgeLocked(op); fails && decided.err == nil {
			decided = v
		}
	}
	f.disarmLocked()
	if decided.err != nil {
		f.counts[op.Kind]++
	}
	return decided
}

// do makes an operation that has no result but an error.
func (f *Fault) do(op Op, act func() error) error {
	v := f.before(op)
	if v.err == nil {
		return act()
	}
	if v.effect {
		if err := act(); err != nil {
			return err
		}
	}
	return pathError(op.Kind.String(), op.Path, v.err)
}

// OpenFile opens a file whose operations go through the rules too.
func (f *Fault) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	kind := OpOpen
	if flag&(os.O_CREATE|os.O_TRUNC) != 0 {
		kind = OpCreate
	}
	var file File
	err := f.do(Op{Kind: kind, Path: name}, func() (err error) {
		file, err = f.base.OpenFile(name, flag, perm)
		return err
	})
	if err != nil {
		if file != nil {
			_ = file.Close() // created, and reported as failed
		}
		return nil, err
	}
	return &faultFile{File: file, fault: f}, nil
}

// Remove removes a file or an empty directory.
func (f *Fault) Remove(name string) error {
	return f.do(Op{Kind: OpRemove, Path: name}, func() error { return f.base.Remove(name) })
}

// RemoveAll removes name and all below it.
func (f *Fault) RemoveAll(name string) error {
	return f.do(Op{Kind: OpRemove, Path: name}, func() error { return f.base.RemoveAll(name) })
}

// Rename moves a file or directory.
func (f *Fault) Rename(from, to string) error {
	return f.do(Op{Kind: OpRename, Path: from, To: to}, func() error { return f.base.Rename(from, to) })
}

// Mkdir makes one directory.
func (f *Fault) Mkdir(name string, perm fs.FileMode) error {
	return f.do(Op{Kind: OpMkdir, Path: name}, func() error { return f.base.Mkdir(name, perm) })
}

// MkdirAll makes a directory and those above it.
func (f *Fault) MkdirAll(name string, perm fs.FileMode) error {
	return f.do(Op{Kind: OpMkdir, Path: name}, func() error { return f.base.MkdirAll(name, perm) })
}

// SyncDir makes the names in a directory durable.
func (f *Fault) SyncDir(name string) error {
	return f.do(Op{Kind: OpSyncDir, Path: name}, func() error { return f.base.SyncDir(name) })
}

// ReadDir lists a directory.
func (f *Fault) ReadDir(name string) (list []fs.DirEntry, err error) {
	err = f.do(Op{Kind: OpReadDir, Path: name}, func() (err error) {
		list, err = f.base.ReadDir(name)
		return err
	})
	return list, err
}

// Stat describes a file or directory.
func (f *Fault) Stat(name string) (info fs.FileInfo, err error) {
	err = f.do(Op{Kind: OpStat, Path: name}, func() (err error) {
		info, err = f.base.Stat(name)
		return err
	})
	return info, err
}

// Lock takes the lock of the base.
func (f *Fault) Lock(name string) (held io.Closer, err error) {
	err = f.do(Op{Kind: OpLock, Path: name}, func() (err error) {
		held, err = f.base.Lock(name)
		return err
	})
	if err != nil && held != nil {
		_ = held.Close() // taken, and reported as failed
		held = nil
	}
	return held, err
}

// Usage describes the file system.
func (f *Fault) Usage(name string) (usage Usage, err error) {
	err = f.do(Op{Kind: OpUsage, Path: name}, func() (err error) {
		usage, err = f.base.Usage(name)
		return err
	})
	return usage, err
}
