package log

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
)

var epoch = time.UnixMilli(1_700_000_000_000)

// retained makes a log with a segment an hour, each of two records, the last one active.
func retained(t *testing.T, s Settings, hours int) (*Log, *clock.Manual, Config) {
	m := vfs.NewMem()
	require.NoError(t, m.MkdirAll("/data", 0o700))
	c := testConfig(m)
	clk := clock.NewManual(epoch)
	m.SetClock(clk)
	c.Clock, c.Settings = clk, s
	l := open(t, c)
	for h := range hours {
		if h > 0 {
			clk.Advance(time.Hour)
			require.NoError(t, l.Roll())
		}
		_, err := l.Append(make1(clk.Now().UnixMilli(), 2, valueOf(h)), AppendOptions{})
		require.NoError(t, err)
	}
	return l, clk, c
}

func retain(t *testing.T, l *Log, now time.Time) RetainResult {
	t.Helper()
	r, err := l.Retain(now)
	require.NoError(t, err)
	return r
}

func TestOldSegmentsAreDeletedByTime(t *testing.T) {
	l, clk, _ := retained(t, Settings{RetentionAge: 3 * time.Hour}, 10)
	v, err := l.Read(0, 100, 1000)
	require.NoError(t, err)
	before := string(v.Bytes)
	clk.Advance(time.Minute)
	r := retain(t, l, clk.Now())
	require.Equal(t, RetainResult{Segments: 7, Bytes: r.Bytes, Start: 14}, r)
	require.Equal(t, before, string(v.Bytes)) // a lease keeps what it shows
	v.Release()
	_, err = l.Read(0, 100, 1000)
	require.ErrorIs(t, err, ErrOffsetOutOfRange)
	got, _ := values(t, l, 14, 1000, false)
	require.Len(t, got, 6)
	require.Equal(t, 3, l.Stats().Segments)
}

func TestLogIsKeptToItsSize(t *testing.T) {
	l, clk, _ := retained(t, Settings{}, 10)
	one := l.Stats().Bytes / 10
	set := l.Settings()
	set.RetentionBytes = 3*one + one/2
	require.NoError(t, l.SetSettings(set))
	r := retain(t, l, clk.Now())
	require.Equal(t, 6, r.Segments) // the total stays at or above the limit
	require.Equal(t, Offset(12), l.Start())
	set.RetentionBytes = RetainNothing
	require.NoError(t, l.SetSettings(set))
	retain(t, l, clk.Now())
	require.Equal(t, Offset(20), l.Start())
	r2, err := l.Append(make1(clk.Now().UnixMilli(), 1, "on"), AppendOptions{})
	require.NoError(t, err)
	require.Equal(t, Offset(20), r2.Base)
}

// jumpingClock has a wall clock that is set and elapsed time that is not.
type jumpingClock struct {
	*clock.Manual
	elapsed time.Duration
}

func (c *jumpingClock) Elapsed() time.Duration { return c.elapsed }

func (c *jumpingClock) pass(d time.Duration) {
	c.Advance(d)
	c.elapsed += d
}

func TestForwardJumpOfTheClockIsNotBelievedForADay(t *testing.T) {
	c := &jumpingClock{Manual: clock.NewManual(epoch)}
	var g clockGuard
	believes := func(want time.Time) {
		t.Helper()
		require.Equal(t, want.UnixMilli(), g.believe(c, c.Now()).UnixMilli())
	}
	believes(epoch)
	c.pass(time.Hour)
	believes(epoch.Add(time.Hour))
	c.Set(c.Now().AddDate(10, 0, 0))
	c.pass(5 * time.Minute)
	believes(epoch.Add(time.Hour + 5*time.Minute))
	c.Set(c.Now().Add(3 * time.Hour)) // another one
	believes(epoch.Add(time.Hour + 5*time.Minute))
	c.Set(c.Now().Add(-2 * time.Hour)) // part of which is taken back
	believes(epoch.Add(time.Hour + 5*time.Minute))
	c.pass(jumpPatience - time.Minute)
	believes(epoch.Add(time.Hour + 4*time.Minute + jumpPatience))
	c.pass(time.Minute)
	believes(c.Now())
	c.Set(c.Now().AddDate(-1, 0, 0)) // back: what is old looks young, and stays
	believes(c.Now())
}

// A jump that nobody saw, because the log was closed, may be the truth: then the log goes bit by bit.
func TestClockThatIsFarAheadDeletesATenthAtATime(t *testing.T) {
	l, clk, c := retained(t, Settings{RetentionAge: 100 * time.Hour}, 20)
	require.NoError(t, l.Close())
	clk.Set(epoch.AddDate(10, 0, 0))
	c.Clean, c.CleanEnd = true, l.End()
	l = open(t, c)
	r := retain(t, l, clk.Now())
	require.Equal(t, 2, r.Segments)
	require.Equal(t, 18, r.Held)
	require.Equal(t, Offset(4), l.Start())
	for range 20 {
		r = retain(t, l, clk.Now())
	}
	require.Equal(t, l.End(), l.Start())
	require.Zero(t, r.Held)
}

func TestRecordFromTheFutureDoesNotPinItsSegment(t *testing.T) {
	l, clk, c := retained(t, Settings{RetentionAge: 3 * time.Hour, TimestampAfter: Unlimited, SegmentAge: Unlimited}, 1)
	_, err := l.Append(make1(epoch.AddDate(100, 0, 0).UnixMilli(), 1, "future"), AppendOptions{})
	require.NoError(t, err)
	require.NoError(t, l.Roll())
	for range 3 {
		clk.Advance(2 * time.Hour)
		_, err = l.Append(make1(clk.Now().UnixMilli(), 1, "now"), AppendOptions{})
		require.NoError(t, err)
	}
	require.Equal(t, 1, retain(t, l, clk.Now()).Segments)

	// After a restart the file's time tells.
	_, err = l.Append(make1(epoch.AddDate(100, 0, 0).UnixMilli(), 1, "future"), AppendOptions{})
	require.NoError(t, err)
	require.NoError(t, l.Roll())
	_, err = l.Append(make1(clk.Now().Add(4*time.Hour).UnixMilli(), 1, "soon"), AppendOptions{})
	require.NoError(t, err)
	require.NoError(t, l.Close())
	clk.Advance(4 * time.Hour)
	c.Clean, c.CleanEnd, c.LogStart = true, l.End(), l.Start()
	l = open(t, c)
	require.Equal(t, 1, retain(t, l, clk.Now()).Segments)
}

func TestDeleteRecordsRaisesTheLogStart(t *testing.T) {
	l, _, c := retained(t, Settings{}, 5)
	_, err := l.DeleteRecords(11)
	require.ErrorIs(t, err, ErrOffsetOutOfRange)
	_, err = l.DeleteRecords(-2)
	require.ErrorIs(t, err, ErrOffsetOutOfRange)
	start, err := l.DeleteRecords(5)
	require.NoError(t, err)
	require.Equal(t, Offset(5), start)
	require.Equal(t, 3, l.Stats().Segments)
	got, offsets := values(t, l, 5, 1000, false)
	require.Len(t, got, 5)
	require.Equal(t, Offset(5), offsets[0])
	start, err = l.DeleteRecords(3) // never lower
	require.NoError(t, err)
	require.Equal(t, Offset(5), start)
	start, err = l.DeleteRecords(-1)
	require.NoError(t, err)
	require.Equal(t, Offset(10), start)
	require.NoError(t, l.Close())
	c.Clean, c.CleanEnd, c.LogStart = true, 10, 10
	l = open(t, c)
	require.Equal(t, Offset(10), l.Start())
	_, err = l.Append(make1(epoch.UnixMilli(), 1, "on"), AppendOptions{})
	require.NoError(t, err)
	got, _ = values(t, l, 10, 1000, false)
	require.Equal(t, []string{"on"}, got)
}

// Orphan detection deletes live data [NATS #7556; BookKeeper PR #4607]: what nobody knows of stays.
func TestUnknownFilesSurviveEverything(t *testing.T) {
	l, clk, c := retained(t, Settings{RetentionAge: time.Hour}, 5)
	d := &disk{t: t, fs: c.FS, dir: c.Dir}
	for _, name := range []string{"notes.txt", "00000000000000000000.log.bak", "00000000000000000003.log.swap", "x.index"} {
		d.write(name, []byte("mine"))
	}
	clk.Advance(time.Minute)
	retain(t, l, clk.Now())
	l.Abandon()
	l = open(t, c)
	require.NoError(t, l.Close())
	for _, name := range []string{"notes.txt", "00000000000000000000.log.bak", "00000000000000000003.log.swap", "x.index"} {
		require.Equal(t, "mine", string(d.read(name)))
	}
}

func TestSegmentsRollByAge(t *testing.T) {
	m := vfs.NewMem()
	require.NoError(t, m.MkdirAll("/data", 0o700))
	c := testConfig(m)
	clk := clock.NewManual(epoch)
	c.Clock, c.Settings = clk, Settings{SegmentAge: time.Hour, TimestampAfter: Unlimited}
	l := open(t, c)
	at := func(ts time.Time) int {
		_, err := l.Append(make1(ts.UnixMilli(), 1, "x"), AppendOptions{})
		require.NoError(t, err)
		return l.Stats().Segments
	}
	require.Equal(t, 1, at(epoch))
	require.Equal(t, 1, at(epoch.Add(time.Hour)))
	require.Equal(t, 2, at(epoch.Add(time.Hour+time.Millisecond))) // by the records' time
	require.Equal(t, 2, at(epoch))                                 // older than the first of the segment
	clk.Advance(2 * time.Hour)
	require.Equal(t, 3, at(epoch)) // by the clock, where the records do not tell
}
