package group

import (
	"time"

	"github.com/partlog/partlog/partition"
)

// Generation counts the rebalances of a group. NoGeneration belongs to those who are not members.
type Generation int32

// NoGeneration is the generation of a commit that comes from outside the group: allowed while it has no members.
const NoGeneration Generation = -1

// Membership is a member of one generation of a group.
type Membership struct {
	Group      string
	MemberID   string
	Generation Generation
	// InstanceID is the name that a static member keeps over restarts (group.instance.id, KIP-345), empty for
	// dynamic members. Where it is given, it has to be the member's: ErrFencedInstanceID if another has it by now.
	InstanceID string
}

// Protocol is one assignor that a member supports, with what the member tells the leader about itself: for
// consumers, the encoded Subscription.
type Protocol struct {
	Name     string
	Metadata []byte
}

// JoinRequest asks to take part in the next generation of a group. The coordinator keeps the metadata of Protocols,
// which must not be changed afterwards.
type JoinRequest struct {
	Group    string
	MemberID string // empty the first time
	// InstanceID makes a static member (group.instance.id, KIP-345): it keeps its place and its assignment when it
	// joins again with an empty MemberID within its session, as after a restart. Empty for dynamic members.
	InstanceID string
	// ClientID and ClientHost describe the member to people. ClientHost is set by the coordinator for Local ones.
	ClientID, ClientHost string
	// Local marks a member of this process: no session, no heartbeat; it ends with the process. A remote
	// coordinator ignores it and goes by SessionTimeout.
	Local bool
	// RequireKnownMemberID makes a first join answer ErrMemberIDRequired with an id to come back with, so that a
	// lost answer leaves no ghost behind (KIP-394). Local members need it not: a cancelled join is withdrawn.
	RequireKnownMemberID bool
	// SessionTimeout is how long a member that is not Local may be silent: 6 s to 30 min (session.timeout.ms).
	SessionTimeout time.Duration
	// RebalanceTimeout is how long the others wait for this member to join again (max.poll.interval.ms);
	// 0 means SessionTimeout.
	RebalanceTimeout time.Duration
	ProtocolType     string     // ProtocolTypeConsumer for consumers
	Protocols        []Protocol // by preference, first is best
	// Reason says to people why the member joins (KIP-800). May be empty.
	Reason string
}

// ProtocolTypeConsumer is the protocol type of groups of consumers.
const ProtocolTypeConsumer = "consumer"

// JoinResult is a place in a generation. Its byte slices belong to the caller, who must not change them.
type JoinResult struct {
	Membership
	ProtocolType string
	Protocol     string // the assignor that won the vote
	LeaderID     string // the member that assigns
	// Members is everybody's metadata for Protocol, for the leader; empty for the others.
	Members []MemberMetadata
	// SkipAssignment tells a static leader that has come back that the generation has its assignment already: it
	// has Members to watch their topics, and its Sync carries nothing.
	SkipAssignment bool
	// Rebalance is closed when this generation ends for the member: it is to join again, or was removed
	// (Heartbeat says which). Nil if the coordinator is in another process: then heartbeats find out.
	Rebalance <-chan struct{}
	// HeartbeatInterval is how often the member must send one; 0 for Local members of a local coordinator.
	HeartbeatInterval time.Duration
}

// IsLeader reports whether this member assigns the partitions of the generation.
func (r *JoinResult) IsLeader() bool { return r.LeaderID != "" && r.LeaderID == r.MemberID }

// MemberMetadata is one member as the leader sees it.
type MemberMetadata struct {
	MemberID   string
	InstanceID string // empty for dynamic members
	Metadata   []byte
}

// LeavingMember is a member that is to be removed from its group.
type LeavingMember struct {
	MemberID string // may be empty where InstanceID is given: a tool removes whoever has that name
	// InstanceID is a static member's. One that goes for good must say so by leaving; a restart does not.
	InstanceID string
	Reason     string // for people (KIP-800); may be empty
	// Temporary says that the member means to come back within its session: it keeps its place and its assignment,
	// and nobody rebalances. A static member of this process that is closed says this, as one of another process
	// says nothing at all.
	Temporary bool
}

// SyncRequest asks for the member's part of the assignment. The leader's carries the whole, which the coordinator keeps;
// it must not be changed afterwards.
type SyncRequest struct {
	Membership
	ProtocolType, Protocol string            // as in the JoinResult; not checked if empty
	Assignments            map[string][]byte // by member id; only the leader's is looked at
}

// SyncResult is a member's part of the assignment: for consumers, an encoded Assignment.
type SyncResult struct {
	ProtocolType, Protocol string
	Assignment             []byte
}

// CommitRequest commits offsets, as a member (Membership of its generation) or from outside (empty MemberID and
// NoGeneration), which is refused while the group has members.
type CommitRequest struct {
	Membership
	Offsets map[partition.TopicPartition]CommittedOffset
	// Txn makes the commit part of a producer's transaction (TxnOffsetCommit): the offsets are pending until the
	// transaction ends, and count only if it commits. A member is checked as in any commit (KIP-447); without one
	// (no MemberID, NoGeneration) nobody is fenced. Nil commits at once.
	Txn *TxnCommit
	// Retention drops the offsets that long after the commit, whatever CoordinatorConfig.OffsetsRetention says; 0 goes
	// by that. Only Kafka's oldest clients ask for it (OffsetCommit v2 to v4). Such offsets lose their leader epoch and
	// topic id at a restart, as their format has no place for them.
	Retention time.Duration
	// Negative takes negative offsets as they are, as Kafka's coordinator does: to clients they say that nothing is
	// committed (kafkajs resets a group so). Without it they are ErrInvalidCommitOffset.
	Negative bool
}

// TxnCommit names the transaction that a commit belongs to.
type TxnCommit struct {
	TransactionalID string
	Producer        partition.ProducerID
	// PartitionAdded says that the producer adds the group's partition of OffsetsTopic to its transaction by itself, as
	// clients before transaction.version 2 do (AddOffsetsToTxn): without that the commit is partition.ErrTransactionAbortable.
	PartitionAdded bool
}

// CommittedOffset is a committed position.
type CommittedOffset struct {
	// Offset is of the next record to read: the last finished one plus one.
	Offset partition.Offset
	// LeaderEpoch is that of the last finished record, partition.LeaderEpochUnknown (−1) if not known (KIP-320).
	LeaderEpoch partition.LeaderEpoch
	// Metadata is the committer's, at most 4096 bytes (offset.metadata.max.bytes).
	Metadata string
	// TopicID is the topic's. In a CommitRequest it may be zero: the topic that has the name now. One that is not
	// the topic's is partition.ErrUnknownTopicID.
	TopicID partition.TopicID
	// Time is when it was committed; set by the coordinator.
	Time time.Time
}

// OffsetsRequest asks for committed offsets of a group.
type OffsetsRequest struct {
	Group string
	// Partitions are those wanted; nil means all.
	Partitions []partition.TopicPartition
	// MemberID and MemberEpoch are those of the member of a consumer group that asks, and are checked
	// (ErrUnknownMemberID, ErrStaleMemberEpoch): it may have lost the partitions. An empty MemberID is nobody's.
	MemberID    string
	MemberEpoch MemberEpoch
	// RequireStable refuses partitions with an offset in a transaction that has not ended (KIP-447): they are named
	// in an *OffsetsError with ErrUnstableOffsetCommit, and the rest is returned beside it.
	RequireStable bool
}

// Description is a snapshot of a group.
type Description struct {
	Group        string
	State        State
	ProtocolType string
	Protocol     string
	Generation   Generation
	LeaderID     string
	Members      []MemberDescription // in the order of their joining
	Offsets      map[partition.TopicPartition]CommittedOffset
	// Unwritten counts committed partitions that wait in memory for space on the disk.
	Unwritten int
}

// MemberDescription is one member of a Description.
type MemberDescription struct {
	MemberID, InstanceID, ClientID, ClientHost string
	Local                                      bool
	Metadata, Assignment                       []byte // for the group's protocol; encoded Subscription and Assignment
}

// GroupType is the protocol that a group's members speak.
type GroupType string

// Types of groups, in Kafka's words.
const (
	ClassicGroup          GroupType = "classic"
	ConsumerProtocolGroup GroupType = "consumer" // KIP-848
)

// ListGroupsRequest asks for groups. The zero value means all.
type ListGroupsRequest struct {
	States []State     // only in one of these states (KIP-518); none means any
	Types  []GroupType // only of one of these types (KIP-848); none means any
}

// Listing is one group of a list.
type Listing struct {
	Group        string
	State        State
	Type         GroupType
	ProtocolType string // empty for groups that only commit
}
