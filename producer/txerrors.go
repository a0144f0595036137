package producer

import (
	"errors"
	"fmt"

	"github.com/partlog/partlog/partition"
)

// Errors of transactions. They come of using scopes wrongly and change nothing: an open transaction goes on.
var (
	// ErrNotTransactional is a Transact of a producer without Config.TransactionalID.
	ErrNotTransactional = errors.New("producer has no transactional id")
	// ErrNoTransaction is a Send of a transactional producer outside a scope: its records go through a Tx.
	ErrNoTransaction = errors.New("a transactional producer sends in Transact only")
	// ErrTransactionInProgress is a Transact while another one of the same producer runs: scopes do not nest, and a
	// producer has one at a time. Who needs several uses several producers, each with its own transactional id.
	ErrTransactionInProgress = errors.New("the producer's transaction is in progress")
	// ErrTransactionEnded is the use of a Tx whose scope has been left.
	ErrTransactionEnded = errors.New("the transaction has ended")
	// ErrProducerFenced is fatal: another producer with the same transactional id has taken over, or an operator has
	// ended the transaction (producer/txn). Every later call says the same; a new Producer can go on.
	ErrProducerFenced = partition.ErrProducerFenced
)

// AbortedError says that a transaction was aborted: nothing of it is or will be seen by a reader of committed records,
// and offsets committed in it do not count. It wraps the reason: the error of the function, or of the first record that
// could not be sent, or the context's.
type AbortedError struct {
	TransactionalID string
	Err             error // why
	// Pending is why the coordinator has not confirmed the abort, nil if it has. It is certain all the same: the
	// producer's next Transact or Close, or the transaction's timeout, or the next open of the store, completes it. If it
	// is ErrProducerFenced, whoever has fenced the producer has done so.
	Pending error
}

// Error says why, and what is still to be done.
func (e *AbortedError) Error() string {
	s := fmt.Sprintf("transaction of %q aborted: %v", e.TransactionalID, e.Err)
	switch {
	case e.Pending == nil:
	case fatal(e.Pending):
		s += fmt.Sprintf(" (the producer cannot go on: %v)", e.Pending)
	default:
		s += fmt.Sprintf(" (to be completed: %v)", e.Pending)
	}
	return s
}

// Unwrap returns the reason and what is in the way of the abort.
func (e *AbortedError) Unwrap() []error {
	if e.Pending == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.Pending}
}

// OutcomeUnknownError says that a commit was asked for and not answered: the transaction is committed, or will be, or is
// not. The producer's next Transact asks again before it begins: if the transaction could not be committed, that
// Transact is an *AbortedError and its function is not called.
type OutcomeUnknownError struct {
	TransactionalID string
	Err             error // why there is no answer
}

// Error says that the transaction may have been committed, and why that is not known.
func (e *OutcomeUnknownError) Error() string {
	return fmt.Sprintf("transaction of %q may have been committed: %v", e.TransactionalID, e.Err)
}

// Unwrap returns the reason, such as context.Canceled.
func (e *OutcomeUnknownError) Unwrap() error { return e.Err }

// errUnfinished is why a transaction is aborted whose function did not return.
var errUnfinished = errors.New("the function of Transact panicked or ended its goroutine")

// fatal reports whether a producer with this error is of no use any more (KIP-98, KIP-360): the coordinator knows of
// another instance, or of none.
func fatal(err error) bool {
	return errors.Is(err, partition.ErrProducerFenced) || errors.Is(err, partition.ErrInvalidProducerIDMapping) ||
		errors.Is(err, partition.ErrUnsupported)
}

// ended is what the coordinator's errors mean: there, an old epoch and a transaction that has the other outcome are
// fatal, which they are not for a partition's leader.
func ended(err error) error {
	if errors.Is(err, partition.ErrInvalidProducerEpoch) && !errors.Is(err, partition.ErrProducerFenced) {
		return fmt.Errorf("%w: %w", partition.ErrProducerFenced, err)
	}
	return err
}
