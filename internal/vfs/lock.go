package vfs

import (
	"io/fs"
	"sync"
)

// held is the set of locked files of this process. Some systems' locks do not conflict within a process (or are given
// up when any descriptor of the file is closed), so the process keeps its own record. The key is the identity of the
// file, not its name, as there may be several names.
var held = registry[fileID]{taken: map[fileID]bool{}}

type registry[K comparable] struct {
	mu    sync.Mutex // guards taken
	taken map[K]bool
}

func (r *registry[K]) take(k K) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken[k] {
		return false
	}
	r.taken[k] = true
	return true
}

func (r *registry[K]) give(k K) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.taken, k)
}

// lock is a lock that is held. release is called once, by the first Close.
type lock struct {
	name    string
	once    sync.Once
	release func() error
}

func (l *lock) Close() error {
	err := error(&fs.PathError{Op: "unlock", Path: l.name, Err: fs.ErrClosed})
	l.once.Do(func() { err = l.release() })
	return err
}
