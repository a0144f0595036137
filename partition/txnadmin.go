package partition

import (
	"context"
	"fmt"
	"time"
)

// TransactionState is the state of a transactional id at the coordinator, in Kafka's words.
type TransactionState string

// The states of a transactional id.
const (
	TransactionEmpty             TransactionState = "Empty"
	TransactionOngoing           TransactionState = "Ongoing"
	TransactionPrepareCommit     TransactionState = "PrepareCommit"
	TransactionPrepareAbort      TransactionState = "PrepareAbort"
	TransactionCompleteCommit    TransactionState = "CompleteCommit"
	TransactionCompleteAbort     TransactionState = "CompleteAbort"
	TransactionDead              TransactionState = "Dead"
	TransactionPrepareEpochFence TransactionState = "PrepareEpochFence"
)

// TransactionFilter selects transactional ids. Each field that is not zero must hold (ListTransactions, KIP-664, KIP-994, KIP-1152).
type TransactionFilter struct {
	States      []TransactionState
	ProducerIDs []int64
	OlderThan   time.Duration // only transactions that have been open for longer
	Pattern     string        // RE2; the whole transactional id must match
}

// TransactionListing is one transactional id of ListTransactions.
type TransactionListing struct {
	TransactionalID string
	Producer        ProducerID
	State           TransactionState
}

// TransactionDescription is what the coordinator knows of a transactional id (DescribeTransactions).
type TransactionDescription struct {
	TransactionListing
	Timeout    time.Duration
	Start      time.Time        // of the open transaction; zero if none
	Partitions []TopicPartition // of the open transaction, in order
	Err        error            // ErrTransactionalIDNotFound; all else but the id is zero then
}

// ProducerState is what a partition knows of a producer (DescribeProducers).
type ProducerState struct {
	Producer         ProducerID
	LastSequence     int32 // −1 if no batch is remembered
	LastTimestamp    time.Time
	CoordinatorEpoch int32  // of the last marker; −1 if none
	TxnStart         Offset // first offset of its open transaction; −1 if none
}

// ListTransactions returns the transactional ids that f selects, by id. A pattern that does not compile is ErrInvalidConfig.
func (s *Store) ListTransactions(ctx context.Context, f TransactionFilter) ([]TransactionListing, error) {
	return nil, fmt.Errorf("list transactions: %w", ErrUnsupported)
}

// DescribeTransactions describes transactional ids, in their order.
func (s *Store) DescribeTransactions(ctx context.Context, ids []string) ([]TransactionDescription, error) {
	return nil, fmt.Errorf("describe transactions: %w", ErrUnsupported)
}

// DescribeProducers returns the producers that a partition remembers, by id.
func (s *Store) DescribeProducers(ctx context.Context, tp TopicPartition) ([]ProducerState, error) {
	return nil, fmt.Errorf("describe producers of %s: %w", tp, ErrUnsupported)
}

// AbortTransaction aborts the open transaction of a transactional id and fences its producer, which gets
// ErrProducerFenced from then on. It returns when the markers are written. ErrTransactionalIDNotFound; ErrInvalidTxnState if none is open.
func (s *Store) AbortTransaction(ctx context.Context, txnID string) error {
	return fmt.Errorf("abort transaction %q: %w", txnID, ErrUnsupported)
}

// AbortHanging writes an abort marker for a transaction that is open in one partition and that no coordinator will end,
// as one of a broker whose files were imported. p is what DescribeProducers returned. ErrInvalidTxnState if the
// partition has no such transaction any more, or if the coordinator knows it: AbortTransaction is for that.
func (s *Store) AbortHanging(ctx context.Context, tp TopicPartition, p ProducerState) error {
	return fmt.Errorf("abort hanging transaction in %s: %w", tp, ErrUnsupported)
}
