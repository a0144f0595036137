package vfs

import (
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/partlog/partlog/internal/clock"
)

// Mem is a file system in memory. Every name is below one root, which exists: "a" is "/a". It is safe for concurrent
// use. It has no symbolic links, and modes are kept but not enforced.
type Mem struct {
	mu    sync.RWMutex // guards the tree, and in crash mode the contents of the files
	root  *inode
	crash *crashState // nil: no history is kept
	clock clock.Clock
	locks map[*inode]bool

	capacity atomic.Int64 // bytes
	used     atomic.Int64 // whole pages written, of files that have a name or a handle
}

// unlimited is the capacity of a new Mem. It leaves room for sums.
const unlimited = math.MaxInt64 / 4

// NewMem returns an empty file system without a limit and without a history: a write is a copy to memory.
func NewMem() *Mem {
	m := &Mem{clock: clock.System, locks: map[*inode]bool{}}
	m.capacity.Store(unlimited)
	m.root = m.newDir(0o755)
	return m
}

// SetClock sets where modification times come from. Call it before the file system is used.
func (m *Mem) SetClock(c clock.Clock) { m.clock = c }

// SetCapacity sets how many bytes fit, in whole pages; what is already there stays, even if it is more. Writes beyond it
// are cut short with syscall.ENOSPC.
func (m *Mem) SetCapacity(bytes int64) { m.capacity.Store(min(max(bytes, 0), unlimited)) }

// SetFree sets how many bytes more fit than are there now; a negative value lifts the limit.
func (m *Mem) SetFree(bytes int64) {
	if bytes < 0 {
		m.capacity.Store(unlimited)
		return
	}
	m.SetCapacity(m.used.Load() + min(bytes, unlimited/2))
}

// Usage reports the capacity; Kind is "memory".
func (m *Mem) Usage(name string) (Usage, error) {
	if _, err := m.Stat(name); err != nil {
		return Usage{}, pathError("statfs", name, cause(err))
	}
	total := m.capacity.Load()
	return Usage{Total: total, Free: max(total-m.used.Load(), 0), Kind: "memory", Volatile: true}, nil
}

// OpenFile opens a file.
func (m *Mem) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	node, err := m.openLocked(name, flag, perm)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	node.opens++
	access := flag & (os.O_RDONLY | os.O_WRONLY | os.O_RDWR)
	return &memFile{fs: m, node: node, name: name, reads: access != os.O_WRONLY, writes: access != os.O_RDONLY}, nil
}

func (m *Mem) openLocked(name string, flag int, perm fs.FileMode) (*inode, error) {
	dir, base, err := m.parentLocked(name)
	if err != nil {
		return nil, err
	}
	if base == "" {
		return nil, ErrNotRegular
	}
	node := dir.entries[base]
	switch {
	case node == nil && flag&os.O_CREATE == 0:
		return nil, syscall.ENOENT
	case node == nil:
		node = m.newFile(perm.Perm())
		m.bindLocked(dir, base, node)
		return node, nil
	case flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
		return nil, syscall.EEXIST
	case node.isDir():
		return nil, ErrNotRegular
	}
	if flag&os.O_TRUNC != 0 && flag&(os.O_WRONLY|os.O_RDWR) != 0 {
		m.lockUnderTree(node)
		m.truncateFile(node, 0)
		m.unlockUnderTree(node)
	}
	return node, nil
}

// Mkdir makes one directory.
func (m *Mem) Mkdir(name string, perm fs.FileMode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parentLocked(name)
	if err == nil && (base == "" || dir.entries[base] != nil) {
		err = syscall.EEXIST
	}
	if err != nil {
		return pathError("mkdir", name, err)
	}
	m.bindLocked(dir, base, m.newDir(perm))
	return nil
}

// MkdirAll makes a directory and those above it.
func (m *Mem) MkdirAll(name string, perm fs.FileMode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir := m.root
	for part, rest := cutPart(clean(name)); part != ""; part, rest = cutPart(rest) {
		next := dir.entries[part]
		if next == nil {
			next = m.newDir(perm)
			m.bindLocked(dir, part, next)
		}
		if !next.isDir() {
			return pathError("mkdir", name, syscall.ENOTDIR)
		}
		dir = next
	}
	return nil
}

// Remove removes a file or an empty directory.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parentLocked(name)
	if err == nil {
		switch node := dir.entries[base]; {
		case base == "":
			err = syscall.EBUSY
		case node == nil:
			err = syscall.ENOENT
		case len(node.entries) > 0:
			err = syscall.ENOTEMPTY
		default:
			m.unbindLocked(dir, base)
		}
	}
	if err != nil {
		return pathError("remove", name, err)
	}
	return nil
}

// RemoveAll removes name and all below it, from the leaves up.
func (m *Mem) RemoveAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parentLocked(name)
	switch {
	case err == syscall.ENOENT, err == nil && base != "" && dir.entries[base] == nil:
		return nil
	case err != nil:
		return pathError("remove", name, err)
	case base == "":
		m.clearLocked(m.root)
		return nil
	}
	m.clearLocked(dir.entries[base])
	m.unbindLocked(dir, base)
	return nil
}

func (m *Mem) clearLocked(node *inode) {
	for _, name := range sortedNames(node.entries) {
		m.clearLocked(node.entries[name])
		m.unbindLocked(node, name)
	}
}

// Rename moves a file or directory.
func (m *Mem) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.renameLocked(from, to); err != nil {
		return pathError("rename", from+" to "+to, err)
	}
	return nil
}

func (m *Mem) renameLocked(from, to string) error {
	source, sourceName, err := m.parentLocked(from)
	if err != nil {
		return err
	}
	target, targetName, err := m.parentLocked(to)
	if err != nil {
		return err
	}
	node := source.entries[sourceName]
	if node == nil || sourceName == "" {
		return syscall.ENOENT
	}
	replaced := target.entries[targetName]
	switch {
	case targetName == "":
		return syscall.EBUSY
	case replaced == node:
		return nil
	case replaced != nil && replaced.isDir():
		return syscall.EEXIST // as os.Rename has it
	case replaced != nil && node.isDir():
		return syscall.ENOTDIR
	case node.isDir() && strings.HasPrefix(clean(to), clean(from)+"/"):
		return syscall.EINVAL
	}
	m.moveLocked(source, sourceName, target, targetName)
	return nil
}

// ReadDir lists a directory, sorted by name.
func (m *Mem) ReadDir(name string) ([]fs.DirEntry, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	node, err := m.findLocked(name)
	if err == nil && !node.isDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	list := make([]fs.DirEntry, 0, len(node.entries))
	for _, base := range sortedNames(node.entries) {
		list = append(list, m.infoUnderTree(base, node.entries[base]))
	}
	return list, nil
}

// Stat describes a file or directory.
func (m *Mem) Stat(name string) (fs.FileInfo, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	node, err := m.findLocked(name)
	if err != nil {
		return nil, pathError("stat", name, err)
	}
	return m.infoUnderTree(path.Base(clean(name)), node), nil
}

// SyncDir makes the names in a directory durable.
func (m *Mem) SyncDir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	node, err := m.findLocked(name)
	if err == nil && !node.isDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return pathError("sync directory", name, err)
	}
	if m.crash != nil {
		m.crash.syncDir(node)
	}
	return nil
}

// Lock excludes other holders of the same file in this file system.
func (m *Mem) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	node, err := m.openLocked(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil && m.locks[node] {
		err = ErrLocked
	}
	if err != nil {
		return nil, pathError("lock", name, err)
	}
	m.locks[node] = true
	return &lock{name: name, release: func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.locks, node)
		return nil
	}}, nil
}

// clean returns the path of a name from the root, in its shortest form; one that is that already costs nothing.
func clean(name string) string {
	if isClean(name) {
		return name
	}
	return path.Clean("/" + filepath.ToSlash(name))
}

// isClean reports that no part of a path from the root is empty or begins with a dot, and that there is one.
func isClean(name string) bool {
	if filepath.Separator != '/' || len(name) < 2 || name[0] != '/' || name[len(name)-1] == '/' {
		return false
	}
	for i := 1; i < len(name); i++ {
		if name[i-1] == '/' && (name[i] == '/' || name[i] == '.') {
			return false
		}
	}
	return true
}

// cutPart takes the first part off a clean path; it is empty at the path's end.
func cutPart(path string) (part, rest string) {
	path = strings.TrimPrefix(path, "/")
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[:i], path[i:]
	}
	return path, ""
}

func sortedNames(names map[string]*inode) []string {
	list := make([]string, 0, len(names))
	for name := range names {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

func cause(err error) error {
	if wrapped, ok := err.(*fs.PathError); ok {
		return wrapped.Err
	}
	return err
}
