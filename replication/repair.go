package replication

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/replica"
	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
)

// repairer takes replicas that cannot go on, after a failed sync or where bytes are bad, out of ISR and ELR, and repairs them: with what is good in them and, for
// damaged ranges, what the leader has, where it can be proved that it is what was there (mendRanges). Otherwise it makes them anew from what the others
// have. That needs no proof: the controller has taken this replica out first, and the copy is only removed when somebody else has everything that was committed.
type repairer struct {
	manager *replicaManager
	signal  chan struct{}

	mu     sync.Mutex
	broken []*hosted // guarded by mu
}

// fail ends the use of the copy. No lock is held.
func (h *hosted) fail(err error) {
	m := h.m
	h.mu.Lock()
	first := h.failed == nil
	if first {
		h.failed = err
	}
	h.mu.Unlock()
	if !first {
		return
	}
	m.counts.failures.Add(1)
	m.node.events.ReplicaFailed(h.tp, err)
	m.queue(h, h.changeRole) // it stands down
	m.repair.add(h)
}

// failed is told by the store that a copy cannot go on.
func (m *replicaManager) failed(tp partition.TopicPartition, err error) {
	if h := m.named(tp); h != nil {
		h.m.after(0, func() { h.fail(err) }) // the store may be called no more from here
	}
}

// corrupt is told by the store that a read has found damaged bytes in a copy. If somebody else has what was committed, the replica fails: leadership moves, and the copy
// is repaired. What is left of the only copy is better than nothing: it goes on.
func (m *replicaManager) corrupt(tp partition.TopicPartition, err error) {
	m.after(0, func() { // the store may be called no more from here
		var h *hosted
		m.node.control.read(func(machine *control.Machine) { // it may not have its name yet
			if id, _, ok := machine.TopicID(tp.Topic); ok {
				h = m.hosted(control.PartitionID{Topic: id, Index: tp.Partition})
			}
		})
		if h == nil {
			return
		}
		state, exists := h.state()
		if !exists {
			return
		}
		if h.others(state) {
			h.fail(err)
			return
		}
		h.mu.Lock()
		told := h.hurt
		h.hurt = true
		h.mu.Unlock()
		if !told {
			m.node.events.ReplicaFailed(tp, fmt.Errorf("%w: %w", errLastCopy, err))
		}
	})
}

// evadeAgain is how long a node whose disk is full goes on to lead, if leadership has come back to it.
const evadeAgain = 5 * time.Second

// full is told by the store that there was no room for a batch of a partition that this node leads. Another replica in sync had better lead, see control.Resign: this one
// leaves the ISR, where enough others are in it, and is back when it has had room to catch up. Its copy is whole, and stays eligible where the others may not suffice.
func (m *replicaManager) full(tp partition.TopicPartition, err error) {
	m.after(0, func() { // the store may be called no more from here
		h := m.named(tp)
		if h == nil {
			return
		}
		now := m.now()
		h.mu.Lock()
		due := h.leader != nil && len(h.leader.ISR()) > 1 && (h.evaded == 0 || now-h.evaded >= evadeAgain)
		if due {
			h.evade, h.evaded = true, max(now, 1)
		}
		h.mu.Unlock()
		if due {
			m.node.events.ReplicaFailed(tp, err)
			m.repair.add(h)
		}
	})
}

func (r *repairer) add(h *hosted) {
	r.mu.Lock()
	r.broken = append(r.broken, h)
	r.mu.Unlock()
	notify(r.signal)
}

func (r *repairer) run() {
	m := r.manager
	for {
		select {
		case <-r.signal:
		case <-m.ctx.Done():
			return
		}
		r.mu.Lock()
		broken := r.broken
		r.broken = nil
		r.mu.Unlock()
		for _, h := range broken {
			if err := r.mend(h); err != nil && m.ctx.Err() == nil {
				m.after(max(m.node.config.FetchBackoff, time.Millisecond), func() { r.add(h) })
			}
		}
	}
}

var errLastCopy = errors.New("no other replica has what was committed: the copy is left as it is; mend the disk and start the node again, or elect another leader uncleanly")

// mend takes one replica through: failed, repaired or, where that cannot be, removed and copied anew.
func (r *repairer) mend(h *hosted) error {
	m := r.manager
	id := replica.NodeID(m.node.id)
	state, exists := h.state()
	if !exists || !slices.Contains(state.Replicas, id) {
		h.mu.Lock()
		h.failed = nil
		h.mu.Unlock()
		m.queue(h, h.changeRole)
		return nil
	}
	partitions := []control.PartitionID{h.id}
	h.mu.Lock()
	failed, mended, evade := h.failed, h.mended, h.evade
	h.evade = false
	h.mu.Unlock()
	if failed == nil {
		if evade && state.Leader == id && len(state.ISR) > 1 {
			return r.evade(h, state)
		}
		if !slices.Contains(state.Offline, id) {
			return nil
		}
		return r.propose(control.OnlineReplicas{Node: id, Epoch: m.node.control.epoch(), Partitions: partitions})
	}
	if !slices.Contains(state.Offline, id) {
		if err := r.propose(control.OfflineReplicas{Node: id, Epoch: m.node.control.epoch(), Partitions: partitions}); err != nil {
			return err
		}
		if state, exists = h.state(); !exists {
			return nil
		}
	}
	if !h.others(state) {
		m.node.events.ReplicaFailed(h.tp, errLastCopy)
		return nil
	}
	if err := r.repair(h, state, failed, mended); err != nil {
		return err
	}
	if err := r.propose(control.OnlineReplicas{Node: id, Epoch: m.node.control.epoch(), Partitions: partitions}); err != nil {
		return err
	}
	h.mu.Lock()
	h.failed = nil
	h.mu.Unlock()
	m.queue(h, h.changeRole)
	return nil
}

// evade has another lead. A cluster of before LevelRoles knows no control.Resign: there the copy is taken for a failed one, for a moment, and is eligible no more until it has
// caught up; so it is done only while another that is in sync can lead. changeRole sees that there is nothing to repair, and comes back with it online.
func (r *repairer) evade(h *hosted, state control.PartitionState) error {
	c := r.manager.node.control
	id, partitions := replica.NodeID(r.manager.node.id), []control.PartitionID{h.id}
	resigns, others := false, false
	c.read(func(machine *control.Machine) {
		resigns = machine.Feature() >= control.LevelRoles
		others = slices.ContainsFunc(state.ISR, func(n replica.NodeID) bool {
			return n != id && machine.Active(n) && !slices.Contains(state.Offline, n) && !slices.Contains(state.Removing, n)
		})
	})
	switch {
	case resigns:
		return r.propose(control.Resign{Node: id, Epoch: c.epoch(), Partitions: partitions})
	case others:
		return r.propose(control.OfflineReplicas{Node: id, Epoch: c.epoch(), Partitions: partitions})
	}
	return nil
}

// repair mends the copy, or, if that cannot be or has not helped, removes it.
func (r *repairer) repair(h *hosted, state control.PartitionState, failed error, mended time.Duration) error {
	m := r.manager
	reason := "it failed again soon after it had been repaired"
	if now := m.now(); mended == 0 || now-mended >= mendAgain {
		h.mu.Lock()
		h.mended = max(now, 1)
		h.mu.Unlock()
		records, err := r.mendRanges(h, state)
		switch {
		case err == nil:
			m.counts.repairs.Add(1)
			m.counts.repaired.Add(uint64(records))
			m.node.events.Repaired(h.tp, records, failed)
			return nil
		case errors.Is(err, errNoLeader) || errors.Is(err, ErrClosed):
			h.mu.Lock()
			h.mended = 0 // this was no attempt
			h.mu.Unlock()
			return err
		}
		reason = err.Error()
	}
	// The partition's worker removes it, so that nothing else is done to it meanwhile.
	err := r.inTurn(h, func() error {
		h.stand()
		return m.node.store.RemoveReplica(h.tp, partition.TopicID(h.id.Topic))
	})
	if err != nil && !isGone(err) {
		if m.ctx.Err() == nil {
			m.node.events.ReplicaFailed(h.tp, err)
		}
		return err
	}
	m.counts.rebuilds.Add(1)
	m.node.events.Rebuilding(h.tp, 0, "this replica failed, and is copied from its leader again: "+reason)
	return nil
}

// inTurn has h's worker do something, and waits for it.
func (r *repairer) inTurn(h *hosted, do func() error) error {
	m := r.manager
	done := make(chan error, 1)
	m.queue(h, func() { done <- do() })
	select {
	case err := <-done:
		return err
	case <-m.ctx.Done():
		return ErrClosed
	}
}

func (h *hosted) state() (state control.PartitionState, exists bool) {
	h.m.node.control.read(func(machine *control.Machine) { state, exists = machine.Partition(h.id.Topic, h.id.Index) })
	return state, exists
}

func (r *repairer) propose(c control.Command) error {
	m := r.manager
	ctx, cancel := m.within(m.node.config.RequestTimeout)
	defer cancel()
	result, err := m.node.control.propose(ctx, c)
	if err == nil && result.Code != control.OK {
		err = fmt.Errorf("controller: %v: %s", result.Code, result.Detail)
	}
	return err
}

// isAny is errors.Is for one of several.
func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}

// replicaCorrupt is told by the store that a read has found damaged bytes.
func (n *Node) replicaCorrupt(tp partition.TopicPartition, err error) {
	if told := n.config.Store.Events.ReplicaCorrupt; told != nil {
		told(tp, err)
	}
	n.replicas.corrupt(tp, err)
}

// replicaFull is told by the store that there was no room for a batch.
func (n *Node) replicaFull(tp partition.TopicPartition, err error) {
	if told := n.config.Store.Events.ReplicaFull; told != nil {
		told(tp, err)
	}
	n.replicas.full(tp, err)
}

// uncleanable is told by the store that a partition cannot be compacted, for one because bytes of it are damaged.
func (n *Node) uncleanable(tp partition.TopicPartition, err error) {
	if told := n.config.Store.Events.Uncleanable; told != nil {
		told(tp, err)
	}
	if errors.Is(err, log.ErrCorrupt) {
		n.replicas.corrupt(tp, err)
	}
}
