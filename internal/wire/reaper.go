package wire

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/internal/clock"
)

// never is the deadline of what has none.
const never = math.MaxInt64

// reaper ends connections whose deadline has passed. Connections only store their deadlines, which costs them a reading of
// the clock; the reaper looks at all of them when the earliest that it saw has come, and that is never later than the
// shortest limit from now. There is one for each clock.
type reaper struct {
	clock    clock.Clock
	shortest time.Duration // of the limits; 0 is none, and nothing is reaped
	deadline func(c *Conn) *atomic.Int64
	reason   func(c *Conn) error
	open     func() []*Conn

	mu   sync.Mutex // guards all below
	turn int        // of starting: a sweep of an earlier one does not go on
	stop func() bool
}

// now is a reading of the reaper's clock, of which deadlines are made.
func (r *reaper) now() int64 { return int64(clock.Elapsed(r.clock)) }

// start has the reaper look after the shortest limit. It does nothing if it was started before.
func (r *reaper) start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop == nil && r.shortest > 0 {
		r.turn++
		turn := r.turn
		r.stop = r.clock.AfterFunc(r.shortest, func() { r.sweep(turn) })
	}
}

// halt ends it until the next start.
func (r *reaper) halt() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop != nil {
		r.stop()
		r.stop = nil
	}
}

func (r *reaper) sweep(turn int) {
	now := r.now()
	next := now + int64(r.shortest)
	var late []*Conn
	for _, c := range r.open() {
		if at := r.deadline(c).Load(); at <= now {
			late = append(late, c)
		} else {
			next = min(next, at)
		}
	}
	for _, c := range late {
		// Between the look and now a request may have come: then it was at the last moment, and lives.
		if at := r.deadline(c).Load(); at <= now {
			c.Close(r.reason(c))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop != nil && r.turn == turn {
		pause := max(time.Duration(next-now), pauseOfSweeps)
		r.stop = r.clock.AfterFunc(pause, func() { r.sweep(turn) })
	}
}

// pauseOfSweeps keeps thousands of connections that end one shortly after the other from costing a look at all for each.
const pauseOfSweeps = 10 * time.Millisecond
