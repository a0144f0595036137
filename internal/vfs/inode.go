package vfs

import (
	"io/fs"
	"sync"
	"time"
)

// inode is a file or directory of a Mem, whatever names it has.
type inode struct {
	mu    sync.RWMutex // guards content, charged and mtime of a file, unless the Mem remembers history: then Mem.mu does
	mode  fs.FileMode
	mtime time.Time

	// Of a directory; guarded by Mem.mu.
	entries map[string]*inode
	durable map[string]*inode // in crash mode: the names on disk
	shared  bool              // entries and durable are one map, to be copied before either changes

	// Of a file.
	content  content
	charged  int64 // bytes counted against the capacity
	links    int   // names; guarded by Mem.mu
	opens    int   // handles; guarded by Mem.mu
	unsynced bool  // in crash mode: in crashState.unsynced

	clone *inode // during the making of a clone, and of no meaning after: its counterpart there
	round uint64 // the clone that this is of
}

// content is the bytes of a file. The caller holds the file's lock.
type content interface {
	size() int64
	readAt(p []byte, off int64) int // how many bytes there were
	writeAt(p []byte, off int64)
	truncate(size int64)
	view(n int64) (*view, int64) // with one more reference, and how much of it the caller may show
	drop(*view)                  // its last reference has gone
}

const pageSize = 4096

func roundUp(n int64) int64 { return (n + pageSize - 1) / pageSize * pageSize }

func (i *inode) isDir() bool { return i.mode.IsDir() }

// ownNames must be called before entries or durable change.
func (i *inode) ownNames() {
	if i.shared {
		i.shared = false
		i.entries = cloneNames(i.entries)
	}
}

func cloneNames(names map[string]*inode) map[string]*inode {
	c := make(map[string]*inode, len(names)+1)
	for name, node := range names {
		c[name] = node
	}
	return c
}

// fileInfo is a moment's description of an inode.
type fileInfo struct {
	name  string
	size  int64
	mode  fs.FileMode
	mtime time.Time
}

func (i fileInfo) Name() string               { return i.name }
func (i fileInfo) Size() int64                { return i.size }
func (i fileInfo) Mode() fs.FileMode          { return i.mode }
func (i fileInfo) ModTime() time.Time         { return i.mtime }
func (i fileInfo) IsDir() bool                { return i.mode.IsDir() }
func (i fileInfo) Sys() any                   { return nil }
func (i fileInfo) Type() fs.FileMode          { return i.mode.Type() }
func (i fileInfo) Info() (fs.FileInfo, error) { return i, nil }
func (i fileInfo) String() string             { return fs.FormatFileInfo(i) }
