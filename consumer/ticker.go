package consumer

import (
	"sync"
	"time"

	"github.com/partlog/partlog/internal/clock"
)

// ticker sends on c when d has gone by since its making, or since again.
type ticker struct {
	c     chan struct{}
	clock clock.Clock
	d     time.Duration

	mu   sync.Mutex // guards halt
	halt func() bool
}

// newTicker returns a started ticker; one that never ticks if d is 0.
func newTicker(c clock.Clock, d time.Duration) *ticker {
	t := &ticker{c: make(chan struct{}, 1), clock: c, d: d}
	t.again()
	return t
}

func (t *ticker) again() {
	if t.d <= 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.halt = t.clock.AfterFunc(t.d, func() {
		select {
		case t.c <- struct{}{}:
		default:
		}
	})
}

func (t *ticker) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.halt != nil {
		t.halt()
	}
}

// slices of max.poll.interval are what a watch counts. A process that was suspended wakes up to one late tick, not to
// an expired deadline: only the time in which it ran counts.
const slicesOfInterval = 16

// patience is how long the coordinator is asked to wait for a member with this max.poll.interval: longer by as much as
// the watch may take to notice, so that the member knows that it has lost its partitions before others have them.
func patience(interval time.Duration) time.Duration {
	return min(interval+2*interval/slicesOfInterval, max(interval, 1<<31*time.Millisecond))
}

// watch counts for how many slices in a row the loop neither waited for records nor finished one.
type watch struct {
	member   *member
	interval time.Duration
	ticker   *ticker
	seen     int64
	slices   int
}

func newWatch(m *member) *watch {
	d := m.group.Config().RebalanceTimeout
	return &watch{member: m, interval: d, ticker: newTicker(m.consumer.clock, d/slicesOfInterval)}
}

// late counts a slice and reports whether the interval is over.
func (w *watch) late() bool {
	w.ticker.again()
	c := w.member.consumer
	progress := c.fetches.Load()
	c.mu.Lock()
	for _, k := range c.assigned {
		progress += k.finished.Load()
	}
	c.mu.Unlock()
	resting := c.waiting.Load()
	if w := c.workers.Load(); w != nil {
		handled, waits := w.progress()
		progress += handled
		resting = resting || waits
	}
	if progress != w.seen || resting {
		w.seen, w.slices = progress, 0
		return false
	}
	w.slices++
	return w.slices >= slicesOfInterval
}
