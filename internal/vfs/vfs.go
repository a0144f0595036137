package vfs

import (
	"errors"
	"io"
	"io/fs"

	"github.com/partlog/partlog/internal/mmap"
)

// FS is a file system. All methods are safe for concurrent use. Errors are *fs.PathError, so that errors.Is with
// fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, syscall.ENOSPC and the like works. Names use the separator of the
// machine. Nothing is durable before File.Sync (contents) and SyncDir (names).
type FS interface {
	// OpenFile opens a regular file. flag is one of os.O_RDONLY, os.O_WRONLY and os.O_RDWR with any of os.O_CREATE,
	// os.O_EXCL and os.O_TRUNC; perm is the mode of a file that is created. What is not a regular file (a directory, a
	// symbolic link, a pipe) is refused.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// Remove removes a file or an empty directory. Open files and mappings of it live on.
	Remove(name string) error
	// RemoveAll removes name and all below it; nil when there is nothing.
	RemoveAll(name string) error
	// Rename moves a file or directory; a file that has the new name is replaced, at no moment is there none.
	Rename(from, to string) error
	// Mkdir makes one directory.
	Mkdir(name string, perm fs.FileMode) error
	// MkdirAll makes a directory and those above it; nil when it is there already.
	MkdirAll(name string, perm fs.FileMode) error
	// ReadDir lists a directory, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	// Stat describes a file or directory.
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes the names in a directory durable: what was created, renamed into or out of it, and removed.
	SyncDir(name string) error
	// Lock takes an exclusive lock on the file of that name, creating it (0600) where it is missing, and holds it until
	// Close. It excludes other processes and other holders in this one, whatever path they came by. It does not wait:
	// errors.Is(err, ErrLocked) when somebody holds it. The file's contents can be read and written meanwhile.
	Lock(name string) (io.Closer, error)
	// Usage describes the file system that holds name, which must exist.
	Usage(name string) (Usage, error)
}

// File is an open regular file. All methods are safe for concurrent use; after Close they return fs.ErrClosed. Errors
// are *fs.PathError but for io.EOF.
type File interface {
	// ReadAt reads as io.ReaderAt says; it retries what the system cut short.
	io.ReaderAt
	// WriteAt writes all of p or returns an error with how much was written. When it returns, the bytes are in the page
	// cache: ReadAt, other processes and mappings see them, and they survive the end of this process. The file grows as
	// needed; a gap reads as zeros.
	io.WriterAt
	// Close gives the descriptor up, once calls in progress have ended. It makes nothing durable. Of several calls the
	// first counts, the others return fs.ErrClosed.
	io.Closer
	// Name is the name that the file was opened by.
	Name() string
	// Size is the length of the file in bytes.
	Size() (int64, error)
	// Truncate cuts or extends (by zeros that take no space) the file to size bytes. Cutting below the end of a mapping
	// makes touching the rest of it fault.
	Truncate(size int64) error
	// Reserve asks the system to find space for [off, off+n) now, without changing the file's length: writes to there then take
	// less processor time. Truncate, to the length that the file has too, gives back what is behind it; Close does
	// not. Where the system has no such call it is nil and nothing is done, and errors say no more than that it was not done.
	Reserve(off, n int64) error
	// Sync makes the data and the size durable: fdatasync, on macOS F_FULLFSYNC. After an error nothing is known about
	// what has been written since the last Sync that returned nil, and a later nil says nothing about it either: the
	// system may have marked the pages clean and dropped them.
	Sync() error
	// DropCache asks the system to forget clean cached pages of [off, off+n), so that a later read comes from the disk;
	// n of 0 means to the end. Mapped pages stay. It does nothing where the system has no such call.
	DropCache(off, n int64) error
	// Map returns a read-only view of [0, n) which shows later writes. On a real file system the view may reach past the
	// end of the file, where touching it faults; in memory it covers at least what there is of the file, and may be
	// shorter than n. errors.Is(err, errors.ErrUnsupported) means: read by ReadAt instead. The view outlives Close.
	Map(n int64) (mmap.Region, error)
}

// Usage describes a file system.
type Usage struct {
	Total, Free int64  // bytes; Free is what is left to an unprivileged process
	Kind        string // "ext4", "xfs", "btrfs", "tmpfs", "nfs", "overlay", "memory" ...; "0x…" where it has no name here
	Network     bool   // another machine may hold or change the files: mappings, locks and sync promise less
	Overlay     bool   // a container's layer: a file opened read-only before its first write does not show that write
	Volatile    bool   // nothing survives power loss, whatever Sync returns
	ReadOnly    bool   // mounted read-only
}

// ErrLocked is returned by FS.Lock when somebody holds the lock.
var ErrLocked = errors.New("locked by another holder")

// ErrNotRegular is returned by FS.OpenFile for what is not a regular file.
var ErrNotRegular = errors.New("not a regular file")

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}
