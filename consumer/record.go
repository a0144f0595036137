package consumer

import (
	"time"

	"github.com/partlog/partlog/partition"
)

// Record is one record as it was read. Its bytes are the caller's: they share one buffer with the other records of the
// same fetch, so that keeping a few small ones keeps that buffer (at most Config.MaxPartitionBytes, or one batch);
// clone what is kept for long.
type Record struct {
	Topic     string
	Partition int32
	Offset    partition.Offset
	// LeaderEpoch is that of the leader that appended the record (KIP-320).
	LeaderEpoch partition.LeaderEpoch
	// Timestamp has milliseconds: the producer's, or the store's in topics with LogAppendTime. Zero if the record
	// has none.
	Timestamp time.Time
	Key       []byte // nil is null
	Value     []byte // nil is null: a tombstone in a compacted topic
	Headers   []partition.Header
}

// TypedRecord is a Record whose key and value are decoded.
type TypedRecord[K, V any] struct {
	Topic       string
	Partition   int32
	Offset      partition.Offset
	LeaderEpoch partition.LeaderEpoch
	Timestamp   time.Time
	Key         K
	Value       V
	// KeyNull and ValueNull tell null from empty.
	KeyNull, ValueNull bool
	Headers            []partition.Header
	// Raw is the record as it was read.
	Raw Record
}
