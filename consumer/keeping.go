package consumer

import (
	"context"
	"errors"
	"slices"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// A member that keeps its partitions (KIP-429, incremental cooperative rebalancing) enters the next generation on a
// goroutine of its own, without the turn: the loop reads on, and commits go on. Only what changes needs the turn: what
// it has to give up, after the record in hand, and what it gets.
//
//	over ─▶ Join with what it owns, Sync ─▶ confirm: all it owns is of the new generation
//	          ├─ nothing changes ─▶ done, without the turn
//	          └─ turn: commit, Revoked, drop what it lost; add what it got, Assigned ─▶ done
//	                                └─ if it gave up anything: Join again at once, so that others get it
//
// Invariant: what a member has never grows while it joins, and all of it is in its JoinRequest. A cooperative assignor
// gives nobody else what is in there. So what is to be given up is nobody's until the member joins once more, and its
// commits, in the generation's name, are nobody else's offsets.

// entering is an entry into the next generation that is under way.
type entering struct {
	cancel context.CancelFunc
	done   chan entered
}

// entered is what came of it.
type entered struct {
	tps   []partition.TopicPartition // the assignment
	added []*cursor                  // of what the member did not have
	err   error
}

// result is where the outcome will be.
func (e *entering) result() <-chan entered {
	if e == nil {
		return nil
	}
	return e.done
}

// abandon ends it and waits for that. The coordinator takes a member out that gives up joining.
func (e *entering) abandon() {
	if e != nil {
		e.cancel()
		<-e.done
	}
}

// enterKeeping begins to enter the next generation.
func (m *member) enterKeeping() *entering {
	ctx, cancel := context.WithCancel(m.consumer.life) // a Close abandons it, but not first
	e := &entering{cancel: cancel, done: make(chan entered, 1)}
	over := make(chan struct{})
	m.mu.Lock()
	m.entry, m.changing = over, true
	m.mu.Unlock()
	go func() {
		defer cancel()
		var result entered
		result.tps, result.added, result.err = m.enterAndPlace(ctx)
		m.mu.Lock()
		m.entry = nil
		m.mu.Unlock()
		close(over)
		e.done <- result
	}()
	return e
}

// entering returns what is closed when the entry that is under way is over, nil if none is.
func (m *member) entering() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.entry
}

func (m *member) enterAndPlace(ctx context.Context) ([]partition.TopicPartition, []*cursor, error) {
	c := m.consumer
	for {
		owned := c.Assignment()
		tps, err := m.enter(ctx, owned)
		if err == nil {
			c.confirm(m.current().Membership)
			var added []*cursor
			// A topic that was gone, and is there again, is a new one.
			if added, err = m.place(ctx, without(tps, c.alive())); err == nil {
				return tps, added, nil
			}
		}
		switch {
		case errors.Is(err, group.ErrUnknownMemberID) && len(owned) == 0:
			m.forget()
		case !retriable(err):
			return nil, nil, err
		}
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
	}
}

// alive returns the partitions that the consumer reads now and whose topics have not gone since.
func (c *Consumer) alive() []partition.TopicPartition {
	c.mu.Lock()
	defer c.mu.Unlock()
	return partitionsOf(slices.DeleteFunc(slices.Clone(c.assigned), func(k *cursor) bool { return k.gone.Load() }))
}

// without returns what of a is not in b.
func without(a, b []partition.TopicPartition) []partition.TopicPartition {
	has := make(map[partition.TopicPartition]bool, len(b))
	for _, tp := range b {
		has[tp] = true
	}
	return slices.DeleteFunc(slices.Clone(a), func(tp partition.TopicPartition) bool { return has[tp] })
}

// needsTurn reports whether anything changes for the loop.
func (m *member) needsTurn(e *entered) bool {
	return e.err != nil || len(e.added) > 0 || len(without(m.consumer.Assignment(), e.tps)) > 0
}

// givesUp returns what the member has to give up.
func (m *member) givesUp(e *entered) []partition.TopicPartition {
	has := m.consumer.Assignment()
	if e.err != nil {
		return has
	}
	return without(has, without(e.tps, partitionsOf(e.added)))
}

// unchanged is the end of a rebalance that has changed nothing.
func (m *member) unchanged() {
	m.settled()
	m.consumer.tellAssigned(nil)
	m.consumer.signal() // a loop that has read everything may have waited for it
}

// apply makes the assignment the consumer's. The caller has the turn. It reports whether the member has to join again at
// once. After an error the member has no partitions.
func (m *member) apply(e *entered) (again bool, err error) {
	c := m.consumer
	has := partitionsOf(c.cursors)
	switch {
	case lost(e.err):
		c.replace(nil, group.Membership{})
		c.tellLost(has)
		if !errors.Is(e.err, group.ErrUnknownMemberID) {
			return false, e.err
		}
		m.forget()
		return true, nil
	case e.err != nil:
		_ = m.lastCommit()
		c.tellRevoked(has)
		c.replace(nil, group.Membership{})
		return false, e.err
	}
	revoked := without(has, e.tps)
	if len(revoked) > 0 {
		_ = m.lastCommit() // Events tell; what was not committed is read again by whoever gets it
		c.tellRevoked(revoked)
	}
	if len(revoked)+len(e.added) > 0 {
		leave := make(map[partition.TopicPartition]bool)
		for _, tp := range append(slices.Clone(revoked), partitionsOf(e.added)...) {
			leave[tp] = true
		}
		cursors := slices.DeleteFunc(slices.Clone(c.cursors), func(k *cursor) bool { return leave[k.tp] })
		c.mu.Lock()
		of := c.membership
		c.mu.Unlock()
		c.replace(append(cursors, e.added...), of)
	}
	m.settled()
	c.tellAssigned(partitionsOf(e.added))
	return len(revoked) > 0, nil
}
