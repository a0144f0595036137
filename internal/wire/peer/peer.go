package peer

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Peer is another node, whether it is connected or not. It is safe for concurrent use.
type Peer struct {
	e       *Endpoint
	node    int32
	address string
	queue   *queue
	ctx     context.Context // ends with RemovePeer
	cancel  context.CancelCauseFunc

	mu       sync.Mutex    // guards all below
	changed  chan struct{} // closed when what is below changes
	early    chan struct{} // closed to end a pause
	link     *link
	paused   bool // the next attempt waits
	retry    time.Duration
	err      error // of the last attempt, or of the last connection
	connects uint64
	failures uint64
	past     Stats // sums of the connections that have ended
}

// newPeer starts the goroutine that keeps the connection; e.mu is held. old is the one with another address.
func (e *Endpoint) newPeer(node int32, address string, old *Peer) *Peer {
	p := &Peer{e: e, node: node, address: address, changed: make(chan struct{}), early: make(chan struct{})}
	p.queue = &queue{maxCount: e.config.Limits.QueuedMessages, maxBytes: e.config.Limits.QueuedBytes}
	if old != nil {
		p.past = old.Stats()
	}
	p.ctx, p.cancel = context.WithCancelCause(e.ctx)
	e.work.Go(p.keep)
	return p
}

// Node is the peer's id.
func (p *Peer) Node() int32 { return p.node }

// Call sends a call of a kind that is the caller's, and gives reply the answer, which is valid until reply returns; its error is Call's. A
// nil reply throws the answer away. It waits for an attempt to connect that is under way, for room in the peer's Window, and for the
// answer, until ctx ends; the other node is told when ctx has ended, and how long that takes.
//
// Errors: *UnreachableError: it was not sent. *LostError, or that of ctx: the node may have done what was asked. *CallError is its
// handler's. *TooLargeError. After errors other than *CallError and reply's, body must not be changed: it may still be read.
func (p *Peer) Call(ctx context.Context, kind uint8, body []byte, reply func(body []byte) error) error {
	l, err := p.connected(ctx)
	if err != nil {
		return err
	}
	return l.call(ctx, kind, body, reply)
}

// Send queues a message, which belongs to the peer from now on. It does not wait. A message is lost with a connection, or when too many
// wait (the oldest goes first); those that arrive do so in the order in which they were sent.
func (p *Peer) Send(kind uint8, body []byte) {
	p.queue.push(message{kind, body})
	if l := p.open(); l != nil {
		l.poke()
	}
}

// Remote returns whom there is a connection to at the moment.
func (p *Peer) Remote() (Identity, bool) {
	if l := p.open(); l != nil {
		return l.remote, true
	}
	return Identity{}, false
}

// Wait waits until the node is connected.
func (p *Peer) Wait(ctx context.Context) error {
	for {
		p.mu.Lock()
		l, changed, err := p.link, p.changed, p.err
		p.mu.Unlock()
		if l != nil && !l.over() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-p.ctx.Done():
			return context.Cause(p.ctx)
		}
	}
}

// open returns the connection that there is, or nil.
func (p *Peer) open() *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.link == nil || p.link.over() {
		return nil
	}
	return p.link
}

// connected returns the connection, after an attempt that is under way.
func (p *Peer) connected(ctx context.Context) (*link, error) {
	for {
		p.mu.Lock()
		l, changed := p.link, p.changed
		var err error
		if p.paused {
			err = &UnreachableError{p.node, p.address, p.retry, p.err}
		}
		p.mu.Unlock()
		if l != nil && !l.over() || err != nil {
			return l, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-p.ctx.Done():
			return nil, &UnreachableError{NodeID: p.node, Address: p.address, Err: ErrClosed}
		}
	}
}

// change sets what there is, and wakes who waits for it.
func (p *Peer) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.changed)
	p.changed = make(chan struct{})
}

// hurry ends a pause.
func (p *Peer) hurry() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.early)
	p.early = make(chan struct{})
}

// remove ends the peer; its goroutine ends soon.
func (p *Peer) remove(reason error) {
	p.cancel(reason)
	if l := p.open(); l != nil {
		l.fail(reason)
	}
	p.queue.clear()
	p.hurry()
}

// keep connects, again and again.
func (p *Peer) keep() {
	limits := &p.e.config.Limits
	backoff := limits.MinBackoff
	for p.ctx.Err() == nil {
		p.mu.Lock()
		early := p.early
		p.mu.Unlock()
		began, first := p.e.elapsed(), backoff
		l, err := p.connect()
		if err == nil {
			p.change(func() { p.link, p.err = l, nil; p.connects++ })
			if p.ctx.Err() != nil { // removed, or closed, meanwhile
				l.fail(ErrClosed)
			}
			p.e.config.Events.Connected(l.remote, l.address, false)
			err = l.run()
			p.mu.Lock()
			early = p.early
			p.mu.Unlock()
			p.e.config.Events.Disconnected(p.node, l.address, false, err)
		}
		switch lived := p.e.elapsed() - began; {
		case lived >= limits.MaxBackoff:
			backoff, first = limits.MinBackoff, limits.MinBackoff
		case l != nil && lived >= limits.MaxBackoff/10: // soon, once: it may be back already, and if it is gone others want to know
			first = limits.MinBackoff
		}
		p.e.mu.Lock()
		wait := first/2 + time.Duration(p.e.jitter.Int64N(int64(first/2)+1))
		p.e.mu.Unlock()
		backoff = min(2*backoff, limits.MaxBackoff)
		p.change(func() {
			if p.link != nil {
				p.past = p.statsLocked()
			} else {
				p.failures++
			}
			p.link, p.err, p.paused, p.retry = nil, err, true, wait
		})
		if p.ctx.Err() != nil || !p.e.pause(wait, early) {
			return
		}
		p.change(func() { p.paused = false })
	}
}

// connect dials and shakes hands.
func (p *Peer) connect() (*link, error) {
	e := p.e
	ctx, cancel := context.WithCancel(p.ctx)
	stop := e.config.Clock.AfterFunc(e.config.Limits.Handshake, cancel)
	conn, err := e.config.Dial(ctx, "tcp", p.address)
	stop()
	cancel()
	if err != nil {
		if p.ctx.Err() == nil {
			e.config.Events.Unreachable(p.node, p.address, err)
		}
		return nil, err
	}
	h, end := e.begin(conn, p.node)
	stopRemoved := context.AfterFunc(p.ctx, func() { conn.Close() })
	l, err := h.dial(p.node)
	stopRemoved()
	if !end() && err == nil {
		err = h.refuse(ErrHandshake, "not in time")
	}
	if err != nil {
		h.conn.Close()
		if l != nil {
			l.cancel()
		}
		if _, refused := errors.AsType[*RefusedError](err); refused {
			e.told(h, err)
		} else if p.ctx.Err() == nil {
			e.config.Events.Unreachable(p.node, p.address, err)
		}
		return nil, err
	}
	l.messages = p.queue
	return l, nil
}
