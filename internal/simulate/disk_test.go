package simulate_test

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/simulate"
	"github.com/partlog/partlog/internal/vfs"
)

func newDisk(seed uint64) (*simulate.Scheduler, *simulate.Process, *simulate.Disk, *simulate.Counts) {
	s := simulate.NewScheduler(seed)
	p := simulate.NewProcess(s)
	p.Start()
	counts := new(simulate.Counts)
	c := simulate.NewClock(p, time.Unix(0, 0))
	return s, p, simulate.NewDisk(p, vfs.Strict, c, simulate.Stream(seed, "disk"), counts), counts
}

func write(t *testing.T, d *simulate.Disk, name, text string, sync bool) {
	f, err := d.FS().OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte(text), 0)
	require.NoError(t, err)
	if sync {
		require.NoError(t, f.Sync())
		require.NoError(t, d.FS().SyncDir("/"))
	}
	require.NoError(t, f.Close())
}

func read(t *testing.T, d *simulate.Disk, name string) string {
	f, err := d.FS().OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return "none"
	}
	defer f.Close()
	size, err := f.Size()
	require.NoError(t, err)
	b := make([]byte, size)
	_, err = f.ReadAt(b, 0)
	require.NoError(t, err)
	return string(b)
}

func TestKillKeepsWhatPowerLossMayTake(t *testing.T) {
	lost := 0
	for seed := range uint64(50) {
		_, p, d, _ := newDisk(seed)
		write(t, d, "/synced", "one", true)
		write(t, d, "/unsynced", "two", false)
		p.Kill()
		d.Kill()
		require.Equal(t, "one", read(t, d, "/synced"))
		require.Equal(t, "two", read(t, d, "/unsynced"))
		d.PowerLoss()
		require.Equal(t, "one", read(t, d, "/synced"))
		if read(t, d, "/unsynced") != "two" {
			lost++
		}
	}
	require.Positive(t, lost)
	require.Less(t, lost, 50)
}

func TestDiskTroubleIsCountedWhenItHits(t *testing.T) {
	_, p, d, counts := newDisk(1)
	d.FailSync("a")
	d.FailWrite("nothing")
	write(t, d, "/b", "x", true)
	f, err := d.FS().OpenFile("/a", os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("x"), 0)
	require.NoError(t, err)
	require.ErrorIs(t, f.Sync(), syscall.EIO)
	require.NoError(t, f.Sync())
	d.Fill(4096)
	_, err = f.WriteAt([]byte(strings.Repeat("y", 8192)), 0)
	require.ErrorIs(t, err, syscall.ENOSPC)
	d.Empty()
	_, err = f.WriteAt([]byte(strings.Repeat("y", 8192)), 0)
	require.NoError(t, err)
	d.Heal()
	require.Equal(t, "failed sync 1, full disk 1", counts.String())
	p.Kill()
	d.Lose()
	require.Equal(t, "none", read(t, d, "/a"))
}

func TestSlowDiskStallsItsProcess(t *testing.T) {
	s, p, d, counts := newDisk(1)
	d.Slow(time.Second, 2*time.Second)
	write(t, d, "/a", "x", true)
	var at time.Duration
	p.Do(func() { at = s.Now() })
	s.RunUntil(time.Minute)
	require.GreaterOrEqual(t, at, 2*time.Second, "a file and a directory")
	require.LessOrEqual(t, at, 4*time.Second)
	require.EqualValues(t, 2, counts.Of("slow sync"))
}

func TestCorruptChangesOneSector(t *testing.T) {
	_, p, d, counts := newDisk(1)
	text := strings.Repeat("abcd", 1000)
	write(t, d, "/x.log", text, true)
	write(t, d, "/x.index", text, true)
	p.Kill()
	d.PowerLoss()
	name, at := d.Corrupt("", "*.log")
	require.Equal(t, "/x.log", name)
	got := read(t, d, "/x.log")
	require.Equal(t, text[:at], got[:at])
	require.NotEqual(t, text[at], got[at])
	end := min(at+512, 4000)
	require.Equal(t, text[end:], got[end:])
	require.Equal(t, text, read(t, d, "/x.index"))
	require.EqualValues(t, 1, counts.Of("corrupt sector"))
	name, _ = d.Corrupt("", "*.none")
	require.Empty(t, name)
}
