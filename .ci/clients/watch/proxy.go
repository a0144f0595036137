package main

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
)

// proxy passes connections on to a broker and reads the headers of their requests on the way.
type proxy struct {
	l      net.Listener
	target string
	reads  bool
	seen   *sightings
	trace  *trace

	mu    sync.Mutex
	conns map[net.Conn]bool
	ended bool
}

func newProxy(target string, reads bool, seen *sightings, t *trace) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{l: l, target: target, reads: reads, seen: seen, trace: t, conns: map[net.Conn]bool{}}
	go p.accept()
	return p, nil
}

func (p *proxy) addr() string { return p.l.Addr().String() }

func (p *proxy) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		go p.serve(c)
	}
}

// keep remembers a connection for close; it returns false if that has been.
func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		c.Close()
		return false
	}
	p.conns[c] = true
	return true
}

func (p *proxy) drop(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	c.Close()
}

func (p *proxy) close() {
	p.l.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	for c := range p.conns {
		c.Close()
	}
}

func (p *proxy) serve(client net.Conn) {
	if !p.keep(client) {
		return
	}
	defer p.drop(client)
	broker, err := net.Dial("tcp", p.target)
	if err != nil || !p.keep(broker) {
		return
	}
	defer p.drop(broker)
	pending := &asked{conn: p.trace.conn(p.target), byCorrelation: map[int32]sighting{}}
	var first sync.Once
	ended := func(by string) { first.Do(func() { p.trace.ended(pending.conn, by) }) }
	var toBroker, toClient io.Writer = broker, client
	if p.reads {
		toBroker = io.MultiWriter(&frames{head: 8, each: func(head []byte) { p.request(pending, head) }}, broker)
		toClient = io.MultiWriter(&frames{head: 4, each: func(head []byte) { p.response(pending, head) }}, client)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(toClient, broker)
		ended("broker")
		client.Close() // the broker's end is the client's
	}()
	io.Copy(toBroker, client)
	ended("client")
	if half, ok := broker.(*net.TCPConn); ok {
		half.CloseWrite()
	}
	<-done
}

func (p *proxy) request(a *asked, head []byte) {
	if len(head) < 8 {
		return
	}
	s := sighting{key: int16(binary.BigEndian.Uint16(head)), version: int16(binary.BigEndian.Uint16(head[2:]))}
	if s.key < 0 || s.key > 100 || s.version < 0 || s.version > 30 {
		return // a token of SASL without a header
	}
	correlation := int32(binary.BigEndian.Uint32(head[4:]))
	a.put(correlation, s)
	p.seen.asked(s)
	p.trace.asked(asking{a.conn, correlation, s})
}

func (p *proxy) response(a *asked, head []byte) {
	if len(head) < 4 {
		return
	}
	correlation := int32(binary.BigEndian.Uint32(head))
	if s, ok := a.take(correlation); ok {
		p.seen.answered(s)
		p.trace.answered(asking{a.conn, correlation, s})
	}
}

// asked is what a connection waits for.
type asked struct {
	conn          int // its number
	mu            sync.Mutex
	byCorrelation map[int32]sighting
}

func (a *asked) put(correlation int32, s sighting) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.byCorrelation[correlation] = s
}

func (a *asked) take(correlation int32) (sighting, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, ok := a.byCorrelation[correlation]
	delete(a.byCorrelation, correlation)
	return s, ok
}

// frames finds the frames of a stream, and hands over how each begins.
type frames struct {
	head int
	each func([]byte)

	buf  []byte // size and head of the frame that is coming
	left int    // bytes of the frame behind the head
}

func (f *frames) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		if f.left > 0 {
			k := min(f.left, len(b))
			f.left, b = f.left-k, b[k:]
			continue
		}
		f.buf, b = append(f.buf, b[0]), b[1:]
		if len(f.buf) < 4 {
			continue
		}
		size := int(binary.BigEndian.Uint32(f.buf))
		if have := len(f.buf) - 4; have == min(size, f.head) {
			f.each(f.buf[4:])
			f.left, f.buf = size-have, f.buf[:0]
		}
	}
	return n, nil
}
