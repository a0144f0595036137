package kafkatest

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/partlog/partlog/partition"
)

// conn is a connection as the broker sees it. Rules may have what is written next cut short or trickle.
type conn struct {
	net.Conn
	port   *port
	once   sync.Once
	closed chan struct{}

	mu    sync.Mutex // guards all below
	left  int        // bytes until the connection is cut; only if cuts
	cuts  bool
	slow  int // bytes per second, of the answer being written
	tail  int // bytes of it that have not been written
	clock partition.Clock
}

// cutAfter has the connection end once n more bytes have been written.
func (c *conn) cutAfter(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left, c.cuts = n, true
}

// trickle has the next n bytes take their time.
func (c *conn) trickle(n, bytesPerSecond int, k partition.Clock) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tail, c.slow, c.clock = n, bytesPerSecond, k
}

func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	left, cuts, slow, k := c.left, c.cuts, c.slow, c.clock
	if c.tail -= len(p); c.tail < 0 {
		c.slow = 0
	}
	c.mu.Unlock()
	switch {
	case cuts:
		n := min(left, len(p))
		if n > 0 {
			n, _ = c.Conn.Write(p[:n])
		}
		c.mu.Lock()
		c.left -= n
		over := c.left <= 0
		c.mu.Unlock()
		if over {
			c.Close()
			return n, net.ErrClosed
		}
		return n, nil
	case slow > 0:
		return c.writeSlowly(p, slow, k)
	}
	return c.Conn.Write(p)
}

// writeSlowly writes pieces of a tenth of a second's bytes.
func (c *conn) writeSlowly(p []byte, perSecond int, k partition.Clock) (done int, err error) {
	piece := max(perSecond/10, 1)
	for done < len(p) {
		n, err := c.Conn.Write(p[done:min(done+piece, len(p))])
		done += n
		if err != nil {
			return done, err
		}
		due := make(chan struct{})
		stop := k.AfterFunc(time.Duration(n)*time.Second/time.Duration(perSecond), func() { close(due) })
		select {
		case <-due:
		case <-c.closed:
			stop()
			return done, net.ErrClosed
		}
	}
	return done, nil
}

// CloseWrite ends this end's writing, where the network can.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.port.mu.Lock()
		if at := c.RemoteAddr().String(); c.port.conns[at] == c {
			delete(c.port.conns, at)
		}
		c.port.mu.Unlock()
	})
	return c.Conn.Close()
}

// wait waits for d by the clock, or until ctx ends: then it returns false.
func wait(ctx context.Context, k partition.Clock, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	due := make(chan struct{})
	stop := k.AfterFunc(d, func() { close(due) })
	select {
	case <-due:
		return true
	case <-ctx.Done():
		stop()
		return false
	}
}
