package replication

import (
	"context"
	"sync"
)

// inbox is what run has to do. Messages of raft may be dropped, everything else is bounded by who waits for it.
type inbox struct {
	signal chan struct{}

	mu     sync.Mutex
	list   []func()
	offers int // of them, messages
	closed bool
}

// maxOffers bounds the messages that wait; raft sends again what matters.
const maxOffers = 4096

func (i *inbox) wake() {
	select {
	case i.signal <- struct{}{}:
	default:
	}
}

// put adds something that is not dropped; false: run is over.
func (i *inbox) put(f func()) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return false
	}
	i.list = append(i.list, f)
	i.wake()
	return true
}

// offer adds something that may be dropped.
func (i *inbox) offer(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed || i.offers >= maxOffers {
		return
	}
	i.offers++
	i.list = append(i.list, f)
	i.wake()
}

func (i *inbox) take() []func() {
	i.mu.Lock()
	defer i.mu.Unlock()
	list := i.list
	i.list, i.offers = nil, 0
	return list
}

func (i *inbox) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
	i.list = nil
}

// do has run call f, and waits for it.
func (c *controller) do(ctx context.Context, f func()) error {
	over := make(chan struct{})
	if !c.inbox.put(func() { f(); close(over) }) {
		return ErrClosed
	}
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.done:
		return ErrClosed
	}
}
