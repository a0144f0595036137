package partition

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/internal/clock"
)

// waiter is one parked fetch (Kafka's purgatory, without its polling). It is pooled by its store.
type waiter struct {
	wake  chan struct{} // capacity 1: an append leaves one token, however many there are
	nodes []waitNode    // one for each partition of the fetch
	ack   ackNode       // of an append that waits for other replicas

	// A timer for each wait would be all that a reader at the end of the log allocates. So one that has not fired when
	// its wait ends stays, and rings a later wait early, which then looks at the time.
	armed atomic.Bool
	due   time.Time // when the armed timer fires
	alarm func()
}

func newWaiter() *waiter {
	w := &waiter{wake: make(chan struct{}, 1)}
	w.alarm = func() {
		w.armed.Store(false)
		w.ring()
	}
	return w
}

// ring wakes the waiter, or lets it not fall asleep.
func (w *waiter) ring() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// waitNode is a waiter's place in the list of one partition.
type waitNode struct {
	w          *waiter
	p          *part
	prev, next *waitNode
}

// notify is called by the log, with no lock held, after Written or Durable has moved. When nobody waits and the shell
// knows of the partition, it costs three atomic loads.
//
// No wake-up is lost: a waiter adds itself to waiting and then looks at the high watermark; the log moves the high
// watermark and then notify looks at waiting. Go's atomics are sequentially consistent, so one sees the other.
func (p *part) notify() {
	if c := p.s.config.Cluster; c != nil {
		p.grown(c)
	} else if p.waiting.Load() != 0 {
		p.wakeFetches()
	}
	if !p.touched.Load() {
		p.s.shell.touch(p)
	}
	if mode := p.t.settings.Load().log.Sync; mode > 0 && !p.unsynced.Load() {
		p.s.shell.syncLater(p, mode)
	}
}

// grown tells the cluster that there is more to replicate, or more of it durable here. Clients do not see it before the high watermark moves.
func (p *part) grown(c Cluster) {
	r, l := p.role.Load(), p.log.Load()
	if r != nil && l != nil && r.Role == RoleLeader {
		c.Appended(p.tp, l.Written())
	}
}

func (p *part) wakeFetches() {
	p.waitMu.Lock()
	defer p.waitMu.Unlock()
	for n := p.parked; n != nil; n = n.next {
		n.w.ring()
	}
}

// park adds the waiter to every partition that the fetch can name.
func (w *waiter) park(s *Store, positions []FetchPosition) {
	if cap(w.nodes) < len(positions) {
		w.nodes = make([]waitNode, 0, len(positions))
	}
	w.nodes = w.nodes[:0] // never grows below: the lists point into it
	for i := range positions {
		p, err := s.part(positions[i].TopicPartition, positions[i].TopicID)
		if err != nil {
			continue // the fetch returns this error at once
		}
		w.nodes = append(w.nodes, waitNode{w: w, p: p})
		n := &w.nodes[len(w.nodes)-1]
		p.waitMu.Lock()
		if n.next = p.parked; n.next != nil {
			n.next.prev = n
		}
		p.parked = n
		p.waitMu.Unlock()
		p.waiting.Add(1)
	}
}

// moved reports whether a partition of a parked fetch has changed since collect looked at it: only then is it worth
// another look. What it compares is what notify is called for, so that no wake-up is lost here either.
func (w *waiter) moved(r *FetchRequest, out []FetchResult) bool {
	if len(w.nodes) != len(r.Partitions) {
		return true // one was not found any more
	}
	for i := range w.nodes {
		p, seen := w.nodes[i].p, &out[i]
		l := p.log.Load()
		if l == nil || p.t.deleted.Load() || p.s.closed.Load() || p.answers(r.AllowFollower) != nil || p.checkEpoch(r.Partitions[i].LeaderEpoch) != nil {
			return true
		}
		hw := p.highWatermark(l)
		if hw != seen.HighWatermark || l.Start() != seen.LogStart || r.ReadCommitted && p.lastStable(l, hw) != seen.LastStable {
			return true
		}
	}
	return false
}

// leave takes the waiter out of all lists and empties its channel.
func (w *waiter) leave() {
	for i := range w.nodes {
		n := &w.nodes[i]
		n.p.waiting.Add(-1)
		n.p.waitMu.Lock()
		if n.prev != nil {
			n.prev.next = n.next
		} else {
			n.p.parked = n.next
		}
		if n.next != nil {
			n.next.prev = n.prev
		}
		n.p.waitMu.Unlock()
		*n = waitNode{}
	}
	w.nodes = w.nodes[:0]
	select {
	case <-w.wake:
	default:
	}
}

// endless is a wait without a timer: the longest that Kafka has a number for (fetch.max.wait.ms), 24 days.
const endless = math.MaxInt32 * time.Millisecond

// await calls ready until it reports true, after every wake-up, or until d has elapsed, ctx is done or the store is
// closed; it returns the last two as errors.
func (w *waiter) await(ctx context.Context, s *Store, d time.Duration, ready func() bool) error {
	if s.config.Clock != clock.System {
		return w.awaitTimer(ctx, s, d, ready)
	}
	var deadline time.Time
	if d < endless {
		deadline = s.config.Clock.Now().Add(d)
	}
	for !ready() {
		if d >= endless {
			// Appends, ctx and the end of the store wake it.
		} else if !w.armed.Load() || w.due.After(deadline) {
			left := deadline.Sub(s.config.Clock.Now())
			if left <= 0 {
				return nil
			}
			w.due = deadline
			w.armed.Store(true)
			s.config.Clock.AfterFunc(left, w.alarm)
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.shell.closing:
			return ErrClosed
		}
	}
	return nil
}

// awaitTimer is await for a clock whose readings may jump: only its timer says how much time has elapsed.
func (w *waiter) awaitTimer(ctx context.Context, s *Store, d time.Duration, ready func() bool) error {
	elapsed := make(chan struct{})
	defer s.config.Clock.AfterFunc(d, func() { close(elapsed) })()
	for !ready() {
		select {
		case <-w.wake:
		case <-elapsed:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-s.shell.closing:
			return ErrClosed
		}
	}
	return nil
}
