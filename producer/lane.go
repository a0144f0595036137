package producer

import (
	"context"
	"sync"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// lane is the accumulator of one partition: the batch that is open, those that are full, those in flight, and the
// results that wait for their callbacks. A lane without records holds no buffer, no timer and no goroutine.
//
//	add → open → queue → flight (sending ⇄ retrying → done) → results → callbacks
//
// Invariant: batches leave each stage in the order in which they came.
type lane struct {
	p     *Producer
	topic *topic
	tp    partition.TopicPartition

	nextQueued *lane // in sched; guarded by its mu

	mu     sync.Mutex // guards all below
	closed bool

	open        *pending
	first, last *pending    // the queue
	flight      []*pending  // taken from the queue
	inFlight    int         // of flight: those in state sending
	queued      bool        // sched has the lane
	muted       func() bool // stops the timer of a retry's backoff; nil if none runs
	lingering   func() bool // stops the timer of linger; nil if none runs
	lingered    bool        // the open batch has waited long enough
	class       int         // of the next buffer

	identity

	tx        *Tx  // whose records the lane takes, or took last; nil outside transactions
	txOver    bool // its scope has been left; also of a lane that is forgotten
	forgotten bool // takes nothing any more

	// Records, counted at each stage.
	accepted, taken, settled, delivered uint64
	flushTo                             uint64 // the open batch does not linger while taken is below
	flushers                            []*flusher

	results    *pending // done, in order; their callbacks have not run
	lastResult *pending
	delivering bool // a goroutine runs callbacks

	count laneCount
}

func newLane(p *Producer, t *topic, n int32) *lane {
	ln := &lane{p: p, topic: t, tp: partition.TopicPartition{Topic: t.name, Partition: n}}
	ln.identity.reset()
	return ln
}

// add accepts a record: it is copied into the open batch. It returns the record's timestamp in milliseconds. The errors
// are those of a full buffer, of the context, ErrClosed,
// ErrTransactionEnded and errForgotten.
func (ln *lane) add(ctx context.Context, r *Record, a admission, e entry) (int64, error) {
	p := ln.p
	reserved := 0
	ln.mu.Lock()
	for {
		if ln.closed {
			ln.mu.Unlock()
			p.giveBack(reserved)
			return 0, ErrClosed
		}
		if err := ln.enter(a.tx); err != nil {
			ln.mu.Unlock()
			p.giveBack(reserved)
			return 0, err
		}
		if b := ln.open; b != nil {
			if b.holds(a.size) {
				break
			}
			ln.class = min(ln.class+1, classes-1)
			ln.closeOpen()
			ln.schedule()
		}
		if reserved == 0 {
			want := p.bufferFor(batch.HeaderSize+a.size, ln.class)
			if !p.memory.try(want) {
				ln.mu.Unlock()
				if inCallback() {
					p.memory.force(want) // what is to become free may wait for this callback
				} else if err := p.memory.wait(ctx, want, p.cfg.MaxBlock, p.press); err != nil {
					return 0, ln.notAccepted(err, want)
				}
				ln.mu.Lock()
				reserved = want
				continue // another may have opened a batch meanwhile
			}
			reserved = want
		}
		ln.open = ln.newBatch(reserved, p.cfg.Clock.Now())
		reserved = 0
	}
	b := ln.open
	switch {
	case a.timed:
		e.timestamp = r.Timestamp.UnixMilli()
	case len(b.entries) == 0:
		e.timestamp = b.milli
	default:
		e.timestamp = p.cfg.Clock.Now().UnixMilli()
	}
	b.add(r, e)
	ln.accepted++
	if ln.inFlight == 0 && !ln.queued {
		ln.schedule()
	}
	ln.mu.Unlock()
	p.giveBack(reserved)
	return e.timestamp, nil
}

func (ln *lane) notAccepted(err error, want int) error {
	if err == errMaxBlock {
		return &BufferExhaustedError{TopicPartition: ln.tp, Size: want, Buffer: ln.p.memory.size, Waited: ln.p.cfg.MaxBlock}
	}
	return err
}

// newBatch returns an empty batch that holds charge bytes of buffer memory.
func (ln *lane) newBatch(charge int, now time.Time) *pending {
	f := ln.topic.facts.Load()
	b := newPending(charge)
	b.limit = min(ln.p.cfg.BatchBytes, f.limit)
	b.created, b.milli = now, now.UnixMilli()
	b.builder.Reset(b.buf[:0], f.options)
	if ln.p.linger > 0 && ln.lingering == nil {
		ln.lingering = ln.p.cfg.Clock.AfterFunc(ln.p.linger, ln.lingerEnds)
	}
	ln.p.watch()
	ln.topic.used.Store(now.UnixNano())
	ln.p.refreshOld(ln.topic, f, now)
	return b
}

// lingerEnds is called Linger after a batch was opened, which need not be the one that is open now.
func (ln *lane) lingerEnds() {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.lingering = nil
	if ln.open == nil {
		return
	}
	if rest := ln.p.linger - ln.p.cfg.Clock.Now().Sub(ln.open.created); rest > 0 && !ln.closed {
		ln.lingering = ln.p.cfg.Clock.AfterFunc(rest, ln.lingerEnds)
		return
	}
	ln.lingered = true
	ln.schedule()
}

// closeOpen moves the open batch to the end of the queue.
func (ln *lane) closeOpen() {
	b := ln.open
	ln.open, ln.lingered = nil, false
	b.next = nil
	if ln.last == nil {
		ln.first = b
	} else {
		ln.last.next = b
	}
	ln.last = b
}

// unqueue takes the first batch off the queue.
func (ln *lane) unqueue() *pending {
	b := ln.first
	if ln.first = b.next; ln.first == nil {
		ln.last = nil
	}
	b.next = nil
	return b
}

// schedule queues the lane for a sender if there is something to append.
func (ln *lane) schedule() {
	if !ln.queued && ln.takeable() {
		ln.queued = true
		ln.p.sched.push(ln)
	}
}

// takeable reports whether take would return a batch.
func (ln *lane) takeable() bool {
	if ln.muted != nil {
		return false
	}
	// What has been sent before, and sequences that begin anew, wait until nothing else is being sent: that keeps
	// the order.
	if ln.inFlight > 0 && (ln.retry() != nil || ln.identity.unsure(ln)) {
		return false
	}
	if ln.retry() != nil {
		return true
	}
	if ln.first != nil {
		// Those that are done count until the ones before them are: a store remembers no more than five batches, and
		// one whose answer is lost must be among them.
		return len(ln.flight) < ln.width()
	}
	return ln.open != nil && ln.inFlight == 0 && ln.ripe()
}

// width is how many batches may be in flight. Until the leader knows the producer, it takes any first sequence, and
// appends that overtake each other would change the order.
func (ln *lane) width() int {
	if !ln.known && !ln.p.cfg.DisableIdempotence {
		return 1
	}
	return ln.p.cfg.MaxInFlight
}

// ripe reports whether the open batch need not linger. In a transaction a Send that waits in it ends the wait.
func (ln *lane) ripe() bool {
	return ln.p.linger == 0 || ln.lingered || ln.closed || ln.flushTo > ln.taken || ln.p.memory.waiting() ||
		ln.p.cfg.Linger == 0 && ln.open.waits > 0
}

// retry returns the first batch that waits for another append.
func (ln *lane) retry() *pending {
	for _, b := range ln.flight {
		if b.state == retrying {
			return b
		}
	}
	return nil
}

// take returns the batch to append next, in state sending, or nil.
func (ln *lane) take(now time.Time) *pending {
	if !ln.takeable() {
		return nil
	}
	if ln.inFlight == 0 && ln.identity.unsure(ln) {
		if ln.identity.renew(ln); !ln.takeable() {
			return nil
		}
	}
	b := ln.retry()
	if b == nil {
		if ln.first == nil {
			if b := ln.open; b.builder.Len() < cap(b.buf)/8 && ln.class > 0 {
				ln.class--
			}
			ln.closeOpen()
		}
		b = ln.unqueue()
		ln.taken += uint64(len(b.entries))
		ln.flight = append(ln.flight, b)
	}
	ln.send(b, now)
	return b
}

// send puts b, which is in flight, in state sending.
func (ln *lane) send(b *pending, now time.Time) {
	b.state, b.started, b.behind = sending, now, ln.earlier(b)
	if b.attempts++; b.attempts == 1 {
		ln.p.stats.queue.observe(since(b.created, now))
	}
	b.topicID = ln.topic.facts.Load().id
	ln.inFlight++
	ln.identity.number(b)
}

// idle reports whether nothing of the lane is on its way, so that a Send may append by itself.
func (ln *lane) idle() bool {
	return ln.open == nil && ln.first == nil && len(ln.flight) == 0 && !ln.queued && ln.muted == nil
}
