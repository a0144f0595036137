package replication

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/replica"
	"github.com/partlog/partlog/partition"
)

// repairer takes replicas that cannot go on, after a failed sync or where bytes are bad, out of the ISR, and makes them anew from what the others
// have. That needs no proof of which bytes are right: the others' are, as the controller has taken this replica out of ISR and ELR first, and it
// only does so, and the copy is only removed, when somebody else has everything that was committed.
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

// mend takes one replica through: failed, removed, made anew.
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
	good := h.failed == nil
	h.mu.Unlock()
	if good {
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
	// The partition's worker removes it, so that nothing else is done to it meanwhile.
	removed := make(chan error, 1)
	m.queue(h, func() {
		h.stand()
		removed <- m.node.store.RemoveReplica(h.tp, partition.TopicID(h.id.Topic))
	})
	select {
	case err := <-removed:
		if err != nil && !isGone(err) {
			m.node.events.ReplicaFailed(h.tp, err)
			return err
		}
	case <-m.ctx.Done():
		return ErrClosed
	}
	m.counts.rebuilds.Add(1)
	m.node.events.Rebuilding(h.tp, 0, "this replica failed, and is copied from its leader again")
	if err := r.propose(control.OnlineReplicas{Node: id, Epoch: m.node.control.epoch(), Partitions: partitions}); err != nil {
		return err
	}
	h.mu.Lock()
	h.failed = nil
	h.mu.Unlock()
	m.queue(h, h.changeRole)
	return nil
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
