package kafkatest

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/partition"
)

// Snapshot is the store of a cluster as it was at one moment: topics, records, committed offsets, producers, users, access
// rules. Any number of clusters can be made from it, each in some milliseconds whatever its size, as they share its files:
// memory until it is written to, or hard links. Nobody ever writes to what is shared, since the snapshot ends with a new
// segment in each partition, and retention and compaction put other files in the place of old ones.
//
// It is safe for concurrent use.
type Snapshot struct {
	opts []Option
	dir  string // empty: in mem

	mu     sync.Mutex // guards all below; held while a copy is made
	mem    *vfs.Mem
	closed bool
}

// Snapshot takes a snapshot of the store, while clients go on. Each transaction is in it whole or will be aborted in the
// copies if it is open; members of groups are gone, committed offsets stay. It costs a copy of the records, once.
func (c *Cluster) Snapshot(ctx context.Context) (*Snapshot, error) {
	c.mu.RLock()
	brokers, store := len(c.nodes), c.store
	c.mu.RUnlock()
	// Sockets that a caller has opened are the first cluster's.
	s := &Snapshot{opts: append(slices.Clone(c.opts), Brokers(brokers), func(c *config) { c.explicit = nil })}
	if d, ok := c.disk.(*memoryDisk); ok {
		s.mem = vfs.NewMem()
		if d.crash {
			s.mem = vfs.NewCrashMem(vfs.Strict)
		}
		return s, store.SnapshotTo(ctx, s.mem, memoryDir)
	}
	dir, err := os.MkdirTemp("", "kafkatest-")
	if err != nil {
		return nil, err
	}
	s.dir = dir
	if err := store.SnapshotTo(ctx, quickFS{vfs.OS}, filepath.Join(dir, "store")); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// Fork makes a cluster from the snapshot, with the options of the one that it was taken of and then opts, and closes it when
// the test ends.
func (s *Snapshot) Fork(t testing.TB, opts ...Option) *Cluster {
	t.Helper()
	return New(t, append(append(slices.Clone(s.opts), From(s)), opts...)...)
}

// Start is Fork for programs that are no Go test.
func (s *Snapshot) Start(opts ...Option) (*Cluster, error) {
	return Start(append(append(slices.Clone(s.opts), From(s)), opts...)...)
}

// Close gives up the snapshot. Clusters made from it go on.
func (s *Snapshot) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mem, s.closed = nil, true
	if s.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir)
}

// From has a cluster begin with the store of a snapshot, without the other options of the cluster that it was taken of. It is
// on a disk of the snapshot's kind: in memory, in faulty memory, or in a temporary directory.
func From(s *Snapshot) Option { return func(c *config) { c.image = s } }

// fork returns a disk with a copy of the snapshot.
func (s *Snapshot) fork() (disk, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if s.dir == "" {
		return &memoryDisk{mem: s.mem.Clone(), crash: s.mem.Remembers()}, nil
	}
	dir, err := os.MkdirTemp(filepath.Dir(s.dir), "kafkatest-")
	if err != nil {
		return nil, err
	}
	d := &realDisk{path: filepath.Join(dir, "store"), temporary: true, fs: quickFS{vfs.OS}}
	if err := linkTree(filepath.Join(s.dir, "store"), d.path); err != nil {
		return nil, errors.Join(err, d.remove())
	}
	return d, nil
}

// linkTree makes a copy of a closed store's directory in which files are links, but for those that a store writes to where they
// are: the lock, the journal, and the last segment of each partition, which is empty. All others are replaced, or removed.
func linkTree(from, to string) error {
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	active := activeSegment(entries)
	journal := filepath.Base(from) == "journal"
	for _, e := range entries {
		source, target := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		switch {
		case e.IsDir():
			err = linkTree(source, target)
		case journal, e.Name() == "lock", active != "" && isAppended(e.Name(), active):
			err = copyFile(source, target)
		default:
			if err = os.Link(source, target); err != nil {
				err = copyFile(source, target) // a file system without links
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// activeSegment returns the base in the name of the last segment of a partition's directory; empty in others.
func activeSegment(sorted []os.DirEntry) (base string) {
	for _, e := range sorted {
		if b, ok := strings.CutSuffix(e.Name(), ".log"); ok && len(b) == 20 {
			base = b
		}
	}
	return base
}

// isAppended tells the files of the active segment that are written to where they are.
func isAppended(name, active string) bool {
	base, ext, _ := strings.Cut(name, ".")
	return base >= active && (ext == "log" || ext == "index" || ext == "timeindex" || ext == "txnindex")
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

var _ partition.FS = quickFS{}
