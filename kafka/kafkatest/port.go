package kafkatest

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/partlog/partlog/internal/clock"
)

// port is an address of a broker. It stays the cluster's while the broker is stopped or the whole cluster is down, so that
// nobody else gets it: connections are then reset as soon as they are made.
type port struct {
	socket net.Listener
	ended  chan struct{}

	mu     sync.Mutex // guards all below
	reader *intake
	closed bool
	conns  map[string]*conn // by the client's address
}

func newPort(socket net.Listener) *port {
	p := &port{socket: socket, ended: make(chan struct{}), conns: map[string]*conn{}}
	go p.pump()
	return p
}

// pump accepts until the socket is closed.
func (p *port) pump() {
	defer close(p.ended)
	for {
		c, err := p.socket.Accept()
		if err == nil {
			p.hand(c)
			continue
		}
		p.mu.Lock()
		closed := p.closed
		p.mu.Unlock()
		if closed || errors.Is(err, net.ErrClosed) {
			return
		}
		again := make(chan struct{}) // too many open files, most likely
		clock.System.AfterFunc(5*time.Millisecond, func() { close(again) })
		<-again
	}
}

// hand passes a connection on to the broker that listens.
func (p *port) hand(raw net.Conn) {
	p.mu.Lock()
	to := p.reader
	var c *conn
	if to != nil {
		c = &conn{Conn: raw, port: p, closed: make(chan struct{})}
		p.conns[raw.RemoteAddr().String()] = c
	}
	p.mu.Unlock()
	if to == nil {
		refuse(raw)
		return
	}
	select {
	case to.accepted <- c:
	case <-to.closed:
		refuse(raw)
		c.Close()
	}
}

// refuse resets a connection. To clients that is a broker that is down, as it is to be: an orderly end before the first answer
// is to some a wrong protocol, after which they do not try again.
func refuse(raw net.Conn) {
	if socket, ok := raw.(*net.TCPConn); ok {
		socket.SetLinger(0)
	}
	raw.Close()
}

// listen makes what a broker listens to until it is stopped.
func (p *port) listen() net.Listener {
	in := &intake{port: p, accepted: make(chan net.Conn), closed: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reader = in
	return in
}

func (p *port) conn(remote string) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conns[remote]
}

// close ends the port for good.
func (p *port) close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	err := p.socket.Close()
	<-p.ended
	return err
}

// intake is a port as its broker sees it: Close leaves the port's socket open.
type intake struct {
	port     *port
	accepted chan net.Conn
	once     sync.Once
	closed   chan struct{}
}

func (in *intake) Addr() net.Addr { return in.port.socket.Addr() }

func (in *intake) Accept() (net.Conn, error) {
	select {
	case c := <-in.accepted:
		return c, nil
	case <-in.closed:
		return nil, &net.OpError{Op: "accept", Net: in.Addr().Network(), Addr: in.Addr(), Err: net.ErrClosed}
	}
}

func (in *intake) Close() error {
	in.once.Do(func() {
		in.port.mu.Lock()
		if in.port.reader == in {
			in.port.reader = nil
		}
		in.port.mu.Unlock()
		close(in.closed)
	})
	return nil
}
