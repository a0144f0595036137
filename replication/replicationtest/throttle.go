package replicationtest

import (
	"slices"
	"time"

	"github.com/partlog/partlog/internal/replica"
)

// waits is the owner of a partition of a session whose follower has had its share of the budget.
const waits = "waits"

// throttled returns how many bytes a follower may be given now: one that is not in sync has its share of a budget (KIP-73). With 0 it is looked at again
// when there is some.
func (l *life) throttled(r *replicaState, s *replica.FetchSession, sp *replica.SessionPartition, most int) int {
	if slices.Contains(r.leader.ISR(), s.Node()) || sp.Offset >= int64(r.log.End()) {
		return max(most, 1)
	}
	allowed := l.throttle.Budget(l.now(), max(most, 1))
	if allowed > 0 {
		return allowed
	}
	l.c.seen.Add("follower throttled", 1)
	sp.Owner = waits
	l.clock.AfterFunc(max(l.throttle.Wait(l.now()), time.Millisecond), func() {
		sp.Owner = nil
		if s.Closed() || s.Partition(sp.TopicPartition) != sp {
			return
		}
		s.Touch(sp, replica.BigNews)
		if l.parked[s] != nil {
			l.answer(s)
		}
	})
	return 0
}

// setRate changes the budget of those that catch up, of all leaders, while they run; 0: there is no limit.
func (c *cluster) setRate(rate int64) {
	c.rate = rate
	for _, n := range c.nodes {
		n.do(func(l *life) { l.throttle.SetRate(rate, l.now()) })
	}
}
