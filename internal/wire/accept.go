package wire

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/partlog/partlog/internal/clock"
)

// Serve accepts connections of l, which it closes in the end, and has h answer them. If l is of tls.NewListener the
// handshakes take place on the connections' own goroutines. Serve returns ErrServerClosed after Shutdown or Close, else
// the error of Accept that ended it; those that may pass, such as having no file descriptor left, do not end it.
func (s *Server) Serve(l net.Listener, h Handler) error {
	defer l.Close()
	if !s.add(l) {
		return ErrServerClosed
	}
	defer s.running.Done()
	var pause time.Duration
	for {
		accepted, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			if !s.take(accepted, h) {
				return ErrServerClosed
			}
		case s.draining.Load():
			return ErrServerClosed
		case !passing(err):
			return err
		default:
			s.config.AcceptFailed(l, err)
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			if wait(s.ctx, clock.System, pause) != nil {
				return ErrServerClosed
			}
		}
	}
}

// passing tells errors of Accept after which the next one may succeed.
func passing(err error) bool {
	var temporary interface{ Temporary() bool }
	return errors.As(err, &temporary) && temporary.Temporary() ||
		errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.ECONNABORTED)
}

func (s *Server) add(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	s.listeners[l] = struct{}{}
	s.running.Add(1)
	return true
}

// take starts a connection, or refuses it. It waits for the limits that make the accept loop wait, and reports false if
// the server was closed.
func (s *Server) take(accepted net.Conn, h Handler) bool {
	c := &Conn{id: ids.Add(1), server: s, net: accepted, address: addressOf(accepted), maxFrame: s.config.Limits.MaxFrameUnadmitted}
	switch accepted.(type) {
	case *net.TCPConn, *net.UnixConn:
		c.vectored = true
	}
	c.idleAt.Store(never)
	c.ioAt.Store(never)
	c.admitAt.Store(never)
	if d := s.rate.take(); d > 0 && wait(s.ctx, s.config.Clock, d) != nil {
		accepted.Close()
		return false
	}
	for {
		full, err := s.enter(c)
		switch {
		case errors.Is(err, ErrServerClosed):
			accepted.Close()
			return false
		case err != nil:
			accepted.Close()
			s.refuse(accepted.RemoteAddr(), err)
			return true
		case full == nil:
			go c.serve(h)
			return true
		}
		select {
		case <-full:
		case <-s.ctx.Done():
		}
	}
}

// ids are given to the connections of all servers.
var ids atomic.Uint64

// enter puts a connection into the books. If it would be one too many, the channel is closed when another has ended.
func (s *Server) enter(c *Conn) (full <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	limits := &s.config.Limits
	perAddress, overridden := limits.Overrides[c.address]
	if !overridden {
		perAddress = limits.PerAddress
	}
	switch {
	case s.draining.Load():
		return nil, ErrServerClosed
	case c.address.IsValid() && s.addresses[c.address] >= perAddress:
		return nil, ErrTooManyConnections
	case len(s.conns) >= limits.Connections:
		if s.freed == nil {
			s.freed = make(chan struct{})
		}
		return s.freed, nil
	}
	c.ctx, c.cancel = context.WithCancelCause(s.ctx)
	s.conns[c] = struct{}{}
	s.addresses[c.address]++
	s.running.Add(1)
	return nil, nil
}

// addressOf is the peer's IP address, or none if it has no such.
func addressOf(c net.Conn) netip.Addr {
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	parsed, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return parsed.Addr().Unmap()
}

// wait for d by the clock k, or until ctx ends, which is an error.
func wait(ctx context.Context, k clock.Clock, d time.Duration) error {
	over := make(chan struct{})
	stop := k.AfterFunc(d, func() { close(over) })
	defer stop()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// bucket is a token bucket that holds a second's worth.
type bucket struct {
	clock clock.Clock
	rate  float64 // tokens a second; 0 or less is no limit

	mu   sync.Mutex // guards all below
	next float64    // when the bucket is full again, in seconds by the clock
	used bool
}

// take takes a token, and returns how long to wait before using it.
func (b *bucket) take() time.Duration {
	if b.rate <= 0 {
		return 0
	}
	now := clock.Elapsed(b.clock).Seconds()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.used || b.next < now {
		b.used, b.next = true, now
	}
	b.next += 1 / b.rate
	return time.Duration(max(0, b.next-now-max(1, 1/b.rate)) * float64(time.Second))
}
