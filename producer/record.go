package producer

import (
	"time"

	"github.com/partlog/partlog/partition"
)

// Record is what Send takes. Its bytes are copied before Send or SendAsync returns; the caller may reuse them.
type Record struct {
	Topic string

	// Key decides the partition, unless Partition or the Partitioner does. Nil is Kafka's null; an empty key that is
	// not nil is a key.
	Key []byte

	// Value is the record's content. Nil is Kafka's null, a tombstone in a compacted topic.
	Value []byte

	Headers []partition.Header

	// Partition is To(n) for partition n; the zero Target lets the Partitioner choose.
	Partition Target

	// Timestamp is kept in milliseconds; the zero Time is the time of the call. In topics with LogAppendTime the
	// store's time replaces it, and Result says so.
	Timestamp time.Time

	// Acks is Need(a) where this record's acks differ from Config.Acks; the zero Requirement is the producer's.
	Acks Requirement
}

// Target is an explicit partition, or none. The zero Target is none.
type Target struct {
	partition int32
	set       bool
}

// To is the Target of partition n.
func To(n int32) Target { return Target{partition: n, set: true} }

// Requirement is the acks of one record, or none. The zero Requirement is none.
type Requirement struct {
	acks partition.Acks
	set  bool
}

// Need is the Requirement of one record whose acks are not the producer's.
func Need(a partition.Acks) Requirement { return Requirement{acks: a, set: true} }

// Result is what became of one record.
type Result struct {
	// TopicPartition is where the record went; the Partition is −1 if it was refused before one was chosen.
	partition.TopicPartition

	// Offset is the record's, or −1 if it is not known: after an error, and with AcksNone.
	Offset partition.Offset

	// Timestamp is the one that the log has: the record's own, or the store's in topics with LogAppendTime.
	Timestamp time.Time

	// KeySize and ValueSize are in bytes; −1 is null.
	KeySize, ValueSize int

	// Err is nil if the record is in the log as its acks promise. *UncertainError says that it may be there
	// nevertheless; any other error says that it is not and will not be.
	Err error
}
