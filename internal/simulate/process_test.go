package simulate_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/simulate"
)

func TestPausedProcessDoesItsWorkLateAndInOrder(t *testing.T) {
	s := simulate.NewScheduler(1)
	p := simulate.NewProcess(s)
	var done []int
	work := func(n int) func() { return func() { done = append(done, n) } }
	p.Do(work(0))
	require.Empty(t, done, "it has not been started")
	p.Start()
	p.Do(work(1))
	p.Pause()
	require.True(t, p.Paused())
	p.Do(work(2))
	p.Do(work(3))
	s.RunUntil(time.Minute)
	require.Equal(t, []int{1}, done)
	p.Resume()
	require.Equal(t, []int{1, 2, 3}, done)
}

func TestStalledProcessIsBusyForAWhile(t *testing.T) {
	s := simulate.NewScheduler(1)
	p := simulate.NewProcess(s)
	p.Start()
	var at []time.Duration
	note := func() { at = append(at, s.Now()) }
	p.Do(func() { p.Stall(time.Second) })
	p.Do(note)
	p.Do(func() {
		note()
		p.Stall(time.Second)
		p.Stall(time.Second)
	})
	p.Do(note)
	s.RunUntil(time.Minute)
	require.Equal(t, []time.Duration{time.Second, time.Second, 3 * time.Second}, at)
}

func TestEndOfAStallLetsTheProcessGoOn(t *testing.T) {
	s := simulate.NewScheduler(1)
	p := simulate.NewProcess(s)
	p.Start()
	p.Stall(time.Hour)
	var at time.Duration
	p.Do(func() { at = s.Now() })
	s.RunUntil(time.Second)
	tasks, until := p.Backlog()
	require.Equal(t, 1, tasks)
	require.Equal(t, time.Hour, until)
	p.Unstall()
	s.RunUntil(time.Minute)
	require.Equal(t, time.Second, at)
}

func TestNothingOfAnEndedLifeIsDone(t *testing.T) {
	s := simulate.NewScheduler(1)
	p := simulate.NewProcess(s)
	c := simulate.NewClock(p, time.Unix(0, 0))
	p.Start()
	never := func() { t.Error("done in another life") }
	c.AfterFunc(time.Second, never)
	p.Pause()
	p.Do(never)
	p.Kill()
	p.Do(never)
	p.Start()
	s.RunUntil(time.Minute)
	require.EqualValues(t, 2, p.Life())
	ok := false
	c.AfterFunc(time.Second, func() { ok = true })
	s.RunUntil(2 * time.Minute)
	require.True(t, ok)
}

func TestClockDriftsAndJumps(t *testing.T) {
	s := simulate.NewScheduler(1)
	p := simulate.NewProcess(s)
	p.Start()
	zero := time.Unix(1000, 0)
	c := simulate.NewClock(p, zero)
	s.RunUntil(10 * time.Second)
	require.Equal(t, zero.Add(10*time.Second), c.Now())
	c.Drift(2)
	s.RunUntil(20 * time.Second)
	require.Equal(t, 30*time.Second, c.Elapsed())
	var at time.Duration
	c.AfterFunc(10*time.Second, func() { at = s.Now() })
	c.Jump(-time.Hour)
	require.Equal(t, zero.Add(30*time.Second-time.Hour), c.Now())
	require.Equal(t, 30*time.Second, c.Elapsed(), "a jump is no time")
	s.RunUntil(time.Minute)
	require.Equal(t, 25*time.Second, at, "it runs twice as fast")
}

func TestStoppedTimerDoesNotFireAfterAPause(t *testing.T) {
	s := simulate.NewScheduler(1)
	p := simulate.NewProcess(s)
	p.Start()
	c := simulate.NewClock(p, time.Unix(0, 0))
	stop := c.AfterFunc(time.Second, func() { t.Error("it was stopped") })
	p.Pause()
	s.RunUntil(2 * time.Second)
	require.True(t, stop())
	require.False(t, stop())
	p.Resume()
	s.RunUntil(time.Minute)
}
