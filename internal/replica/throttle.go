package replica

import "time"

// Throttle is a budget of bytes for replicas that catch up (Kafka's leader.replication.throttled.rate): Rate a second, and never more
// than one second's worth at once. What was spent beyond the budget is paid back before anything is spent again. The zero value has no limit.
type Throttle struct {
	rate   int64 // bytes a second; 0: no limit
	budget int64
	filled time.Duration // up to when the budget has been filled
	begun  bool
}

// SetRate changes the limit, in bytes a second; 0 is none.
func (t *Throttle) SetRate(rate int64, now time.Duration) {
	t.fill(now)
	if t.rate == 0 {
		t.budget = rate
	}
	t.rate = max(rate, 0)
	t.budget = min(t.budget, t.rate)
}

// Rate is the limit in bytes a second, 0 if there is none.
func (t *Throttle) Rate() int64 { return t.rate }

// Budget returns how many of want bytes may go now: 0 for none.
func (t *Throttle) Budget(now time.Duration, want int) int {
	if t.rate == 0 {
		return want
	}
	t.fill(now)
	return int(min(int64(want), max(t.budget, 0)))
}

// Spend notes bytes that went.
func (t *Throttle) Spend(n int) {
	if t.rate > 0 {
		t.budget -= int64(n)
	}
}

// Wait returns in how long there will be a budget again, 0 if there is one.
func (t *Throttle) Wait(now time.Duration) time.Duration {
	if t.rate == 0 {
		return 0
	}
	t.fill(now)
	if t.budget > 0 {
		return 0
	}
	// A tenth of a second's worth at least, so that nobody comes for a few bytes.
	return time.Duration(float64(t.rate/10+1-t.budget) / float64(t.rate) * float64(time.Second))
}

func (t *Throttle) fill(now time.Duration) {
	if !t.begun {
		t.begun, t.filled, t.budget = true, now, t.rate
		return
	}
	passed := now - t.filled
	if passed <= 0 {
		return
	}
	gained := int64(min(passed.Seconds(), 3600) * float64(t.rate))
	if gained == 0 {
		return
	}
	t.filled = now
	t.budget = min(t.budget+gained, t.rate)
}
