package log

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/partlog/partlog/internal/txn"
)

// The states that a caller can act on, under Apache Kafka's names. Packages above alias them, with the same identity.
var (
	// ErrClosed says that the log was closed.
	ErrClosed = errors.New("closed")
	// ErrOffsetOutOfRange (OFFSET_OUT_OF_RANGE) says that an offset lies outside [Start, End]. *OffsetOutOfRangeError says where.
	ErrOffsetOutOfRange = errors.New("offset out of range")
	// ErrNoSpace says that the disk is full or the quota spent. Nothing was appended; appends work again when there is space.
	ErrNoSpace = errors.New("no space left for the log")
	// ErrPoisoned (KAFKA_STORAGE_ERROR) says that a sync failed: what was written since the last good one may be lost although
	// it can be read, so nothing is acknowledged any more. Only closing and opening again, with recovery, helps.
	ErrPoisoned = errors.New("log is poisoned by a failed sync")
	// ErrOutOfOrderSequence (OUT_OF_ORDER_SEQUENCE_NUMBER) says that an idempotent producer's batch does not follow its last one (KIP-98).
	ErrOutOfOrderSequence = errors.New("out of order sequence number")
	// ErrInvalidProducerEpoch (INVALID_PRODUCER_EPOCH) says that a newer instance of the producer has written (KIP-98).
	ErrInvalidProducerEpoch = errors.New("producer epoch is fenced")
	// ErrInvalidTxnState (INVALID_TXN_STATE) says that a batch does not fit the state of its producer's transaction (KIP-890): its
	// transaction is neither open nor verified, or it is not transactional while one is open. *TxnStateError says which.
	ErrInvalidTxnState = txn.ErrInvalidTxnState
	// ErrTransactionCoordinatorFenced (TRANSACTION_COORDINATOR_FENCED) says that a marker comes from a transaction coordinator that
	// has been replaced.
	ErrTransactionCoordinatorFenced = errors.New("transaction coordinator is fenced")
	// ErrMessageTooLarge (MESSAGE_TOO_LARGE) says that a batch exceeds Settings.MaxMessageBytes.
	ErrMessageTooLarge = errors.New("batch is too large")
	// ErrRecordListTooLarge (RECORD_LIST_TOO_LARGE) says that a batch exceeds Settings.SegmentBytes: no segment can hold it. It is
	// ErrMessageTooLarge too, as smaller batches help against both.
	ErrRecordListTooLarge = fmt.Errorf("%w: larger than a segment", ErrMessageTooLarge)
	// ErrInvalidTimestamp (INVALID_TIMESTAMP) says that a batch's time is outside Settings.TimestampBefore and TimestampAfter.
	ErrInvalidTimestamp = errors.New("timestamp is out of bounds")
	// ErrInvalidRecord (INVALID_RECORD) says that the bytes are not one batch that a client may append.
	ErrInvalidRecord = errors.New("invalid record batch")
	// ErrReadOnly says that the log was opened for reading.
	ErrReadOnly = errors.New("log is open for reading only")
	// ErrCorrupt is what every *CorruptionError is.
	ErrCorrupt = errors.New("log is corrupt")
	// ErrNotLeaderOrFollower (NOT_LEADER_OR_FOLLOWER) says that a replicated log is not led here, or, of AppendReplica, that it is.
	ErrNotLeaderOrFollower = errors.New("not the leader of the partition, or not its follower")
	// ErrForeign says that a directory belongs to another topic id.
	ErrForeign = errors.New("directory belongs to another topic")
)

// OffsetOutOfRangeError names the offset and what the log has. It is ErrOffsetOutOfRange.
type OffsetOutOfRangeError struct {
	Offset, Start, End Offset
}

// Error names the offset and the range.
func (e *OffsetOutOfRangeError) Error() string {
	return fmt.Sprintf("offset %d out of range: the log has [%d, %d)", e.Offset, e.Start, e.End)
}

// Is reports whether target is ErrOffsetOutOfRange.
func (e *OffsetOutOfRangeError) Is(target error) bool { return target == ErrOffsetOutOfRange }

// CorruptionError says that the records [Offset, NextOffset) cannot be served: the bytes at Position of Path are not what was
// written, or are not there. Records before and after the range are served. It is ErrCorrupt.
type CorruptionError struct {
	Path       string
	Position   int64 // bytes from the start of the file
	Offset     Offset
	NextOffset Offset // first offset after the range that may be served again
	Err        error
}

// Error names the file, the position, the records and the reason.
func (e *CorruptionError) Error() string {
	return fmt.Sprintf("%s is corrupt at position %d: records [%d, %d) cannot be served: %v", e.Path, e.Position, e.Offset, e.NextOffset, e.Err)
}

// Is reports whether target is ErrCorrupt.
func (e *CorruptionError) Is(target error) bool { return target == ErrCorrupt }

// Unwrap returns the reason.
func (e *CorruptionError) Unwrap() error { return e.Err }

// storageError puts a house sentinel over the error of an operation: errors.Is finds both.
func storageError(sentinel error, op, name string, err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok && pe.Path == name {
		err = pe.Err
	}
	if sentinel == nil {
		return fmt.Errorf("%s %s: %w", op, name, err)
	}
	return fmt.Errorf("%w: %s %s: %w", sentinel, op, name, err)
}

// writeError is the error of a failed write or create: a full disk gets its own name because the caller can act on it.
func writeError(op, name string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return storageError(ErrNoSpace, op, name, err)
	}
	return storageError(nil, op, name, err)
}
