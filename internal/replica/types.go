package replica

import (
	"math"
	"time"

	"github.com/partlog/partlog/internal/control"
)

// NodeID is the id of a node (Kafka's broker id).
type NodeID = control.NodeID

// NoNode is no node: the leader of a partition without one.
const NoNode NodeID = -1

// TopicID is a topic's unique id (KIP-516).
type TopicID = control.TopicID

// TopicPartition names a partition between nodes: by the topic's id, so that a topic that was deleted and made anew is another one.
type TopicPartition = control.PartitionID

const (
	// NoEpoch is no leader epoch: that of an empty log.
	NoEpoch int32 = -1
	// NoOffset is no offset.
	NoOffset int64 = -1
	// Never is a time before all others.
	Never time.Duration = math.MinInt64
)

// Code is an error code of Apache Kafka's protocol.
type Code = control.Code

// The codes that the machines answer with, or that are given to them.
const (
	UnknownServerError           Code = -1
	None                         Code = 0
	OffsetOutOfRange             Code = 1
	CorruptMessage               Code = 2
	UnknownTopicOrPartition      Code = 3
	NotLeaderOrFollower          Code = 6
	RequestTimedOut              Code = 7
	NotEnoughReplicas            Code = 19
	NotEnoughReplicasAfterAppend Code = 20
	NotController                Code = 41
	InvalidRequest               Code = 42
	KafkaStorageError            Code = 56
	FetchSessionIDNotFound       Code = 70
	InvalidFetchSessionEpoch     Code = 71
	FencedLeaderEpoch            Code = 74
	UnknownLeaderEpoch           Code = 75
	OffsetNotAvailable           Code = 78
	InvalidUpdateVersion         Code = 95
	UnknownTopicID               Code = 100
	InconsistentTopicID          Code = 103
	FetchSessionTopicIDError     Code = 106
	IneligibleReplica            Code = 107
	NewLeaderElected             Code = 108
	OperationNotAttempted        Code = 55
)

// Metadata is what the controller has decided about a partition (04 §3.2). The slices are read, never kept or changed.
type Metadata struct {
	Leader         NodeID // NoNode: nobody leads
	LeaderEpoch    int32  // grows whenever the leader changes
	PartitionEpoch int32  // grows with every change
	Replicas, ISR  []NodeID
	Recovering     bool // elected unclean, and the ISR has not changed since (KIP-704)
	MinISR         int  // the effective min.insync.replicas: the same number as the controller's, in the same state (KIP-966)
}

// MetadataOf is the Metadata of the controller's state; minISR is control.Machine.MinISR.
func MetadataOf(s control.PartitionState, minISR int32) Metadata {
	return Metadata{Leader: s.Leader, LeaderEpoch: s.LeaderEpoch, PartitionEpoch: s.PartitionEpoch, Replicas: s.Replicas, ISR: s.ISR,
		Recovering: s.Recovering, MinISR: int(minISR)}
}

// Brokers is what the metadata says of nodes. Its answers may change between two calls of a machine, not during one.
type Brokers interface {
	// Broker returns the broker epoch of node's registration, and whether it may be in an ISR: registered, not fenced, not in
	// controlled shutdown. The epoch of a node that is not registered is -1.
	Broker(node NodeID) (epoch int64, eligible bool)
	// LastFetch returns when node's newest fetch request came that had the partition in its session, listed or not: a session does
	// not list what has not changed (KIP-227). Never: not known, then only what Fetched was told counts.
	LastFetch(node NodeID) time.Duration
}

// Log is what the machines ask of the partition's log on this node. End and Start are cheap; the others may load what is on disk.
type Log interface {
	// Start is the log start offset.
	Start() int64
	// End is the log end offset.
	End() int64
	// LastEpoch is the epoch of the last batch, NoEpoch if there is none.
	LastEpoch() (int32, error)
	// EpochEnd answers OffsetForLeaderEpoch: the largest epoch that is not above epoch and the exclusive end of it; (NoEpoch, NoOffset)
	// if epoch is above all that the log has, (epoch, start of the first) if below all.
	EpochEnd(epoch int32) (found int32, end int64, err error)
}

// Position is from where a follower wants records (the partition of a Fetch request).
type Position struct {
	Offset        int64 // its log end offset: it has everything below, in the durability that its sync mode asks for
	LastEpoch     int32 // LastFetchedEpoch: epoch of its last batch, NoEpoch for an empty log
	LeaderEpoch   int32 // CurrentLeaderEpoch: the leader epoch it follows; -1: not told
	LogStart      int64 // its log start offset
	HighWatermark int64 // the high watermark it knows (KIP-1166)
	MaxBytes      int32 // PartitionMaxBytes
}

// Fetch is a Position with whose it is.
type Fetch struct {
	Node        NodeID
	BrokerEpoch int64 // of the follower's registration (KIP-903)
	Position
}

// Answer is what a leader says to a Position (the partition of a Fetch response). Errors have HighWatermark -1 and no records.
type Answer struct {
	Code          Code
	HighWatermark int64
	LogStart      int64 // the leader's log start offset; also with OffsetOutOfRange
	LogEnd        int64 // the leader's log end offset, only with OffsetOutOfRange; else -1
	// DivergingEpoch and DivergingEnd say that the follower's log is not a prefix of the leader's: the leader's largest epoch that is
	// not above the follower's last, and its end there. NoEpoch and NoOffset: no divergence.
	DivergingEpoch int32
	DivergingEnd   int64
	// Leader and LeaderEpoch are whom the answering node takes for the leader, with NotLeaderOrFollower and FencedLeaderEpoch.
	Leader      NodeID
	LeaderEpoch int32
	Records     []byte // whole batches; the reader ignores a partial one at the end
}

// Diverging reports whether the answer asks the follower to truncate (KIP-595's way of KIP-101 and KIP-279).
func (a *Answer) Diverging() bool { return a.DivergingEnd != NoOffset }

// refusal is an answer with nothing but a code.
func refusal(c Code) Answer {
	return Answer{Code: c, HighWatermark: -1, LogStart: -1, LogEnd: -1, DivergingEpoch: NoEpoch, DivergingEnd: NoOffset, Leader: NoNode, LeaderEpoch: NoEpoch}
}

// Effects says what an event has changed.
type Effects uint8

const (
	// HighWatermarkMoved: HighWatermark is higher. Parked producers, consumers and replicas want to know.
	HighWatermarkMoved Effects = 1 << iota
	// ISRChanged: the committed ISR is another one.
	ISRChanged
	// ProposalReady: Proposal has one to send.
	ProposalReady
	// LowWatermarkMoved: LowWatermark is higher (DeleteRecords).
	LowWatermarkMoved
)

// Has reports whether all of e are among the effects.
func (f Effects) Has(e Effects) bool { return f&e == e }
