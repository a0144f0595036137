package replication

import (
	"time"

	"github.com/partlog/partlog/partition"
)

// Events are called when something happens that no call returns. Any may be nil. They may be called by several goroutines at
// a time, with no lock held, and must return soon.
type Events struct {
	// Connected and Disconnected: a connection to (or accepted from) another node.
	Connected    func(node int32, address string, accepted bool)
	Disconnected func(node int32, address string, accepted bool, reason error)
	// Refused: a handshake that ended with a no; the error names peer and reason (*peer refusal: ErrWrongCluster, ErrDuplicateNode, ...).
	Refused func(node int32, address string, err error)
	// Controller: the active controller has changed; -1: none is known.
	Controller func(node int32, term uint64)
	// Registered: this node has been registered.
	Registered func(epoch int64)
	// Fenced: this node has been fenced, or fences itself because it has not reached the controller for its session; and unfenced.
	Fenced func(fenced bool, reason string)
	// Leader: a partition has another leader; -1: none.
	Leader func(tp partition.TopicPartition, leader int32, epoch partition.LeaderEpoch)
	// UncleanElection: a leader was elected that may miss records that had been acknowledged.
	UncleanElection func(tp partition.TopicPartition, leader int32, epoch partition.LeaderEpoch)
	// ISRChanged: the in-sync replicas of a partition that this node leads.
	ISRChanged func(tp partition.TopicPartition, isr []int32, minISR int32)
	// Truncated: a follower here has dropped records that its leader does not have.
	Truncated func(tp partition.TopicPartition, from, to partition.Offset)
	// Rebuilding: a follower here begins anew, at its leader's log start.
	Rebuilding func(tp partition.TopicPartition, start partition.Offset, reason string)
	// ReplicaFailed: a replica of this node cannot go on, and has left the ISR; and what may repair it.
	ReplicaFailed func(tp partition.TopicPartition, err error)
	// Repaired: a replica here that had failed has been repaired, and catches up: records is how many were put back in the place of damaged ones, after it had been
	// proved from what the leader has that they are what was there.
	Repaired func(tp partition.TopicPartition, records int64, failure error)
	// FetchFailed: fetching from a leader fails; it goes on after a pause.
	FetchFailed func(from int32, tp partition.TopicPartition, err error)
	// Rejoined: what this node had of the controller quorum was damaged; it has come back as a new member, without a vote until it has caught up.
	Rejoined func(reason string)
	// Failed: the node itself cannot go on; the error says what to do.
	Failed func(err error)
	// Slow: something that others wait for took long.
	Slow func(what string, took time.Duration)
}

func (e Events) withDefaults() Events {
	if e.Connected == nil {
		e.Connected = func(int32, string, bool) {}
	}
	if e.Disconnected == nil {
		e.Disconnected = func(int32, string, bool, error) {}
	}
	if e.Refused == nil {
		e.Refused = func(int32, string, error) {}
	}
	if e.Controller == nil {
		e.Controller = func(int32, uint64) {}
	}
	if e.Registered == nil {
		e.Registered = func(int64) {}
	}
	if e.Fenced == nil {
		e.Fenced = func(bool, string) {}
	}
	if e.Leader == nil {
		e.Leader = func(partition.TopicPartition, int32, partition.LeaderEpoch) {}
	}
	if e.UncleanElection == nil {
		e.UncleanElection = func(partition.TopicPartition, int32, partition.LeaderEpoch) {}
	}
	if e.ISRChanged == nil {
		e.ISRChanged = func(partition.TopicPartition, []int32, int32) {}
	}
	if e.Truncated == nil {
		e.Truncated = func(partition.TopicPartition, partition.Offset, partition.Offset) {}
	}
	if e.Rebuilding == nil {
		e.Rebuilding = func(partition.TopicPartition, partition.Offset, string) {}
	}
	if e.ReplicaFailed == nil {
		e.ReplicaFailed = func(partition.TopicPartition, error) {}
	}
	if e.Repaired == nil {
		e.Repaired = func(partition.TopicPartition, int64, error) {}
	}
	if e.FetchFailed == nil {
		e.FetchFailed = func(int32, partition.TopicPartition, error) {}
	}
	if e.Rejoined == nil {
		e.Rejoined = func(string) {}
	}
	if e.Failed == nil {
		e.Failed = func(error) {}
	}
	if e.Slow == nil {
		e.Slow = func(string, time.Duration) {}
	}
	return e
}
