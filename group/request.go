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
	MemberID string
	Metadata []byte
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
	MemberID, ClientID, ClientHost string
	Local                          bool
	Metadata, Assignment           []byte // for the group's protocol; encoded Subscription and Assignment
}
