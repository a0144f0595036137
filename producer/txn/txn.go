package txn

import (
	"context"
	"fmt"

	"github.com/partlog/partlog/partition"
)

// Backend is whose transactions are looked after; met by *partition.Store. Its methods are the store's, with the store's
// contracts.
type Backend interface {
	Metadata(ctx context.Context, topics []string) ([]partition.Metadata, error)
	ListTransactions(ctx context.Context, f partition.TransactionFilter) ([]partition.TransactionListing, error)
	DescribeTransactions(ctx context.Context, ids []string) ([]partition.TransactionDescription, error)
	DescribeProducers(ctx context.Context, tp partition.TopicPartition) ([]partition.ProducerState, error)
	AbortTransaction(ctx context.Context, txnID string) error
	AbortHanging(ctx context.Context, tp partition.TopicPartition, p partition.ProducerState) error
}

type (
	// Filter selects transactional ids; every field that is not zero must hold.
	Filter = partition.TransactionFilter
	// Listing is one transactional id with its producer and state.
	Listing = partition.TransactionListing
	// Description is what the coordinator knows of a transactional id.
	Description = partition.TransactionDescription
	// Producer is what a partition knows of a producer.
	Producer = partition.ProducerState
	// State is the state of a transactional id, in Kafka's words.
	State = partition.TransactionState
)

// The states of a transactional id. Ongoing is open; the two Prepare ones are decided and are getting their markers.
const (
	Empty          = partition.TransactionEmpty
	Ongoing        = partition.TransactionOngoing
	PrepareCommit  = partition.TransactionPrepareCommit
	PrepareAbort   = partition.TransactionPrepareAbort
	CompleteCommit = partition.TransactionCompleteCommit
	CompleteAbort  = partition.TransactionCompleteAbort
)

// List returns the transactional ids that f selects, by id; the zero Filter selects all (kafka-transactions.sh list).
// A pattern that does not compile is partition.ErrInvalidConfig.
func List(ctx context.Context, b Backend, f Filter) ([]Listing, error) {
	return b.ListTransactions(ctx, f)
}

// Describe returns what the coordinator knows of one transactional id: its state, its timeout, and the partitions of the
// transaction that is open (describe). partition.ErrTransactionalIDNotFound if nobody has used the id.
func Describe(ctx context.Context, b Backend, txnID string) (Description, error) {
	all, err := b.DescribeTransactions(ctx, []string{txnID})
	if err != nil {
		return Description{}, err
	}
	if len(all) != 1 {
		return Description{}, fmt.Errorf("describe transaction %q: backend described %d ids", txnID, len(all))
	}
	if err := all[0].Err; err != nil {
		return Description{}, fmt.Errorf("describe transaction %q: %w", txnID, err)
	}
	return all[0], nil
}

// Producers returns the producers that a partition remembers, by id (describe-producers).
func Producers(ctx context.Context, b Backend, tp partition.TopicPartition) ([]Producer, error) {
	return b.DescribeProducers(ctx, tp)
}

// Abort aborts the open transaction of a transactional id and fences its producer, which is told
// producer.ErrProducerFenced by its next call (force-terminate). It returns when the transaction has ended in all its
// partitions. Errors: partition.ErrTransactionalIDNotFound; partition.ErrInvalidTxnState if none is open.
func Abort(ctx context.Context, b Backend, txnID string) error {
	return b.AbortTransaction(ctx, txnID)
}
