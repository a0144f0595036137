package log

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// The recovery table: a log of 30 batches of 80 bytes in segments of 12, 12 and 6, killed, with something done to its files.
const (
	batchSize   = 80
	logged      = 30
	lastSegment = Offset(24)
)

// damagedLog makes the log and does what edit says; rp is the recovery point.
func damagedLog(t *testing.T, mode SyncMode, rp Offset, edit func(d *disk)) (Config, *disk) {
	m := vfs.NewMem()
	require.NoError(t, m.MkdirAll("/data", 0o700))
	c := testConfig(m)
	c.Settings = Settings{Sync: mode, SegmentBytes: 12 * batchSize, IndexInterval: 100, NoPreallocation: true}
	l := open(t, c)
	appendN(t, l, 0, logged)
	l.Abandon()
	d := &disk{t: t, fs: m, dir: c.Dir}
	if edit != nil {
		edit(d)
	}
	c.RecoveryPoint = rp
	return c, d
}

// disk edits files.
type disk struct {
	t   *testing.T
	fs  vfs.FS
	dir string
}

func (d *disk) read(name string) []byte {
	b, err := vfs.ReadFile(d.fs, filepath.Join(d.dir, name), 1<<30)
	require.NoError(d.t, err)
	return b
}

func (d *disk) write(name string, b []byte) {
	require.NoError(d.t, vfs.WriteFileAtomic(d.fs, filepath.Join(d.dir, name), b))
}

func (d *disk) flip(name string, position int64) {
	b := d.read(name)
	b[position] ^= 0x10
	d.write(name, b)
}

func (d *disk) zero(name string, from, to int64) {
	b := d.read(name)
	clear(b[from:to])
	d.write(name, b)
}

func (d *disk) cut(name string, size int64) { d.write(name, d.read(name)[:size]) }

func (d *disk) add(name string, b ...byte) { d.write(name, append(d.read(name), b...)) }

func (d *disk) remove(name string) {
	require.NoError(d.t, d.fs.Remove(filepath.Join(d.dir, name)))
}

func (d *disk) names() (names []string) {
	entries, err := d.fs.ReadDir(d.dir)
	require.NoError(d.t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func kinds(r *RecoveryReport) string {
	var out []string
	for _, f := range r.Findings {
		if f.Kind != WrongIndex {
			out = append(out, f.Kind+" "+f.Action)
		}
	}
	return strings.Join(out, ", ")
}

func TestRecoveryClassifies(t *testing.T) {
	last, first := segment.LogName(int64(lastSegment)), segment.LogName(0)
	tail := make1(1000, 1, valueOf(0)) // a valid batch of an old offset
	for _, tc := range []struct {
		name    string
		mode    SyncMode
		rp      Offset
		edit    func(d *disk)
		found   string
		missing []int // records that cannot be read
		end     Offset
		lossy   bool
	}{
		{name: "clean end", end: 30},
		{name: "torn tail", edit: func(d *disk) { d.cut(last, 6*batchSize-10) }, found: "torn-tail truncated", missing: []int{29}, end: 29, lossy: true},
		{name: "zero tail", edit: func(d *disk) { d.add(last, make([]byte, 5000)...) }, found: "zero-tail truncated", end: 30},
		{name: "stale tail", edit: func(d *disk) { d.add(last, tail...) }, found: "stale-tail truncated", end: 30, lossy: true},
		{name: "garbage tail", edit: func(d *disk) { d.add(last, []byte("garbage that is no batch")...) }, found: "torn-tail truncated", end: 30, lossy: true},
		{name: "flip in the middle above the recovery point", edit: func(d *disk) { d.flip(last, 2*batchSize+70) },
			found: "corrupt-middle quarantined", missing: []int{26}, end: 30, lossy: true},
		{name: "flip in the middle below the recovery point", rp: 30, edit: func(d *disk) { d.flip(last, 2*batchSize+70) },
			found: "corrupt-middle quarantined", missing: []int{26}, end: 30, lossy: true},
		{name: "flip in the middle of a finished segment", edit: func(d *disk) { d.flip(first, 3*batchSize+70) },
			found: "corrupt-middle quarantined", missing: []int{3}, end: 30, lossy: true},
		{name: "flip of a length", edit: func(d *disk) { d.flip(last, 2*batchSize+10) },
			found: "corrupt-middle quarantined", missing: []int{26}, end: 30, lossy: true},
		{name: "flip of a base offset", edit: func(d *disk) { d.flip(last, 2*batchSize+7) },
			found: "corrupt-middle quarantined", missing: []int{26}, end: 30, lossy: true},
		{name: "lost sector above the recovery point", mode: SyncNever, edit: func(d *disk) { d.zero(segment.LogName(12), 512, 960) },
			found: "torn-tail truncated, torn-tail truncated", missing: span(18, 30), end: 18, lossy: true},
		{name: "lost sector with good batches behind", mode: SyncNever, edit: func(d *disk) { d.zero(first, 0, 512) },
			found: "torn-tail truncated, torn-tail truncated, torn-tail truncated", missing: span(0, 30), end: 0, lossy: true},
		{name: "lost sector below the recovery point", rp: 30, edit: func(d *disk) { d.zero(last, 0, 480) },
			found: "zero-tail quarantined", missing: []int{24, 25, 26, 27, 28, 29}, end: 30, lossy: true},
		{name: "last file cut below the recovery point", rp: 28, edit: func(d *disk) { d.cut(last, batchSize) },
			found: "missing-segment quarantined", missing: []int{25, 26, 27, 28, 29}, end: 28, lossy: true},
		{name: "last file empty above the recovery point", edit: func(d *disk) { d.cut(last, 0) }, missing: []int{24, 25, 26, 27, 28, 29}, end: 24},
		{name: "missing segment", edit: func(d *disk) { d.remove(segment.LogName(12)) },
			found: "missing-segment quarantined", missing: span(12, 24), end: 30, lossy: true},
		{name: "missing last segment below the recovery point", rp: 30, edit: func(d *disk) { d.remove(last) },
			found: "missing-segment quarantined", missing: span(24, 30), end: 30, lossy: true},
		{name: "foreign file", edit: func(d *disk) { d.write("notes.txt", []byte("mine")) }, found: "foreign kept", end: 30},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, d := damagedLog(t, tc.mode, tc.rp, tc.edit)
			files := len(d.names())
			for round := range 3 { // the third time like the second
				l, report, err := Open(c)
				require.NoError(t, err)
				if round == 0 {
					require.Equal(t, tc.found, kinds(report))
					require.Equal(t, tc.end, report.End)
					if tc.mode == 0 {
						require.Equal(t, tc.lossy, report.Lossy)
					}
				}
				require.Equal(t, tc.end, l.End())
				got, _ := values(t, l, 0, 4096, true)
				var want []string
				for i := range logged {
					if !contains(tc.missing, i) {
						want = append(want, valueOf(i))
					}
				}
				require.Equal(t, want, got)
				l.Abandon()
			}
			require.GreaterOrEqual(t, len(d.names()), files, "recovery removed a file")
			l := open(t, c)
			r, err := l.Append(make1(1, 1, "on"), AppendOptions{Durable: true})
			require.NoError(t, err)
			require.Equal(t, tc.end, r.Base)
			require.NoError(t, l.Close())
			c.Clean, c.CleanEnd = true, tc.end+1
			l = open(t, c)
			got, _ := values(t, l, tc.end, 4096, false)
			require.Equal(t, []string{"on"}, got)
		})
	}
}

func span(from, to int) (out []int) {
	for i := from; i < to; i++ {
		out = append(out, i)
	}
	return out
}

func contains(list []int, x int) bool {
	for _, y := range list {
		if x == y {
			return true
		}
	}
	return false
}

// What is left lies below the log start: nobody may read it, and the log goes on empty where it starts.
func TestLogThatEndsBelowItsStartBeginsThere(t *testing.T) {
	for _, mode := range []SyncMode{SyncAlways, SyncNever} {
		c, d := damagedLog(t, mode, 0, func(d *disk) { d.cut(segment.LogName(int64(lastSegment)), 2*batchSize) })
		c.LogStart = 28
		for range 2 {
			l := open(t, c)
			require.Equal(t, []Offset{28, 28}, []Offset{l.Start(), l.End()})
			got, _ := values(t, l, 28, 1000, false)
			require.Empty(t, got)
			_, err := l.Read(27, 100, 100)
			require.ErrorIs(t, err, ErrOffsetOutOfRange)
			l.Abandon()
		}
		l := open(t, c)
		appendN(t, l, 28, 2)
		require.Equal(t, Offset(28), l.segmentList()[len(l.segmentList())-1].base)
		_, err := l.DeleteRecords(28)
		require.NoError(t, err)
		require.Equal(t, []Offset{28}, bases(l), "what lay below goes")
		require.NoError(t, l.Close())
		require.NotContains(t, d.names(), segment.LogName(int64(lastSegment)))
		c.Clean, c.CleanEnd = true, 30
		l = open(t, c)
		got, _ := values(t, l, 28, 1000, false)
		require.Equal(t, []string{valueOf(28), valueOf(29)}, got)
	}
}

func TestCutBytesAreKept(t *testing.T) {
	garbage := []byte("somebody may want this")
	c, d := damagedLog(t, SyncAlways, 0, func(d *disk) { d.add(segment.LogName(int64(lastSegment)), garbage...) })
	l, report, err := Open(c)
	require.NoError(t, err)
	require.Equal(t, int64(len(garbage)), report.Truncated)
	name := segment.TornName(int64(lastSegment), 6*batchSize)
	require.Equal(t, filepath.Join(c.Dir, name), report.Findings[0].SavedAs)
	require.Equal(t, garbage, d.read(name))
	l.Abandon()
	// Other bytes at the same place do not replace them.
	d.add(segment.LogName(int64(lastSegment)), []byte("something else")...)
	open(t, c)
	require.Equal(t, garbage, d.read(name))
	require.Equal(t, []byte("something else"), d.read(name+".1"))
}

// Every byte of every file flipped, and every file cut at every length: detected, repaired or harmless; never a wrong record.
func TestNoFlippedBitGivesAWrongRecord(t *testing.T) {
	for _, clean := range []bool{true, false} {
		m := vfs.NewMem()
		require.NoError(t, m.MkdirAll("/data", 0o700))
		c := testConfig(m)
		c.Settings = Settings{SegmentBytes: 4 * batchSize, IndexInterval: 100}
		l := open(t, c)
		appendN(t, l, 0, 10)
		for done := false; !done; {
			var err error
			done, err = l.Seal()
			require.NoError(t, err)
		}
		require.NoError(t, l.Close())
		c.Clean, c.CleanEnd, c.RecoveryPoint = clean, 10, 10
		d := &disk{t: t, fs: m, dir: c.Dir}
		files := map[string][]byte{}
		for _, name := range d.names() {
			files[name] = d.read(name)
		}
		check := func(name string, content []byte, what string) {
			after := vfs.NewMem()
			require.NoError(t, after.MkdirAll(c.Dir, 0o700))
			for n, b := range files {
				if n == name {
					b = content
				}
				require.NoError(t, vfs.WriteFileAtomic(after, filepath.Join(c.Dir, n), b))
			}
			c := c
			c.FS = after
			l, _, err := Open(c)
			if err != nil {
				return // refused
			}
			defer l.Abandon()
			said := false
			for next := Offset(0); next < 10; {
				v, err := l.Read(next, 1<<62, 150)
				if err != nil {
					said = true
					e, ok := err.(*CorruptionError)
					if !ok {
						return
					}
					require.Greater(t, e.NextOffset, next, "%s %s", name, what)
					next = e.NextOffset
					continue
				}
				if len(v.Bytes) == 0 {
					t.Fatalf("%s %s: nothing at %d, end %d", name, what, next, l.End())
				}
				eachRecord(t, v.Bytes, func(r *batch.Record) {
					if int(r.Offset) >= 10 || valueOf(int(r.Offset)) != string(r.Value) {
						t.Fatalf("%s %s: record %d is %q", name, what, r.Offset, r.Value)
					}
				})
				next = v.Next
				v.Release()
			}
			if strings.HasSuffix(name, ".index") || strings.HasSuffix(name, ".timeindex") || strings.HasSuffix(name, ".snapshot") {
				require.False(t, said, "%s %s: a damaged cache hides records", name, what)
			}
			for i := range 10 {
				if o, ts, err := l.OffsetForTimestamp(int64(1000 + i)); err == nil && !said && (o != Offset(i) || ts != int64(1000+i)) {
					t.Fatalf("%s %s: offset for timestamp %d is %d", name, what, 1000+i, o)
				}
			}
			_, _ = l.Append(make1(1, 1, "on"), AppendOptions{})
			_, err = l.Verify(t.Context())
			require.NoError(t, err, "%s %s", name, what)
			_ = l.Close()
		}
		for name, b := range files {
			for i := range b {
				flipped := append([]byte(nil), b...)
				flipped[i] ^= 1 << (i % 8)
				check(name, flipped, fmt.Sprintf("flipped at %d", i))
			}
			for size := range b {
				check(name, b[:size], fmt.Sprintf("cut to %d", size))
			}
			check(name, append(append([]byte(nil), b...), b...), "doubled")
			check(name, append(append([]byte(nil), b...), 0, 0, 0, 0, 0, 0, 0, 0), "with zeros")
		}
	}
}
