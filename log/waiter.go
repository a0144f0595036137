package log

import (
	"sync"

	"github.com/partlog/partlog/internal/batch"
)

// waiter is an append between its place in the log (given under mu) and its result. The one who has the writer role uses
// writer.solo for its own; the others take theirs from a pool and sleep on wake.
type waiter struct {
	next    *waiter     // in the queue, in a run, or in a list of those to wake
	batch   batch.Batch // nil: nothing to write, a wait for last to settle, or for the writer role
	base    Offset
	last    Offset
	durable bool    // wait for the sync
	lazy    bool    // needs none of its own
	take    bool    // wants the writer role and nothing else
	lead    bool    // woken to be the writer
	silent  bool    // one of several that the last of them stands for: nobody sleeps on wake
	replica *waiter // the silent one before it
	err     error
	undo    producerUndo
	wake    chan struct{} // capacity 1: whoever wakes never waits
}

// waiterPool belongs to one log: a channel that was made in a testing/synctest bubble must not be met outside of it.
type waiterPool struct{ pool sync.Pool }

func (p *waiterPool) get() *waiter {
	if w, ok := p.pool.Get().(*waiter); ok {
		return w
	}
	return &waiter{wake: make(chan struct{}, 1)}
}

// put gives w back, emptied, so that the pool keeps no batch alive.
func (p *waiterPool) put(w *waiter) {
	*w = waiter{wake: w.wake}
	p.pool.Put(w)
}

// queue is a list of waiters in the order of their offsets.
type queue struct {
	first, last *waiter
	n           int
}

func (q *queue) push(w *waiter) {
	w.next = nil
	if q.last == nil {
		q.first = w
	} else {
		q.last.next = w
	}
	q.last = w
	q.n++
}

// takeRun removes and returns the waiters up to the first that wants the writer role for itself.
func (q *queue) takeRun() *waiter {
	head := q.first
	var tail *waiter
	for w := head; w != nil && !w.take; w = w.next {
		tail = w
		q.n--
	}
	if tail == nil {
		return nil
	}
	q.first = tail.next
	if q.first == nil {
		q.last = nil
	}
	tail.next = nil
	return head
}

// takeAppends removes and returns the appends that are queued; who wants the writer role stays.
func (q *queue) takeAppends() (appends []*waiter) {
	rest := q.first
	*q = queue{}
	for rest != nil {
		next := rest.next
		if rest.take {
			q.push(rest)
		} else {
			appends = append(appends, rest)
		}
		rest = next
	}
	return appends
}

// done are waiters whose result is known, to be woken when no lock is held and the writer role is given on.
type done struct {
	queue
}

// add lists w, but for own, which nobody has to wake.
func (d *done) add(w, own *waiter) {
	if w != own {
		d.push(w)
	}
}

func (d *done) wakeAll() {
	for w := d.first; w != nil; {
		next := w.next // w belongs to its owner once it is woken
		if !w.silent {
			w.wake <- struct{}{}
		}
		w = next
	}
	d.first, d.last = nil, nil
}
