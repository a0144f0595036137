package wire

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/internal/clock"
)

// Server serves the connections of any number of listeners, under common limits. It is safe for concurrent use.
type Server struct {
	config   Config
	idle, io *reaper
	rate     bucket
	draining atomic.Bool
	ctx      context.Context // ends with Shutdown
	drain    context.CancelCauseFunc

	opened, refused, requests, received, sent atomic.Int64

	running sync.WaitGroup // connections and accept loops; added to under mu, and not when draining

	mu        sync.Mutex // guards all below; the reapers' mu may be taken within
	listeners map[net.Listener]struct{}
	conns     map[*Conn]struct{}
	addresses map[netip.Addr]int
	freed     chan struct{} // closed when a connection ends, if an accept loop waits for that
}

// Stats are sums since NewServer, but for Connections and Memory, which are of now.
type Stats struct {
	Connections int   // open
	Opened      int64 // connections that got a Session
	Refused     int64 // connections that got none
	Requests    int64
	Received    int64 // bytes of requests, their sizes included
	Sent        int64 // bytes of replies, their sizes included
	Memory      int64 // bytes used of the Budget, by all who share it
}

// NewServer makes a server without listeners.
func NewServer(c Config) *Server {
	c = c.withDefaults()
	s := &Server{
		config:    c,
		rate:      bucket{clock: c.Clock, rate: c.Limits.Rate},
		listeners: map[net.Listener]struct{}{},
		conns:     map[*Conn]struct{}{},
		addresses: map[netip.Addr]int{},
	}
	s.ctx, s.drain = context.WithCancelCause(context.Background())
	s.idle = &reaper{
		clock: c.Clock, shortest: c.Limits.Idle, open: s.open,
		deadline: func(c *Conn) *atomic.Int64 { return &c.idleAt },
		reason:   func(*Conn) error { return ErrIdle },
	}
	s.io = &reaper{
		clock: clock.System, shortest: shortest(c.Limits.Handshake, c.Limits.SlowFrame, c.Limits.SlowReply), open: s.open,
		deadline: func(c *Conn) *atomic.Int64 { return &c.ioAt },
		reason:   (*Conn).lateness,
	}
	return s
}

// shortest of the durations that are not 0; 0 if all are.
func shortest(durations ...time.Duration) (d time.Duration) {
	for _, other := range durations {
		if other > 0 && (d == 0 || other < d) {
			d = other
		}
	}
	return d
}

// Stats returns the figures of now.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	connections := len(s.conns)
	s.mu.Unlock()
	return Stats{
		connections, s.opened.Load(), s.refused.Load(), s.requests.Load(), s.received.Load(), s.sent.Load(),
		s.config.Budget.Used(),
	}
}

// Shutdown closes the listeners and the connections that have no request in hand. Requests in hand are told by their
// context, and have until ctx ends to answer; each connection closes when its answer is written. It returns nil when all have
// ended; if ctx ends first, the rest is closed as Close does, and the result is ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	for _, c := range s.stop() {
		if c.phase.CompareAndSwap(reading, ending) {
			c.Close(ErrServerClosed)
		}
	}
	ended := make(chan struct{})
	go func() { s.running.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		s.Close()
		<-ended
		return ctx.Err()
	}
}

// Close closes listeners and connections at once, and returns when every Session has been closed and every Serve has
// ended. Sessions that do not heed their context hold it up.
func (s *Server) Close() error {
	for _, c := range s.stop() {
		c.Close(ErrServerClosed)
	}
	s.running.Wait()
	return nil
}

// stop ends the listeners, tells all requests, and returns the connections.
func (s *Server) stop() []*Conn {
	s.mu.Lock()
	s.draining.Store(true)
	listeners := s.listeners
	s.listeners = map[net.Listener]struct{}{}
	s.mu.Unlock()
	s.drain(ErrServerClosed)
	for l := range listeners {
		l.Close()
	}
	return s.open()
}

// open returns the connections that are open.
func (s *Server) open() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

// forget takes a connection that has ended from the books.
func (s *Server) forget(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.addresses[c.address]--; s.addresses[c.address] <= 0 {
		delete(s.addresses, c.address)
	}
	if s.freed != nil {
		close(s.freed)
		s.freed = nil
	}
	if len(s.conns) == 0 {
		s.idle.halt()
		s.io.halt()
	}
}

// refuse counts and tells a connection that has ended without a Session.
func (s *Server) refuse(remote net.Addr, reason error) {
	s.refused.Add(1)
	s.config.Refused(remote, reason)
}
