package producer

import (
	"slices"

	"github.com/partlog/partlog/partition"
)

// mixed reports whether some records of b wait for less than others: for the page cache, not for the disk.
func (b *pending) mixed() bool { return b.leaders > 0 && b.acks == partition.AcksAll }

// answerEarly gives the records of b that need AcksLeader their results, which are in the log but not yet what AcksAll
// asks for. The caller is appending b, and appends it again for the others: the store knows the batch by its sequence
// (KIP-98), writes nothing, and waits for what the second append asks for.
func (p *Producer) answerEarly(ln *lane, b *pending, res partition.AppendResult) {
	var r released
	ln.mu.Lock()
	if b.abandoned {
		ln.mu.Unlock()
		return
	}
	// A copy takes the results through the lane's queue, so that b can follow it there.
	early := &pending{entries: slices.Clone(b.entries), result: res, state: done, early: true}
	n := 0
	for i := range b.entries {
		e, x := &b.entries[i], &early.entries[i]
		if e.acks != partition.AcksLeader || e.answered {
			x.done, x.answered = nil, true
		} else {
			if w := e.waiter; w != nil {
				w.result, w.settled = early.outcome(ln.tp, i, n), true
				w.next, r.wake = r.wake, w // it is parked: a Send that appends by itself is alone in its batch
				e.waiter = nil
				b.waits--
			}
			if e.done != nil {
				e.done = nil
				b.tells--
			}
			e.answered = true
		}
		if !e.withdrawn {
			n++
		}
	}
	b.leaders = 0
	b.uncertain, ln.used = true, true // whatever the second append says, the batch is in the log
	ln.pushResult(early)
	calls := ln.claimResults()
	ln.mu.Unlock()
	r.handle(p)
	if calls {
		p.deliverElsewhere(ln)
	}
}
