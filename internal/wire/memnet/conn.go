package memnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/partlog/partlog/internal/clock"
)

// Conn is one end of a connection. It is safe for concurrent use.
type Conn struct {
	in, out       *stream
	local, remote addr
}

// pipe makes the two ends of a connection from client to server.
func pipe(client, server addr) (c, s *Conn) {
	there, back := newStream(), newStream()
	return &Conn{back, there, client, server}, &Conn{there, back, server, client}
}

// LocalAddr is this end's address.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is the other end's address.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// Read reads what there is, and waits for at least a byte.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.wrap("read", err)
}

// Write writes all of p, and waits while the buffer is full.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.wrap("write", err)
}

func (c *Conn) wrap(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: network, Source: c.local, Addr: c.remote, Err: err}
}

// Close ends both directions. The other end reads what was written, then io.EOF; what it wrote and was not read is lost.
func (c *Conn) Close() error {
	c.in.end(func(s *stream) { s.readerGone, s.buffer, s.start = true, nil, 0 })
	c.out.end(func(s *stream) { s.writerGone, s.writerClosed = true, true })
	return nil
}

// CloseWrite ends this end's writing: the other one reads what was written, then io.EOF.
func (c *Conn) CloseWrite() error {
	c.out.end(func(s *stream) { s.writerGone = true })
	return nil
}

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline makes reads fail with os.ErrDeadlineExceeded from t on; the zero time never.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.reading, t)
	return nil
}

// SetWriteDeadline makes writes fail with os.ErrDeadlineExceeded from t on; the zero time never.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(&c.out.writing, t)
	return nil
}

// streamBytes is how much a stream buffers before its writer waits.
const streamBytes = 64 << 10

// stream is one direction of a connection.
type stream struct {
	mu      sync.Mutex // guards all below
	changed sync.Cond
	buffer  []byte // start to its end are to be read
	start   int

	inWrite      bool // a Write is under way: others wait, so that no two are mixed
	readerGone   bool // nobody will read
	writerGone   bool // nothing more is written
	writerClosed bool // by its own end's Close

	reading, writing deadline
}

type deadline struct {
	passed bool
	turn   int
	stop   func() bool
}

func newStream() *stream {
	s := &stream{}
	s.changed.L = &s.mu
	return s
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.readerGone:
			return 0, net.ErrClosed
		case s.reading.passed:
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case s.start < len(s.buffer):
			n := copy(p, s.buffer[s.start:])
			if s.start += n; s.start == len(s.buffer) {
				s.buffer, s.start = s.buffer[:0], 0
			}
			s.changed.Broadcast()
			return n, nil
		case s.writerGone:
			return 0, io.EOF
		}
		s.changed.Wait()
	}
}

func (s *stream) write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for mine := false; ; s.changed.Wait() {
		for !s.inWrite || mine {
			switch {
			case s.writerClosed:
				err = net.ErrClosed
			case s.readerGone, s.writerGone:
				err = syscall.EPIPE
			case s.writing.passed:
				err = os.ErrDeadlineExceeded
			}
			if err != nil || n == len(p) {
				s.inWrite = false
				s.changed.Broadcast()
				return n, err
			}
			mine, s.inWrite = true, true
			m := s.putLocked(p[n:])
			if n += m; m == 0 {
				break
			}
		}
	}
}

// putLocked buffers as much of p as there is room for.
func (s *stream) putLocked(p []byte) int {
	n := min(streamBytes-(len(s.buffer)-s.start), len(p))
	if n == 0 {
		return 0
	}
	if s.start > 0 && len(s.buffer)+n > cap(s.buffer) {
		s.buffer, s.start = s.buffer[:copy(s.buffer, s.buffer[s.start:])], 0
	}
	s.buffer = append(s.buffer, p[:n]...)
	s.changed.Broadcast()
	return n
}

func (s *stream) end(how func(*stream)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	how(s)
	for _, d := range []*deadline{&s.reading, &s.writing} {
		if d.stop != nil && (s.readerGone || s.writerClosed) {
			d.stop()
		}
	}
	s.changed.Broadcast()
}

func (s *stream) setDeadline(d *deadline, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.stop != nil {
		d.stop()
		d.stop = nil
	}
	d.turn++ // of a deadline that fires just now
	d.passed = false
	if t.IsZero() {
		return
	}
	wait := t.Sub(clock.System.Now())
	if wait <= 0 {
		d.passed = true
		s.changed.Broadcast()
		return
	}
	turn := d.turn
	d.stop = clock.System.AfterFunc(wait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if d.turn == turn {
			d.passed = true
			s.changed.Broadcast()
		}
	})
}
