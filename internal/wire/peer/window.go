package peer

import (
	"context"
	"sync"
)

// window bounds the calls that are under way at the other end. First come, first served.
type window struct {
	mu      sync.Mutex // guards all below
	limit   Window
	calls   int
	bytes   int64
	waiting []*waiter
}

type waiter struct {
	bytes   int64
	granted chan struct{}
}

func (w *window) fitsLocked(n int64) bool {
	return w.calls == 0 || w.calls < w.limit.Calls && w.bytes+n <= w.limit.Bytes
}

// acquire waits for room for a call of n bytes; release gives it back. It fails when ctx or ended does.
func (w *window) acquire(ctx context.Context, ended <-chan struct{}, n int64) bool {
	w.mu.Lock()
	if len(w.waiting) == 0 && w.fitsLocked(n) {
		w.calls++
		w.bytes += n
		w.mu.Unlock()
		return true
	}
	me := &waiter{n, make(chan struct{})}
	w.waiting = append(w.waiting, me)
	w.mu.Unlock()
	select {
	case <-me.granted:
		return true
	case <-ctx.Done():
	case <-ended:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, other := range w.waiting {
		if other == me {
			w.waiting = append(w.waiting[:i], w.waiting[i+1:]...)
			w.grantLocked() // who waited behind a large one
			return false
		}
	}
	w.calls-- // it was granted meanwhile
	w.bytes -= n
	w.grantLocked()
	return false
}

func (w *window) release(n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls--
	w.bytes -= n
	w.grantLocked()
}

func (w *window) grantLocked() {
	for len(w.waiting) > 0 && w.fitsLocked(w.waiting[0].bytes) {
		next := w.waiting[0]
		w.waiting = w.waiting[1:]
		w.calls++
		w.bytes += next.bytes
		close(next.granted)
	}
}
