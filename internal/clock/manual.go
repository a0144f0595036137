package clock

import (
	"slices"
	"sync"
	"time"
)

// Manual is a clock that stands still until it is told otherwise. It is safe for concurrent use.
type Manual struct {
	mu      sync.Mutex // guards all below
	wall    time.Time
	elapsed time.Duration
	timers  []*timer // in the order in which they fire
}

type timer struct {
	due time.Duration
	f   func()
}

// NewManual returns a clock that shows t, without its monotonic reading.
func NewManual(t time.Time) *Manual { return &Manual{wall: t.Round(0)} }

// Now returns the wall clock's time.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wall
}

// AfterFunc calls f during the Advance that reaches d from now. With d <= 0 that is the next Advance, even by 0.
func (m *Manual) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &timer{due: m.elapsed + max(d, 0), f: f}
	at := len(m.timers)
	for at > 0 && m.timers[at-1].due > t.due { // behind those of the same instant: they were first
		at--
	}
	m.timers = slices.Insert(m.timers, at, t)
	return func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		i := slices.Index(m.timers, t)
		if i < 0 {
			return false
		}
		m.timers = slices.Delete(m.timers, i, i+1)
		return true
	}
}

// Advance moves the wall clock and elapsed time forwards by d and calls, in order and on this goroutine, every function
// that comes due, those included that are added meanwhile. Each sees the clock at its own instant. No lock is held
// during the calls. A negative d panics: elapsed time has no way back (see Set).
func (m *Manual) Advance(d time.Duration) {
	if d < 0 {
		panic("BUG: clock advanced by a negative duration")
	}
	m.mu.Lock()
	until := m.elapsed + d
	for len(m.timers) > 0 && m.timers[0].due <= until {
		t := m.timers[0]
		m.timers = slices.Delete(m.timers, 0, 1)
		m.moveToLocked(t.due)
		m.mu.Unlock()
		t.f()
		m.mu.Lock()
	}
	m.moveToLocked(until)
	m.mu.Unlock()
}

// Set makes the wall clock jump to t, in either direction, as a correction by an operator or by NTP does. No time
// elapses: functions that wait keep waiting as long as they had to.
func (m *Manual) Set(t time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wall = t.Round(0)
}

// Elapsed returns the time that has elapsed since NewManual: what Advance added up, and no Set. A reading of the system's
// clock carries the like of it (time.Time's monotonic part); this clock's readings do not, so who must tell a jump of the
// wall clock from time that passed asks for it.
func (m *Manual) Elapsed() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.elapsed
}

// Waiting returns how many functions have neither been called nor stopped.
func (m *Manual) Waiting() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.timers)
}

func (m *Manual) moveToLocked(elapsed time.Duration) {
	if d := elapsed - m.elapsed; d > 0 { // not when a function advanced the clock further
		m.wall = m.wall.Add(d)
		m.elapsed = elapsed
	}
}
