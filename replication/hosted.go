package replication

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/replica"
	"github.com/partlog/partlog/internal/txn"
	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
)

// hosted is a partition of which this node has, or is to have, a replica.
type hosted struct {
	m  *replicaManager
	id control.PartitionID
	tp partition.TopicPartition

	mu       sync.Mutex         // guards all below
	copy     *partition.Replica // nil: none
	leader   *replica.Leader    // nil: does not lead
	follower *replica.Follower  // nil: does not follow
	source   *fetcher           // of the follower
	told     int64              // log end that the watchers know of
	watchers []*watcher         // never changed in place
	lowered  chan struct{}      // closed when the low watermark has moved or the role has ended; nil if nobody waits
	failed   error              // why the copy cannot be used; repairer has it
	mended   time.Duration      // when the repairer has last repaired it; 0: never
	evade    bool               // another replica had better lead: there is no room here
	evaded   time.Duration      // when that was so last; 0: never
	hurt     bool               // it has been told that the only copy is damaged
	pause    time.Duration      // of the follower, after an error
	held     bool               // the follower pauses
}

// copyLog is a copy as the machines see it.
type copyLog struct{ *partition.Replica }

func (l copyLog) Start() int64 { return int64(l.Replica.Start()) }
func (l copyLog) End() int64   { return int64(l.Replica.End()) }
func (l copyLog) LastEpoch() (int32, error) {
	e, err := l.Replica.LastEpoch()
	return int32(e), err
}

func (l copyLog) EpochEnd(epoch int32) (int32, int64, error) {
	e, end, err := l.Replica.EpochEnd(partition.LeaderEpoch(epoch))
	return int32(e), int64(end), err
}

// changeRole does what the metadata says of the partition. It is called by the partition's worker only.
func (h *hosted) changeRole() {
	m, id := h.m, replica.NodeID(h.m.node.id)
	var state control.PartitionState
	var minISR int32
	exists := false
	if !m.present() {
		return // a leader must not go on in the epoch of an earlier process (KAFKA-10527)
	}
	m.node.control.read(func(machine *control.Machine) {
		state, exists = machine.Partition(h.id.Topic, h.id.Index)
		minISR = machine.MinISR(h.id.Topic, h.id.Index)
	})
	topic := partition.TopicID(h.id.Topic)
	switch {
	case !exists: // the topic has been deleted; the store has seen to the files
		h.stand()
		h.forget()
		return
	case !slices.Contains(state.Replicas, id):
		h.stand()
		if err := m.node.store.RemoveReplica(h.tp, topic); err != nil && !isGone(err) {
			m.node.events.ReplicaFailed(h.tp, err)
		}
		h.forget()
		return
	}
	h.mu.Lock()
	failed := h.failed != nil
	h.mu.Unlock()
	offline := slices.Contains(state.Offline, id)
	if offline && !failed {
		m.repair.add(h) // what was told of an earlier failure has come late: the copy is good
	}
	if failed || offline {
		h.stand()
		_ = m.node.store.SetReplica(h.tp, topic, partition.ReplicaState{Role: partition.RoleNone, Leader: int32(state.Leader), Epoch: partition.LeaderEpoch(state.LeaderEpoch)})
		return
	}
	if state.Leader == id {
		h.lead(state, minISR)
		return
	}
	h.follow(state, minISR)
}

// isGone reports whether an error says that the partition or the store is no more.
func isGone(err error) bool {
	return isAny(err, partition.ErrUnknownTopicOrPartition, partition.ErrUnknownTopicID, partition.ErrClosed)
}

// stand ends the role: nobody appends, fetches or answers for the partition after it.
func (h *hosted) stand() {
	h.mu.Lock()
	source := h.source
	watchers := h.watchers
	led := h.leader != nil
	h.leader, h.follower, h.source, h.copy = nil, nil, nil, nil
	if h.lowered != nil {
		close(h.lowered)
		h.lowered = nil
	}
	h.mu.Unlock()
	if source != nil {
		source.forget(h)
	}
	touch(watchers, replica.BigNews) // they are told to look elsewhere
	if led {
		h.m.node.coordinates(h.tp, control.NoEpoch)
	}
}

// forget has the manager not know the partition any more.
func (h *hosted) forget() {
	h.m.byName.CompareAndDelete(h.tp, h)
	h.m.byID.CompareAndDelete(h.id, h)
}

// others reports whether somebody else has what was committed.
func (h *hosted) others(state control.PartitionState) bool {
	self := replica.NodeID(h.m.node.id)
	return slices.ContainsFunc(slices.Concat(state.ISR, state.ELR), func(n replica.NodeID) bool { return n != self })
}

// open gives the store its part of the role, and returns the copy.
func (h *hosted) open(state control.PartitionState, st partition.ReplicaState) (*partition.Replica, bool) {
	m, topic := h.m, partition.TopicID(h.id.Topic)
	err := m.node.store.SetReplica(h.tp, topic, st)
	var r *partition.Replica
	if err == nil {
		r, err = m.node.store.Replica(h.tp, topic)
	}
	switch {
	case err == nil:
		if r.Damaged() && h.others(state) { // else what is left of it is better than nothing
			h.fail(fmt.Errorf("%w: records are missing within %s", log.ErrCorrupt, h.tp))
			return nil, false
		}
		return r, true
	case isGone(err):
	default:
		h.fail(fmt.Errorf("open replica %s: %w", h.tp, err))
	}
	return nil, false
}

// lead begins to lead, or takes over what has changed.
func (h *hosted) lead(state control.PartitionState, minISR int32) {
	m := h.m
	h.mu.Lock()
	leads := h.leader != nil && h.leader.Epoch() == state.LeaderEpoch
	h.mu.Unlock()
	if !leads {
		h.stand()
	}
	r, ok := h.open(state, partition.ReplicaState{Role: partition.RoleLeader, Leader: m.node.id, Epoch: partition.LeaderEpoch(state.LeaderEpoch), ISR: len(state.ISR), MinISR: int(minISR)})
	if !ok {
		return
	}
	metadata := replica.MetadataOf(state, minISR)
	h.mu.Lock()
	before := 0
	log := replica.LogState{Start: int64(r.Start()), End: int64(r.End()), Durable: int64(r.Promised()), HighWatermark: int64(r.HighWatermark())}
	var e replica.Effects
	if h.leader == nil {
		h.copy, h.told = r, log.End
		h.leader = replica.NewLeader(replica.LeaderConfig{Node: replica.NodeID(m.node.id), BrokerEpoch: m.node.control.epoch(), LagTime: m.node.config.LagTimeMax, Brokers: m}, metadata, log, m.now())
		e = replica.HighWatermarkMoved
	} else {
		before = len(h.leader.ISR())
		e = h.leader.Metadata(metadata, log, m.now())
	}
	h.count(before)
	h.carryOutLocked(e)
	watchers := h.watchers
	h.mu.Unlock()
	m.byName.Store(h.tp, h)
	m.appended(h.tp, r.End()) // what was appended since the role was given, and before anybody could be told
	touch(watchers, replica.BigNews)
	m.node.coordinates(h.tp, int64(state.LeaderEpoch))
	if e.Has(replica.ISRChanged) || !leads {
		isr := make([]int32, len(state.ISR))
		for i, n := range state.ISR {
			isr[i] = int32(n)
		}
		m.node.events.ISRChanged(h.tp, isr, minISR)
	}
}

// coordinates tells the coordinators that this node leads a partition of their topics in an epoch, or, with control.NoEpoch, does not.
func (n *Node) coordinates(tp partition.TopicPartition, epoch int64) {
	switch {
	case tp.Topic == txn.Topic && epoch == control.NoEpoch:
		n.store.ResignTransactions(tp.Partition)
	case tp.Topic == txn.Topic:
		n.store.LeadTransactions(tp.Partition, partition.LeaderEpoch(epoch))
	case tp.Topic == group.OffsetsTopic && epoch == control.NoEpoch:
		n.groups.Resign(tp.Partition)
	case tp.Topic == group.OffsetsTopic:
		n.groups.Lead(tp.Partition, partition.LeaderEpoch(epoch))
	}
}

// count counts a change of the ISR of a partition that this node led before, too. mu is held.
func (h *hosted) count(before int) {
	switch after := len(h.leader.ISR()); {
	case before == 0:
	case after < before:
		h.m.counts.shrinks.Add(1)
	case after > before:
		h.m.counts.expands.Add(1)
	}
}

// follow begins to follow, or follows another.
func (h *hosted) follow(state control.PartitionState, minISR int32) {
	m := h.m
	metadata := replica.MetadataOf(state, minISR)
	h.mu.Lock()
	if h.follower != nil && h.follower.Epoch() == state.LeaderEpoch && h.follower.Leader() == state.Leader {
		h.follower.Metadata(metadata)
		h.mu.Unlock()
		return
	}
	h.mu.Unlock()
	h.stand()
	r, ok := h.open(state, partition.ReplicaState{Role: partition.RoleFollower, Leader: int32(state.Leader), Epoch: partition.LeaderEpoch(state.LeaderEpoch)})
	if !ok {
		return
	}
	h.mu.Lock()
	h.copy, h.follower = r, replica.NewFollower(metadata, int64(r.HighWatermark()))
	h.held, h.pause = false, 0
	h.mu.Unlock()
	m.byName.Store(h.tp, h)
	if f := m.fetcher(int32(state.Leader)); f != nil {
		h.mu.Lock()
		h.source = f
		h.mu.Unlock()
		f.want(h)
	}
}

// event gives the leader's machine an event and carries out what comes of it.
func (h *hosted) event(f func(*replica.Leader) replica.Effects) {
	h.mu.Lock()
	if h.leader == nil {
		h.mu.Unlock()
		return
	}
	small := h.carryOutLocked(f(h.leader))
	watchers := h.watchers
	h.mu.Unlock()
	if small {
		touch(watchers, replica.SmallNews)
	}
}

// carryOutLocked does what an event of the leader's machine wants, and reports whether the followers are to hear of a new high watermark. A node
// that may have been fenced without knowing moves nothing: then nothing is acknowledged under acks=all.
func (h *hosted) carryOutLocked(e replica.Effects) (small bool) {
	if high := partition.Offset(h.leader.HighWatermark()); high > h.copy.HighWatermark() {
		if h.m.node.control.isolated() {
			h.m.delay()
		} else {
			h.copy.SetHighWatermark(high)
		}
	}
	if e.Has(replica.LowWatermarkMoved) && h.lowered != nil {
		close(h.lowered)
		h.lowered = nil
	}
	if e.Has(replica.ProposalReady) {
		h.m.isr.add(h)
	}
	return e.Has(replica.HighWatermarkMoved)
}

// PreferredReadReplica returns from which node a consumer in a rack had better read a partition that this node leads at an offset (KIP-392): one in its
// rack that has the offset, see replica.PreferredReadReplica. ok is false if it is to stay where it is. Followers serve reads up to the high watermark that they
// know (partition.FetchRequest.AllowFollower).
func (n *Node) PreferredReadReplica(tp partition.TopicPartition, rack string, offset partition.Offset) (node int32, ok bool) {
	h := n.replicas.named(tp)
	if h == nil || rack == "" {
		return 0, false
	}
	h.mu.Lock()
	var views []replica.ReadView
	if h.leader != nil {
		views = h.leader.ReadViews(nil)
	}
	h.mu.Unlock()
	n.control.read(func(machine *control.Machine) {
		for i := range views {
			if known, ok := machine.Node(views[i].Node); ok {
				views[i].Rack, views[i].Alive = known.Rack, !known.Fenced
			}
		}
	})
	id, ok := replica.PreferredReadReplica(views, rack, int64(offset))
	return int32(id), ok
}
