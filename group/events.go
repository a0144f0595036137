package group

import (
	"time"

	"github.com/partlog/partlog/partition"
)

// Events are optional functions that are told what happens in the coordinator. They are called one at a time, in the
// order of what happened, with no lock held; they may call the group, and must not block for long: requests go on
// meanwhile, but later events wait.
type Events struct {
	// Rebalance: a rebalance has begun.
	Rebalance func(RebalanceInfo)
	// Generation: a rebalance has ended; the group has a new generation.
	Generation func(GenerationInfo)
	// Assigned: a generation has its assignment; the rebalance is over.
	Assigned func(AssignedInfo)
	// MemberRemoved: a member has left or was removed.
	MemberRemoved func(MemberRemovedInfo)
	// MemberReplaced: a static member has come back and got a new member id; the old one is fenced.
	MemberReplaced func(MemberReplacedInfo)
	// Loaded: a partition of the offsets topic has been read.
	Loaded func(LoadedInfo)
	// WriteFailed: a record of the offsets topic could not be written. For want of space it is kept in memory and
	// tried again; other failures were answered to whoever asked.
	WriteFailed func(WriteFailedInfo)
	// ReadFailed: a partition of the offsets topic could not be read for the end of a transaction; it is tried again.
	ReadFailed func(ReadFailedInfo)
	// Corrupt: a record of the offsets topic, or a range of it, could not be read. The rest was loaded; nothing was
	// changed on the disk.
	Corrupt func(CorruptInfo)
	// OffsetsDeleted: offsets, or a whole group, were deleted by a tool or have expired.
	OffsetsDeleted func(OffsetsDeletedInfo)
	// OffsetsDropped: committed offsets were dropped, because their topic has been deleted.
	OffsetsDropped func(OffsetsDroppedInfo)
}

// RebalanceInfo says why a group rebalances.
type RebalanceInfo struct {
	Group      string
	Generation Generation // the one that ends
	Reason     string
}

// GenerationInfo describes a new generation.
type GenerationInfo struct {
	Group      string
	Generation Generation
	State      State // CompletingRebalance, or Empty if nobody is left
	Protocol   string
	Members    int
}

// AssignedInfo says how long a rebalance took, from its reason to the assignment in the log. If it had to begin again
// while the assignment was awaited, that is part of it.
type AssignedInfo struct {
	Group      string
	Generation Generation
	Members    int
	Duration   time.Duration
}

// MemberRemovedInfo says who is gone from a group, and why.
type MemberRemovedInfo struct {
	Group, MemberID string
	Reason          string
}

// MemberReplacedInfo says which static member has come back.
type MemberReplacedInfo struct {
	Group, InstanceID        string
	OldMemberID, NewMemberID string
}

// LoadedInfo says what was read from a partition of the offsets topic.
type LoadedInfo struct {
	Partition      int32
	Records        int
	Skipped        int // records of unknown types or versions, and unreadable ones
	CorruptRanges  int
	Groups         int
	RemovedMembers int // of processes that have ended
	// Misplaced counts groups whose id belongs to another partition: the topic once had another number of
	// partitions. Nobody finds them. An import with the right number (ImportOptions.Topics) does.
	Misplaced int
	Duration  time.Duration
}

// WriteFailedInfo describes a failed append to the offsets topic.
type WriteFailedInfo struct {
	Partition int32
	Records   int
	Kept      bool // in memory, to be written when space returns
	Err       error
}

// ReadFailedInfo describes a failed read of the offsets topic.
type ReadFailedInfo struct {
	Partition int32
	Err       error
}

// CorruptInfo says what could not be read in a partition of the offsets topic. What the record said is not known: an
// older commit of the same key counts, if there is one.
type CorruptInfo struct {
	Partition  int32
	Offset     partition.Offset // of the record, or of the first one of the range
	NextOffset partition.Offset // the first one after it
	// Key is the record's, as it is in the log; nil for a range. Group and TopicPartition are what it means, as far
	// as it can be read.
	Key            []byte
	Group          string
	TopicPartition partition.TopicPartition
	Err            error
}

// OffsetsDeletedInfo says what a group has lost.
type OffsetsDeletedInfo struct {
	Group      string
	Partitions int
	WholeGroup bool
	Expired    bool // by their retention; else somebody has asked for it
}

// OffsetsDroppedInfo names a topic whose offsets a group has lost with it.
type OffsetsDroppedInfo struct {
	Group, Topic string
	Partitions   int
}
