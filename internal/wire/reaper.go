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

// reaper ends connections whose deadline has passed. A connection only stores its deadline, which costs a reading of the
// clock, and calls watch. The reaper looks at all connections when the earliest deadline that it saw has come, which is never
// later than the shortest limit from now; where it sees none it sleeps until watch. There is one for each clock.
//
// Invariant: while a connection has a deadline, the reaper is awake and looks at it in time. A connection stores its deadline
// before it asks whether the reaper sleeps, and the reaper says that it sleeps before it looks for the last time.
type reaper struct {
	clock    clock.Clock
	shortest time.Duration // of the limits; 0 is none, and nothing is reaped
	deadline func(c *Conn) *atomic.Int64
	reason   func(c *Conn) error
	open     func() []*Conn
	awake    atomic.Bool // changed under mu

	mu   sync.Mutex // guards all below; nothing is locked under it
	turn int        // of waking: a sweep of an earlier one does nothing
	stop func() bool
}

// now is a reading of the reaper's clock, of which deadlines are made.
func (r *reaper) now() int64 { return int64(clock.Elapsed(r.clock)) }

// watch makes sure that the deadline just stored is looked at.
func (r *reaper) watch() {
	if !r.awake.Load() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.awake.Load() {
			r.wakeLocked(r.shortest)
		}
	}
}

func (r *reaper) wakeLocked(pause time.Duration) {
	r.awake.Store(true)
	r.turn++
	turn := r.turn
	r.stop = r.clock.AfterFunc(pause, func() { r.sweep(turn) })
}

// halt makes it sleep.
func (r *reaper) halt() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn++
	if r.awake.Load() {
		r.stop()
		r.awake.Store(false)
	}
}

func (r *reaper) sweep(turn int) {
	now := r.now()
	next, late := r.look(now)
	for _, c := range late {
		// Since the look a request may have come, at the last moment.
		if at := r.deadline(c).Load(); at <= now {
			c.Close(r.reason(c))
		}
	}
	if next == never {
		if !r.sleep(turn) {
			return
		}
		if next, late = r.look(now); next == never && len(late) == 0 {
			return
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.turn == turn {
		// What is stored from here on is at least the shortest limit away.
		r.wakeLocked(min(max(time.Duration(next-now), pauseOfSweeps), r.shortest))
	}
}

// sleep puts it to sleep, and reports false if it was woken anew or halted since this turn began.
func (r *reaper) sleep(turn int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.turn != turn {
		return false
	}
	r.awake.Store(false)
	return true
}

// look returns the earliest deadline to come, and who has missed theirs.
func (r *reaper) look(now int64) (next int64, late []*Conn) {
	next = never
	for _, c := range r.open() {
		if at := r.deadline(c).Load(); at <= now {
			late = append(late, c)
		} else {
			next = min(next, at)
		}
	}
	return next, late
}

// pauseOfSweeps keeps thousands of connections that end one shortly after the other from costing a look at all for each.
const pauseOfSweeps = 10 * time.Millisecond
