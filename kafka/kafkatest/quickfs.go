package kafkatest

import (
	"io/fs"

	"github.com/partlog/partlog/internal/vfs"
)

// quickFS is the machine's files without waiting for its disk: what is temporary need not survive a power loss.
type quickFS struct{ vfs.FS }

type quickFile struct{ vfs.File }

func (q quickFS) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := q.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return quickFile{f}, nil
}

func (q quickFS) SyncDir(string) error { return nil }

func (quickFile) Sync() error { return nil }
