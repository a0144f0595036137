package vfs_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

// conform runs a claim on every file system: all keep one contract.
func conform(t *testing.T, claim func(t *testing.T, fsys vfs.FS, dir string)) {
	t.Helper()
	run := func(name string, fsys vfs.FS, dir func(*testing.T) string) {
		t.Run(name, func(t *testing.T) { claim(t, fsys, dir(t)) })
	}
	real := func(t *testing.T) string { return t.TempDir() }
	heap := func(t *testing.T) string { return "/" }
	run("OS", vfs.OS, real)
	run("Mem", vfs.NewMem(), heap)
	run("CrashMem", vfs.NewCrashMem(vfs.Strict), heap)
	run("Fault", vfs.NewFault(vfs.NewMem()), heap)
	run("FaultOS", vfs.NewFault(vfs.OS), real)
	run("Clone", vfs.NewCrashMem(vfs.Ext4Like).KillClone(), heap)
}

func create(t *testing.T, fsys vfs.FS, name, content string) vfs.File {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	if content != "" {
		n, err := f.WriteAt([]byte(content), 0)
		require.NoError(t, err)
		require.Equal(t, len(content), n)
	}
	return f
}

func read(t *testing.T, fsys vfs.FS, name string) string {
	t.Helper()
	data, err := vfs.ReadFile(fsys, name, 1<<30)
	require.NoError(t, err)
	return string(data)
}

func names(t *testing.T, fsys vfs.FS, dir string) []string {
	t.Helper()
	list, err := fsys.ReadDir(dir)
	require.NoError(t, err)
	got := []string{}
	for _, entry := range list {
		got = append(got, entry.Name())
	}
	return got
}

func requirePathError(t *testing.T, err, target error) {
	t.Helper()
	require.ErrorIs(t, err, target)
	_, ok := errors.AsType[*fs.PathError](err)
	require.True(t, ok, "%T %v", err, err)
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	conform(t, func(t *testing.T, fsys vfs.FS, dir string) {
		name := filepath.Join(dir, "f")
		f := create(t, fsys, name, "hello")
		require.Equal(t, name, f.Name())
		_, err := f.WriteAt([]byte("J"), 0)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte("!"), 10000)
		require.NoError(t, err)
		size, err := f.Size()
		require.NoError(t, err)
		require.EqualValues(t, 10001, size)
		require.Equal(t, "Jello"+string(make([]byte, 9995))+"!", read(t, fsys, name))

		p := make([]byte, 4)
		n, err := f.ReadAt(p, 3)
		require.NoError(t, err)
		require.Equal(t, "lo\x00\x00", string(p[:n]))
		n, err = f.ReadAt(p, 9999)
		require.Equal(t, io.EOF, err)
		require.Equal(t, "\x00!", string(p[:n]))
		n, err = f.ReadAt(p, 20000)
		require.Equal(t, io.EOF, err)
		require.Zero(t, n)
		require.NoError(t, f.Sync())
		require.NoError(t, f.DropCache(0, 0))
		require.Equal(t, byte('!'), read(t, fsys, name)[10000])
	})
}

func TestTruncateCutsAndExtendsByZeros(t *testing.T) {
	conform(t, func(t *testing.T, fsys vfs.FS, dir string) {
		name := filepath.Join(dir, "f")
		f := create(t, fsys, name, "hello world")
		require.NoError(t, f.Truncate(5))
		require.Equal(t, "hello", read(t, fsys, name))
		require.NoError(t, f.Truncate(9))
		require.Equal(t, "hello\x00\x00\x00\x00", read(t, fsys, name))
		_, err := f.WriteAt([]byte("x"), 12)
		require.NoError(t, err)
		require.Equal(t, "hello\x00\x00\x00\x00\x00\x00\x00x", read(t, fsys, name))
		require.NoError(t, f.Truncate(1<<40))
		size, err := f.Size()
		require.NoError(t, err)
		require.EqualValues(t, int64(1)<<40, size)
		p := []byte{1, 1}
		_, err = f.ReadAt(p, 1<<39)
		require.NoError(t, err)
		require.Equal(t, []byte{0, 0}, p)
		require.NoError(t, f.Truncate(0))
		require.Empty(t, read(t, fsys, name))
		require.Error(t, f.Truncate(-1))
		_, err = f.WriteAt([]byte("x"), -1)
		require.Error(t, err)
	})
}

func TestReservedSpaceIsNotSeen(t *testing.T) {
	conform(t, func(t *testing.T, fsys vfs.FS, dir string) {
		name := filepath.Join(dir, "f")
		f := create(t, fsys, name, "hello")
		if err := f.Reserve(5, 1<<20); err != nil {
			t.Log("not here:", err) // which changes nothing either
		}
		require.Equal(t, "hello", read(t, fsys, name))
		_, err := f.WriteAt([]byte(" world"), 5)
		require.NoError(t, err)
		require.Equal(t, "hello world", read(t, fsys, name))
		require.NoError(t, f.Truncate(11))
		require.Equal(t, "hello world", read(t, fsys, name))
	})
}

func TestOpenFlagsAreHonoured(t *testing.T) {
	conform(t, func(t *testing.T, fsys vfs.FS, dir string) {
		name := filepath.Join(dir, "f")
		_, err := fsys.OpenFile(name, os.O_RDWR, 0)
		requirePathError(t, err, fs.ErrNotExist)
		create(t, fsys, name, "old")
		_, err = fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		requirePathError(t, err, fs.ErrExist)
		info, err := fsys.Stat(name)
		require.NoError(t, err)
		require.Equal(t, "f", info.Name())
		require.EqualValues(t, 3, info.Size())
		require.False(t, info.ModTime().IsZero())
		if runtime.GOOS != "windows" {
			require.Equal(t, fs.FileMode(0o600), info.Mode())
		}

		f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte("x"), 0)
		require.Error(t, err)
		require.Error(t, f.Truncate(0))
		require.NoError(t, f.Close())

		f, err = fsys.OpenFile(name, os.O_RDWR|os.O_TRUNC, 0)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.Empty(t, read(t, fsys, name))

		_, err = fsys.OpenFile(filepath.Join(name, "below"), os.O_RDWR|os.O_CREATE, 0o600)
		require.Error(t, err)
		_, err = fsys.OpenFile(filepath.Join(dir, "none", "f"), os.O_RDWR|os.O_CREATE, 0o600)
		requirePathError(t, err, fs.ErrNotExist)
		require.NoError(t, fsys.Mkdir(filepath.Join(dir, "d"), 0o700))
		_, err = fsys.OpenFile(filepath.Join(dir, "d"), os.O_RDONLY, 0)
		requirePathError(t, err, vfs.ErrNotRegular)
	})
}

func TestClosedFileReturnsErrClosed(t *testing.T) {
	conform(t, func(t *testing.T, fsys vfs.FS, dir string) {
		f := create(t, fsys, filepath.Join(dir, "f"), "x")
		require.NoError(t, f.Close())
		_, err := f.ReadAt(make([]byte, 1), 0)
		requirePathError(t, err, fs.ErrClosed)
		_, err = f.WriteAt([]byte{1}, 0)
		requirePathError(t, err, fs.ErrClosed)
		_, err = f.Size()
		requirePathError(t, err, fs.ErrClosed)
		_, err = f.Map(1)
		requirePathError(t, err, fs.ErrClosed)
		requirePathError(t, f.Sync(), fs.ErrClosed)
		requirePathError(t, f.Truncate(0), fs.ErrClosed)
		requirePathError(t, f.Reserve(0, 1), fs.ErrClosed)
		requirePathError(t, f.DropCache(0, 0), fs.ErrClosed)
		requirePathError(t, f.Close(), fs.ErrClosed)
	})
}

func TestNamesAreCreatedListedMovedAndRemoved(t *testing.T) {
	conform(t, func(t *testing.T, fsys vfs.FS, dir string) {
		at := func(name string) string { return filepath.Join(dir, name) }
		require.NoError(t, fsys.MkdirAll(at("a/b/c"), 0o700))
		require.NoError(t, fsys.MkdirAll(at("a/b"), 0o700))
		requirePathError(t, fsys.Mkdir(at("a"), 0o700), fs.ErrExist)
		requirePathError(t, fsys.Mkdir(at("x/y"), 0o700), fs.ErrNotExist)
		create(t, fsys, at("a/f2"), "two")
		create(t, fsys, at("a/f1"), "one")
		require.Equal(t, []string{"b", "f1", "f2"}, names(t, fsys, at("a")))
		list, err := fsys.ReadDir(at("a"))
		require.NoError(t, err)
		require.True(t, list[0].IsDir())
		info, err := list[1].Info()
		require.NoError(t, err)
		require.EqualValues(t, 3, info.Size())
		_, err = fsys.ReadDir(at("none"))
		requirePathError(t, err, fs.ErrNotExist)
		_, err = fsys.Stat(at("none"))
		requirePathError(t, err, fs.ErrNotExist)

		require.NoError(t, fsys.Rename(at("a/f1"), at("a/f2")))
		require.Equal(t, []string{"b", "f2"}, names(t, fsys, at("a")))
		require.Equal(t, "one", read(t, fsys, at("a/f2")))
		requirePathError(t, fsys.Rename(at("a/f1"), at("a/f3")), fs.ErrNotExist)
		requirePathError(t, fsys.Rename(at("a/f2"), at("none/f3")), fs.ErrNotExist)
		require.Error(t, fsys.Rename(at("a/f2"), at("a/b")), "a directory is not replaced")
		require.Error(t, fsys.Rename(at("a"), at("a/b/a")))
		require.NoError(t, fsys.Rename(at("a"), at("z")))
		require.Equal(t, "one", read(t, fsys, at("z/f2")))

		require.Error(t, fsys.Remove(at("z")), "not empty")
		require.NoError(t, fsys.Remove(at("z/f2")))
		requirePathError(t, fsys.Remove(at("z/f2")), fs.ErrNotExist)
		require.NoError(t, fsys.SyncDir(at("z")))
		requirePathError(t, fsys.SyncDir(at("none")), fs.ErrNotExist)
		require.NoError(t, fsys.RemoveAll(at("z")))
		require.NoError(t, fsys.RemoveAll(at("z")))
		require.Empty(t, names(t, fsys, dir))
	})
}

func TestRemovedFileLivesOnInItsHandles(t *testing.T) {
	conform(t, func(t *testing.T, fsys vfs.FS, dir string) {
		f := create(t, fsys, filepath.Join(dir, "f"), "still here")
		require.NoError(t, fsys.Remove(filepath.Join(dir, "f")))
		create(t, fsys, filepath.Join(dir, "f"), "another")
		p := make([]byte, 10)
		_, err := f.ReadAt(p, 0)
		require.NoError(t, err)
		require.Equal(t, "still here", string(p))
		require.NoError(t, f.Sync())
	})
}

func TestMappingShowsLaterWrites(t *testing.T) {
	conform(t, func(t *testing.T, fsys vfs.FS, dir string) {
		f := create(t, fsys, filepath.Join(dir, "f"), "hello")
		first, err := f.Map(1 << 20)
		if errors.Is(err, errors.ErrUnsupported) {
			t.Skip("no mappings on this system")
		}
		require.NoError(t, err)
		require.Equal(t, "hello", string(first.Bytes()[:5]))
		_, err = f.WriteAt([]byte("J"), 0)
		require.NoError(t, err)
		require.Equal(t, "Jello", string(first.Bytes()[:5]))

		// The file outgrows whatever was set aside for the first mapping.
		big := make([]byte, 300<<10)
		for i := range big {
			big[i] = byte(i % 251)
		}
		_, err = f.WriteAt(big, 5)
		require.NoError(t, err)
		second, err := f.Map(5 + int64(len(big)))
		require.NoError(t, err)
		require.Equal(t, "Jello"+string(big), string(second.Bytes()))
		_, err = f.WriteAt([]byte("C"), 0)
		require.NoError(t, err)
		require.Equal(t, "Cello", string(first.Bytes()[:5]), "an old mapping does not go stale")
		require.Equal(t, "Cello", string(second.Bytes()[:5]))
		require.Equal(t, big[:1000], first.Bytes()[5:1005])
		require.NoError(t, second.Populate(0, 1<<40))
		require.NoError(t, second.Populate(4097, 10))
		require.NoError(t, second.Populate(1<<40, 10))

		require.NoError(t, f.Close())
		require.Equal(t, "Cello", string(second.Bytes()[:5]), "the view outlives the handle")
		require.NoError(t, first.Unmap())
		require.NoError(t, first.Unmap())
		require.NoError(t, second.Unmap())
	})
}

func TestLockExcludesOtherHolders(t *testing.T) {
	conform(t, func(t *testing.T, fsys vfs.FS, dir string) {
		require.NoError(t, fsys.MkdirAll(filepath.Join(dir, "sub"), 0o700))
		name := filepath.Join(dir, "lock")
		held, err := fsys.Lock(name)
		require.NoError(t, err)
		_, err = fsys.Lock(filepath.Join(dir, "sub", "..", "lock"))
		requirePathError(t, err, vfs.ErrLocked)
		other, err := fsys.Lock(filepath.Join(dir, "another"))
		require.NoError(t, err)

		create(t, fsys, name, "owner")
		require.Equal(t, "owner", read(t, fsys, name), "the file stays usable")
		require.NoError(t, held.Close())
		requirePathError(t, held.Close(), fs.ErrClosed)
		held, err = fsys.Lock(name)
		require.NoError(t, err)
		require.NoError(t, held.Close())
		require.NoError(t, other.Close())
		require.Equal(t, "owner", read(t, fsys, name))
	})
}

func TestUsageTellsSizeAndKind(t *testing.T) {
	conform(t, func(t *testing.T, fsys vfs.FS, dir string) {
		u, err := fsys.Usage(dir)
		require.NoError(t, err)
		require.Positive(t, u.Total)
		require.Positive(t, u.Free)
		require.LessOrEqual(t, u.Free, u.Total)
		require.NotEmpty(t, u.Kind)
		require.False(t, u.ReadOnly)
		_, err = fsys.Usage(filepath.Join(dir, "none"))
		requirePathError(t, err, fs.ErrNotExist)
	})
}

func TestWriteFileAtomicReplacesWholly(t *testing.T) {
	conform(t, func(t *testing.T, fsys vfs.FS, dir string) {
		name := filepath.Join(dir, "f")
		require.NoError(t, vfs.WriteFileAtomic(fsys, name, []byte("one")))
		require.NoError(t, vfs.WriteFileAtomic(fsys, name, []byte("2")))
		require.Equal(t, "2", read(t, fsys, name))
		require.Equal(t, []string{"f"}, names(t, fsys, dir))
		_, err := vfs.ReadFile(fsys, name, 0)
		require.ErrorIs(t, err, vfs.ErrTooBig)
		_, err = vfs.ReadFile(fsys, name+"x", 10)
		requirePathError(t, err, fs.ErrNotExist)
	})
}
