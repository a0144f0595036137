// Package groups is how simulated clusters come by the machine that coordinates a group. It is package group's, which exports it to nobody: group
// puts it here when it is linked in, and whoever simulates is its shell, with timers, log and members of his own.
package groups

import "time"

// New makes the machine of a group. It is package group's.
var New func(id string, c Config) Machine

// GroupOf returns the group that a record of the offsets topic is about; ok is false if it is about none. It is package group's.
var GroupOf func(key []byte) (id string, ok bool)

// Config is what a machine is told once.
type Config struct {
	Session time.Duration  // of members of the new protocol (KIP-848); classic ones say so themselves
	Topics  func() []Topic // all topics there are, as the coordinator's node sees them now
}

// Topic is a topic that can be subscribed to.
type Topic struct {
	Name       string
	ID         [16]byte
	Partitions int32
}

// Machine is the coordinator of one group: pure, each event at a time that it is told, with effects that are to be carried out in order. It is not
// safe for concurrent use.
type Machine interface {
	// Replay applies a record of the group, which was read at an offset. Loaded ends that.
	Replay(key, value []byte, at int64) error
	Loaded(now time.Time) []Effect
	// Request steps with a request of package group: JoinRequest, SyncRequest, Membership (a heartbeat), LeavingMember, CommitRequest, or
	// ConsumerHeartbeatRequest. newID names a member that has no id. An Answer with the same call follows, now or later; call is not 0.
	Request(now time.Time, call int64, request any, newID string) []Effect
	// Fired is the end of a timer.
	Fired(now time.Time, t Timer) []Effect
	// Written is the log's answer to an Append: the offset of its first record, or why it failed.
	Written(now time.Time, id uint64, base int64, err error) []Effect
	// Committed returns a partition's committed offset, -1 if there is none. member, if not empty, is who asks, in an epoch of the new protocol.
	Committed(topic string, partition int32, member string, epoch int32) (int64, error)
	// Owners lists who has which partitions in a group of the new protocol, those to be given up among them, by member and partition.
	Owners() []Owner
	// Members is how many there are.
	Members() int
	// Generation returns the generation that a member is in (its epoch in the new protocol); ok is false if it is no member.
	Generation(member string) (generation int32, ok bool)
}

// Owner is a member that has a partition, or is to give it up.
type Owner struct {
	Member    string
	Epoch     int32
	Partition int32
}

// Timer names a timer of a group.
type Timer struct {
	Kind   uint8
	Member string
}

// Record is a record of the offsets topic; a nil value is a tombstone.
type Record struct{ Key, Value []byte }

// Effect is an Answer, a SetTimer, a StopTimer or an Append.
type Effect interface{ isEffect() }

// The effects.
type (
	// Answer answers a request: with a JoinResult, SyncResult or ConsumerHeartbeatResult of package group, nil for the others, or Err.
	Answer struct {
		Call  int64
		Value any
		Err   error
	}
	// SetTimer starts a timer, instead of the one with the same name.
	SetTimer struct {
		Timer
		After time.Duration
	}
	// StopTimer stops a timer, if it is there.
	StopTimer struct{ Timer }
	// Append appends records in one batch, behind all earlier ones. Written answers it, not within the step that it is from.
	Append struct {
		ID      uint64
		Records []Record
	}
)

func (Answer) isEffect()    {}
func (SetTimer) isEffect()  {}
func (StopTimer) isEffect() {}
func (Append) isEffect()    {}
