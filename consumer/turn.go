package consumer

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/partlog/partlog/group"
)

// The turn is a token for whoever may touch cursors, sets and the iterator: the loop from its first step to its last,
// also while the host's loop body runs, and on from a Poll or PollBorrowed that has lent records until they are
// finished; the member while it moves from one generation to the next.
//
// A loop gives the turn up only where it looks at signals: between two records. So a change of assignment waits for the
// record in hand, and for nothing else. Signals: bit 0 that fields under mu have changed, the rest how many wait for the
// turn. No wake-up is lost:
//   - signal and wantTurn raise signals and cancel wait in one critical section of mu;
//   - look lowers bit 0 and replaces a cancelled wait in one critical section of mu, and only while nobody wants the turn;
//   - so after a look, whatever is raised cancels the very context that the loop goes to sleep with.
const changed = 1 // bit 0 of signals

// errNotReleased refuses to read on while a borrowed run is out: it would be read twice, or its acknowledgement would
// move the place back.
var errNotReleased = errors.New("the borrowed run before has not been released")

// begin makes the caller the loop and takes the turn, if a Poll before has not kept it. stop ends the watch over ctx.
func (c *Consumer) begin(ctx context.Context) (stop func() bool, err error) {
	if !c.looping.CompareAndSwap(false, true) {
		return nil, ErrConcurrentUse
	}
	if b := c.borrowed; b != nil && !b.released {
		err = errNotReleased
	} else if !c.held {
		err = c.take(ctx)
	}
	if err != nil {
		c.looping.Store(false)
		return nil, err
	}
	if c.unwind.Swap(false) {
		c.rewindWork()
	}
	c.holding = c.config.HoldRetries
	c.signals.Or(changed) // a failure or a Close before this loop ends it as well
	c.finishLent()
	return context.AfterFunc(ctx, c.signal), nil
}

// finish ends the loop that begin began.
func (c *Consumer) finish(stop func() bool) {
	stop()
	c.release()
	c.looping.Store(false)
}

// pause ends it as finish does, but keeps the turn: records are out with the caller.
func (c *Consumer) pause(stop func() bool) {
	stop()
	c.looping.Store(false)
}

// release gives the turn up. A record that the loop body did not come back from is not acknowledged: it is yielded
// again by the next loop, unless the body has committed it, by itself or in a transaction.
func (c *Consumer) release() {
	if !c.held {
		return
	}
	if c.inHand {
		if committed := c.hand.committed.Load(); committed >= int64(c.handNext) && committed == c.hand.base.Load() {
			c.acknowledge()
		} else {
			c.inHand = false
			c.hand.jump(c.handFrom)
		}
	}
	c.held = false
	c.returnTurn()
}

// take waits for the turn.
func (c *Consumer) take(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		c.held = true
	case <-ctx.Done():
		return ctx.Err()
	case <-c.life.Done():
		return fmt.Errorf("consumer: %w", ErrClosed)
	}
	return nil
}

func (c *Consumer) returnTurn() { <-c.turn }

// look lets others have the turn and does what they asked for. It returns why the loop must end, if it must. Nothing may
// be in hand or lent.
func (c *Consumer) look(ctx context.Context) error {
	for {
		for c.signals.Load() >= 2 {
			// Who wants it does nothing else until it has it, so this goes round a few times at most.
			c.held = false
			c.returnTurn()
			runtime.Gosched()
			if err := c.take(ctx); err != nil {
				return err
			}
		}
		c.mu.Lock()
		if c.signals.Load() < 2 {
			break
		}
		c.mu.Unlock()
	}
	c.signals.And(^uint32(changed))
	if c.wait.Err() != nil && c.life.Err() == nil {
		c.wait, c.wake = context.WithCancel(c.life)
	}
	commands, closed, failure, rewound := c.commands, c.closed, c.failure, c.rewound
	if !closed && failure == nil && ctx.Err() == nil {
		c.commands, c.rewound = nil, false
	}
	c.told = c.told || !closed && failure != nil
	c.mu.Unlock()
	switch {
	case closed:
		return fmt.Errorf("consumer: %w", ErrClosed)
	case failure != nil:
		return failure
	case ctx.Err() != nil:
		return ctx.Err()
	}
	if rewound {
		c.rewind()
	}
	if err := c.obey(ctx, commands); err != nil {
		return err
	}
	err := c.late
	c.late = nil
	return err
}

// signal makes the loop look at what changed under mu.
func (c *Consumer) signal() {
	c.mu.Lock()
	c.signals.Or(changed)
	c.wake()
	c.mu.Unlock()
}

// wantTurn makes a loop that holds the turn give it up after the record in hand. The caller then takes the turn, or gives
// up, at once and without doing anything else, and calls wanted.
func (c *Consumer) wantTurn() {
	c.mu.Lock()
	c.signals.Add(2)
	c.wake()
	c.mu.Unlock()
}

// wanted ends what wantTurn began.
func (c *Consumer) wanted() { c.signals.Add(^uint32(1)) } // minus 2

// asleep returns the context of a wait that a signal ends.
func (c *Consumer) asleep() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wait
}

// roused makes the loop look, after its wait has been cancelled.
func (c *Consumer) roused() { c.signals.Or(changed) }

// fail ends the iteration with err as its last pair. The first failure stays.
func (c *Consumer) fail(err error) {
	c.mu.Lock()
	if c.failure == nil {
		c.failure = err
	}
	c.mu.Unlock()
	c.signal()
}

// replace makes these the cursors, of this generation. Those that stay keep all they have: position, pause, what was
// fetched, also a fetch that is under way; the others' next record will never come. The caller has the turn.
func (c *Consumer) replace(cursors []*cursor, of group.Membership) {
	stay := make(map[*cursor]bool, len(cursors))
	for _, k := range cursors {
		stay[k] = true
	}
	kept, undone, w := 0, false, c.workers.Load()
	for _, k := range c.cursors {
		if stay[k] {
			kept++
			continue
		}
		if w != nil {
			w.lose(k)
		}
		k.version++ // what was fetched of it, or is being fetched, must not bring anything
		finished := k.finished.Load()
		undone = undone || finished >= 0 && finished != k.committed.Load() && !c.wasSent(k, finished)
	}
	if kept == 0 {
		c.drop()
		c.first, c.late = 0, nil
	}
	if c.hand != nil && !stay[c.hand] {
		c.hand = nil
	}
	c.lent = slices.DeleteFunc(c.lent, func(k *cursor) bool { return !stay[k] }) // the rest is for the partition's next owner
	c.cursors, c.inHand = cursors, false
	c.someLost = slices.ContainsFunc(cursors, func(k *cursor) bool { return k.lost != nil })
	c.mu.Lock()
	c.assigned, c.membership = slices.Clone(cursors), of
	c.broken = c.broken || undone && c.config.Commit == CommitManual
	c.commands = slices.DeleteFunc(c.commands, func(k command) bool { return findCursor(cursors, k.tp) == nil })
	c.mu.Unlock()
}

// confirm says that what the consumer has is of a newer generation: it has kept it.
func (c *Consumer) confirm(of group.Membership) {
	c.mu.Lock()
	c.membership = of
	c.mu.Unlock()
}

// drop forgets the set that is being walked. The records that it gave stay whole: their decompression buffer is theirs.
func (c *Consumer) drop() {
	if c.at < len(c.set.chunks) {
		c.tally(c.set.chunks[c.at].cursor)
	}
	c.set.chunks, c.set.faults, c.at = c.set.chunks[:0], c.set.faults[:0], 0
	c.iterator.Detach()
	c.iterator.Clear()
}
