package main

import (
	"net"
	"os/exec"
	"sync"
)

// wires carry what nodes say to each other: for each pair, and who dials, a listener that passes bytes on, or keeps them, as a network
// does that has lost its way.
type wires struct {
	addresses [size]string
	each      [size][size]*wire // from, to; nil for a node and itself
}

// wire is what one node dials to reach another.
type wire struct {
	listener    net.Listener
	to          string
	forth, back gate

	mu    sync.Mutex // guards all below
	conns map[net.Conn]bool
	ended bool
}

// gate lets bytes through while it is open.
type gate struct {
	mu   sync.Mutex
	shut chan struct{} // nil: open; closed when it opens
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if shut && g.shut == nil {
		g.shut = make(chan struct{})
	} else if !shut && g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

// pass waits until the gate is open.
func (g *gate) pass() {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut != nil {
		<-shut
	}
}

func newWires() (network, error) {
	w := &wires{}
	for i := range size {
		l, err := net.Listen("tcp", "127.0.0.1:0") // a free port
		if err != nil {
			return nil, err
		}
		w.addresses[i] = l.Addr().String()
		if err := l.Close(); err != nil {
			return nil, err
		}
	}
	for from := range size {
		for to := range size {
			if from == to {
				continue
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return nil, err
			}
			one := &wire{listener: l, to: w.addresses[to], conns: map[net.Conn]bool{}}
			w.each[from][to] = one
			go one.serve()
		}
	}
	return w, nil
}

func (w *wires) listen(i int) string { return w.addresses[i] }

func (w *wires) book(from int) (all []neighbour) {
	for to, one := range w.each[from] {
		if to != from {
			all = append(all, neighbour{ID: int32(to + 1), Address: one.to, Dials: one.listener.Addr().String()})
		}
	}
	return all
}

func (w *wires) command(self string, _ int) *exec.Cmd { return exec.Command(self) }

// cut leaves connections as they are: what is on its way arrives when the wire is whole again.
func (w *wires) cut(i int, in, out bool) error {
	for j := range size {
		if j != i {
			w.each[j][i].forth.set(in)
			w.each[j][i].back.set(out)
			w.each[i][j].forth.set(out)
			w.each[i][j].back.set(in)
		}
	}
	return nil
}

func (w *wire) serve() {
	for {
		in, err := w.listener.Accept()
		if err != nil {
			return
		}
		go w.carry(in)
	}
}

func (w *wire) carry(in net.Conn) {
	defer in.Close()
	w.forth.pass()
	out, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer out.Close()
	w.mu.Lock()
	if w.ended {
		w.mu.Unlock()
		return
	}
	w.conns[in], w.conns[out] = true, true
	w.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { w.pump(out, in, &w.forth) })
	both.Go(func() { w.pump(in, out, &w.back) })
	both.Wait()
	w.mu.Lock()
	delete(w.conns, in)
	delete(w.conns, out)
	w.mu.Unlock()
}

func (w *wire) pump(to, from net.Conn, g *gate) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		g.pass()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (w *wires) close() {
	for _, row := range w.each {
		for _, one := range row {
			if one == nil {
				continue
			}
			one.listener.Close()
			one.forth.set(false)
			one.back.set(false)
			one.mu.Lock()
			one.ended = true
			for c := range one.conns {
				c.Close()
			}
			one.mu.Unlock()
		}
	}
}
