package clock_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestManualStandsStillUntilAdvanced(t *testing.T) {
	c := clock.NewManual(epoch)
	require.Equal(t, epoch, c.Now())
	c.Advance(90 * time.Minute)
	require.Equal(t, epoch.Add(90*time.Minute), c.Now())
}

func TestAdvanceCallsDueFunctionsInOrderAtTheirInstant(t *testing.T) {
	c := clock.NewManual(epoch)
	var got []string
	note := func(name string) func() {
		return func() { got = append(got, name+"@"+c.Now().Sub(epoch).String()) }
	}
	c.AfterFunc(3*time.Second, note("c"))
	c.AfterFunc(1*time.Second, note("a"))
	c.AfterFunc(1*time.Second, note("b"))
	c.AfterFunc(9*time.Second, note("never"))
	c.AfterFunc(2*time.Second, func() { c.AfterFunc(time.Second, note("nested")) })
	c.Advance(4 * time.Second)
	require.Equal(t, []string{"a@1s", "b@1s", "c@3s", "nested@3s"}, got)
	require.Equal(t, 1, c.Waiting())
	require.Equal(t, epoch.Add(4*time.Second), c.Now())
}

func TestStopPreventsTheCallOnce(t *testing.T) {
	c := clock.NewManual(epoch)
	stop := c.AfterFunc(time.Second, func() { t.Fatal("called after stop") })
	require.True(t, stop())
	require.False(t, stop())
	c.Advance(time.Hour)
	called := false
	stop = c.AfterFunc(time.Second, func() { called = true })
	c.Advance(time.Second)
	require.True(t, called)
	require.False(t, stop())
}

func TestSetJumpsTheWallClockAndLeavesTimersAlone(t *testing.T) {
	c := clock.NewManual(epoch)
	called := 0
	c.AfterFunc(time.Minute, func() { called++ })
	c.Set(epoch.AddDate(10, 0, 0))
	c.Advance(59 * time.Second)
	require.Zero(t, called, "a jump of the wall clock is not elapsed time")
	c.Set(epoch.AddDate(-10, 0, 0))
	c.Advance(time.Second)
	require.Equal(t, 1, called)
	require.Equal(t, epoch.AddDate(-10, 0, 0).Add(time.Second), c.Now())
}

func TestAdvanceFromWithinAFunctionNeverMovesBack(t *testing.T) {
	c := clock.NewManual(epoch)
	c.AfterFunc(time.Second, func() { c.Advance(time.Hour) })
	c.Advance(2 * time.Second)
	require.Equal(t, epoch.Add(time.Hour+time.Second), c.Now())
	require.Panics(t, func() { c.Advance(-1) })
}

func TestSystemFollowsTheRuntimesClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := clock.System.Now()
		done := make(chan time.Time, 1)
		clock.System.AfterFunc(time.Hour, func() { done <- clock.System.Now() })
		require.Equal(t, time.Hour, (<-done).Sub(start))
		stop := clock.System.AfterFunc(time.Hour, func() {})
		require.True(t, stop())
	})
}

func TestElapsedTimeKnowsNoJumpOfTheWallClock(t *testing.T) {
	m := clock.NewManual(time.UnixMilli(0))
	m.Advance(time.Minute)
	m.Set(time.UnixMilli(1e12))
	m.Advance(time.Second)
	require.Equal(t, time.Minute+time.Second, m.Elapsed())
}
