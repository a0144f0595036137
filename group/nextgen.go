package group

import (
	"strconv"
	"time"

	"github.com/partlog/partlog/partition"
)

// MemberEpoch counts what a member of a consumer group (KIP-848) has reconciled to: it is the group's epoch of the
// target assignment that the member has taken over. Its negative values and 0 are requests.
type MemberEpoch int32

// Member epochs that ask for something.
const (
	// JoinGroupEpoch joins, or joins again after having been fenced.
	JoinGroupEpoch MemberEpoch = 0
	// LeaveGroupEpoch leaves for good.
	LeaveGroupEpoch MemberEpoch = -1
	// LeaveGroupStaticEpoch leaves for a while: a static member's assignment is kept until its session times out.
	LeaveGroupStaticEpoch MemberEpoch = -2
)

// TopicIDPartitions are partitions of one topic, which is named by its id.
type TopicIDPartitions struct {
	TopicID    partition.TopicID
	Partitions []int32 // sorted in answers
}

// ConsumerHeartbeatRequest is what a member of a consumer group says of itself (ConsumerGroupHeartbeat, KIP-848). The
// coordinator keeps the slices, which must not be changed afterwards.
type ConsumerHeartbeatRequest struct {
	Group string
	// MemberID is chosen by the member, a UUID. If it is empty when joining, the coordinator chooses (v0).
	MemberID    string
	MemberEpoch MemberEpoch
	InstanceID  string // of static members; empty for dynamic ones
	RackID      string // empty: unchanged
	// ClientID and ClientHost describe the member to people.
	ClientID, ClientHost string
	// RebalanceTimeout is how long the member may take to give up partitions (max.poll.interval.ms). Needed when
	// joining; 0 or less: unchanged.
	RebalanceTimeout time.Duration
	// Topics are subscribed to by name. Nil: unchanged.
	Topics []string
	// Regex subscribes to the topics whose whole name it matches, in RE2's syntax. Nil: unchanged; empty: none.
	Regex *string
	// Describable reports whether whoever sends the heartbeat may describe a topic: regular expressions of the group that are
	// resolved because of it do not stand for topics that he may not (KAFKA-18813). It is called before
	// ConsumerGroupHeartbeat returns, with no lock held. Nil: every topic. A broker that is asked over the wire knows by itself.
	Describable func(topic string) bool
	// Assignor is the server assignor that the member is for. Empty: unchanged; the group's choice is the vote of its
	// members, else the first of the configured ones.
	Assignor string
	// Owned are the partitions that the member has at this moment. Nil: as in the last heartbeat. When joining it is
	// empty and not nil.
	Owned []TopicIDPartitions
}

// ConsumerHeartbeatResult is the coordinator's answer to a heartbeat.
type ConsumerHeartbeatResult struct {
	MemberID    string
	MemberEpoch MemberEpoch
	// HeartbeatInterval is how often the member is to send heartbeats; 0 after leaving.
	HeartbeatInterval time.Duration
	// Assignment are the partitions that the member may have now: what it has beyond them it gives up, and says so
	// in Owned. Nil: unchanged; empty: none.
	Assignment []TopicIDPartitions
}

// ReconciliationState says how far a member of a consumer group is on its way to the target assignment.
type ReconciliationState int8

const (
	// MemberStable members have their target assignment.
	MemberStable ReconciliationState = 0
	// MemberUnrevokedPartitions members have yet to give up partitions, and keep their epoch until then.
	MemberUnrevokedPartitions ReconciliationState = 1
	// MemberUnreleasedPartitions members wait for partitions that others have yet to give up.
	MemberUnreleasedPartitions ReconciliationState = 2
)

// String returns Kafka's name of the state.
func (s ReconciliationState) String() string {
	switch s {
	case MemberStable:
		return "STABLE"
	case MemberUnrevokedPartitions:
		return "UNREVOKED_PARTITIONS"
	case MemberUnreleasedPartitions:
		return "UNRELEASED_PARTITIONS"
	}
	return "ReconciliationState(" + strconv.Itoa(int(s)) + ")"
}

// ConsumerGroupDescription is a snapshot of a consumer group (ConsumerGroupDescribe).
type ConsumerGroupDescription struct {
	Group string
	// State is Empty, Assigning, Reconciling or Stable.
	State                  State
	Epoch, AssignmentEpoch MemberEpoch
	Assignor               string
	Members                []ConsumerMemberDescription // by member id
}

// ConsumerMemberDescription is one member of a ConsumerGroupDescription.
type ConsumerMemberDescription struct {
	MemberID, InstanceID, RackID string
	ClientID, ClientHost         string
	Epoch                        MemberEpoch
	State                        ReconciliationState
	Topics                       []string
	Regex                        string
	Assignment, Target           []TopicIDPartitions // by topic id
	// Classic members speak the classic protocol, and the coordinator translates.
	Classic bool
}
