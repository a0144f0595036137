package log

import (
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/internal/clock"
)

// clockGuard tells time that has passed from jumps of the wall clock. It is used with admin held, but for lastNow.
type clockGuard struct {
	wall    time.Time     // at the last look
	elapsed time.Duration // reading of a clock that has one, at the last look
	ran     time.Duration // since the first look
	jumps   []clockJump   // that are not believed yet

	lastNow atomic.Int64 // last reading of the clock by an append, milliseconds
}

// clockJump is how far the wall clock jumped ahead, and when.
type clockJump struct {
	at, by time.Duration
}

const (
	jumpTolerance = time.Minute    // clocks are set by small steps all the time
	jumpPatience  = 24 * time.Hour // of running: enough for somebody to notice
)

// believe returns the time that deletions may act on: now, less the jumps ahead of the last day of running. A clock that was right all
// along and a machine that slept look like a jump too: then deletions come a day later.
func (g *clockGuard) believe(c clock.Clock, now time.Time) time.Time {
	var reading time.Duration
	e, ok := c.(interface{ Elapsed() time.Duration })
	if ok {
		reading = e.Elapsed()
	}
	if !g.wall.IsZero() {
		passed := now.Sub(g.wall) // monotonic, where both readings have it
		if ok {
			passed = reading - g.elapsed
		}
		g.ran += max(passed, 0)
		if jump := now.Round(0).Sub(g.wall.Round(0)) - passed; jump > jumpTolerance {
			g.jumps = append(g.jumps, clockJump{at: g.ran, by: jump})
		} else if jump < -jumpTolerance {
			g.takeBack(-jump)
		}
	}
	g.wall, g.elapsed = now, reading
	for len(g.jumps) > 0 && g.ran-g.jumps[0].at >= jumpPatience {
		g.jumps = g.jumps[1:]
	}
	for _, j := range g.jumps {
		now = now.Add(-j.by)
	}
	return now
}

// takeBack cancels jumps ahead, the latest first, by a jump back.
func (g *clockGuard) takeBack(back time.Duration) {
	for i := len(g.jumps) - 1; i >= 0 && back > 0; i-- {
		n := min(back, g.jumps[i].by)
		g.jumps[i].by -= n
		back -= n
	}
}
