package partition

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
)

// A disk that is slower than the interval must not gather ever more syncs.
func TestSyncConcurrencyBoundsRoundsThatOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &slowDisk{FS: vfs.NewMem(), letGo: make(chan struct{})}
		now := clock.NewManual(time.UnixMilli(900_000_000_000))
		s, err := Open("/store", Config{FS: disk, Clock: now, Sync: SyncInterval(10 * time.Millisecond), SyncConcurrency: 2})
		require.NoError(t, err)
		create(t, s, "t", TopicConfig{Partitions: 8})
		for p := range int32(4) {
			appendTo(t, s, "t", p, "v")
		}
		disk.armed.Store(true)
		ended := make(chan struct{}, 2)
		for range 2 {
			go func() {
				now.Advance(10 * time.Millisecond)
				ended <- struct{}{}
			}()
			synctest.Wait()
			for p := range int32(4) {
				appendTo(t, s, "t", 4+p, "v")
			}
		}
		inside := disk.inside.Load()
		disk.armed.Store(false)
		close(disk.letGo)
		<-ended
		<-ended
		synctest.Wait()
		require.NoError(t, s.Close())
		require.Equal(t, int32(2), inside)
	})
}

func TestOnePartitionIsSyncedByOneRoundAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &slowDisk{FS: vfs.NewMem(), letGo: make(chan struct{})}
		now := clock.NewManual(time.UnixMilli(900_000_000_000))
		s, err := Open("/store", Config{FS: disk, Clock: now, Sync: SyncInterval(10 * time.Millisecond), SyncConcurrency: 1})
		require.NoError(t, err)
		create(t, s, "t", TopicConfig{Partitions: 1})
		for p := range int32(1) {
			appendTo(t, s, "t", p, "v")
		}
		disk.armed.Store(true)
		ended := make(chan struct{}, 5)
		for range 5 {
			go func() {
				now.Advance(10 * time.Millisecond)
				ended <- struct{}{}
			}()
			synctest.Wait()
			for p := range int32(1) {
				appendTo(t, s, "t", p, "v")
			}
		}
		inside := disk.inside.Load()
		disk.armed.Store(false)
		close(disk.letGo)
		synctest.Wait()
		require.NoError(t, s.Close())
		require.Equal(t, int32(1), inside)
	})
}
