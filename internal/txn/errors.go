package txn

import "errors"

// The answers that are not success, under Kafka's names; package partition aliases them.
var (
	ErrProducerFenced            = errors.New("producer is fenced by a newer one, or by the end of its transaction")
	ErrConcurrentTransactions    = errors.New("another request of this transactional id is in progress")
	ErrInvalidTxnState           = errors.New("invalid transaction state")
	ErrInvalidProducerIDMapping  = errors.New("producer id does not belong to the transactional id")
	ErrInvalidTransactionTimeout = errors.New("invalid transaction timeout")
	ErrTransactionAbortable      = errors.New("transaction can only be aborted")
	ErrTransactionalIDNotFound   = errors.New("transactional id not found")
	// ErrCorruptRecord says that a record of __transaction_state does not decode.
	ErrCorruptRecord = errors.New("corrupt record of a transaction's state")
)
