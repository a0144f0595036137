package control

import "slices"

// TopicID is a topic's id, of its creation.
type TopicID [16]byte

// PartitionID names a partition by its topic's id.
type PartitionID struct {
	Topic TopicID
	Index int32
}

// PartitionState is the state of a partition. Slices are never changed in place: a state may be kept and shared, and nobody writes
// to it. The zero value stands for a partition that does not exist.
type PartitionState struct {
	Replicas     []NodeID // the first is the preferred leader; in a reassignment the target first, then what will be removed
	ISR          []NodeID
	ELR          []NodeID // eligible leader replicas (KIP-966), ascending; not in the ISR
	LastKnownELR []NodeID // at most one: who led when ISR and ELR ran empty
	Adding       []NodeID // of a reassignment, ascending
	Removing     []NodeID // of a reassignment, ascending
	Offline      []NodeID // replicas that their nodes have told to be failed, ascending

	Leader         NodeID // NoNode: none
	LeaderEpoch    int32
	PartitionEpoch int32
	Recovering     bool // the leader was elected uncleanly and has not yet altered its ISR
}

// Exists reports whether this is the state of a partition at all.
func (p PartitionState) Exists() bool { return len(p.Replicas) > 0 }

// Reassigning reports whether a reassignment is in progress.
func (p PartitionState) Reassigning() bool { return len(p.Adding)+len(p.Removing) > 0 }

// Original returns the replicas that a cancelled reassignment comes back to: all without a reassignment.
func (p PartitionState) Original() []NodeID { return without(p.Replicas, p.Adding...) }

// Target returns the replicas that there are when the reassignment is complete.
func (p PartitionState) Target() []NodeID { return without(p.Replicas, p.Removing...) }

// Equal reports whether all fields are the same.
func (p PartitionState) Equal(o PartitionState) bool {
	return p.Leader == o.Leader && p.LeaderEpoch == o.LeaderEpoch && p.PartitionEpoch == o.PartitionEpoch && p.Recovering == o.Recovering &&
		slices.Equal(p.Replicas, o.Replicas) && slices.Equal(p.ISR, o.ISR) && slices.Equal(p.ELR, o.ELR) &&
		slices.Equal(p.LastKnownELR, o.LastKnownELR) && slices.Equal(p.Adding, o.Adding) && slices.Equal(p.Removing, o.Removing) &&
		slices.Equal(p.Offline, o.Offline)
}

// without returns those of ids that are not among others; ids itself if that is all.
func without(ids []NodeID, others ...NodeID) []NodeID {
	if !slices.ContainsFunc(ids, func(id NodeID) bool { return slices.Contains(others, id) }) {
		return ids
	}
	var rest []NodeID
	for _, id := range ids {
		if !slices.Contains(others, id) {
			rest = append(rest, id)
		}
	}
	return rest
}
