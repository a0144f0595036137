package peer

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/partlog/partlog/internal/clock"
)

// Endpoint is this node's end of all connections. It is safe for concurrent use.
type Endpoint struct {
	config Config
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu         sync.Mutex // guards all below
	closed     bool
	peers      map[int32]*Peer
	accepted   map[int32]*link
	handshakes int
	epochs     map[int32]int64 // the highest that each node has shown
	jitter     *rand.Rand
}

// Listen starts to accept peers, if Config.Listener is set, which belongs to the Endpoint from now on. Close ends it.
func Listen(c Config) (*Endpoint, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	if c.TLS != nil { // what is wrong with the files is said now
		if _, err := c.TLS.config(c.Clock, ""); err != nil {
			return nil, err
		}
	}
	seed := c.Seed
	if seed == 0 {
		seed = rand.Uint64()
	}
	e := &Endpoint{config: c, peers: map[int32]*Peer{}, accepted: map[int32]*link{}, epochs: map[int32]int64{}, jitter: rand.New(rand.NewPCG(seed, uint64(c.Identity.NodeID)))}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	if c.Listener != nil {
		e.work.Go(e.acceptAll)
	}
	return e, nil
}

// Addr is the listener's address; nil without one.
func (e *Endpoint) Addr() net.Addr {
	if e.config.Listener == nil {
		return nil
	}
	return e.config.Listener.Addr()
}

// SetPeer begins to connect to a node, or changes its address; a connection that is open to the old address ends.
// This node itself is passed over.
func (e *Endpoint) SetPeer(node int32, address string) {
	if node == e.config.Identity.NodeID {
		return
	}
	e.mu.Lock()
	p := e.peers[node]
	if e.closed || p != nil && p.address == address {
		e.mu.Unlock()
		return
	}
	e.peers[node] = e.newPeer(node, address, p)
	e.mu.Unlock()
	if p != nil {
		p.remove(ErrSuperseded)
	}
}

// RemovePeer ends the connection to a node, and the one from it, and connects no more. What it dials is admitted as before: Config.Admit
// decides that.
func (e *Endpoint) RemovePeer(node int32) {
	e.mu.Lock()
	p, from := e.peers[node], e.accepted[node]
	delete(e.peers, node)
	e.mu.Unlock()
	if p != nil {
		p.remove(ErrClosed)
	}
	if from != nil {
		from.fail(ErrClosed)
	}
}

// Peer returns a node's, or nil if SetPeer has not named it.
func (e *Endpoint) Peer(node int32) *Peer {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.peers[node]
}

// Close ends all connections, after what waits has been written or Limits.Close has passed, and returns when every handler
// has. Calls under way fail. Close again returns at once.
func (e *Endpoint) Close() error {
	e.mu.Lock()
	already := e.closed
	e.closed = true
	e.mu.Unlock()
	if already {
		return nil
	}
	var err error
	if e.config.Listener != nil {
		err = e.config.Listener.Close()
	}
	e.cancel() // every link says good bye
	e.work.Wait()
	return err
}

// acceptAll accepts until the listener is closed.
func (e *Endpoint) acceptAll() {
	for {
		conn, err := e.config.Listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || e.ctx.Err() != nil {
				return
			}
			e.config.Events.Unreachable(-1, e.config.Listener.Addr().String(), err)
			if !e.pause(e.config.Limits.MaxBackoff/4, nil) { // no file descriptor left, perhaps
				return
			}
			continue
		}
		e.mu.Lock()
		full := e.closed || e.handshakes >= e.config.Limits.Handshakes
		if !full {
			e.handshakes++
		}
		e.mu.Unlock()
		if full {
			e.config.Events.Refused(&RefusedError{-1, conn.RemoteAddr().String(), false, "", ErrTooManyConnections})
			conn.Close()
			continue
		}
		e.work.Go(func() { e.serve(conn) })
	}
}

// serve is an accepted connection's life.
func (e *Endpoint) serve(conn net.Conn) {
	h, end := e.begin(conn, -1)
	l, err := h.accept()
	if !end() && err == nil {
		err = ErrHandshake // it is closed already
	}
	if err == nil {
		err = e.register(l)
	}
	e.mu.Lock()
	e.handshakes--
	e.mu.Unlock()
	if err != nil {
		if !errors.Is(err, errDiscovered) {
			e.told(h, err)
		}
		if l != nil {
			l.cancel()
		}
		h.conn.Close()
		return
	}
	e.config.Events.Connected(l.remote, l.address, true)
	reason := l.run()
	e.mu.Lock()
	if e.accepted[l.remote.NodeID] == l {
		delete(e.accepted, l.remote.NodeID)
	}
	e.mu.Unlock()
	e.config.Events.Disconnected(l.remote.NodeID, l.address, true, reason)
}

// told tells of a handshake that failed.
func (e *Endpoint) told(h *handshake, err error) {
	r, refused := errors.AsType[*RefusedError](err)
	switch {
	case refused:
	case e.ctx.Err() != nil:
		return
	default:
		r = h.refuse(ErrHandshake, "%v", err)
	}
	e.config.Events.Refused(r)
}

// register makes l its node's accepted connection.
func (e *Endpoint) register(l *link) error {
	node := l.remote.NodeID
	e.mu.Lock()
	old := e.accepted[node]
	var err error
	switch {
	case e.closed:
		err = ErrClosing
	case old != nil && old.remote.Incarnation != l.remote.Incarnation && !old.over(): // it came while we looked
		err = ErrDuplicateNode
	case old == nil && len(e.accepted) >= e.config.Limits.Connections:
		err = ErrTooManyConnections
	default:
		e.accepted[node] = l
		e.epochs[node] = max(e.epochs[node], l.remote.Epoch)
	}
	p := e.peers[node]
	e.mu.Unlock()
	if err != nil {
		return &RefusedError{node, l.address, false, "", err}
	}
	if old != nil {
		old.fail(ErrSuperseded)
	}
	if p != nil {
		p.hurry() // it is there
	}
	return nil
}

// claim decides whether a process may be the node that it says. One that has the id already, and answers, keeps it.
func (e *Endpoint) claim(id Identity) error {
	e.mu.Lock()
	var others []*link
	if l := e.accepted[id.NodeID]; l != nil && l.remote.Incarnation != id.Incarnation {
		others = append(others, l)
	}
	if p := e.peers[id.NodeID]; p != nil {
		if l := p.open(); l != nil && l.remote.Incarnation != id.Incarnation {
			others = append(others, l)
		}
	}
	known := e.epochs[id.NodeID]
	e.mu.Unlock()
	if id.Epoch >= 0 && id.Epoch < known {
		return ErrStaleEpoch
	}
	for _, l := range others {
		if l.alive() {
			return ErrDuplicateNode
		}
		l.fail(ErrSuperseded)
	}
	return nil
}

// pause waits for d or until early is closed, and reports whether the Endpoint is still open.
func (e *Endpoint) pause(d time.Duration, early <-chan struct{}) bool {
	over := make(chan struct{})
	stop := e.config.Clock.AfterFunc(d, func() { close(over) })
	defer stop()
	select {
	case <-over:
	case <-early:
	case <-e.ctx.Done():
	}
	return e.ctx.Err() == nil
}

func (e *Endpoint) elapsed() time.Duration { return clock.Elapsed(e.config.Clock) }
