package peer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/internal/clock"
)

// link is a connection after its handshake. Two goroutines are its own: run's, which reads, and the writer. Each call that
// came is answered on a third kind.
type link struct {
	e        *Endpoint
	conn     net.Conn
	meter    *meter
	in       *bufio.Reader // from meter
	remote   Identity
	address  string
	dialed   bool   // it was us: we call and send, they answer
	messages *queue // of the peer, if dialed
	window   window // what we may have under way there, if dialed
	taken    Window // what they have under way here, if accepted; guarded by mu
	maxFrame int    // what they take
	next     uint64 // number of the next frame to come; run's
	first    uint64 // of the first one that we write

	ctx    context.Context // of handlers
	cancel context.CancelFunc
	ended  chan struct{}  // closed by fail
	work   sync.WaitGroup // the writer, the handlers

	mu      sync.Mutex // guards all below
	wake    sync.Cond
	err     error
	closing bool // a bye is the last of queue
	urgent  []frame
	queue   []frame
	pending map[uint32]*exchange          // our calls
	serving map[uint32]context.CancelFunc // theirs
	corr    uint32
	pings   map[uint32]ping
	rtt     time.Duration
	writing bool
	stalled int // ticks
	silent  int // ticks
	stop    func() bool

	wrote   atomic.Bool // since the last tick
	written atomic.Uint64
	calls   atomic.Uint64
}

// frame waits to be written.
type frame struct {
	typ         frameType
	kind        uint8
	correlation uint32
	aux         uint32
	one         []byte
	pieces      [][]byte // instead of one
	bytes       int
	release     func()
}

// exchange is a call that waits for its answer.
type exchange struct {
	bytes     int64
	abandoned bool // nobody waits; under mu
	done      chan struct{}
	body      *buffer
	err       error
}

// ping waits for its pong.
type ping struct {
	at   time.Duration
	done chan struct{}
}

func (e *Endpoint) newLink(h *handshake, remote hello, dialed bool) *link {
	l := &link{
		e: e, conn: h.conn, meter: h.meter, in: h.in, remote: remote.Identity, address: h.address, dialed: dialed,
		window: window{limit: remote.window}, maxFrame: int(remote.maxFrame),
		ended: make(chan struct{}), pending: map[uint32]*exchange{}, serving: map[uint32]context.CancelFunc{}, pings: map[uint32]ping{},
	}
	l.window.limit.Calls = min(l.window.limit.Calls, e.config.Limits.Window.Calls)
	l.window.limit.Bytes = min(l.window.limit.Bytes, e.config.Limits.Window.Bytes)
	l.wake.L = &l.mu
	l.ctx, l.cancel = context.WithCancel(e.ctx)
	return l
}

// run serves the connection until it ends, and returns why when nothing of it is left.
func (l *link) run() error {
	l.work.Go(l.write)
	l.tick()
	defer context.AfterFunc(l.e.ctx, func() {
		l.bye("the node is closing")
		stop := l.e.config.Clock.AfterFunc(l.e.config.Limits.Close, func() { l.fail(ErrClosed) })
		<-l.ended
		stop()
	})()
	err := l.readFrames()
	l.fail(err)
	l.work.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// fail ends the connection with its first reason.
func (l *link) fail(err error) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	l.err = err
	pending := l.pending
	l.pending = nil
	if l.stop != nil {
		l.stop()
	}
	l.wake.Broadcast()
	l.mu.Unlock()
	l.cancel()
	l.conn.Close()
	close(l.ended)
	for _, x := range pending {
		x.err = &LostError{l.remote.NodeID, err}
		close(x.done)
	}
}

// bye ends the connection when what waits has been written.
func (l *link) bye(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil && !l.closing {
		l.closing = true
		l.queue = append(l.queue, frame{typ: frameBye, one: []byte(reason), bytes: len(reason)})
		l.wake.Signal()
	}
}

// tick looks for silence and stalls, and asks for a sign of life.
func (l *link) tick() {
	if reason := l.look(); reason != nil {
		l.fail(reason)
	}
}

func (l *link) look() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return nil
	}
	limits := &l.e.config.Limits
	if l.silent++; l.meter.heard.Swap(false) {
		l.silent = 0
	}
	if l.stalled++; l.wrote.Swap(false) || !l.writing {
		l.stalled = 0
	}
	switch {
	case time.Duration(l.silent)*limits.Ping >= limits.Silence:
		return ErrSilent
	case time.Duration(l.stalled)*limits.Ping >= limits.Stalled:
		return ErrStalled
	case l.silent > 0:
		l.pingLocked(nil)
	}
	l.stop = l.e.config.Clock.AfterFunc(limits.Ping, l.tick)
	return nil
}

// pingLocked asks for a sign of life; done, if not nil, is closed when it comes.
func (l *link) pingLocked(done chan struct{}) {
	if len(l.pings) >= 64 { // none is answered
		return
	}
	l.corr++
	l.pings[l.corr] = ping{clock.Elapsed(l.e.config.Clock), done}
	l.putLocked(&l.urgent, frame{typ: framePing, correlation: l.corr})
}

// alive asks the other end and waits until it answers, the connection ends, or Limits.Probe has passed.
func (l *link) alive() bool {
	done, late := make(chan struct{}), make(chan struct{})
	stop := l.e.config.Clock.AfterFunc(l.e.config.Limits.Probe, func() { close(late) })
	defer stop()
	l.mu.Lock()
	l.pingLocked(done)
	l.mu.Unlock()
	select {
	case <-done:
		return true
	case <-late:
	case <-l.ended:
	}
	return false
}

// putLocked queues a frame, unless the connection has ended.
func (l *link) putLocked(q *[]frame, f frame) bool {
	if l.err != nil || l.closing {
		return false
	}
	*q = append(*q, f)
	l.wake.Signal()
	return true
}

// call sends a call and gives reply its answer.
func (l *link) call(ctx context.Context, kind uint8, body []byte, reply func([]byte) error) error {
	if len(body) > l.maxFrame {
		return &TooLargeError{len(body), l.maxFrame}
	}
	if !l.window.acquire(ctx, l.ended, int64(len(body))) {
		if err := ctx.Err(); err != nil {
			return err
		}
		return l.lost()
	}
	x := &exchange{bytes: int64(len(body)), done: make(chan struct{})}
	l.mu.Lock()
	if l.err != nil || l.closing {
		l.mu.Unlock()
		return l.lost()
	}
	for l.corr++; l.pending[l.corr] != nil; l.corr++ {
	}
	correlation := l.corr
	l.pending[correlation] = x
	l.putLocked(&l.queue, frame{typ: frameCall, kind: kind, correlation: correlation, aux: timeLeft(ctx), one: body, bytes: len(body)})
	l.mu.Unlock()
	l.calls.Add(1)
	select {
	case <-x.done:
	case <-ctx.Done():
		l.mu.Lock()
		if l.pending[correlation] == x {
			x.abandoned = true
			l.putLocked(&l.queue, frame{typ: frameCancel, correlation: correlation})
			l.mu.Unlock()
			return ctx.Err()
		}
		l.mu.Unlock()
		<-x.done // it is just being answered
	}
	if x.err != nil {
		return x.err
	}
	defer x.body.give()
	if reply == nil {
		return nil
	}
	return reply(x.body.b)
}

// lost is the error of a call that was not sent.
func (l *link) lost() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.err
	if err == nil {
		err = ErrClosed
	}
	return &UnreachableError{NodeID: l.remote.NodeID, Address: l.address, Err: err}
}

// timeLeft is how many milliseconds a handler has until nobody can be waiting any more; 0 if ctx has no deadline. It is later than the
// deadline: what ends the handler then is the cancellation, and this only if that does not arrive.
func timeLeft(ctx context.Context) uint32 {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return uint32(min(max(deadline.Sub(clock.System.Now()), 0)+time.Second, 1<<31*time.Millisecond) / time.Millisecond)
}

// meter counts what is read from a connection.
type meter struct {
	conn  net.Conn
	heard atomic.Bool // since the last tick
	read  atomic.Uint64
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.conn.Read(p)
	if n > 0 {
		m.heard.Store(true)
		m.read.Add(uint64(n))
	}
	return n, err
}

// readFrames takes frames until the connection ends.
func (l *link) readFrames() error {
	for {
		h, body, err := l.readFrame()
		if err == nil {
			err = l.take(h, body)
		}
		if err != nil {
			return err
		}
	}
}

// readFrame reads the frame that is due.
func (l *link) readFrame() (h head, body *buffer, err error) {
	var b [sizeBytes + headBytes]byte
	if _, err := io.ReadFull(l.in, b[:]); err != nil {
		return h, nil, err
	}
	h, n, err := parseHead(&b, l.next, l.e.config.Limits.MaxFrame)
	if err != nil {
		return h, nil, err
	}
	l.next++
	body, err = readBody(l.in, n)
	return h, body, err
}

// take does what a frame says. body belongs to it.
func (l *link) take(h head, body *buffer) error {
	switch h.typ {
	case frameReply, frameFailure:
		return l.answered(h, body)
	case frameCall:
		if l.dialed {
			break
		}
		return l.serve(h, body)
	case frameMessage:
		if l.dialed {
			break
		}
		defer body.give()
		return guard(func() { l.e.config.Handler.Message(l.remote.NodeID, h.kind, body.b) })
	case frameCancel:
		body.give()
		l.mu.Lock()
		cancel := l.serving[h.correlation]
		l.mu.Unlock()
		if cancel != nil { // else its answer is on its way
			cancel()
		}
		return nil
	case framePing:
		body.give()
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.urgent) > 1024 {
			return fmt.Errorf("%w: more pings than pongs can be written", ErrProtocol)
		}
		l.putLocked(&l.urgent, frame{typ: framePong, correlation: h.correlation})
		return nil
	case framePong:
		body.give()
		l.mu.Lock()
		defer l.mu.Unlock()
		p, ok := l.pings[h.correlation]
		if !ok {
			return fmt.Errorf("%w: a pong without a ping", ErrProtocol)
		}
		delete(l.pings, h.correlation)
		l.rtt = clock.Elapsed(l.e.config.Clock) - p.at
		if p.done != nil {
			close(p.done)
		}
		return nil
	case frameBye:
		defer body.give()
		return fmt.Errorf("%w: %.200q", ErrPeerClosed, body.b)
	}
	body.give()
	return fmt.Errorf("%w: frame of type %d", ErrProtocol, h.typ)
}

// answered gives an answer to who waits for it.
func (l *link) answered(h head, body *buffer) error {
	l.mu.Lock()
	x := l.pending[h.correlation]
	delete(l.pending, h.correlation)
	abandoned := x != nil && x.abandoned
	ended := l.err != nil
	l.mu.Unlock()
	if x == nil {
		body.give()
		if ended { // the call has been told already
			return ErrClosed
		}
		return fmt.Errorf("%w: an answer to no call", ErrProtocol)
	}
	l.window.release(x.bytes)
	switch {
	case abandoned:
		body.give()
	case h.typ == frameFailure:
		x.err = &CallError{l.remote.NodeID, h.aux, string(body.b)}
		body.give()
		close(x.done)
	default:
		x.body = body
		close(x.done)
	}
	return nil
}

// guard turns a panic of the host's code into an error.
func guard(f func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic of the handler: %v", v)
		}
	}()
	f()
	return nil
}

var errCancelled = errors.New("the caller waits no more")

// over reports whether the connection has ended.
func (l *link) over() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}
