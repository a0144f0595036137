package partition

import (
	"io/fs"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/stretchr/testify/require"
)

// slowDisk is a file system on which, once it is armed, each sync of a segment waits until it is let go.
type slowDisk struct {
	vfs.FS
	armed  atomic.Bool
	inside atomic.Int32
	letGo  chan struct{}
}

func (d *slowDisk) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := d.FS.OpenFile(name, flag, perm)
	if err == nil && strings.HasSuffix(name, ".log") {
		f = slowFile{f, d}
	}
	return f, err
}

type slowFile struct {
	vfs.File
	disk *slowDisk
}

func (f slowFile) Sync() error {
	if f.disk.armed.Load() {
		f.disk.inside.Add(1)
		<-f.disk.letGo
		f.disk.inside.Add(-1)
	}
	return f.File.Sync()
}

func TestSyncConcurrencyBoundsTheSyncsOfAnInterval(t *testing.T) {
	const partitions = 7
	for _, bound := range []int32{1, 3, 16} {
		synctest.Test(t, func(t *testing.T) {
			disk := &slowDisk{FS: vfs.NewMem(), letGo: make(chan struct{})}
			now := clock.NewManual(time.UnixMilli(900_000_000_000))
			s, err := Open("/store", Config{FS: disk, Clock: now, Sync: SyncInterval(10 * time.Millisecond), SyncConcurrency: int(bound)})
			require.NoError(t, err)
			create(t, s, "t", TopicConfig{Partitions: partitions})
			for p := range int32(partitions) {
				appendTo(t, s, "t", p, "v")
			}
			before := s.Stats().Total.Syncs
			disk.armed.Store(true)
			ended := make(chan struct{})
			go func() {
				now.Advance(10 * time.Millisecond)
				close(ended)
			}()
			for left := int32(partitions); left > 0; left-- {
				synctest.Wait() // until everybody waits for the disk
				require.Equal(t, min(bound, left), disk.inside.Load(), "%d partitions left", left)
				disk.letGo <- struct{}{}
			}
			<-ended
			require.Equal(t, before+partitions, s.Stats().Total.Syncs)
			disk.armed.Store(false)
			require.NoError(t, s.Close())
		})
	}
}
