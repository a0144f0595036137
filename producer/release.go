package producer

import "time"

// advance moves batches that are done, up to the first that is not, out of the flight: to the results if functions
// have to be called, else to r.free. The waiters to wake are put in r.wake. Both are handled once mu is free.
func (ln *lane) advance(r *released, now time.Time) {
	n := 0
	for _, b := range ln.flight {
		if b.state != done {
			break
		}
		n++
		ln.settled += uint64(len(b.entries))
		ln.count.settle(ln.p, b, now)
		if b.waits > 0 {
			r.wake = ln.answer(b, r.wake)
		}
		if ln.results == nil && !ln.delivering && ln.p.quiet(b) {
			ln.delivered += uint64(len(b.entries))
			b.next, r.free = r.free, b
		} else {
			ln.pushResult(b)
		}
	}
	if n > 0 {
		rest := copy(ln.flight, ln.flight[n:])
		clear(ln.flight[rest:])
		ln.flight = ln.flight[:rest]
		r.flushed = ln.arrivals(r.flushed)
	}
}

// pushResult queues the results of b for their callbacks.
func (ln *lane) pushResult(b *pending) {
	b.next = nil
	if ln.results == nil {
		ln.results = b
	} else {
		ln.lastResult.next = b
	}
	ln.lastResult = b
}

// released is what a goroutine that held mu has to do when it does not any more.
type released struct {
	wake    *waiter  // a list
	free    *pending // a list
	flushed []*flusher
}

// handle does it.
func (r *released) handle(p *Producer) {
	for b := r.free; b != nil; {
		next := b.next
		p.dispose(b)
		b = next
	}
	for w := r.wake; w != nil; {
		next := w.next
		w.next = nil
		w.ready <- struct{}{} // has room for it, and the Send that reads it gives w back: w is not touched again
		w = next
	}
	for _, f := range r.flushed {
		f.shared.arrive()
	}
	*r = released{}
}

// dispose gives back the memory of a batch whose results have all been delivered.
func (p *Producer) dispose(b *pending) {
	if b.abandoned { // the goroutine that is still appending it does so
		return
	}
	charge := b.charge
	b.recycle()
	p.memory.release(charge)
}

// answer gives the Sends that wait for b their results, and puts those that must be woken in front of wake.
func (ln *lane) answer(b *pending, wake *waiter) *waiter {
	n := 0
	for i := range b.entries {
		e := &b.entries[i]
		if w := e.waiter; w != nil {
			w.result = b.outcome(ln.tp, i, n)
			w.settled = true
			if w.parked {
				w.next, wake = wake, w
			}
		}
		if !e.withdrawn {
			n++
		}
	}
	return wake
}
