package producer

import (
	"context"
	"fmt"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// waiter is a Send that waits. The lane's mu guards settled and parked.
type waiter struct {
	ready   chan struct{} // has room for one
	next    *waiter
	settled bool // result is set
	parked  bool // the Send waits for ready
	result  Result
}

func newWaiter() any { return &waiter{ready: make(chan struct{}, 1)} }

// dismiss gives back a waiter that nothing refers to and whose ready is empty. The pool is the producer's, because
// channels must not leave the synctest bubble of a user's test.
func (p *Producer) dismiss(w *waiter) {
	w.settled, w.parked, w.result = false, false, Result{}
	p.waiters.Put(w)
}

// send is Send without the bookkeeping of records that are not accepted, which are those with an error.
func (p *Producer) send(ctx context.Context, tx *Tx, r *Record, w *waiter) (Result, error) {
	ln, a, err := p.admit(ctx, tx, r)
	if err != nil {
		p.dismiss(w)
		return Result{}, err
	}
	e := entry{key: sizeOf(r.Key), value: sizeOf(r.Value), acks: a.acks}
	if a.acks == partition.AcksNone {
		p.dismiss(w)
		e.answered = true
		ms, err := ln.add(ctx, r, a, e)
		if err == errForgotten {
			ln, ms, err = p.place(ctx, r, a, e)
		}
		if err != nil {
			return Result{}, err
		}
		res := ln.atAcceptance(e, ms)
		p.observe(res)
		return res, nil
	}
	e.waiter = w
	if p.cfg.Linger == 0 && !p.watched {
		now := p.cfg.Clock.Now()
		ln.mu.Lock()
		if want := p.bufferFor(batch.HeaderSize+a.size, 0); ln.idle() && !ln.closed && ln.enter(tx) == nil && p.memory.try(want) {
			b := ln.newBatch(want, now)
			b.inline = true
			if e.timestamp = b.milli; a.timed {
				e.timestamp = r.Timestamp.UnixMilli()
			}
			b.add(r, e)
			ln.accepted++
			ln.taken++
			ln.flight = append(ln.flight, b)
			if ln.identity.unsure(ln) {
				ln.identity.renew(ln)
			}
			ln.send(b, now)
			ln.mu.Unlock()
			res, err := p.transmit(ctx, ln, b)
			if p.settle(ln, b, res, err, p.cfg.Clock.Now()) {
				// Others' callbacks, which may take long.
				p.deliverElsewhere(ln)
			}
			ln.mu.Lock()
			if w.settled {
				ln.mu.Unlock()
				result := w.result
				p.dismiss(w)
				return result, nil
			}
			w.parked = true
			ln.mu.Unlock()
			return ln.await(ctx, w)
		}
		ln.mu.Unlock()
	}
	w.parked = true
	if _, err = ln.add(ctx, r, a, e); err == errForgotten {
		ln, _, err = p.place(ctx, r, a, e)
	}
	if err != nil {
		p.dismiss(w)
		return Result{}, err
	}
	return ln.await(ctx, w)
}

// await waits for the result of an accepted record. When the context ends, it takes the record back, or says that it
// cannot.
func (ln *lane) await(ctx context.Context, w *waiter) (Result, error) {
	select {
	case <-w.ready:
		res := w.result
		ln.p.dismiss(w)
		return res, nil
	case <-ctx.Done():
	}
	ln.mu.Lock()
	if w.settled {
		ln.mu.Unlock()
		<-w.ready
		res := w.result
		ln.p.dismiss(w)
		return res, nil
	}
	res, withdrawn := ln.withdraw(w)
	ln.mu.Unlock()
	ln.p.dismiss(w)
	if withdrawn {
		res.Err = fmt.Errorf("send to %s: withdrawn: %w", ln.tp, ctx.Err())
	} else {
		res.Err = &UncertainError{TopicPartition: ln.tp, Err: ctx.Err()}
	}
	ln.p.stats.refuse(res.Err)
	ln.p.observe(res)
	return res, nil
}

// withdraw takes the record that w waits for out of its batch, if no append of that has begun; otherwise it only
// forgets w.
func (ln *lane) withdraw(w *waiter) (res Result, withdrawn bool) {
	find := func(b *pending) int {
		if b != nil && b.waits > 0 {
			for i := range b.entries {
				if b.entries[i].waiter == w {
					return i
				}
			}
		}
		return -1
	}
	result := func(b *pending, i int) Result {
		b.entries[i].answered = true
		res := b.outcome(ln.tp, i, 0)
		res.Offset = -1
		return res
	}
	take := func(b *pending, i int) bool {
		res = result(b, i)
		withdrawn = b.without(i, ln.topic.facts.Load().options) == nil
		if !withdrawn {
			b.forget(i)
		}
		return true
	}
	if i := find(ln.open); i >= 0 && take(ln.open, i) {
		return
	}
	for b := ln.first; b != nil; b = b.next {
		if i := find(b); i >= 0 && take(b, i) {
			return
		}
	}
	for _, b := range ln.flight {
		if i := find(b); i >= 0 {
			res = result(b, i)
			b.forget(i)
			return
		}
	}
	panic("BUG: a Send waits for a record that no batch has")
}

// forget detaches the Send that waits for entry i.
func (b *pending) forget(i int) {
	b.entries[i].waiter = nil
	b.waits--
}
