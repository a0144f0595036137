package kafkatest

import (
	"time"

	"github.com/partlog/partlog/internal/clock"
)

// Clock is the time of a cluster: of the store, the coordinators and the listeners. Session, rebalance and transaction
// timeouts, retention, the expiry of offsets and producers, the lag of compaction, quotas and idle connections go by it,
// and timestamps that a broker gives. It passes by itself, unless it is Frozen, and Advance adds to it. It is safe for
// concurrent use.
type Clock struct {
	clock.Clock
	advance func(d time.Duration)
	frozen  bool
}

func newClock(frozen *time.Time) *Clock {
	if frozen != nil {
		m := clock.NewManual(*frozen)
		return &Clock{m, m.Advance, true}
	}
	r := clock.NewRunning()
	return &Clock{r, r.Advance, false}
}

// Advance lets d pass at once, for clients in whatever process: what comes due is done, in order, on this goroutine, before
// Advance returns, or has been handed to the goroutine that does it. Members of groups that live have sent no heartbeat in
// that time, so they expire as well if their session is not longer than d: see Cluster.RemoveMember for one alone. A
// negative d panics.
func (k *Clock) Advance(d time.Duration) { k.advance(d) }

// Frozen reports whether time passes by Advance only.
func (k *Clock) Frozen() bool { return k.frozen }
