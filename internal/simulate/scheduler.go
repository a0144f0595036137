package simulate

import (
	"math/rand/v2"
	"time"
)

// Scheduler is the time of a simulated world and what is going to happen in it. It belongs to one goroutine.
type Scheduler struct {
	now    time.Duration
	queue  []*Timer // a heap
	ties   *rand.Rand
	added  uint64
	events uint64
	hash   uint64
}

// Timer is an event to come.
type Timer struct {
	at   time.Duration
	tie  uint64
	seq  uint64
	f    func() // nil: stopped, or over
	rank int    // place in the heap
}

// NewScheduler returns an empty world at time 0, whose ties are drawn from seed.
func NewScheduler(seed uint64) *Scheduler {
	return &Scheduler{ties: Stream(seed, "ties"), hash: mix(seed)}
}

// Now returns the time that has passed in the world. No node can see it.
func (s *Scheduler) Now() time.Duration { return s.now }

// Events returns how many events have happened.
func (s *Scheduler) Events() uint64 { return s.events }

// Waiting returns how many events are to come.
func (s *Scheduler) Waiting() int { return len(s.queue) }

// Hash returns a digest of all that has happened: equal for two runs of the same seed, or something is not deterministic.
func (s *Scheduler) Hash() uint64 { return s.hash }

// Mix makes x part of Hash.
func (s *Scheduler) Mix(x uint64) { s.hash = mix(s.hash ^ x) }

// MixString makes text part of Hash.
func (s *Scheduler) MixString(text string) {
	h := uint64(offset64)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * prime64
	}
	s.Mix(h)
}

// At has f called at t, or now if that is past. Of events of one instant the seed decides which is first.
func (s *Scheduler) At(t time.Duration, f func()) *Timer {
	s.added++
	e := &Timer{at: max(t, s.now), tie: s.ties.Uint64(), seq: s.added, f: f, rank: len(s.queue)}
	s.queue = append(s.queue, e)
	s.up(e.rank)
	return e
}

// After has f called when d has passed.
func (s *Scheduler) After(d time.Duration, f func()) *Timer { return s.At(s.now+max(d, 0), f) }

// Stop takes an event back and reports whether it had not happened yet.
func (s *Scheduler) Stop(e *Timer) bool {
	if e == nil || e.f == nil {
		return false
	}
	e.f = nil
	last := len(s.queue) - 1
	i := e.rank
	s.swap(i, last)
	s.queue[last] = nil
	s.queue = s.queue[:last]
	if i < last {
		s.down(i)
		s.up(i)
	}
	return true
}

// Step makes the next event happen and reports whether there was one.
func (s *Scheduler) Step() bool {
	if len(s.queue) == 0 {
		return false
	}
	e := s.queue[0]
	f := e.f
	s.Stop(e)
	s.now = e.at
	s.events++
	s.hash = mix(s.hash ^ uint64(e.at) ^ e.seq<<32)
	f()
	return true
}

// RunUntil makes all events up to t happen, and then it is t.
func (s *Scheduler) RunUntil(t time.Duration) {
	for len(s.queue) > 0 && s.queue[0].at <= t {
		s.Step()
	}
	s.now = max(s.now, t)
}

func (s *Scheduler) less(i, j int) bool {
	a, b := s.queue[i], s.queue[j]
	switch {
	case a.at != b.at:
		return a.at < b.at
	case a.tie != b.tie:
		return a.tie < b.tie
	}
	return a.seq < b.seq
}

func (s *Scheduler) swap(i, j int) {
	s.queue[i], s.queue[j] = s.queue[j], s.queue[i]
	s.queue[i].rank, s.queue[j].rank = i, j
}

func (s *Scheduler) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !s.less(i, parent) {
			return
		}
		s.swap(i, parent)
		i = parent
	}
}

func (s *Scheduler) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(s.queue) {
			return
		}
		if child+1 < len(s.queue) && s.less(child+1, child) {
			child++
		}
		if !s.less(child, i) {
			return
		}
		s.swap(i, child)
		i = child
	}
}
