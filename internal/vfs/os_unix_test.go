//go:build linux || darwin

package vfs_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/partlog/partlog/internal/mmap"
	"github.com/partlog/partlog/internal/vfs"
)

func TestOSRefusesLinksAndPipes(t *testing.T) {
	dir := t.TempDir()
	create(t, vfs.OS, filepath.Join(dir, "f"), "x")
	require.NoError(t, os.Symlink("f", filepath.Join(dir, "link")))
	_, err := vfs.OS.OpenFile(filepath.Join(dir, "link"), os.O_RDWR, 0)
	requirePathError(t, err, syscall.ELOOP)
	_, err = vfs.OS.Lock(filepath.Join(dir, "link"))
	requirePathError(t, err, syscall.ELOOP)
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	_, err = vfs.OS.OpenFile(filepath.Join(dir, "pipe"), os.O_RDONLY, 0) // would wait for a writer
	requirePathError(t, err, vfs.ErrNotRegular)
	_, err = vfs.OS.Lock(filepath.Join(dir, "pipe"))
	requirePathError(t, err, vfs.ErrNotRegular)
	_, err = vfs.OS.OpenFile(filepath.Join(dir, "f"), os.O_RDWR|os.O_APPEND, 0)
	requirePathError(t, err, syscall.EINVAL)
}

func TestOSHonoursModes(t *testing.T) {
	dir := t.TempDir()
	defer unix.Umask(unix.Umask(0))
	for _, mode := range []fs.FileMode{0o600, 0o640, 0o644} {
		name := filepath.Join(dir, mode.String())
		f, err := vfs.OS.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		info, err := vfs.OS.Stat(name)
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode())
	}
	require.NoError(t, vfs.OS.MkdirAll(filepath.Join(dir, "a", "b"), 0o700))
	for _, name := range []string{"a", "a/b"} {
		info, err := vfs.OS.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, fs.ModeDir|0o700, info.Mode())
	}
}

func TestOSFileCutUnderItsMappingIsAnError(t *testing.T) {
	f := create(t, vfs.OS, filepath.Join(t.TempDir(), "f"), strings.Repeat("x", 1<<20))
	region, err := f.Map(1 << 20)
	require.NoError(t, err)
	defer region.Unmap()
	require.NoError(t, f.Truncate(0))
	got := make([]byte, 100)
	err = mmap.Guard(func() { copy(got, region.Bytes()[1<<19:]) })
	_, ok := errors.AsType[*mmap.FaultError](err)
	require.True(t, ok, "%v", err)
	_, err = f.WriteAt(region.Bytes()[1<<19:], 0)
	requirePathError(t, err, syscall.EFAULT)
}

func TestOSFileIsNotClosedUnderACallInProgress(t *testing.T) {
	dir := t.TempDir()
	for range 50 {
		f := create(t, vfs.OS, filepath.Join(dir, "f"), "")
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					if _, err := f.WriteAt([]byte("x"), 0); err != nil {
						if !errors.Is(err, fs.ErrClosed) {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		require.NoError(t, f.Close())
		// The number is used again at once: a late write would land here.
		g := create(t, vfs.OS, filepath.Join(dir, "g"), "")
		wg.Wait()
		size, err := g.Size()
		require.NoError(t, err)
		require.Zero(t, size)
		require.NoError(t, g.Close())
	}
}

func TestOSLockIsKnownUnderEveryName(t *testing.T) {
	dir := t.TempDir()
	held, err := vfs.OS.Lock(filepath.Join(dir, "a"))
	require.NoError(t, err)
	require.NoError(t, os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "b")))
	_, err = vfs.OS.Lock(filepath.Join(dir, "b"))
	requirePathError(t, err, vfs.ErrLocked)
	require.NoError(t, os.Symlink(dir, filepath.Join(dir, "self")))
	_, err = vfs.OS.Lock(filepath.Join(dir, "self", "a"))
	requirePathError(t, err, vfs.ErrLocked)
	require.NoError(t, held.Close())
	info, err := os.Stat(filepath.Join(dir, "a"))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode())
}

// A second process tries to take the lock: this test binary, run again.
func TestOSLockExcludesOtherProcesses(t *testing.T) {
	if name := os.Getenv("PARTLOG_TEST_LOCK"); name != "" {
		held, err := vfs.OS.Lock(name)
		if errors.Is(err, vfs.ErrLocked) {
			os.Exit(42)
		}
		require.NoError(t, err)
		require.NoError(t, held.Close())
		return
	}
	name := filepath.Join(t.TempDir(), "lock")
	other := func() error {
		cmd := exec.Command(os.Args[0], "-test.run=^TestOSLockExcludesOtherProcesses$")
		cmd.Env = append(os.Environ(), "PARTLOG_TEST_LOCK="+name)
		return cmd.Run()
	}
	held, err := vfs.OS.Lock(name)
	require.NoError(t, err)
	exit, ok := errors.AsType[*exec.ExitError](other())
	require.True(t, ok)
	require.Equal(t, 42, exit.ExitCode())
	require.NoError(t, held.Close())
	require.NoError(t, other())
}

func TestOSWriteAtAllocatesNothing(t *testing.T) {
	f := create(t, vfs.OS, filepath.Join(t.TempDir(), "f"), "")
	p := make([]byte, 100)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if _, err := f.WriteAt(p, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := f.ReadAt(p, 0); err != nil {
			t.Fatal(err)
		}
	}))
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}))
}
