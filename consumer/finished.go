package consumer

import (
	"context"
	"slices"
)

// A member that was told io.EOF, and is not closed, has finished: it takes part in no other generation. Nobody might come back for what another
// generation gives it, and the others, who see that it is the member's, might finish as well.
//
//	the generation ends ─▶ all is committed? ─▶ it leaves, and its partitions with it
//	                         └─ no, and the host commits: it rests, and the others wait for it as for records that a Poll has lent

// finish is called by a loop all whose bounds are reached. It reports whether that is all that there is to read. If the loop is told so,
// the member has finished; it is not while records are lent, which may come again.
func (m *member) finish(ctx context.Context, told bool) (bool, error) {
	if m.finished.Load() {
		return true, nil
	}
	if complete, err := m.complete(ctx); !complete || !told {
		return complete, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	finished := !m.rebalancingLocked()
	m.finished.Store(finished)
	return finished, nil
}

// change says that what the member has is about to change, unless it has finished.
func (m *member) change() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changing = m.changing || !m.finished.Load()
	return m.changing
}

// rests reports whether a finished member keeps its partitions although their generation is over: the host has records to commit. What the coordinator
// has given to others already is not worth the wait. The caller has the turn.
func (m *member) rests(ctx context.Context) bool {
	c := m.consumer
	if c.config.Commit != CommitManual || c.config.Start != nil {
		return false // it commits by itself, or nothing
	}
	open := slices.ContainsFunc(c.cursors, func(k *cursor) bool { return int64(k.taken) > k.committed.Load() && !k.gone.Load() })
	return open && !lost(m.coordinator.Heartbeat(ctx, m.current().Membership))
}

// unsettle has a finished member that rests look again.
func (m *member) unsettle() {
	select {
	case m.look <- struct{}{}:
	default:
	}
}

// retire leaves the group for good, also a static member. The caller has the turn.
func (m *member) retire(ctx context.Context) {
	m.giveUp(ctx)
	_ = m.leaveAs(false) // if it cannot be told, the coordinator finds out: the member does not join again
}

// readsOn says that the consumer has something to fetch, also if it had finished: after a Seek, an aborted transaction, or of records that work has had
// and not handled. The caller has the turn.
func (c *Consumer) readsOn() {
	if m := c.member; m != nil && m.finished.Load() { // it has partitions, so it has not retired
		m.finished.Store(false)
		m.unsettle()
	}
}
