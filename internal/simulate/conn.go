package simulate

import "time"

// Conn is a connection between two stations, as TCP makes one: what is sent in one direction arrives once and in order, or it and all
// behind it never do. It is tied to one life of each end: after a restart nothing of it is delivered any more. Nobody is told that it
// has broken: who waits has a deadline, and dials again.
type Conn struct {
	net    *Network
	ends   [2]int    // who dialled, who was dialled
	lives  [2]uint64 // of their processes; the dialled one's is known when the first message arrives
	pinned bool
	closed bool
	held   time.Duration // before it nothing arrives of who dialled
	pipes  [2]pipe       // from ends[0], from ends[1]
}

// pipe is one direction of a connection.
type pipe struct {
	waiting []any // lost and to be sent again, with all behind it
	backoff time.Duration
	last    time.Duration // arrival of the last message under way
}

// Dial makes a connection. It always succeeds; that nobody answers shows later.
func (n *Network) Dial(from, to int) *Conn {
	return &Conn{net: n, ends: [2]int{from, to}, lives: [2]uint64{n.stations[from].process.Life()}}
}

// Close drops what has not been sent. What is under way may still arrive.
func (c *Conn) Close() {
	c.closed = true
	c.pipes[0].waiting, c.pipes[1].waiting = nil, nil
}

// Hold keeps what who has dialled sends from now on on its way until a time at least; what the other side sends is not concerned.
func (c *Conn) Hold(until time.Duration) { c.held = max(c.held, until) }

// Closed reports whether the connection is known to have ended.
func (c *Conn) Closed() bool { return c.closed }

// Send sends body from one end to the other.
func (c *Conn) Send(from int, body any) {
	if c.closed {
		return
	}
	side := 0
	if from != c.ends[0] {
		side = 1
	}
	p := &c.pipes[side]
	p.waiting = append(p.waiting, body)
	if len(p.waiting) == 1 {
		c.push(side)
	}
}

// push sends what waits, until something is lost.
func (c *Conn) push(side int) {
	n, p := c.net, &c.pipes[side]
	from, to := c.ends[side], c.ends[1-side]
	l := n.link(from, to)
	for len(p.waiting) > 0 && !c.closed {
		lost := l.cuts > 0
		if lost {
			n.counts.Add("segment cut", 1)
		} else if hits(l.rng, l.weather.Loss) {
			n.counts.Add("segment lost", 1)
			lost = true
		}
		if lost {
			p.backoff = min(max(2*p.backoff, Retransmit), maxRetransmit)
			n.sched.After(p.backoff, func() { c.push(side) })
			return
		}
		p.backoff = 0
		body := p.waiting[0]
		p.waiting[0] = nil
		p.waiting = p.waiting[1:]
		at := max(n.transit(l), p.last+1)
		if side == 0 {
			at = max(at, c.held)
		}
		p.last = at
		n.sched.At(at, func() { c.deliver(side, l, body) })
	}
}

func (c *Conn) deliver(side int, l *link, body any) {
	from, to := c.ends[side], c.ends[1-side]
	s := c.net.stations[to]
	if side == 0 && !c.pinned && s.process.Up() {
		c.pinned = true
		c.lives[1] = s.process.Life()
	}
	if !s.process.Up() || s.process.Life() != c.lives[1-side] {
		c.net.counts.Add("connection reset", 1)
		c.Close()
		return
	}
	s.process.DoIn(c.lives[1-side], func() { s.receive(Message{From: from, To: to, Conn: c, Body: body}) })
}
