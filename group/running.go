package group

import (
	"time"

	"github.com/partlog/partlog/partition"
)

// runningTimer is a timer that counts only time in which this process ran. A process that was suspended or stopped
// wakes to find all its timers due at once, although nobody could have done anything in time; none of its members is
// to be expelled for that.
//
// It waits in slices. A slice whose end is noticed much too late was slept through, and is waited for once more; so a
// machine that is merely always late does not wait for ever. Of the time before a stop, at most one slice is counted
// twice.
type runningTimer struct {
	clock partition.Clock
	f     func(*runningTimer) // called at the end of every slice; it takes the owner's lock and calls tick
	left  time.Duration
	slice time.Duration
	armed time.Time
	again bool // this slice is waited for the second time
	stop  func() bool
}

const slicesPerTimer = 8

// newRunningTimer starts a timer. The owner's lock guards it.
func newRunningTimer(c partition.Clock, d time.Duration, f func(*runningTimer)) *runningTimer {
	t := &runningTimer{clock: c, f: f, left: d}
	t.slice = max(d/slicesPerTimer, min(d, 100*time.Millisecond))
	t.arm()
	return t
}

func (t *runningTimer) arm() {
	t.armed = t.clock.Now()
	t.stop = t.clock.AfterFunc(min(t.slice, t.left), func() { t.f(t) })
}

// tick ends a slice and reports whether it was the last; if not, the next one is running.
func (t *runningTimer) tick() bool {
	slice := min(t.slice, t.left)
	if late := t.clock.Now().Sub(t.armed) - slice; late > slice/2+100*time.Millisecond && !t.again {
		t.again = true
		t.arm()
		return false
	}
	t.again = false
	if t.left -= slice; t.left <= 0 {
		return true
	}
	t.arm()
	return false
}
