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
	// not used.
	InitProducerID(ctx context.Context, txnID string, timeout time.Duration, last partition.ProducerID) (partition.ProducerID, error)
}
