package faultnet

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/wire/memnet"
)

// Network is what is between the nodes. It is safe for concurrent use.
type Network struct {
	clock clock.Clock

	mu      sync.Mutex // guards all below
	names   map[string]string
	cuts    map[way]bool
	delays  map[way]time.Duration
	changed chan struct{}
	open    map[*pipe]struct{}
}

// way is one direction between two nodes.
type way struct{ from, to string }

// New makes a network without faults. Delays are by c.
func New(c clock.Clock) *Network {
	return &Network{clock: c, names: map[string]string{}, cuts: map[way]bool{}, delays: map[way]time.Duration{}, changed: make(chan struct{}), open: map[*pipe]struct{}{}}
}

// Name says who listens at an address. Others have their address as their name.
func (n *Network) Name(address, node string) { n.change(func() { n.names[address] = node }) }

// Cut stops what from sends to to, on connections of either.
func (n *Network) Cut(from, to string) { n.change(func() { n.cuts[way{from, to}] = true }) }

// CutBoth cuts both directions.
func (n *Network) CutBoth(a, b string) {
	n.change(func() { n.cuts[way{a, b}], n.cuts[way{b, a}] = true, true })
}

// Heal takes all cuts and delays away.
func (n *Network) Heal() { n.change(func() { clear(n.cuts); clear(n.delays) }) }

// Delay makes everything from one node to another arrive later by d.
func (n *Network) Delay(from, to string, d time.Duration) {
	n.change(func() { n.delays[way{from, to}] = d })
}

// Break resets the connections between two nodes, as a firewall that restarts does.
func (n *Network) Break(a, b string) {
	n.mu.Lock()
	var broken []*pipe
	for p := range n.open {
		if p.out == (way{a, b}) || p.out == (way{b, a}) {
			broken = append(broken, p)
		}
	}
	n.mu.Unlock()
	for _, p := range broken {
		p.close()
	}
}

func (n *Network) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *Network) state(w way) (cut bool, delay time.Duration, changed <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cuts[w], n.delays[w], n.changed
}

// pass waits until what goes this way arrives, or over is closed.
func (n *Network) pass(w way, over <-chan struct{}) bool {
	if _, delay, _ := n.state(w); delay > 0 {
		late := make(chan struct{})
		stop := n.clock.AfterFunc(delay, func() { close(late) })
		defer stop()
		select {
		case <-late:
		case <-over:
			return false
		}
	}
	for {
		cut, _, changed := n.state(w)
		if !cut {
			return true
		}
		select {
		case <-changed:
		case <-over:
			return false
		}
	}
}

// Dialer returns the dial function of a node over another one.
func (n *Network) Dialer(node string, inner func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		n.mu.Lock()
		to := address
		if name, ok := n.names[address]; ok {
			to = name
		}
		n.mu.Unlock()
		out := way{node, to}
		if !n.pass(out, ctx.Done()) || !n.pass(way{to, node}, ctx.Done()) {
			return nil, &net.OpError{Op: "dial", Net: network, Err: context.Cause(ctx)}
		}
		far, err := inner(ctx, network, address)
		if err != nil {
			return nil, err
		}
		near, local := memnet.Pipe()
		p := &pipe{network: n, out: out, local: local, far: far, over: make(chan struct{})}
		n.mu.Lock()
		n.open[p] = struct{}{}
		n.mu.Unlock()
		go p.pump(far, local, out)
		go p.pump(local, far, way{to, node})
		return &conn{near, far}, nil
	}
}

// pipe carries bytes between a dialer's end and the real connection.
type pipe struct {
	network *Network
	out     way
	local   net.Conn
	far     net.Conn
	once    sync.Once
	over    chan struct{}
}

func (p *pipe) pump(to, from net.Conn, w way) {
	defer p.close()
	b := make([]byte, 32<<10)
	for {
		k, err := from.Read(b)
		if k > 0 {
			if !p.network.pass(w, p.over) {
				return
			}
			if _, err := to.Write(b[:k]); err != nil {
				return
			}
		}
		if err != nil {
			p.network.pass(w, p.over) // the end does not arrive either
			return
		}
	}
}

func (p *pipe) close() {
	p.once.Do(func() {
		close(p.over)
		p.network.mu.Lock()
		delete(p.network.open, p)
		p.network.mu.Unlock()
		p.local.Close()
		p.far.Close()
	})
}

// conn is the dialer's end, with the addresses of the real connection.
type conn struct {
	net.Conn
	far net.Conn
}

func (c *conn) LocalAddr() net.Addr  { return c.far.LocalAddr() }
func (c *conn) RemoteAddr() net.Addr { return c.far.RemoteAddr() }

// Close breaks all connections.
func (n *Network) Close() {
	n.mu.Lock()
	var all []*pipe
	for p := range n.open {
		all = append(all, p)
	}
	n.mu.Unlock()
	for _, p := range all {
		p.close()
	}
}
