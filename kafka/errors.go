package kafka

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/wire"
	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
)

// Errors that a host meets. Test for them with errors.Is.
var (
	ErrClosed             = partition.ErrClosed                      // the server, broker or store has been closed
	ErrUnsupportedVersion = errors.New("unsupported API or version") // a request outside of what is advertised
	ErrMalformedRequest   = errors.New("malformed request")          // a request that does not decode
	ErrUnknownBroker      = errors.New("unknown broker")             // a node id that the server does not have
	ErrBrokerIDInUse      = errors.New("broker id is in use")        // AddBroker with the id of another
	errNotLeader          = partition.ErrNotLeaderOrFollower
	errListenerNotFound   = errors.New("the leader has no such listener")
	errNotEnoughReplicas  = partition.ErrNotEnoughReplicas
	errIntercepted        = errors.New("closed by the interceptor")
)

// Reasons for which connections end, beside *RequestError and errors of authentication. See Events.ConnectionClosed.
var (
	ErrServerClosed       = wire.ErrServerClosed       // the server or its broker was stopped
	ErrIdle               = wire.ErrIdle               // connections.max.idle.ms
	ErrHandshake          = wire.ErrHandshake          // TLS and authentication took too long
	ErrSlowFrame          = wire.ErrSlowFrame          // a request took too long to arrive
	ErrSlowReply          = wire.ErrSlowReply          // the client did not take an answer in time
	ErrTooManyConnections = wire.ErrTooManyConnections // max.connections.per.ip, or connection_creation_rate
)

// FrameSizeError is a request whose size is negative or above socket.request.max.bytes.
type FrameSizeError = wire.FrameSizeError

// RequestError is why a request made its connection close. Err is ErrUnsupportedVersion, ErrMalformedRequest or what the
// handler said.
type RequestError struct {
	Key, Version int16
	API          string // the key's name
	ClientID     string
	Err          error
}

// Error names the API, its version and what is wrong.
func (e *RequestError) Error() string {
	return fmt.Sprintf("%s (key %d) version %d from client %q: %v", e.API, e.Key, e.Version, e.ClientID, e.Err)
}

// Unwrap returns Err.
func (e *RequestError) Unwrap() error { return e.Err }

// PanicError is a bug that showed while a request was handled: its connection is closed, and nothing else suffers.
type PanicError = wire.PanicError

// protocolError carries an error code of Kafka's, and what an answer says beside it.
type protocolError struct {
	code    int16
	message string
}

func (e *protocolError) Error() string { return e.message }

// errorCodes are the sentinels of the floors below. The first that an error is decides, so narrower ones come first.
var errorCodes = []struct {
	err  error
	code int16
}{
	{partition.ErrUnknownTopicID, codeUnknownTopicID},
	{partition.ErrUnknownTopicOrPartition, codeUnknownTopicOrPartition},
	{partition.ErrTopicAlreadyExists, codeTopicAlreadyExists},
	{partition.ErrInvalidTopic, codeInvalidTopic},
	{partition.ErrInvalidPartitions, codeInvalidPartitions},
	{partition.ErrOffsetOutOfRange, codeOffsetOutOfRange},
	{partition.ErrRecordListTooLarge, codeRecordListTooLarge},
	{partition.ErrMessageTooLarge, codeMessageTooLarge},
	{partition.ErrInvalidTimestamp, codeInvalidTimestamp},
	{partition.ErrInvalidRecord, codeInvalidRecord},
	{partition.ErrCorruptMessage, codeCorruptMessage},
	{partition.ErrOutOfOrderSequence, codeOutOfOrderSequenceNumber},
	{partition.ErrInvalidProducerEpoch, codeInvalidProducerEpoch},
	{partition.ErrInvalidRequiredAcks, codeInvalidRequiredAcks},
	{partition.ErrFencedLeaderEpoch, codeFencedLeaderEpoch},
	{partition.ErrUnknownLeaderEpoch, codeUnknownLeaderEpoch},
	{partition.ErrNoSpace, codeKafkaStorageError},
	{partition.ErrStorage, codeKafkaStorageError},
	{partition.ErrInvalidConfig, codeInvalidConfig},
	{partition.ErrPolicyViolation, codePolicyViolation},
	{partition.ErrReadOnly, codePolicyViolation},
	{partition.ErrVersionConflict, codeInvalidRequest},
	{partition.ErrTimeout, codeRequestTimedOut},

	{partition.ErrProducerFenced, codeProducerFenced},
	{partition.ErrConcurrentTransactions, codeConcurrentTransactions},
	{partition.ErrInvalidTxnState, codeInvalidTxnState},
	{partition.ErrInvalidProducerIDMapping, codeInvalidProducerIDMapping},
	{partition.ErrInvalidTransactionTimeout, codeInvalidTransactionTimeout},
	{partition.ErrTransactionAbortable, codeTransactionAbortable},
	{partition.ErrTransactionCoordinatorFenced, codeTransactionCoordinatorFenced},
	{partition.ErrTransactionalIDNotFound, codeTransactionalIDNotFound},

	{group.ErrIllegalGeneration, codeIllegalGeneration},
	{group.ErrUnknownMemberID, codeUnknownMemberID},
	{group.ErrRebalanceInProgress, codeRebalanceInProgress},
	{group.ErrMemberIDRequired, codeMemberIDRequired},
	{group.ErrInconsistentGroupProtocol, codeInconsistentGroupProtocol},
	{group.ErrInvalidGroupID, codeInvalidGroupID},
	{group.ErrInvalidSessionTimeout, codeInvalidSessionTimeout},
	{group.ErrGroupMaxSizeReached, codeGroupMaxSizeReached},
	{group.ErrOffsetMetadataTooLarge, codeOffsetMetadataTooLarge},
	{group.ErrInvalidCommitOffsetSize, codeInvalidCommitOffsetSize},
	{group.ErrCoordinatorNotAvailable, codeCoordinatorNotAvailable},
	{group.ErrNotCoordinator, codeNotCoordinator},
	{group.ErrFencedInstanceID, codeFencedInstanceID},
	{group.ErrUnstableOffsetCommit, codeUnstableOffsetCommit},
	{group.ErrGroupNotEmpty, codeNonEmptyGroup},
	{group.ErrGroupIDNotFound, codeGroupIDNotFound},
	{group.ErrGroupSubscribedToTopic, codeGroupSubscribedToTopic},
	{group.ErrFencedMemberEpoch, codeFencedMemberEpoch},
	{group.ErrStaleMemberEpoch, codeStaleMemberEpoch},
	{group.ErrUnreleasedInstanceID, codeUnreleasedInstanceID},
	{group.ErrUnsupportedAssignor, codeUnsupportedAssignor},
	{group.ErrInvalidRegularExpression, codeInvalidRegularExpression},
	{group.ErrInvalidRequest, codeInvalidRequest},
	{group.ErrInvalidCommitOffset, codeInvalidRequest},

	{partition.ErrNotLeaderOrFollower, codeNotLeaderOrFollower},
	{errListenerNotFound, codeListenerNotFound},
	{partition.ErrNotEnoughReplicas, codeNotEnoughReplicas},
	{partition.ErrNotEnoughReplicasAfterAppend, codeNotEnoughReplicasAfterAppend},
	{partition.ErrOffsetNotAvailable, codeOffsetNotAvailable},
	{partition.ErrInvalidReplicationFactor, codeInvalidReplicationFactor},
	{batch.ErrInvalidTimestamp, codeInvalidTimestamp},
	{batch.ErrInvalidRecord, codeInvalidRecord},
	{batch.ErrCorrupt, codeCorruptMessage},
	{log.ErrCorrupt, codeCorruptMessage},
	{partition.ErrClosed, codeNotLeaderOrFollower}, // as a broker that is about to go: look for another
	{context.DeadlineExceeded, codeRequestTimedOut},
	{context.Canceled, codeRequestTimedOut},
}

// errorCode returns the code that a client of this version of the API is told for err. Errors of the system are
// KAFKA_STORAGE_ERROR, what is not known UNKNOWN_SERVER_ERROR. It may be called by anybody.
func errorCode(err error, key, version int16) int16 {
	if err == nil {
		return codeNone
	}
	return codeFor(plainCode(err), key, version)
}

func plainCode(err error) int16 {
	if e, ok := errors.AsType[*protocolError](err); ok {
		return e.code
	}
	for i := range nodeErrors {
		if errors.Is(err, nodeErrors[i].err) {
			return nodeErrors[i].code
		}
	}
	for i := range errorCodes {
		if errors.Is(err, errorCodes[i].err) {
			return errorCodes[i].code
		}
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return codeKafkaStorageError
	}
	if _, ok := errors.AsType[syscall.Errno](err); ok {
		return codeKafkaStorageError
	}
	return codeUnknownServerError
}

// fencedFrom are the versions from which an API tells PRODUCER_FENCED; abortableFrom those for TRANSACTION_ABORTABLE
// (KIP-588, KIP-890). Clients of older versions know another code for it.
var (
	fencedFrom    = map[int16]int16{22: 4, 24: 2, 25: 2, 26: 2}
	abortableFrom = map[int16]int16{0: 11, 10: 5, 22: 5, 24: 4, 25: 4, 26: 4, 28: 4}
)

// codeFor replaces a code that clients of this version do not know.
func codeFor(code, key, version int16) int16 {
	switch code {
	case codeProducerFenced:
		if from, ok := fencedFrom[key]; (key == 0 || ok) && (!ok || version < from) {
			return codeInvalidProducerEpoch
		}
	case codeTransactionAbortable:
		if from, ok := abortableFrom[key]; ok && version < from {
			return codeInvalidTxnState
		}
	case codeOffsetNotAvailable:
		if key == keyListOffsets && version < 5 { // KIP-207
			return codeLeaderNotAvailable
		}
	case codeKafkaStorageError:
		// The client would not look for another leader.
		if key == 0 && version <= 3 || key == 1 && version <= 5 {
			return codeNotLeaderOrFollower
		}
	}
	return code
}

// errorMessage returns what an answer says beside its code: nil without an error.
func errorMessage(err error) *string {
	if err == nil {
		return nil
	}
	s := err.Error()
	return &s
}
