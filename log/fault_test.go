package log

import (
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/mmap"
	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

func faulty(t *testing.T, mode SyncMode) (*vfs.Mem, *vfs.Fault, Config) {
	m := vfs.NewCrashMem(vfs.Strict)
	require.NoError(t, m.MkdirAll("/data", 0o700))
	require.NoError(t, m.SyncDir("/"))
	f := vfs.NewFault(m)
	c := testConfig(f)
	c.Settings.Sync = mode
	return m, f, c
}

func tryAppend(l *Log, i int) error {
	_, err := l.Append(make1(int64(1000+i), 1, valueOf(i)), AppendOptions{Durable: true})
	return err
}

func TestAppendAfterFailedSyncIsRefused(t *testing.T) {
	for _, lose := range []bool{false, true} {
		m, f, c := faulty(t, SyncAlways)
		l := open(t, c)
		appendN(t, l, 0, 5)
		f.Add(vfs.Rule{Op: vfs.OpSync, Path: "*.log", Lose: lose})
		require.ErrorIs(t, tryAppend(l, 5), ErrPoisoned)
		require.ErrorIs(t, tryAppend(l, 6), ErrPoisoned) // the sync would succeed now, and prove nothing
		require.ErrorIs(t, l.Sync(), ErrPoisoned)
		require.Equal(t, Offset(5), l.Visible())
		got, _ := values(t, l, 0, 1000, false)
		require.Len(t, got, 5)
		require.ErrorIs(t, l.Close(), ErrPoisoned)
		require.ErrorIs(t, l.Close(), ErrPoisoned)

		// The next open does not believe the cache: what the disk does not have is not there.
		c.FS = m
		l = open(t, c)
		require.GreaterOrEqual(t, l.End(), Offset(5))
		if lose {
			require.Equal(t, Offset(5), l.End())
		}
		got, _ = values(t, l, 0, 1000, false)
		require.Len(t, got, int(l.End()))
	}
}

func TestFailedDirectorySyncPoisons(t *testing.T) {
	_, f, c := faulty(t, SyncAlways)
	l := open(t, c)
	appendN(t, l, 0, 2)
	f.Add(vfs.Rule{Op: vfs.OpSyncDir})
	require.ErrorIs(t, l.Roll(), ErrPoisoned)
	require.ErrorIs(t, tryAppend(l, 2), ErrPoisoned)
}

func TestFullDiskRefusesAppendsUntilThereIsSpace(t *testing.T) {
	for _, mode := range []SyncMode{SyncAlways, SyncNever} {
		for _, short := range []int{0, 1, 30, 61, 79} {
			m, f, c := faulty(t, mode)
			c.Settings.NoPreallocation = true
			l := open(t, c)
			appendN(t, l, 0, 5)
			full := f.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Err: syscall.ENOSPC, Short: short, Forever: true})
			for range 3 {
				err := tryAppend(l, 5)
				require.ErrorIs(t, err, ErrNoSpace)
				require.ErrorIs(t, err, syscall.ENOSPC)
			}
			require.Equal(t, Offset(5), l.End())
			requireDense(t, l, 5)
			full.Lift()
			appendN(t, l, 5, 5)
			requireDense(t, l, 10)
			require.NoError(t, l.Close())
			c.FS, c.Clean, c.CleanEnd = m, true, 10
			requireDense(t, open(t, c), 10)
		}
	}
}

func TestWhatACrashHasLeftAtTheFrontOfASegmentIsSetAsideWhenThereIsSpace(t *testing.T) {
	m, f, c := faulty(t, SyncNever)
	l := open(t, c)
	appendN(t, l, 0, 5)
	require.NoError(t, l.Roll())
	appendN(t, l, 5, 1)
	l.Abandon()
	file, err := m.OpenFile(c.Dir+"/00000000000000000005.log", os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = file.WriteAt([]byte("garbage"), 30)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	full := f.Add(vfs.Rule{Op: vfs.OpWrite, Err: syscall.ENOSPC, Forever: true})
	creates := f.Add(vfs.Rule{Op: vfs.OpCreate, Err: syscall.ENOSPC, Forever: true})
	l = open(t, c)
	require.Equal(t, Offset(5), l.End())
	for range 2 {
		require.ErrorIs(t, tryAppend(l, 5), ErrNoSpace)
	}
	full.Lift()
	creates.Lift()
	appendN(t, l, 5, 5)
	requireDense(t, l, 10)
	l.Abandon()
	requireDense(t, open(t, c), 10)
}

func TestFullDiskStopsPreallocationBeforeAppends(t *testing.T) {
	m := vfs.NewMem()
	require.NoError(t, m.MkdirAll("/data", 0o700))
	l := open(t, testConfig(m))
	appendN(t, l, 0, 1)
	m.SetFree(100) // no space for zeros, but for a batch in what is preallocated
	appendN(t, l, 1, 500)
	for i := 501; ; i++ {
		if err := tryAppend(l, i); err != nil {
			require.ErrorIs(t, err, ErrNoSpace)
			m.SetFree(1 << 20)
			appendN(t, l, i, 10)
			requireDense(t, l, i+10)
			return
		}
	}
}

func TestFailedRollLeavesTheOldSegmentActive(t *testing.T) {
	_, f, c := faulty(t, SyncNever)
	c.Settings.SegmentBytes = 1000
	l := open(t, c)
	appendN(t, l, 0, 12) // 80 bytes each
	f.Add(vfs.Rule{Op: vfs.OpCreate, Path: "*.log", Err: syscall.ENOSPC})
	require.ErrorIs(t, tryAppend(l, 12), ErrNoSpace)
	appendN(t, l, 12, 20)
	requireDense(t, l, 32)
}

// A failed write takes back what it had promised: the sequence may come again, and offsets are not lost.
func TestFailedWriteTakesBackProducerState(t *testing.T) {
	_, f, c := faulty(t, SyncNever)
	l := open(t, c)
	for i := range 7 {
		_, err := l.Append(makeIdempotent(9, 3, int32(i), 1, valueOf(i)), AppendOptions{})
		require.NoError(t, err)
	}
	before, err := l.Producers()
	require.NoError(t, err)
	f.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log"})
	_, err = l.Append(makeIdempotent(9, 3, 7, 1, valueOf(7)), AppendOptions{})
	require.ErrorIs(t, err, syscall.EIO)
	f.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log"})
	_, err = l.Append(makeIdempotent(9, 4, 0, 1, "new epoch"), AppendOptions{})
	require.ErrorIs(t, err, syscall.EIO)
	f.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Short: 40})
	_, err = l.Append(makeIdempotent(10, 0, 0, 1, "new producer"), AppendOptions{})
	require.ErrorIs(t, err, syscall.EIO)
	after, err := l.Producers()
	require.NoError(t, err)
	require.Equal(t, before, after)
	for i := range 5 { // the window is whole
		r, err := l.Append(makeIdempotent(9, 3, int32(2+i), 1, valueOf(2+i)), AppendOptions{})
		require.NoError(t, err)
		require.True(t, r.Duplicate)
		require.Equal(t, Offset(2+i), r.Base)
	}
	r, err := l.Append(makeIdempotent(9, 3, 7, 1, valueOf(7)), AppendOptions{})
	require.NoError(t, err)
	require.Equal(t, Offset(7), r.Base)
	require.False(t, r.Duplicate)
}

// Everything that stood in the queue behind a failed write fails with it, and the log goes on where it was.
func TestFailedWriteFailsTheQueueBehindIt(t *testing.T) {
	m, f, c := faulty(t, SyncAlways)
	l := open(t, c)
	appendN(t, l, 0, 1)
	var wg sync.WaitGroup
	var mu sync.Mutex
	acked := map[Offset]string{0: valueOf(0)}
	f.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Nth: 20, Short: 100})
	f.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Nth: 40, Short: 10})
	failed := 0
	for w := range 16 {
		wg.Go(func() {
			for i := range 50 {
				value := valueOf(w*1000 + i)
				r, err := l.Append(make1(1000, 1, value), AppendOptions{Durable: true})
				mu.Lock()
				if err != nil {
					failed++
				} else if acked[r.Base] != "" {
					t.Errorf("offset %d given twice", r.Base)
				} else {
					acked[r.Base] = value
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.NotZero(t, failed)
	check := func(l *Log) {
		got, offsets := values(t, l, 0, 5000, false)
		require.Len(t, got, len(acked))
		for i, o := range offsets {
			require.Equal(t, Offset(i), o)
			require.Equal(t, acked[o], got[i])
		}
	}
	check(l)
	l.Abandon()
	c.FS = m
	check(open(t, c))
}

// The bytes of a failed write have right checksums: they must be gone before anything else is written, or a crash could bring them
// back behind something else. [rosedb writeAll; prometheus #13027]
func TestGarbageOfAFailedWriteIsGoneBeforeTheNextWrite(t *testing.T) {
	m, f, c := faulty(t, SyncAlways)
	l := open(t, c)
	appendN(t, l, 0, 3)
	f.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Effect: true, Err: syscall.EIO})
	big, err := l.Append(make1(1000, 40, "a long batch that will be found if it is not zeroed"), AppendOptions{Durable: true})
	require.Error(t, err, "%v", big)
	appendN(t, l, 3, 1)
	m.EachCrash(200, func(after *vfs.Mem, label string) bool {
		c := c
		c.FS = after
		l := open(t, c)
		requireDense(t, l, 4)
		l.Abandon()
		return true
	})
}

func TestFailedReadConcernsThatRangeOnly(t *testing.T) {
	_, f, c := faulty(t, SyncNever)
	c.Maps = mmap.NewBudget(0) // by pread
	c.Settings.SegmentBytes = 1000
	l := open(t, c)
	appendN(t, l, 0, 50)
	bad := f.Add(vfs.Rule{Op: vfs.OpRead, Path: segment.LogName(0), Forever: true})
	_, err := l.Read(0, 100, 1000)
	require.ErrorIs(t, err, syscall.EIO)
	got, _ := values(t, l, 12, 1000, false)
	require.Len(t, got, 38)
	bad.Lift()
	requireDense(t, l, 50)
	require.NotZero(t, l.Stats().PreadReads)
}

func TestSpentBudgetOfMappingsFallsBackToReads(t *testing.T) {
	m := vfs.NewMem()
	c := testConfig(m)
	c.Maps = mmap.NewBudget(1)
	c.Settings.SegmentBytes = 1000
	l := open(t, c)
	appendN(t, l, 0, 50)
	requireDense(t, l, 50)
	require.Equal(t, 1, c.Maps.InUse())
	require.NotZero(t, l.Stats().PreadReads)
	require.NoError(t, l.Park())
	require.Zero(t, c.Maps.InUse())
	appendN(t, l, 50, 3)
	requireDense(t, l, 53)
}

// SIGBUS [badger #1682; liftbridge #315; lavinmq #2180]: a file that somebody cuts under a live mapping costs its records, not the
// process.
func TestFileShrunkUnderAMappingIsATypedError(t *testing.T) {
	c := testConfig(vfs.OS)
	c.Dir = filepath.Join(t.TempDir(), "topic-0")
	c.Settings.SegmentBytes = 1 << 20
	l := open(t, c)
	for i := range 300 {
		_, err := l.Append(make1(1000, 1, string(make([]byte, 1000))), AppendOptions{})
		require.NoError(t, err, i)
	}
	_, err := l.Read(0, 1<<60, 1<<20)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(filepath.Join(c.Dir, segment.LogName(0)), 10_000))
	var buf []byte
	_, _, err = l.ReadInto(buf, 200, 1<<60, 1<<20)
	require.ErrorIs(t, err, ErrCorrupt)
	got, next, err := l.ReadInto(buf, 0, 1<<60, 1<<20)
	require.NoError(t, err)
	require.Equal(t, Offset(9), next)
	require.NotEmpty(t, got)
	// Appends go on, behind what is lost.
	r, err := l.Append(make1(1000, 1, "on"), AppendOptions{Durable: true})
	require.NoError(t, err)
	require.Equal(t, Offset(300), r.Base)
	b, _, err := l.ReadInto(nil, 300, 1<<60, 1)
	require.NoError(t, err)
	require.Equal(t, int64(300), batch.Batch(b).BaseOffset())
}

func TestFileRemovedByOthersIsATypedError(t *testing.T) {
	m := vfs.NewMem()
	c := testConfig(m)
	c.Settings.SegmentBytes = 1000
	l := open(t, c)
	appendN(t, l, 0, 50)
	require.NoError(t, l.Close())
	require.NoError(t, m.Remove(filepath.Join(c.Dir, segment.LogName(12))))
	c.Clean, c.CleanEnd = true, 50
	l = open(t, c)
	_, err := l.Read(12, 100, 1000)
	var e *CorruptionError
	require.ErrorAs(t, err, &e)
	require.Equal(t, Offset(24), e.NextOffset)
	got, _ := values(t, l, 0, 1000, true)
	require.Len(t, got, 38)
}

func TestMissingDirectoryPermissionFailsOpen(t *testing.T) {
	_, f, c := faulty(t, SyncAlways)
	f.Add(vfs.Rule{Op: vfs.OpReadDir, Err: fs.ErrPermission})
	_, _, err := Open(c)
	require.ErrorIs(t, err, fs.ErrPermission)
}

// Lock leaked on error path [NATS #8386]: whatever operation fails, the next call returns.
func TestNoFaultLeavesALockHeld(t *testing.T) {
	for _, mode := range []SyncMode{SyncAlways, SyncNever} {
		for nth := 1; nth < 60; nth++ {
			_, f, c := faulty(t, mode)
			c.Settings.SegmentBytes = 500
			armed := f.Add(vfs.Rule{Op: vfs.AnyOp &^ vfs.OpClose, Nth: nth})
			l, _, err := Open(c)
			if err != nil {
				continue
			}
			for i := range 8 {
				_ = tryAppend(l, i)
				_, _, _ = l.ReadInto(nil, 0, 100, 1000)
			}
			_, _ = l.Seal()
			_, _ = l.DeleteRecords(3)
			_, _, _ = l.OffsetForTimestamp(1002)
			_ = l.Park()
			_ = tryAppend(l, 9)
			_, _ = l.Verify(t.Context())
			_ = l.Stats()
			_ = l.Close()
			if armed.Hits() == 0 {
				break
			}
		}
	}
}
