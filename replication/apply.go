package replication

import (
	"errors"
	"fmt"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/quorum"
)

const (
	// compactEntries and compactBytes are after how many entries, or bytes in its journal, the quorum's log is cut
	// (metadata.log.max.record.bytes.between.snapshots is Kafka's).
	compactEntries = 20_000
	compactBytes   = 20 << 20
)

// advance carries out what raft, the Watch and the Lifecycle want, until they want nothing.
func (c *controller) advance() {
	for c.ctx.Err() == nil && c.stuck == nil {
		for c.ctx.Err() == nil && c.stuck == nil {
			out, ok := c.raft.Ready()
			if !ok {
				break
			}
			c.carryOut(out)
		}
		if c.ctx.Err() != nil || c.stuck != nil || !c.check(c.raft.Err()) {
			return
		}
		now := c.now()
		due := c.watch.Tick(c.took) // heartbeats of after that may wait in the inbox
		c.poll(now)
		if len(due) == 0 {
			break
		}
		c.proposeAll(due)
	}
	if c.ctx.Err() == nil && c.stuck == nil && (c.index-c.compacted >= compactEntries || c.raft.JournalBytes() >= compactBytes && c.index > c.compacted) {
		c.compact()
	}
}

// carryOut does what raft wants. Everything that the messages rely on is on disk; they go first, as others wait for them.
func (c *controller) carryOut(out quorum.Output) {
	c.out = quorum.Output{Term: out.Term, Leader: out.Leader, Role: out.Role}
	c.committed.Store(out.Commit)
	c.setLeader(out.Leader, out.Term)
	if out.Role != quorum.Leader && c.active {
		c.active = false
		c.watch.Stop()
	}
	c.confirm(out.Confirmed, out.Role != quorum.Leader)
	for _, m := range out.Messages {
		if m.Snapshot {
			c.sendSnapshot(m)
		} else {
			c.net.send(m.To, kindRaft, m.Data)
		}
	}
	c.attempt(func() error {
		if s := out.Snapshot; s != nil {
			if err := c.restore(s); err != nil {
				return err
			}
			out.Snapshot = nil
		}
		for len(out.Committed) > 0 {
			if err := c.apply(out.Committed[0], out); err != nil {
				return err
			}
			out.Committed = out.Committed[1:]
		}
		if out.SnapshotWanted {
			c.compact()
		}
		return nil
	})
}

// attempt does what has to be done before anything else, now, or, if the disk is full, when there is room again.
func (c *controller) attempt(f func() error) {
	err := f()
	if err == nil {
		return
	}
	if noSpaceOr(err) == nil {
		c.stuck = f
		c.events.Slow("the shared catalogue cannot be written: "+err.Error(), 0)
		return
	}
	c.fail(err)
}

// apply applies an entry: to the machine, to the store, and then everybody is told. It may be called again for the same one, if the store had no room.
func (c *controller) apply(e quorum.Entry, out quorum.Output) error {
	if err := c.countBallot(e); err != nil {
		return err
	}
	now := c.now()
	seq, mine := uint64(0), false
	result := control.Result{Index: e.Index}
	if len(e.Data) > 0 {
		origin, nonce, n, command, err := decodeProposal(e.Data)
		if err != nil {
			return fmt.Errorf("entry %d: %w", e.Index, err)
		}
		seq, mine = n, origin == c.id && nonce == c.nonce
		if c.machine.Applied() < e.Index {
			c.mu.Lock()
			result = c.machine.Apply(e.Index, command)
			c.mu.Unlock()
			c.result = result
		} else {
			result = c.result // again, after the store failed
		}
		if result.Halt {
			return fmt.Errorf("entry %d is of a later version: this program must be upgraded before it goes on (feature level %d)", e.Index, c.machine.Feature())
		}
		if change := result.Catalogue; change != nil && change.Index > c.catalogue.AppliedShared() {
			if err := c.catalogue.ApplyShared(change.Index, change.Kind, change.Payload); err != nil {
				return fmt.Errorf("apply entry %d to the store: %w", e.Index, err)
			}
		}
	}
	c.index = e.Index
	c.reached(result)
	c.watch.Applied(now, result)
	c.lifecycle.Applied(now, e.Index)
	c.applied(result)
	c.waiting.applied(e.Index, e.Term, seq, mine, result)
	// The first entry of the own term: all that others have committed is applied.
	if out.Role == quorum.Leader && e.Term == out.Term && !c.active {
		c.active = true
		c.watch.Reset(now, c.machine)
	}
	return nil
}

// reached sets the addresses of nodes.
func (c *controller) reached(r control.Result) {
	for _, id := range r.Nodes {
		if int32(id) == c.id {
			continue
		}
		if n, ok := c.machine.Node(id); ok {
			if n.Addr != "" {
				c.net.set(int32(id), n.Addr)
			}
		} else {
			c.net.remove(int32(id))
		}
	}
}

// compact makes a snapshot of what is applied. One that cannot be written is made later.
func (c *controller) compact() {
	state := encodeState(c.machine, c.catalogue)
	err := c.raft.Compact(c.index, state)
	if err == nil {
		c.compacted = c.index
		return
	}
	if errors.Is(err, quorum.ErrFailed) {
		c.check(err)
		return
	}
	c.compacted = c.index - min(compactEntries/2, c.index)
	c.events.Slow("a snapshot of the quorum cannot be written: "+err.Error(), 0)
}

// restore takes a snapshot. A store that has more of the catalogue already keeps it: the entries follow.
func (c *controller) restore(s *quorum.Snapshot) error {
	machine, shared, err := decodeState(s.State)
	if err != nil {
		return fmt.Errorf("snapshot %d: %w", s.Index, err)
	}
	at := max(machine.CatalogueIndex(), 1) // what a cluster begins with is a change, too: of the store that it was made of
	if at > c.catalogue.AppliedShared() {
		if err := c.catalogue.ImportShared(at, shared); err != nil {
			return fmt.Errorf("snapshot %d: %w", s.Index, err)
		}
	}
	c.mu.Lock()
	c.machine = machine
	c.mu.Unlock()
	c.index, c.compacted = s.Index, s.Index
	if err := c.recountBallot(s.Index); err != nil {
		return err
	}
	for _, n := range machine.Nodes() {
		if int32(n.ID) != c.id && n.Addr != "" {
			c.net.set(int32(n.ID), n.Addr)
		}
	}
	c.lifecycle.Applied(c.now(), s.Index)
	c.restored()
	c.waiting.restored(s.Index)
	return nil
}
