package producer

import (
	"context"
	"time"

	"github.com/partlog/partlog/partition"
)

// Backend is what a producer writes to. It is met by *partition.Store.
//
// All methods are called from many goroutines at once. A call returns soon after its context is done, or after the
// backend's own request timeout; a backend in this process, whose calls wait for the disk only, may ignore the context.
// Whether an error is worth another attempt is what partition.Retriable says.
type Backend interface {
	// Metadata describes topics. That a topic is unknown is believed: a backend whose knowledge may be late waits
	// for it itself.
	Metadata(ctx context.Context, topics []string) ([]partition.Metadata, error)

	// Append writes one whole record batch (magic 2). The bytes may be patched as partition.AppendRequest says, and
	// belong to the producer again when Append has returned.
	Append(ctx context.Context, r partition.AppendRequest) (partition.AppendResult, error)

	// InitProducerID returns a producer id that nobody else has (KIP-98). With an empty txnID, timeout and last are
	// not used. With one, it is that of the transactional id: with partition.NoProducerID as last with an epoch that
	// fences all producers before, after what they left open has been aborted, else the continuation of last.
	InitProducerID(ctx context.Context, txnID string, timeout time.Duration, last partition.ProducerID) (partition.ProducerID, error)

	// EndTxn commits or aborts the transaction of a producer, and returns the id for its next one. It is called again,
	// with the same arguments, until it has answered. What a transaction consists of the backend knows by itself:
	// Append with a TransactionalID, and group commits, add their partitions to it (KIP-890).
	EndTxn(ctx context.Context, txnID string, id partition.ProducerID, commit bool) (next partition.ProducerID, err error)
}
