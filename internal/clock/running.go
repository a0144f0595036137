package clock

import (
	"sync"
	"time"
)

// Running is the system's clock, plus all that it has been advanced by: time passes by itself, so that programs in other
// processes need nobody who steps it, and a test lets an hour pass in no time. It is safe for concurrent use.
type Running struct {
	mu     sync.Mutex // guards all below
	offset time.Duration
	turn   uint64
	timers map[*runningTimer]struct{}

	advancing sync.Mutex // one Advance at a time; before mu
}

type runningTimer struct {
	due  time.Duration // in elapsed time
	turn uint64        // tells those of one instant apart
	f    func()
	stop func() bool
}

// NewRunning returns a clock that shows the system's time.
func NewRunning() *Running { return &Running{timers: map[*runningTimer]struct{}{}} }

// Now is the system's time plus what Advance added up.
func (r *Running) Now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return System.Now().Add(r.offset)
}

// Offset is what Advance added up.
func (r *Running) Offset() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.offset
}

func (r *Running) elapsedLocked() time.Duration { return Elapsed(System) + r.offset }

// AfterFunc calls f once d has elapsed, by itself or by Advance: on a goroutine of its own, or on the one that advances.
func (r *Running) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn++
	t := &runningTimer{due: r.elapsedLocked() + max(d, 0), turn: r.turn, f: f}
	r.timers[t] = struct{}{}
	r.armLocked(t, d)
	return func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.takeLocked(t)
	}
}

// armLocked has the system call t's function in d.
func (r *Running) armLocked(t *runningTimer, d time.Duration) {
	t.stop = System.AfterFunc(d, func() {
		r.mu.Lock()
		mine := r.takeLocked(t)
		r.mu.Unlock()
		if mine {
			t.f()
		}
	})
}

// takeLocked takes a timer away and reports whether it was there: who takes it calls it.
func (r *Running) takeLocked(t *runningTimer) bool {
	if _, there := r.timers[t]; !there {
		return false
	}
	delete(r.timers, t)
	t.stop()
	return true
}

// Advance lets d elapse at once. What comes due in it is called in order, on this goroutine, those functions included that
// are added meanwhile; each sees the clock at its own instant or later. No lock is held during the calls but one that keeps
// other Advances waiting: so a function must not advance the clock itself. A negative d panics: elapsed time has no way back.
func (r *Running) Advance(d time.Duration) {
	if d < 0 {
		panic("BUG: clock advanced by a negative duration")
	}
	r.advancing.Lock()
	defer r.advancing.Unlock()
	r.mu.Lock()
	until := r.elapsedLocked() + d
	for {
		t := r.firstLocked()
		if t == nil || t.due > until {
			break
		}
		r.takeLocked(t)
		r.moveToLocked(t.due)
		r.mu.Unlock()
		t.f()
		r.mu.Lock()
	}
	r.moveToLocked(until)
	now := r.elapsedLocked()
	for t := range r.timers {
		if t.stop() { // else it is about to ask whether it is its turn, and it is
			r.armLocked(t, max(t.due-now, 0))
		}
	}
	r.mu.Unlock()
}

// Waiting returns how many functions have neither been called nor stopped.
func (r *Running) Waiting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.timers)
}

func (r *Running) firstLocked() (first *runningTimer) {
	for t := range r.timers {
		if first == nil || t.due < first.due || t.due == first.due && t.turn < first.turn {
			first = t
		}
	}
	return first
}

func (r *Running) moveToLocked(elapsed time.Duration) {
	r.offset += max(elapsed-r.elapsedLocked(), 0)
}
