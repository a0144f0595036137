package partition

import (
	"context"
	"time"

	"github.com/partlog/partlog/internal/clock"
)

// waiter is one parked fetch (Kafka's purgatory, without its polling). It is pooled by its store.
type waiter struct {
	wake  chan struct{} // capacity 1: an append leaves one token, however many there are
	nodes []waitNode    // one for each partition of the fetch
	timer *time.Timer   // of the system's clock, reused; nil before the first wait
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
	if p.waiting.Load() != 0 {
		p.wakeFetches()
	}
	if !p.touched.Load() {
		p.s.shell.touch(p)
	}
	if mode := p.t.settings.Load().log.Sync; mode > 0 && !p.unsynced.Load() {
		p.s.shell.syncLater(p, mode)
	}
}

func (p *part) wakeFetches() {
	p.waitMu.Lock()
	defer p.waitMu.Unlock()
	for n := p.parked; n != nil; n = n.next {
		select {
		case n.w.wake <- struct{}{}:
		default:
		}
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

// await calls ready until it reports true, after every wake-up, or until d has elapsed, ctx is done or the store is
// closed; it returns the last two as errors.
func (w *waiter) await(ctx context.Context, s *Store, d time.Duration, ready func() bool) error {
	var expired <-chan time.Time
	var fired chan struct{}
	if s.config.Clock == clock.System {
		if w.timer == nil {
			w.timer = time.NewTimer(d)
		} else {
			w.timer.Reset(d)
		}
		expired = w.timer.C
		defer w.timer.Stop()
	} else {
		fired = make(chan struct{})
		defer s.config.Clock.AfterFunc(d, func() { close(fired) })()
	}
	for !ready() {
		select {
		case <-w.wake:
		case <-expired:
			return nil
		case <-fired:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-s.shell.closing:
			return ErrClosed
		}
	}
	return nil
}
