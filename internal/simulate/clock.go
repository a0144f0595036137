package simulate

import (
	"time"

	"github.com/partlog/partlog/internal/clock"
)

// Clock is the clock of one process: it implements clock.Clock. Its wall clock may be off and jump; its elapsed time moves at a pace
// of its own, only forwards. What AfterFunc calls happens in the life of the process that asked for it.
type Clock struct {
	sched   *Scheduler
	process *Process
	wall    time.Time     // what the wall clock shows when no time has elapsed
	pace    float64       // elapsed time of this clock per time of the world
	since   time.Duration // time of the world when the pace was set
	elapsed time.Duration // of this clock, then
}

var _ clock.Clock = (*Clock)(nil)

// NewClock returns a clock that shows wall when the world begins.
func NewClock(p *Process, wall time.Time) *Clock {
	return &Clock{sched: p.sched, process: p, wall: wall.Round(0), pace: 1}
}

// Now returns what the wall clock shows.
func (c *Clock) Now() time.Time { return c.wall.Add(c.Elapsed()) }

// Elapsed returns the time that has passed on this clock; no jump changes it.
func (c *Clock) Elapsed() time.Duration {
	passed := c.sched.Now() - c.since
	if c.pace == 1 {
		return c.elapsed + passed
	}
	return c.elapsed + time.Duration(float64(passed)*c.pace)
}

// Jump moves the wall clock by d, in either direction.
func (c *Clock) Jump(d time.Duration) { c.wall = c.wall.Add(d) }

// Drift makes elapsed time move at pace from now on: 1.01 is one percent too fast. What waits already waits as long as it was to.
func (c *Clock) Drift(pace float64) {
	c.elapsed = c.Elapsed()
	c.since, c.pace = c.sched.Now(), pace
}

// AfterFunc calls f once when d has elapsed on this clock, in the present life of the process.
func (c *Clock) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	life := c.process.Life()
	pending := true
	if c.pace != 1 {
		d = time.Duration(float64(d) / c.pace)
	}
	timer := c.sched.After(d, func() {
		c.process.DoIn(life, func() {
			if pending { // it may have been stopped while the process was paused
				pending = false
				f()
			}
		})
	})
	return func() bool {
		was := pending
		pending = false
		c.sched.Stop(timer)
		return was
	}
}
