package vfs_test

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

func TestRuleFailsTheNthMatchingOperationOnce(t *testing.T) {
	f := vfs.NewFault(vfs.NewMem())
	a := f.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Nth: 2})
	other, file := create(t, f, "a.index", ""), create(t, f, "a.log", "")
	fill(t, other, "x", 0, 1)
	fill(t, file, "x", 0, 1)
	_, err := file.WriteAt([]byte("y"), 0)
	requirePathError(t, err, syscall.EIO)
	require.Equal(t, "x*1", content(f, "a.log"), "nothing was written")
	fill(t, file, "z", 0, 1)
	require.Equal(t, 1, a.Hits())
	require.Equal(t, 1, f.Failed(vfs.OpWrite))
	require.Zero(t, f.Failed(vfs.OpRead))
	require.Equal(t, 1, f.Failed(vfs.AnyOp))
}

func TestRuleForeverFailsUntilLifted(t *testing.T) {
	f := vfs.NewFault(vfs.NewMem())
	file := create(t, f, "d.log", "x")
	cause := errors.New("cause")
	a := f.Add(vfs.Rule{Op: vfs.OpRead | vfs.OpSync, Nth: 2, Forever: true, Err: cause})
	_, err := file.ReadAt(make([]byte, 1), 0)
	require.NoError(t, err)
	for range 3 {
		_, err = file.ReadAt(make([]byte, 1), 0)
		requirePathError(t, err, cause)
		requirePathError(t, file.Sync(), cause)
	}
	require.Equal(t, 6, a.Hits())
	a.Lift()
	require.NoError(t, file.Sync())
	f.Add(vfs.Rule{Op: vfs.OpSync, Forever: true})
	require.Error(t, file.Sync())
	f.Clear()
	require.NoError(t, file.Sync())
	require.Equal(t, 7, f.Failed(vfs.AnyOp))
}

func TestDiskFillsUpAfterSoManyBytes(t *testing.T) {
	f := vfs.NewFault(vfs.NewMem())
	file := create(t, f, "f", "")
	a := f.Add(vfs.Rule{Op: vfs.OpWrite, AfterBytes: 10, Forever: true, Err: syscall.ENOSPC})
	fill(t, file, "a", 0, 6)
	n, err := file.WriteAt([]byte("bbbbbb"), 6)
	requirePathError(t, err, syscall.ENOSPC)
	require.Equal(t, 4, n)
	require.Equal(t, "a*6 b*4", content(f, "f"))
	n, err = file.WriteAt([]byte("c"), 10)
	requirePathError(t, err, syscall.ENOSPC)
	require.Zero(t, n)
	a.Lift()
	fill(t, file, "c", 10, 1)
	require.Equal(t, "a*6 b*4 c*1", content(f, "f"))
}

func TestShortWriteTransfersThatMuch(t *testing.T) {
	f := vfs.NewFault(vfs.NewMem())
	file := create(t, f, "f", "")
	f.Add(vfs.Rule{Op: vfs.OpWrite, Short: 3})
	n, err := file.WriteAt([]byte("abcdef"), 0)
	requirePathError(t, err, syscall.EIO)
	require.Equal(t, 3, n)
	require.Equal(t, "a*1 b*1 c*1", content(f, "f"))
}

func TestFailedOperationHasNotHappened(t *testing.T) {
	f := vfs.NewFault(vfs.NewMem())
	file := create(t, f, "f", "x")
	fails := func(op vfs.OpKind, act func() error) {
		t.Helper()
		f.Add(vfs.Rule{Op: op, Path: "f"})
		requirePathError(t, act(), syscall.EIO)
		f.Clear()
	}
	fails(vfs.OpRename, func() error { return f.Rename("f", "g") })
	fails(vfs.OpRename, func() error { return f.Rename("g", "f") }) // the new name counts too
	fails(vfs.OpRemove, func() error { return f.Remove("f") })
	fails(vfs.OpRemove, func() error { return f.RemoveAll("f") })
	fails(vfs.OpTruncate, func() error { return file.Truncate(0) })
	fails(vfs.OpSize, func() error { _, err := file.Size(); return err })
	fails(vfs.OpMap, func() error { _, err := file.Map(1); return err })
	fails(vfs.OpDropCache, func() error { return file.DropCache(0, 0) })
	fails(vfs.OpStat, func() error { _, err := f.Stat("f"); return err })
	fails(vfs.OpLock, func() error { _, err := f.Lock("f"); return err })
	fails(vfs.OpUsage, func() error { _, err := f.Usage("f"); return err })
	fails(vfs.OpMkdir, func() error { return f.Mkdir("f", 0o700) })
	fails(vfs.OpMkdir, func() error { return f.MkdirAll("d/f", 0o700) })
	fails(vfs.OpReadDir, func() error { _, err := f.ReadDir("f"); return err })
	fails(vfs.OpSyncDir, func() error { return f.SyncDir("f") })
	fails(vfs.OpOpen, func() error { _, err := f.OpenFile("f", os.O_RDWR, 0); return err })
	fails(vfs.OpCreate, func() error { _, err := f.OpenFile("f", os.O_RDWR|os.O_TRUNC, 0); return err })
	require.Equal(t, []string{"f"}, names(t, f, "/"))
	require.Equal(t, "x*1", content(f, "f"))
	fails(vfs.OpClose, file.Close)
	require.Error(t, file.Sync(), "closed even so")
}

func TestErrorMayBeALie(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	f := vfs.NewFault(m)
	file := durableFile(t, m, "f", 1)
	file, err := f.OpenFile(file.Name(), os.O_RDWR, 0)
	require.NoError(t, err)
	f.Add(vfs.Rule{Op: vfs.OpWrite | vfs.OpRename | vfs.OpSync, Effect: true, Forever: true})
	n, err := file.WriteAt([]byte("bb"), 0)
	requirePathError(t, err, syscall.EIO)
	require.Equal(t, 2, n)
	require.Error(t, f.Rename("f", "g"))
	require.Error(t, file.Sync())
	require.NoError(t, f.SyncDir("/"))
	require.Equal(t, []string{"none, b*2"}, states(t, m, both))
}

func TestFailedSyncKeepsWhatWasWrittenUnsynced(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	durableFile(t, m, "f", 3)
	f := vfs.NewFault(m)
	file, err := f.OpenFile("f", os.O_RDWR, 0)
	require.NoError(t, err)
	fill(t, file, "b", 0, 3)
	f.Add(vfs.Rule{Op: vfs.OpSync})
	requirePathError(t, file.Sync(), syscall.EIO)
	describe := func(after *vfs.Mem) string { return content(after, "f") }
	require.Equal(t, []string{"a*3", "b*3"}, states(t, m, describe))
	require.NoError(t, file.Sync())
	require.Equal(t, []string{"b*3"}, states(t, m, describe))
}

// What ext4 and XFS do after a failed write-back: the pages are clean, later syncs succeed, everybody reads the new
// bytes, and the disk has the old ones.
func TestFailedSyncMayLoseWhatEverybodySees(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	durableFile(t, m, "f", 2*page)
	f := vfs.NewFault(m)
	file, err := f.OpenFile("f", os.O_RDWR, 0)
	require.NoError(t, err)
	fill(t, file, "b", 0, 3)
	fill(t, file, "c", page, 2*page)
	f.Add(vfs.Rule{Op: vfs.OpSync, Lose: true})
	requirePathError(t, file.Sync(), syscall.EIO)
	require.NoError(t, file.Sync(), "the lie")
	describe := func(after *vfs.Mem) string { return content(after, "f") }
	require.Equal(t, "b*3 a*4093 c*8192", describe(m))
	require.Equal(t, []string{"a*8192 0*4096"}, states(t, m, describe), "the size made it, the data did not")

	killed := m.KillClone()
	require.Equal(t, "b*3 a*4093 c*8192", describe(killed), "another process sees it too")
	again, err := killed.OpenFile("f", os.O_RDWR, 0)
	require.NoError(t, err)
	region, err := again.Map(3 * page)
	require.NoError(t, err)
	require.NoError(t, again.DropCache(0, 0))
	require.Equal(t, "b*3 a*4093 c*8192", describe(killed), "mapped pages stay")
	require.NoError(t, region.Unmap())
	require.NoError(t, again.DropCache(page, 0))
	require.Equal(t, "b*3 a*8189 0*4096", describe(killed))
	require.NoError(t, again.DropCache(0, 0))
	require.Equal(t, "a*8192 0*4096", describe(killed), "the truth")

	fill(t, file, "d", 3, 1) // dirties the page, and takes the lost bytes of it along
	require.NoError(t, file.Sync())
	require.Equal(t, []string{"b*3 d*1 a*8188 0*4096"}, states(t, m, describe))
}

func TestLosingWithoutHistoryJustFails(t *testing.T) {
	f := vfs.NewFault(vfs.NewMem())
	file := create(t, f, "f", "x")
	f.Add(vfs.Rule{Op: vfs.OpSync, Lose: true})
	require.Error(t, file.Sync())
	require.Equal(t, "x*1", content(f, "f"))
}

func TestHookSeesEveryMutationBeforeItHappens(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	f := vfs.NewFault(m)
	var seen []string
	f.OnOp(func(op vfs.Op) { seen = append(seen, op.String()+": "+content(m, "f")+";") })
	f.Add(vfs.Rule{Op: vfs.OpSync, Nth: 2})
	require.NoError(t, f.MkdirAll("d", 0o700))
	file := create(t, f, "f", "abc")
	require.NoError(t, file.Sync())
	require.Error(t, file.Sync())
	require.NoError(t, file.Truncate(1))
	_ = read(t, f, "f")
	require.NoError(t, f.Rename("f", "d/f"))
	require.NoError(t, f.SyncDir("d"))
	require.NoError(t, f.Remove("d/f"))
	f.OnOp(nil)
	require.NoError(t, f.Mkdir("e", 0o700))
	require.Equal(t, strings.Split(strings.TrimSpace(`
#1 mkdir d: none;
#2 create f: none;
#3 write f [0,3): empty;
#4 sync f: a*1 b*1 c*1;
#5 sync f: a*1 b*1 c*1;
#6 truncate f to 1: a*1 b*1 c*1;
#11 rename f to d/f: a*1;
#12 syncdir d: none;
#13 remove d/f: none;`), "\n"), seen)
	require.EqualValues(t, 14, f.Ops())
}

func TestOpKindsHaveNames(t *testing.T) {
	require.Equal(t, "create|sync|usage", (vfs.OpCreate | vfs.OpSync | vfs.OpUsage).String())
	require.NotContains(t, vfs.AnyOp.String(), "0x")
	require.Equal(t, "usage|0x40000", (vfs.OpUsage | 1<<18).String())
	require.Panics(t, func() { vfs.NewFault(vfs.NewMem()).Add(vfs.Rule{Path: "["}) })
}

func TestRulesMatchWholePathsToo(t *testing.T) {
	f := vfs.NewFault(vfs.NewMem())
	require.NoError(t, f.MkdirAll("/data/t-0", 0o700))
	require.NoError(t, f.MkdirAll("/data/t-1", 0o700))
	a, b := create(t, f, "/data/t-0/0.log", ""), create(t, f, "/data/t-1/0.log", "")
	f.Add(vfs.Rule{Op: vfs.OpSync, Path: "/data/t-1/*", Forever: true})
	require.NoError(t, a.Sync())
	require.Error(t, b.Sync())
}
