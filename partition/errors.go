package partition

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/partlog/partlog/internal/txn"
	"github.com/partlog/partlog/log"
)

// Errors that a caller can act on, with Kafka's names where Kafka has one. Test for them with errors.Is.
var (
	ErrClosed               = log.ErrClosed               // the store, or what belonged to it, has been closed
	ErrMessageTooLarge      = log.ErrMessageTooLarge      // a batch larger than max.message.bytes
	ErrRecordListTooLarge   = log.ErrRecordListTooLarge   // a batch larger than segment.bytes; it is ErrMessageTooLarge too
	ErrInvalidTimestamp     = log.ErrInvalidTimestamp     // a record outside message.timestamp.before/after.max.ms
	ErrInvalidRecord        = log.ErrInvalidRecord        // a batch that breaks a rule for clients' batches
	ErrOffsetOutOfRange     = log.ErrOffsetOutOfRange     // below the log start offset or above the end
	ErrNoSpace              = log.ErrNoSpace              // the disk is full; works again when there is space
	ErrOutOfOrderSequence   = log.ErrOutOfOrderSequence   // an idempotent producer skipped a batch
	ErrInvalidProducerEpoch = log.ErrInvalidProducerEpoch // a newer incarnation of the producer has written
	ErrStorage              = log.ErrPoisoned             // KAFKA_STORAGE_ERROR: a sync failed; only a reopen helps
	ErrReadOnly             = log.ErrReadOnly             // the store was opened by OpenReadOnly

	ErrTopicAlreadyExists      = errors.New("topic already exists")
	ErrUnknownTopicOrPartition = errors.New("unknown topic or partition")
	ErrUnknownTopicID          = errors.New("unknown topic id")
	ErrInvalidTopic            = errors.New("invalid topic")
	ErrInvalidPartitions       = errors.New("invalid number of partitions")
	ErrInvalidConfig           = errors.New("invalid configuration")
	ErrInvalidRequiredAcks     = errors.New("invalid required acks")
	ErrPolicyViolation         = errors.New("policy violation")
	ErrCorruptMessage          = errors.New("corrupt message")
	ErrFencedLeaderEpoch       = errors.New("fenced leader epoch: the caller's is older than the partition's")
	ErrUnknownLeaderEpoch      = errors.New("unknown leader epoch: the caller's is newer than the partition's")
	ErrUnsupported             = errors.New("unsupported")
	ErrVersionConflict         = errors.New("version conflict")
	ErrTimeout                 = errors.New("request timed out")
	ErrStoreInUse              = errors.New("store is in use")
	ErrNotStore                = errors.New("not a partlog store")
	ErrNewerFormat             = errors.New("store was written by a newer version of partlog")
)

// Errors of transactions (KIP-98, KIP-360, KIP-890), with Kafka's names.
var (
	// ErrProducerFenced says that a newer instance with the same transactional id exists, or that the transaction was
	// ended by somebody else, as by its timeout. InitProducerID tells which.
	ErrProducerFenced = txn.ErrProducerFenced
	// ErrConcurrentTransactions says that the end of the previous transaction, or another request of the same
	// transactional id, is still going on. Retriable.
	ErrConcurrentTransactions = txn.ErrConcurrentTransactions
	// ErrInvalidTxnState says that the transaction is not in a state for this request, as the commit of one that has been
	// aborted, or a batch of one that has ended.
	ErrInvalidTxnState = log.ErrInvalidTxnState
	// ErrInvalidProducerIDMapping says that the producer id is not that of the transactional id.
	ErrInvalidProducerIDMapping = txn.ErrInvalidProducerIDMapping
	// ErrInvalidTransactionTimeout says that a timeout is below a millisecond or above Config.MaxTransactionTimeout.
	ErrInvalidTransactionTimeout = txn.ErrInvalidTransactionTimeout
	// ErrTransactionAbortable says that this transaction can only be aborted; the next one may succeed.
	ErrTransactionAbortable = txn.ErrTransactionAbortable
	// ErrTransactionCoordinatorFenced says that a marker comes from a coordinator that has been replaced.
	ErrTransactionCoordinatorFenced = log.ErrTransactionCoordinatorFenced
	// ErrTransactionalIDNotFound says that nobody has used the transactional id, or that it has expired.
	ErrTransactionalIDNotFound = txn.ErrTransactionalIDNotFound
)

// Retriable reports whether the same request may succeed later without anybody repairing or changing anything: the
// one place where that is decided. An error that only a caller's change, more disk or a reopen can cure is not.
func Retriable(err error) bool {
	for _, e := range []error{ErrTimeout, ErrUnknownTopicOrPartition, ErrUnknownTopicID, ErrFencedLeaderEpoch, ErrUnknownLeaderEpoch, ErrCorruptMessage, ErrConcurrentTransactions,
		ErrNotLeaderOrFollower, ErrNotEnoughReplicas, ErrNotEnoughReplicasAfterAppend, ErrOffsetNotAvailable, ErrSharedConflict} {
		if errors.Is(err, e) {
			return !errors.Is(err, context.Canceled)
		}
	}
	var higher interface{ Retriable() bool } // errors of the packages above
	return errors.As(err, &higher) && higher.Retriable() && !errors.Is(err, context.Canceled)
}

// ConfigError says which setting is wrong and what it may be. It is ErrInvalidConfig.
type ConfigError struct {
	Key   string // Kafka's key, or the field's name where Kafka has none
	Value string
	Range string // what is allowed
}

// Error names the key, the value and the range.
func (e *ConfigError) Error() string {
	if e.Range == "" {
		return fmt.Sprintf("invalid configuration: unknown key %q", e.Key)
	}
	return fmt.Sprintf("invalid configuration: %s=%q: want %s", e.Key, e.Value, e.Range)
}

// Is reports whether target is ErrInvalidConfig.
func (e *ConfigError) Is(target error) bool { return target == ErrInvalidConfig }

// StoreInUseError says who holds the store's lock. It is ErrStoreInUse. The fields are zero if the owner record
// could not be read.
type StoreInUseError struct {
	Dir   string
	PID   int
	Host  string
	Since time.Time
}

// Error names the directory and the process that holds it.
func (e *StoreInUseError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("store %s is in use by another process or by this one", e.Dir)
	}
	return fmt.Sprintf("store %s is in use by process %d on host %s since %s; close it there, or use OpenReadOnly",
		e.Dir, e.PID, e.Host, e.Since.UTC().Format(time.RFC3339))
}

// Is reports whether target is ErrStoreInUse.
func (e *StoreInUseError) Is(target error) bool { return target == ErrStoreInUse }

// OpenLease is a partition whose bytes somebody still borrows.
type OpenLease struct {
	TopicPartition
	Count int           // leases not released
	Age   time.Duration // of the oldest
}

// OpenLeasesError is what Close returns when everything was closed, but borrowed bytes were not given back. Their
// mappings stay until they are; nothing else is wrong.
type OpenLeasesError struct{ Leases []OpenLease }

// Error names each partition with the number and age of its leases.
func (e *OpenLeasesError) Error() string {
	var b strings.Builder
	b.WriteString("store closed with leases not released:")
	for i, l := range e.Leases {
		if i == 10 {
			fmt.Fprintf(&b, " and %d partitions more", len(e.Leases)-i)
			break
		}
		fmt.Fprintf(&b, " %s (%d, oldest %s)", l.TopicPartition, l.Count, l.Age)
	}
	return b.String()
}
