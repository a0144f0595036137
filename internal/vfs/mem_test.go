package vfs_test

import (
	"bytes"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
)

func eachMem(t *testing.T, claim func(t *testing.T, m *vfs.Mem)) {
	t.Run("Mem", func(t *testing.T) { claim(t, vfs.NewMem()) })
	t.Run("CrashMem", func(t *testing.T) { claim(t, vfs.NewCrashMem(vfs.Strict)) })
}

func TestFullMemCutsWritesShortUntilThereIsSpace(t *testing.T) {
	eachMem(t, func(t *testing.T, m *vfs.Mem) {
		f := create(t, m, "f", "")
		fill(t, f, "a", 0, page)
		m.SetFree(page)
		u, err := m.Usage("/")
		require.NoError(t, err)
		require.EqualValues(t, page, u.Free)
		require.EqualValues(t, 2*page, u.Total)
		n, err := f.WriteAt([]byte(strings.Repeat("b", 3*page)), page)
		requirePathError(t, err, syscall.ENOSPC)
		require.Equal(t, page, n)
		fill(t, f, "c", 0, page) // rewriting takes no space
		require.Equal(t, "c*4096 b*4096", content(m, "f"))
		_, err = f.WriteAt([]byte("x"), 2*page)
		requirePathError(t, err, syscall.ENOSPC)
		require.Equal(t, "c*4096 b*4096", content(m, "f"))
		g := create(t, m, "g", "")
		_, err = g.WriteAt([]byte("x"), 0)
		requirePathError(t, err, syscall.ENOSPC)

		require.NoError(t, f.Truncate(page))
		fill(t, g, "x", 0, page)
		require.NoError(t, m.Remove("g"))
		_, err = f.WriteAt([]byte("x"), page)
		requirePathError(t, err, syscall.ENOSPC)
		require.NoError(t, g.Close())
		fill(t, f, "y", page, 1) // the handle was the last to hold the space
		m.SetFree(-1)
		fill(t, f, "y", page, 10*page)
		m.SetCapacity(1)
		u, err = m.Usage("/")
		require.NoError(t, err)
		require.Zero(t, u.Free)
		require.Equal(t, vfs.Usage{Total: 1, Kind: "memory", Volatile: true}, u)
	})
}

func TestMemRefusesAbsurdOffsets(t *testing.T) {
	eachMem(t, func(t *testing.T, m *vfs.Mem) {
		f := create(t, m, "f", "x")
		_, err := f.WriteAt([]byte("x"), math.MaxInt64)
		requirePathError(t, err, syscall.EFBIG)
		_, err = f.ReadAt([]byte("x"), -1)
		requirePathError(t, err, syscall.EINVAL)
		_, err = f.Map(-1)
		requirePathError(t, err, syscall.EINVAL)
	})
}

func TestMemNamesStartAtOneRoot(t *testing.T) {
	eachMem(t, func(t *testing.T, m *vfs.Mem) {
		create(t, m, "f", "x")
		require.Equal(t, "x", read(t, m, "/f"))
		require.Equal(t, "x", read(t, m, "/d/../../f"))
		info, err := m.Stat("/")
		require.NoError(t, err)
		require.True(t, info.IsDir())
		require.Error(t, m.Remove("/"))
		require.Error(t, m.Rename("/", "x"))
		require.Error(t, m.Rename("f", "/"))
		require.NoError(t, m.Rename("f", "f"))
		require.NoError(t, m.RemoveAll("/"))
		require.Empty(t, names(t, m, "/"))
	})
}

func TestModificationTimesComeFromTheClock(t *testing.T) {
	eachMem(t, func(t *testing.T, m *vfs.Mem) {
		c := clock.NewManual(time.Unix(1000, 0))
		m.SetClock(c)
		f := create(t, m, "f", "x")
		c.Advance(time.Hour)
		info, err := m.Stat("f")
		require.NoError(t, err)
		require.Equal(t, time.Unix(1000, 0), info.ModTime())
		fill(t, f, "y", 0, 1)
		info, err = m.Stat("f")
		require.NoError(t, err)
		require.Equal(t, time.Unix(4600, 0), info.ModTime())
	})
}

// Under -race: what goes on in one region of a file does not disturb another, and locks order the rest.
func TestMemIsSafeForConcurrentUse(t *testing.T) {
	eachMem(t, func(t *testing.T, m *vfs.Mem) {
		m.SetCapacity(1 << 30)
		f := create(t, m, "f", strings.Repeat("a", page))
		region, err := f.Map(page)
		require.NoError(t, err)
		var wg sync.WaitGroup
		for i := range int64(4) {
			wg.Go(func() {
				for k := range int64(50) {
					if _, err := f.WriteAt([]byte("bcd"), page+(i*50+k)*1000); err != nil {
						t.Error(err)
					}
					if region.Bytes()[k] != 'a' {
						t.Error("changed")
					}
					if _, err := f.ReadAt(make([]byte, 100), k); err != nil {
						t.Error(err)
					}
					if _, err := m.Stat("f"); err != nil {
						t.Error(err)
					}
					if r, err := f.Map(1 << 20); err != nil || r.Unmap() != nil {
						t.Error(err)
					}
					m.Hash()
				}
			})
		}
		wg.Wait()
		require.NoError(t, region.Unmap())
	})
}

func TestZerosBeyondTheEndAreAsAnyBytes(t *testing.T) {
	eachMem(t, func(t *testing.T, m *vfs.Mem) {
		f := create(t, m, "log", "head")
		defer f.Close()
		write := func(p []byte, off int64) {
			n, err := f.WriteAt(p, off)
			require.NoError(t, err)
			require.Len(t, p, n)
		}
		write(make([]byte, 1<<20), 4)
		size, err := f.Size()
		require.NoError(t, err)
		require.EqualValues(t, 1<<20+4, size)
		write([]byte{0, 0, 1}, 1<<20+4) // not all of them
		write([]byte("tail"), 2)        // over zeros
		write(make([]byte, 2), 4)       // zeros over bytes
		want := make([]byte, 1<<20+7)
		copy(want, "heta")
		want[1<<20+6] = 1
		got := make([]byte, 1<<20+8)
		n, err := f.ReadAt(got, 0)
		require.ErrorIs(t, err, io.EOF)
		require.True(t, bytes.Equal(want, got[:n]))
	})
}

func TestEveryWayToWriteANameIsOneFile(t *testing.T) {
	eachMem(t, func(t *testing.T, m *vfs.Mem) {
		require.NoError(t, m.MkdirAll("/a/b", 0o700))
		require.NoError(t, create(t, m, "/a/b/.c", "x").Close())
		for _, name := range []string{"a/b/.c", "/a//b/.c", "/a/./b/.c", "/a/x/../b/.c", "//a/b/.c/", "/../a/b/.c"} {
			_, err := m.Stat(name)
			require.NoError(t, err, name)
		}
		for name, want := range map[string]error{"/a/x/c": syscall.ENOENT, "/a/b/.c/d": syscall.ENOTDIR, "/x": syscall.ENOENT} {
			_, err := m.Stat(name)
			require.ErrorIs(t, err, want, name)
		}
		_, err := m.OpenFile("/a/b/.c/d", os.O_RDWR|os.O_CREATE, 0o600)
		require.ErrorIs(t, err, syscall.ENOTDIR)
		info, err := m.Stat("/")
		require.NoError(t, err)
		require.True(t, info.IsDir())
	})
}
