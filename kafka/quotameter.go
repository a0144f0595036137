package kafka

import (
	"math"
	"sync"
	"time"
)

// meter measures a rate over a window of samples as Kafka's metrics do: the sum of the samples that are not older than the
// window, divided by the time since the oldest began, at least all windows but the one that is being filled. It reads no
// clock; times are elapsed milliseconds that do not go back.
type meter struct {
	mu      sync.Mutex // guards all below
	samples []sample   // a ring; one more than the window has, for one that overlaps its beginning
	current int
	last    int64 // when something was recorded
}

type sample struct {
	start int64
	last  int64 // when something was recorded in it
	sum   float64
	used  bool
}

// window is how much a meter remembers.
type window struct {
	samples int
	length  int64 // of a sample, in ms
}

// record adds value at now and returns the rate per second, and the milliseconds that it is over.
func (m *meter) record(w window, value float64, now int64) (rate float64, over int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addLocked(w, value, now)
	return m.rateLocked(w, now)
}

// retract takes back what record has just added.
func (m *meter) retract(w window, value float64, now int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addLocked(w, -value, now)
}

func (m *meter) addLocked(w window, value float64, now int64) {
	if len(m.samples) != w.samples+1 { // the first, or the window has been changed
		m.samples, m.current = make([]sample, w.samples+1), 0
	}
	s := &m.samples[m.current]
	switch {
	case !s.used:
		*s = sample{start: now, used: true}
	case now-s.start >= w.length:
		m.current = (m.current + 1) % len(m.samples)
		s = &m.samples[m.current]
		*s = sample{start: now, used: true}
	}
	s.sum += value
	s.last, m.last = now, now
}

func (m *meter) rateLocked(w window, now int64) (rate float64, over int64) {
	oldest, sum := now, 0.0
	for i := range m.samples {
		s := &m.samples[i]
		if !s.used {
			continue
		}
		if now-s.last >= int64(w.samples)*w.length {
			s.used = i == m.current
			s.start, s.last, s.sum = now, now, 0
			continue
		}
		sum += s.sum
		oldest = min(oldest, s.start)
	}
	over = now - oldest
	if full, least := over/w.length, int64(w.samples-1); full < least {
		over += (least - full) * w.length
	}
	over = max(over, 1)
	return sum / (float64(over) / 1000), over
}

// throttleFor returns how long nothing may be added for a rate measured over so many milliseconds to come down to bound: X
// such that rate × over / (over + X) = bound.
func throttleFor(rate, bound float64, over int64) time.Duration {
	if rate <= bound {
		return 0
	}
	return milliseconds((rate - bound) / bound * float64(over))
}

// milliseconds rounds as Java does, within what a duration and the protocol's int32 can say.
func milliseconds(ms float64) time.Duration {
	return time.Duration(math.Floor(min(max(ms, 0), math.MaxInt32)+0.5)) * time.Millisecond
}

// bucket is a token bucket: it gains bound tokens a second up to burst, and may be overdrawn.
type bucket struct {
	mu     sync.Mutex // guards all below
	tokens float64
	filled int64 // when tokens was brought up to date
	begun  bool
}

// take takes n tokens, and more than there are. If strict, nothing is taken from a bucket that is overdrawn. It returns how
// long it takes until the bucket is not overdrawn, and whether n was taken.
func (b *bucket) take(w window, bound, n float64, now int64, strict bool) (wait time.Duration, taken bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	burst := float64(w.samples) * float64(w.length) / 1000 * bound
	if !b.begun {
		b.begun, b.tokens = true, burst
	} else {
		b.tokens = min(burst, b.tokens+bound*float64(now-b.filled)/1000)
	}
	b.filled = now
	if strict {
		if b.tokens < 0 {
			return milliseconds(-b.tokens / bound * 1000), false
		}
		b.tokens = min(burst, b.tokens-n)
		return 0, true
	}
	b.tokens = min(burst, b.tokens-n)
	if b.tokens < 0 {
		return milliseconds(-b.tokens / bound * 1000), true
	}
	return 0, true
}
