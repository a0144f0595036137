package log

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/compress"
	"github.com/partlog/partlog/internal/vfs"
)

// dirtyLog holds three segments of two keys, and what is left of them when they have been cleaned.
func dirtyLog(t *testing.T, fs vfs.FS) (*Log, Config, []string) {
	c, _ := compacted(fs)
	l := open(t, c)
	for i := range 3 {
		put(t, l, keyed{"a", fmt.Sprint(i)}, keyed{"b", fmt.Sprint(i)})
		put(t, l, keyed{fmt.Sprint("c", i), "1"})
		roll(t, l)
	}
	return l, c, []string{"2:c0=1", "5:c1=1", "6:a=2", "7:b=2", "8:c2=1"}
}

// names returns the directory's files.
func names(t *testing.T, fs vfs.FS) (out []string) {
	entries, err := fs.ReadDir(testDir)
	require.NoError(t, err)
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// Whatever operation of a cleaning fails, no record is lost, the log is read as before, and a later cleaning, of this process or the
// next, ends it. A failed sync of names poisons.
func TestAnyFailingOperationOfACleaningLosesNothing(t *testing.T) {
	last := func(list []string) (out []string) {
		keys := map[string]string{}
		for _, s := range list {
			_, record, _ := strings.Cut(s, ":")
			key, _, _ := strings.Cut(record, "=")
			keys[key] = s
		}
		for _, s := range list {
			_, record, _ := strings.Cut(s, ":")
			key, _, _ := strings.Cut(record, "=")
			if keys[key] == s {
				out = append(out, s)
			}
		}
		return out
	}
	for _, effect := range []bool{false, true} {
		for nth := 1; ; nth++ {
			m := vfs.NewCrashMem(vfs.Strict)
			require.NoError(t, m.MkdirAll("/data", 0o700))
			require.NoError(t, m.SyncDir("/"))
			fault := vfs.NewFault(m)
			l, c, want := dirtyLog(t, fault)
			for done := false; !done; {
				var err error
				done, err = l.Seal()
				require.NoError(t, err)
			}
			armed := fault.Add(vfs.Rule{Op: vfs.Mutations, Nth: nth, Err: syscall.EIO, Effect: effect})
			_, err := l.Clean(CleanOptions{})
			fault.Clear()
			if armed.Hits() == 0 {
				require.NoError(t, err)
				require.Greater(t, nth, 15)
				break
			}
			require.Equal(t, want, last(contents(t, l)), "operation %d: %v", nth, err)
			if l.failureError() == nil {
				put(t, l, keyed{"d", "1"})
				_, err = l.Retain(l.clock.Now())
				require.NoError(t, err)
				_, err = l.Clean(CleanOptions{})
				require.NoError(t, err)
				require.Equal(t, append(want[:5:5], "9:d=1"), contents(t, l))
				for _, name := range names(t, m) {
					require.NotRegexp(t, `\.(cleaned|swap)$`, name)
				}
				require.NoError(t, l.Close())
			} else {
				require.ErrorIs(t, l.Close(), ErrPoisoned)
			}
			for _, after := range []*vfs.Mem{m.KillClone(), m} {
				c.FS, c.Cleaned = after, 0
				again, _, err := Open(c)
				require.NoError(t, err)
				require.Equal(t, want, last(contents(t, again))[:5])
				_, err = again.Clean(CleanOptions{})
				require.NoError(t, err)
				require.Equal(t, want, contents(t, again)[:5])
				require.NoError(t, again.Close())
			}
		}
	}
}

func TestFullDiskEndsACleaningAndLeavesNoTrace(t *testing.T) {
	m := vfs.NewMem()
	fault := vfs.NewFault(m)
	l, _, want := dirtyLog(t, fault)
	before := contents(t, l)
	armed := fault.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log.cleaned", Err: syscall.ENOSPC, Forever: true})
	_, err := l.Clean(CleanOptions{})
	require.ErrorIs(t, err, ErrNoSpace)
	require.Equal(t, before, contents(t, l))
	require.Zero(t, l.Cleaned())
	for _, name := range names(t, m) {
		require.NotContains(t, name, ".cleaned")
	}
	put(t, l, keyed{"d", "1"})
	armed.Lift()
	clean(t, l)
	require.Equal(t, append(want, "9:d=1"), contents(t, l))
}

func TestDamageStopsACleaningBeforeItRemovesAnything(t *testing.T) {
	for _, segment := range []string{"00000000000000000000.log", "00000000000000000003.log", "00000000000000000006.log"} {
		m := vfs.NewMem()
		l, c, _ := dirtyLog(t, m)
		l = reopen(t, l, c, true)
		d := &disk{t: t, fs: m, dir: c.Dir}
		data := d.read(segment)
		data[70] ^= 1
		d.write(segment, data)
		before := names(t, m)
		r, err := l.Clean(CleanOptions{})
		require.ErrorIs(t, err, ErrCorrupt, segment)
		require.Zero(t, r.Swapped)
		require.Equal(t, before, names(t, m))
		_, err = l.Clean(CleanOptions{})
		require.ErrorIs(t, err, ErrCorrupt)
		l.Abandon()
	}
}

func TestCleaningEndsWhenItsSegmentsGo(t *testing.T) {
	for name, change := range map[string]func(*Log) error{
		"close":    func(l *Log) error { return l.Close() },
		"abandon":  func(l *Log) error { l.Abandon(); return nil },
		"delete":   func(l *Log) error { _, err := l.DeleteRecords(4); return err },
		"truncate": func(l *Log) error { return l.TruncateTo(4) },
	} {
		m := vfs.NewMem()
		l, c, _ := dirtyLog(t, m)
		cleaning, err := l.BeginClean(CleanOptions{})
		require.NoError(t, err)
		_, err = l.BeginClean(CleanOptions{})
		require.ErrorIs(t, err, ErrCleaningAborted)
		for range 3 {
			_, err = cleaning.Step(1)
			require.NoError(t, err)
		}
		require.NoError(t, change(l), name)
		for done := false; !done; {
			done, err = cleaning.Step(1)
		}
		require.Error(t, err, name)
		if !l.closed.Load() {
			require.ErrorIs(t, err, ErrCleaningAborted, name)
			clean(t, l)
			l.Abandon()
		}
		c.LogStart = l.Start()
		l = open(t, c)
		for _, file := range names(t, m) {
			require.NotContains(t, file, ".cleaned", name)
		}
		require.NotEmpty(t, contents(t, l))
	}
}

func TestPaceIsToldOfTheWorkAndEndsTheCleaning(t *testing.T) {
	l, _, _ := dirtyLog(t, vfs.NewMem())
	stop := errors.New("stop")
	value := strings.Repeat("x", 9000)
	for i := range 2000 {
		put(t, l, keyed{fmt.Sprint("k", i), value})
	}
	roll(t, l)
	var bytes int64
	calls := 0
	_, err := l.Clean(CleanOptions{Pace: func(n int64) error {
		if bytes += n; bytes > 20<<20 {
			return stop
		}
		calls++
		return nil
	}})
	require.ErrorIs(t, err, stop)
	require.GreaterOrEqual(t, calls, 2)
	r := clean(t, l)
	require.Greater(t, r.Bytes+r.KeptBytes+r.MapBytesRead, bytes)
}

// Views stay as they are while the segments under them are exchanged; everybody else finds the new ones; a reader from the
// beginning sees the last record of every key.
func TestReadersAppendsAndDeletionsRunOnWhileCleaning(t *testing.T) {
	c, _ := compacted(vfs.NewMem())
	c.Settings.SegmentBytes, c.Settings.Sync, c.Settings.DeleteRetention = 3000, SyncNever, RetainNothing
	l := open(t, c)
	const keys = 40
	var lasts [keys]atomic.Int64 // offset, plus 1
	appended := func(n int) {
		for i := range n {
			k := i * 7 % keys
			r, err := l.Append(makeKeyed(compress.None, 1, keyed{fmt.Sprint(k), fmt.Sprint(i)}), AppendOptions{})
			require.NoError(t, err)
			lasts[k].Store(int64(r.Last) + 1)
		}
	}
	appended(400)
	var stop atomic.Bool
	var work, readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for !stop.Load() {
				var known [keys]int64
				for k := range known {
					known[k] = lasts[k].Load() - 1
				}
				var seen [keys]int64
				var held []View
				from := l.Start()
				for at := from; at < l.Visible(); {
					v, err := l.Read(at, 1<<62, 700)
					if errors.Is(err, ErrOffsetOutOfRange) && at < l.Start() {
						at = l.Start()
						continue
					}
					require.NoError(t, err)
					previous := int64(at) - 1
					eachRecord(t, v.Bytes, func(r *batch.Record) {
						if r.Offset < int64(at) {
							return
						}
						require.Greater(t, r.Offset, previous)
						previous = r.Offset
						var k int
						_, err := fmt.Sscan(string(r.Key), &k)
						require.NoError(t, err)
						seen[k] = r.Offset
					})
					at = v.Next
					held = append(held, v)
				}
				for _, v := range held {
					eachRecord(t, v.Bytes, func(*batch.Record) {})
					v.Release()
				}
				for k := range known {
					if known[k] >= int64(l.Start()) {
						require.GreaterOrEqual(t, seen[k], known[k], "key %d", k)
					}
				}
				_, _, err := l.OffsetForTimestamp(1)
				require.NoError(t, err)
			}
		})
	}
	work.Go(func() { appended(4000) })
	work.Go(func() {
		for range 60 {
			if _, err := l.Clean(CleanOptions{MapBytes: 24 * 60}); err != nil {
				require.ErrorIs(t, err, ErrCleaningAborted)
			}
		}
	})
	work.Go(func() {
		for range 30 {
			_, err := l.Seal()
			require.NoError(t, err)
			_, err = l.Retain(time.UnixMilli(1_000_000))
			require.NoError(t, err)
			_, err = l.DeleteRecords(l.Start() + 5)
			require.NoError(t, err)
			_, err = l.Verify(t.Context())
			require.NoError(t, err)
			require.NoError(t, l.Park())
		}
	})
	work.Wait()
	stop.Store(true)
	readers.Wait()
	require.Zero(t, l.Leases().Count)
	roll(t, l)
	clean(t, l)
	require.Len(t, contents(t, l), keys)
	report, err := l.Verify(t.Context())
	require.NoError(t, err)
	require.Empty(t, report.Findings)
}
