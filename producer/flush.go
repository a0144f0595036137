package producer

import (
	"context"
	"fmt"
	"sync/atomic"
)

// flusher waits until the lanes have come as far as they were when it asked.
type flusher struct {
	target    uint64 // records of one lane
	callbacks bool   // until their callbacks have run, too
	shared    *flushWait
}

type flushWait struct {
	open atomic.Int64 // lanes that are not there yet, and one for the caller while it asks
	done chan struct{}
}

func (f *flushWait) arrive() {
	if f.open.Add(-1) == 0 {
		close(f.done)
	}
}

// Flush sends what lingers, and waits until every record that was accepted before the call has its result and its
// callback has run. Called in a callback, it does not wait for callbacks, of which it is itself one. When the context
// ends first, its error is returned and the records are sent all the same. It does not report failures of records;
// their results do.
func (p *Producer) Flush(ctx context.Context) error {
	if p.closed.Load() {
		return ErrClosed
	}
	select {
	case <-p.flush(!inCallback()):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("flush: %w", ctx.Err())
	}
}

// flush returns a channel that is closed when all that is accepted now has been settled.
func (p *Producer) flush(callbacks bool) <-chan struct{} { return p.flushLanes(p.eachLane, callbacks) }

// flushLanes is flush for the lanes that each goes through.
func (p *Producer) flushLanes(each func(func(*lane)), callbacks bool) <-chan struct{} {
	w := &flushWait{done: make(chan struct{})}
	w.open.Store(1)
	each(func(ln *lane) {
		ln.mu.Lock()
		defer ln.mu.Unlock()
		ln.flushTo = ln.accepted
		f := &flusher{target: ln.accepted, callbacks: callbacks, shared: w}
		if !f.reached(ln) {
			w.open.Add(1)
			ln.flushers = append(ln.flushers, f)
			ln.schedule()
		}
	})
	w.arrive()
	return w.done
}

func (f *flusher) reached(ln *lane) bool {
	if f.callbacks {
		return ln.delivered >= f.target
	}
	return ln.settled >= f.target
}

// arrivals returns the flushers whose records have come through.
func (ln *lane) arrivals(before []*flusher) (arrived []*flusher) {
	if len(ln.flushers) == 0 {
		return before
	}
	arrived = before
	kept := ln.flushers[:0]
	for _, f := range ln.flushers {
		if f.reached(ln) {
			arrived = append(arrived, f)
		} else {
			kept = append(kept, f)
		}
	}
	clear(ln.flushers[len(kept):])
	ln.flushers = kept
	return arrived
}
