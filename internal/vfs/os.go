package vfs

import (
	"errors"
	"io/fs"
	"os"
)

// OS is the machine's file system. Files are opened close-on-exec and without following a symbolic link at the end of
// the name. Modes are as given, less the process's umask.
var OS FS = osFS{}

// osFS has what is the same on all systems; opening, syncing, locking and statfs are in the files of the systems.
type osFS struct{}

// ErrTooBig is returned by ReadFile for a file longer than was allowed.
var ErrTooBig = errors.New("file too large")

func (osFS) Remove(name string) error                     { return os.Remove(name) }
func (osFS) RemoveAll(name string) error                  { return os.RemoveAll(name) }
func (osFS) Mkdir(name string, perm fs.FileMode) error    { return os.Mkdir(name, perm) }
func (osFS) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(name, perm) }
func (osFS) ReadDir(name string) ([]fs.DirEntry, error)   { return os.ReadDir(name) }
func (osFS) Stat(name string) (fs.FileInfo, error)        { return os.Stat(name) }
func (osFS) Rename(from, to string) error {
	err := os.Rename(from, to)
	if link, ok := errors.AsType[*os.LinkError](err); ok {
		return pathError("rename", from+" to "+to, link.Err)
	}
	return err
}
