package replicationtest

import (
	"time"

	"github.com/partlog/partlog/internal/simulate"
)

// request and response are what connections carry; id tells which response is whose.
type (
	request struct {
		id   uint64
		body any
	}
	response struct {
		id   uint64
		body any
	}
	datagram struct{ data []byte } // of raft
)

// lane is a connection for one purpose: what waits long on one does not hold up the others.
type lane int

const (
	laneControl lane = iota
	laneFetch
	laneClient
)

// caller is one end of calls: a station in one of its lives.
type caller struct {
	station int
	net     *simulate.Network
	times   *simulate.Clock
	conns   map[dialed]*simulate.Conn
	waiting map[uint64]*pending
	next    uint64
	held    map[dialed]time.Duration // until when requests are kept on their way
}

type dialed struct {
	to   int
	lane lane
}

type pending struct {
	done func(answer any) // nil: no answer came
	stop func() bool
	conn *simulate.Conn
}

func newCaller(station int, net *simulate.Network, clock *simulate.Clock) *caller {
	return &caller{station: station, net: net, times: clock, conns: map[dialed]*simulate.Conn{}, waiting: map[uint64]*pending{}}
}

// call sends body and has done called once: with the answer, or with nil after timeout. Then the connection is given up, and with it all
// that is on it.
func (c *caller) call(to int, l lane, body any, timeout time.Duration, done func(answer any)) {
	key := dialed{to, l}
	conn := c.conns[key]
	if conn == nil || conn.Closed() {
		conn = c.net.Dial(c.station, to)
		c.conns[key] = conn
		conn.Hold(c.held[key])
	}
	c.next++
	id := c.next
	p := &pending{done: done, conn: conn}
	p.stop = c.times.AfterFunc(timeout, func() {
		delete(c.waiting, id)
		conn.Close()
		done(nil)
	})
	c.waiting[id] = p
	conn.Send(c.station, request{id: id, body: body})
}

// hold keeps requests on one lane on their way until a time.
func (c *caller) hold(to int, l lane, until time.Duration) {
	key := dialed{to, l}
	if c.held == nil {
		c.held = map[dialed]time.Duration{}
	}
	c.held[key] = until
	if conn := c.conns[key]; conn != nil {
		conn.Hold(until)
	}
}

// answered takes a response; one that nobody waits for any more is dropped.
func (c *caller) answered(m simulate.Message, r response) {
	p := c.waiting[r.id]
	if p == nil || p.conn != m.Conn {
		return
	}
	delete(c.waiting, r.id)
	p.stop()
	p.done(r.body)
}
