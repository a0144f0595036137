package wire

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// Budget bounds the memory of frames and replies of one Server or several (as Kafka's queued.max.request.bytes does for
// requests). A connection that needs more than is left waits for others to finish, first come, first served. So that a
// frame can always be completed, one connection at a time may go beyond the limit: in all that is at most one frame, and
// the replies that are being written.
//
// It is safe for concurrent use.
type Budget struct {
	limit int64
	used  atomic.Int64 // changed under mu

	mu      sync.Mutex // guards all below, and every hold
	beyond  *hold      // who may go beyond the limit
	waiting []*waiter
}

// hold is what one connection has of a budget.
type hold struct{ bytes int64 }

type waiter struct {
	hold    *hold
	bytes   int64
	granted chan struct{}
}

// NewBudget makes a budget of limit bytes.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit} }

// Used returns how many bytes frames and replies have at the moment.
func (b *Budget) Used() int64 { return b.used.Load() }

// full reports whether new requests have to wait, whatever their size.
func (b *Budget) full() bool { return b.used.Load() > b.limit }

// reserve adds n bytes to h as soon as there is room, or fails when ctx ends.
func (b *Budget) reserve(ctx context.Context, h *hold, n int64) error {
	b.mu.Lock()
	if h == b.beyond || len(b.waiting) == 0 && b.fitsLocked(n) {
		b.grantLocked(h, n)
		b.mu.Unlock()
		return nil
	}
	w := &waiter{h, n, make(chan struct{})}
	b.waiting = append(b.waiting, w)
	b.mu.Unlock()
	select {
	case <-w.granted:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.waiting, w); i >= 0 {
		b.waiting = slices.Delete(b.waiting, i, i+1)
		b.wakeLocked() // it may have been in the way of smaller ones
	}
	return context.Cause(ctx)
}

// charge adds n bytes to h that exist already: they count, and make others wait.
func (b *Budget) charge(h *hold, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used.Add(n)
	h.bytes += n
}

// release gives back all that h has.
func (b *Budget) release(h *hold) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used.Add(-h.bytes)
	h.bytes = 0
	if b.beyond == h {
		b.beyond = nil
	}
	b.wakeLocked()
}

func (b *Budget) wakeLocked() {
	for len(b.waiting) > 0 && b.fitsLocked(b.waiting[0].bytes) {
		w := b.waiting[0]
		b.waiting = slices.Delete(b.waiting, 0, 1)
		b.grantLocked(w.hold, w.bytes)
		close(w.granted)
	}
}

func (b *Budget) fitsLocked(n int64) bool { return b.beyond == nil || b.used.Load()+n <= b.limit }

func (b *Budget) grantLocked(h *hold, n int64) {
	h.bytes += n
	if b.used.Add(n) > b.limit {
		b.beyond = h
	}
}
