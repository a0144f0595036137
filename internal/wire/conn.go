package wire

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// Handler makes a Session of each connection.
type Handler interface {
	// Open is called on the connection's goroutine when it has been accepted, and after the TLS handshake if the listener
	// has TLS. An error ends the connection and is its reason. c is valid until the Session's Close.
	Open(c *Conn) (Session, error)
}

// Session is one connection's state. Its methods are called by the connection's goroutine, one at a time.
type Session interface {
	// Frame answers one request. frame is valid until the reply has been written (see Conn.Drop). A nil reply sends
	// nothing. An error ends the connection and is its reason; a reply that comes with it is written first.
	//
	// ctx ends when the connection is to end: what waits answers with what it has. After Server.Shutdown that answer is
	// still written.
	Frame(ctx context.Context, frame []byte) (*Reply, error)
	// Close is called once, when the connection has ended for this reason.
	Close(reason error)
}

// HandlerFunc is a function as Handler.
type HandlerFunc func(c *Conn) (Session, error)

// Open calls f.
func (f HandlerFunc) Open(c *Conn) (Session, error) { return f(c) }

// Conn is one connection of a Server. Its methods are for the connection's goroutine, thus for the Session, unless they
// say otherwise.
type Conn struct {
	id       uint64
	server   *Server
	net      net.Conn
	address  netip.Addr // without port; the zero Addr is none
	vectored bool       // net has writev
	ctx      context.Context
	cancel   context.CancelCauseFunc
	reason   atomic.Pointer[error] // the first one given to Close
	phase    atomic.Int32

	// Deadlines by the clocks of Server.idle and Server.io, or never.
	idleAt, ioAt atomic.Int64
	admitAt      atomic.Int64 // never from Admit on

	maxFrame   int32
	inline     []byte // begin to end have been read and not been taken
	begin, end int
	trusted    int    // see trustBytes
	frame      *block // the frame in hand, if it is not in inline
	hold       hold
	holds      bool // hold has to be released

	reply   Reply // what Reply returns
	encoded *block
	pieces  net.Buffers
	vector  net.Buffers
	rest    net.Buffers
	size    [sizeRoom]byte
}

// What a connection is at. Who moves it from reading decides its fate: its own goroutine, which has read a request, or
// Shutdown, which ends it.
const (
	reading int32 = iota
	answering
	ending
)

// ID tells the connections of this process apart; it is never used again. It may be called at any time.
func (c *Conn) ID() uint64 { return c.id }

// RemoteAddr is the peer's address. It may be called at any time.
func (c *Conn) RemoteAddr() net.Addr { return c.net.RemoteAddr() }

// LocalAddr is the address at which the peer was accepted. It may be called at any time.
func (c *Conn) LocalAddr() net.Addr { return c.net.LocalAddr() }

// TLS is the state of the connection's TLS, or nil without. It may be called at any time from Handler.Open on.
func (c *Conn) TLS() *tls.ConnectionState {
	if secure, ok := c.net.(*tls.Conn); ok {
		state := secure.ConnectionState()
		return &state
	}
	return nil
}

// Admit lifts what holds for strangers, Limits.MaxFrameUnadmitted and Limits.Handshake: to be called when the peer has
// authenticated, or in Handler.Open if it need not.
func (c *Conn) Admit() {
	c.admitAt.Store(never)
	c.ioAt.Store(never)
	c.maxFrame = c.server.config.Limits.MaxFrame
}

// SetMaxFrame changes the size up to which further requests are read.
func (c *Conn) SetMaxFrame(n int32) { c.maxFrame = n }

// Drop ends the use of the frame in hand before its reply is written, so that its memory is free while the request waits
// for something that may take long.
func (c *Conn) Drop() {
	if c.frame != nil {
		give(c.frame)
		c.frame = nil
	}
	if c.holds {
		c.server.config.Budget.release(&c.hold)
		c.holds = false
	}
}

// Close ends the connection at once, for this reason if it is the first. It may be called at any time by any goroutine,
// and returns before Session.Close.
func (c *Conn) Close(reason error) {
	if !c.reason.CompareAndSwap(nil, &reason) {
		return
	}
	c.cancel(reason)
	raw := c.net
	if secure, ok := raw.(*tls.Conn); ok {
		raw = secure.NetConn() // whose own Close would wait for the peer to read its farewell
	}
	raw.Close()
}

// idleLimit starts the time within which the next request must begin.
func (c *Conn) idleLimit() {
	if limit := c.server.config.Limits.Idle; limit > 0 {
		c.idleAt.Store(c.server.idle.now() + int64(limit))
		c.server.idle.watch()
	}
}

// ioLimit starts the time that the peer has for size bytes; ioUnlimited ends it.
func (c *Conn) ioLimit(limit time.Duration, size int) {
	if limit > 0 {
		at := c.server.io.now() + int64(limit) + int64(size)*int64(time.Second)/minRate
		c.ioAt.Store(min(at, c.admitAt.Load()))
		c.server.io.watch()
	}
}

func (c *Conn) ioUnlimited() { c.ioAt.Store(c.admitAt.Load()) }

// lateness is why the connection's I/O deadline has passed.
func (c *Conn) lateness() error {
	switch {
	case c.ioAt.Load() == c.admitAt.Load():
		return ErrHandshake
	case c.phase.Load() == answering:
		return ErrSlowReply
	}
	return ErrSlowFrame
}
