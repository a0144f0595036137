package producer

import (
	"reflect"
	"runtime"
	"runtime/debug"
	"time"
)

// quiet reports whether nobody's function has to be called for b.
func (p *Producer) quiet(b *pending) bool {
	return b.tells == 0 && !p.watched && (b.err == nil || p.cfg.Events.Lost == nil)
}

// deliver runs the callbacks of all results of the lane. The caller has claimed them.
func (p *Producer) deliver(ln *lane) {
	ln.mu.Lock()
	for ln.results != nil {
		b := ln.results
		ln.results, b.next = b.next, nil
		ln.mu.Unlock()
		runResults(p, ln, b)
		if b.early {
			ln.mu.Lock()
			continue
		}
		n := uint64(len(b.entries))
		p.dispose(b)
		ln.mu.Lock()
		ln.delivered += n
		for _, f := range ln.arrivals(nil) {
			f.shared.arrive()
		}
	}
	ln.delivering = false
	ln.mu.Unlock()
}

// deliverElsewhere is deliver for a goroutine that has other things to do.
func (p *Producer) deliverElsewhere(ln *lane) {
	if !p.background(func() { p.deliver(ln) }) {
		p.deliver(ln)
	}
}

// runResults calls the functions that wait for the results of b. inCallback finds it on the stack.
//
//go:noinline
func runResults(p *Producer, ln *lane, b *pending) {
	c := resultCursor{p: p, ln: ln, b: b}
	for c.i < len(b.entries) {
		c.run()
	}
	if f := p.cfg.Events.Lost; f != nil && b.err != nil && c.lost > 0 {
		p.guard("event", func() { f(LostRecords{TopicPartition: ln.tp, Records: c.lost, Err: b.err}) })
	}
}

// resultCursor goes through a batch's results; a panic costs the function its call, not the others theirs.
type resultCursor struct {
	p    *Producer
	ln   *lane
	b    *pending
	i, n int // the entry, and its record in the batch
	lost int
	in   string
}

func (c *resultCursor) run() {
	defer func() {
		if x := recover(); x != nil {
			c.p.panicked(&PanicError{In: c.in, Value: x, Stack: debug.Stack()})
			if c.in == inInterceptor { // the record's own callback is still due
				return
			}
			c.step()
		}
	}()
	for c.i < len(c.b.entries) {
		e := &c.b.entries[c.i]
		if c.p.watched && !e.answered {
			e.answered = true
			c.in = inInterceptor
			r := c.b.outcome(c.ln.tp, c.i, c.n)
			for _, in := range c.p.cfg.Interceptors {
				if in.OnResult != nil {
					in.OnResult(r)
				}
			}
		}
		if e.done != nil {
			c.in = "callback"
			e.done(c.b.outcome(c.ln.tp, c.i, c.n))
		} else if e.waiter == nil && !e.withdrawn {
			c.lost++
		}
		c.step()
	}
}

func (c *resultCursor) step() {
	if !c.b.entries[c.i].withdrawn {
		c.n++
	}
	c.i++
}

const inInterceptor = "interceptor"

var runResultsEntry = reflect.ValueOf(runResults).Pointer()

// inCallback reports whether the calling goroutine is running a callback of a producer. Flush and Close would wait for
// themselves there.
func inCallback() bool {
	var pcs [64]uintptr
	for skip := 2; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs[:])
		for _, pc := range pcs[:n] {
			if f := runtime.FuncForPC(pc); f != nil && f.Entry() == runResultsEntry {
				return true
			}
		}
		if n < len(pcs) {
			return false
		}
	}
}

// observe tells the interceptors a result that no batch delivers.
func (p *Producer) observe(r Result) {
	if !p.watched {
		return
	}
	for _, in := range p.cfg.Interceptors {
		if in.OnResult != nil {
			p.guard(inInterceptor, func() { in.OnResult(r) })
		}
	}
}

// guard runs a function of the caller's and reports its panic.
func (p *Producer) guard(in string, f func()) {
	var err error
	defer p.catch(in, &err)
	f()
}

// catch is deferred around functions of the caller's: it turns a panic into an error and an event.
func (p *Producer) catch(in string, err *error) {
	if x := recover(); x != nil {
		e := &PanicError{In: in, Value: x, Stack: debug.Stack()}
		*err = e
		p.panicked(e)
	}
}

// panicked reports a panic. One in the function that is told of panics goes on: there is nobody left to tell.
func (p *Producer) panicked(e *PanicError) {
	p.panics.Add(1)
	if f := p.cfg.Events.Panic; f != nil {
		f(e)
	}
}

// since is the time between two readings of the clock, which may have been set back.
func since(from, to time.Time) time.Duration { return max(to.Sub(from), 0) }
