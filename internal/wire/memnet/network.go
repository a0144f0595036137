package memnet

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
)

// Network connects its listeners with whom dials them. It is safe for concurrent use.
type Network struct {
	mu        sync.Mutex // guards all below
	listeners map[string]*listener
	port      int // the last one that was chosen
}

// New makes a network without listeners.
func New() *Network { return &Network{listeners: map[string]*listener{}, port: 1<<15 - 1} }

// backlog is how many connections wait to be accepted; further dialers wait, as those of a socket do.
const backlog = 128

// Listen starts to listen at an address of the form host:port. With port 0 a free one is chosen.
func (n *Network) Listen(address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if port == "0" {
		address = net.JoinHostPort(host, fmt.Sprint(n.portLocked()))
	}
	if n.listeners[address] != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: addr(address), Err: syscall.EADDRINUSE}
	}
	l := &listener{network: n, address: addr(address), queue: make(chan *Conn, backlog), closed: make(chan struct{})}
	n.listeners[address] = l
	return l, nil
}

func (n *Network) portLocked() int {
	n.port++
	return n.port
}

// DialContext connects to a listener. The name of the network is not looked at. Without a listener the connection is refused
// (syscall.ECONNREFUSED).
func (n *Network) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[address]
	from := addr(net.JoinHostPort("127.0.0.1", fmt.Sprint(n.portLocked())))
	n.mu.Unlock()
	refused := &net.OpError{Op: "dial", Net: network, Addr: addr(address), Err: syscall.ECONNREFUSED}
	if l == nil {
		return nil, refused
	}
	client, server := pipe(from, l.address)
	select {
	case <-l.closed:
		return nil, refused
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: network, Addr: addr(address), Err: ctx.Err()}
	case l.queue <- server:
	}
	select {
	case <-l.closed: // perhaps before it was queued, and then nobody else closes it
		server.Close()
	default:
	}
	return client, nil
}

// Pipe returns two ends of a connection that no listener is between.
func Pipe() (client, server *Conn) { return pipe("127.0.0.1:1", "127.0.0.1:2") }

const network = "mem"

type addr string

func (addr) Network() string  { return network }
func (a addr) String() string { return string(a) }

type listener struct {
	network *Network
	address addr
	queue   chan *Conn
	once    sync.Once
	closed  chan struct{}
}

func (l *listener) Addr() net.Addr { return l.address }

func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
	default:
		select {
		case c := <-l.queue:
			return c, nil
		case <-l.closed:
		}
	}
	return nil, &net.OpError{Op: "accept", Net: network, Addr: l.address, Err: net.ErrClosed}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		l.network.mu.Lock()
		delete(l.network.listeners, string(l.address))
		l.network.mu.Unlock()
		close(l.closed)
		for {
			select {
			case c := <-l.queue:
				c.Close()
			default:
				return
			}
		}
	})
	return nil
}
