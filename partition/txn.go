package partition

import (
	"context"
	"fmt"
)

// AddPartitionsToTxn adds partitions to the producer's transaction, and begins one if none is open. Appends with
// AppendRequest.TransactionalID do it by themselves: this is for clients of Kafka's older protocol
// (transaction.version 1), whose first batch comes after it.
//
// Errors: ErrProducerFenced, ErrInvalidProducerIDMapping, ErrConcurrentTransactions if ctx ends while the end of the
// previous transaction is still going on, ErrUnknownTopicOrPartition, in which case none was added, ErrNoSpace, ErrStorage, ErrClosed.
func (s *Store) AddPartitionsToTxn(ctx context.Context, txnID string, p ProducerID, tps []TopicPartition) error {
	return fmt.Errorf("add partitions to transaction: %w", ErrUnsupported)
}

// EndTxn commits or aborts the producer's transaction and returns the producer id for the next one, whose epoch has
// been bumped (KIP-890, transaction.version 2); after the last epoch it is another id. When it returns nil the outcome is
// durable: all data of a committed transaction was made so before. Readers of committed records see it a moment later, when each
// partition has its marker; the next transaction of the same id waits for that.
//
// A call may be repeated after any error but the fatal ones, with the same p: it has the same result. Errors:
// ErrInvalidTxnState (the transaction had the other outcome, or there is nothing to commit), and the fatal ones
// ErrProducerFenced and ErrInvalidProducerIDMapping; ErrStorage, ErrNoSpace: nothing was decided yet, or in doubt until the
// call is repeated or the store reopened; ErrClosed.
func (s *Store) EndTxn(ctx context.Context, txnID string, p ProducerID, commit bool) (next ProducerID, err error) {
	return NoProducerID, fmt.Errorf("end transaction: %w", ErrUnsupported)
}
