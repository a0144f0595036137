package partition

import (
	"time"

	"github.com/partlog/partlog/log"
)

// AppendRequest carries one record batch of magic 2, exactly as on disk and on the wire.
type AppendRequest struct {
	TopicPartition
	// TopicID is checked against the topic's when it is not zero: ErrUnknownTopicID.
	TopicID TopicID
	// Batch is one whole batch. The store patches its base offset, leader epoch and, in topics with
	// LogAppendTime, its time and checksum in place; the caller may reuse it when Append has returned.
	Batch []byte
	Acks  Acks
	// TransactionalID is the producer's, empty outside transactions. A batch with it is transactional and has the
	// producer id that InitProducerID returned for it; the partition joins the transaction by its first batch. What
	// Acks promises such a batch may be less than AcksAll: EndTxn makes everything durable before it commits.
	TransactionalID string
	// TxnAdded says that the producer adds partitions to its transaction by itself, with AddPartitionsToTxnV1, as clients
	// before transaction.version 2 do: a partition that it has not added is ErrTransactionAbortable.
	TxnAdded bool
	// Internal marks a write of a coordinator to its own topic: internal topics are closed to all others, and
	// the rules for clients' batches do not apply, but for the offsets topic's max.message.bytes.
	Internal bool
	// Foreign marks a batch that did not come from this process's own builder, as off a socket: its checksum and
	// every record are checked before it is believed. As Kafka's leader does, a wrong largest timestamp is put right, a compressed
	// batch whose records are numbered wrongly is encoded again, and an incomplete batch behind it is cut off.
	Foreign bool
	// Expect makes the append conditional; nil if it is not.
	Expect *Expect
	// Timeout bounds, in a cluster, the wait for the other replicas with AcksAll; 0: only ctx does. After it (ErrTimeout) the batch has been
	// written, and may be kept or lost.
	Timeout time.Duration
}

// AppendResult says where a batch is.
type AppendResult struct {
	BaseOffset    Offset
	LogAppendTime int64 // milliseconds since 1970; −1 in topics with CreateTime
	LogStart      Offset
	Duplicate     bool // the batch was there already (KIP-98); BaseOffset is the original's
}

// FetchRequest asks for whole batches of one or more partitions.
type FetchRequest struct {
	// Partitions are tried in this order; a caller that is fair rotates them.
	Partitions []FetchPosition
	// MinBytes is how much must be there before the answer, unless MaxWait ends first; 0 and 1 mean any.
	MinBytes int
	// MaxBytes bounds the answer; 0 means 50 MiB. The first partition with data may exceed it by one batch.
	MaxBytes int
	// MaxWait bounds the wait for MinBytes; 0 answers at once.
	MaxWait time.Duration
	// ReadCommitted stops each partition at its last stable offset, and gives the aborted transactions of the range
	// (isolation.level=read_committed). Without it, open and aborted transactions are read like all else.
	ReadCommitted bool
	// AllowFollower lets a node answer that follows a partition, up to the high watermark it knows (KIP-392). Otherwise it is
	// ErrNotLeaderOrFollower.
	AllowFollower bool
	// Reuse is storage for the answer, or nil. Its leases must have been released.
	Reuse []FetchResult
}

// FetchPosition is one partition of a FetchRequest.
type FetchPosition struct {
	TopicPartition
	TopicID     TopicID     // checked when not zero: ErrUnknownTopicID
	Offset      Offset      // of the first record wanted; the batch that holds it is returned whole
	LeaderEpoch LeaderEpoch // the caller's current one: ErrFencedLeaderEpoch, ErrUnknownLeaderEpoch; −1 is not checked
	MaxBytes    int         // of this partition; 0 means 1 MiB
}

// FetchResult is one partition of the answer to a FetchRequest.
type FetchResult struct {
	TopicPartition
	// Err is this partition's error, among them ErrOffsetOutOfRange, ErrUnknownTopicOrPartition,
	// ErrUnknownTopicID, ErrFencedLeaderEpoch and *log.CorruptionError. Batches is empty then.
	Err           error
	HighWatermark Offset
	LastStable    Offset // below it every transaction has ended; min(HighWatermark, first offset of an open one)
	LogStart      Offset
	// Aborted lists, with ReadCommitted, the aborted transactions that reach into Batches, by FirstOffset: batches of
	// that producer from there to its next abort marker are to be skipped. Storage of FetchRequest.Reuse is used again.
	Aborted []AbortedTxn
	// Batches holds whole batches, borrowed until Lease.Release: from a mapping of the file, so a file that
	// somebody else truncates can fault the goroutine that touches them.
	Batches []byte
	Lease   Lease
	// DoesNotFit: there is a batch to read, but it is larger than what the bounds leave for it, so Batches is empty.
	DoesNotFit bool
	// CorruptNext is, with a *log.CorruptionError, the offset at which reading can go on.
	CorruptNext Offset
}

// AbortedTxn is one aborted transaction of a FetchResult.
type AbortedTxn struct {
	ProducerID  int64
	FirstOffset Offset
}

// Lease holds the bytes of one FetchResult in place. It belongs to one goroutine at a time, and only one copy of it
// may be released. A lease that is never released keeps a mapping alive and is named by Store.Close.
type Lease struct {
	view log.View
	held bool
}

// Release gives the bytes back; they must not be touched afterwards. Releasing twice or releasing a zero Lease does
// nothing.
func (l *Lease) Release() {
	if l.held {
		l.held = false
		l.view.Release()
		l.view = log.View{}
	}
}

// Metadata describes one topic.
type Metadata struct {
	Topic    string
	ID       TopicID
	Internal bool
	// Err is ErrUnknownTopicOrPartition or ErrInvalidTopic for a topic that was asked for by name.
	Err        error
	Partitions []PartitionMetadata
	// MaxMessageBytes is the largest batch that the topic takes (max.message.bytes).
	MaxMessageBytes int
	// Compression is the codec that the topic stores, CodecProducer if the producer's (compression.type).
	Compression Codec
}

// PartitionMetadata describes one partition.
type PartitionMetadata struct {
	Partition   int32
	Leader      int32
	LeaderEpoch LeaderEpoch
	Replicas    []int32
	ISR         []int32
}
