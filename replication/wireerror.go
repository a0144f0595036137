package replication

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
)

// sentinels are the errors that keep their identity from node to node. The numbers travel: the table only grows.
var sentinels = map[uint16]error{
	1:  partition.ErrClosed,
	2:  partition.ErrMessageTooLarge,
	3:  partition.ErrRecordListTooLarge,
	4:  partition.ErrInvalidTimestamp,
	5:  partition.ErrInvalidRecord,
	6:  partition.ErrOffsetOutOfRange,
	7:  partition.ErrNoSpace,
	8:  partition.ErrOutOfOrderSequence,
	9:  partition.ErrInvalidProducerEpoch,
	10: partition.ErrStorage,
	11: partition.ErrReadOnly,
	12: partition.ErrTopicAlreadyExists,
	13: partition.ErrUnknownTopicOrPartition,
	14: partition.ErrUnknownTopicID,
	15: partition.ErrInvalidTopic,
	16: partition.ErrInvalidPartitions,
	17: partition.ErrInvalidConfig,
	18: partition.ErrInvalidRequiredAcks,
	19: partition.ErrPolicyViolation,
	20: partition.ErrCorruptMessage,
	21: partition.ErrFencedLeaderEpoch,
	22: partition.ErrUnknownLeaderEpoch,
	23: partition.ErrUnsupported,
	24: partition.ErrVersionConflict,
	25: partition.ErrTimeout,
	26: partition.ErrNewerFormat,
	27: partition.ErrProducerFenced,
	28: partition.ErrConcurrentTransactions,
	29: partition.ErrInvalidTxnState,
	30: partition.ErrInvalidProducerIDMapping,
	31: partition.ErrInvalidTransactionTimeout,
	32: partition.ErrTransactionAbortable,
	33: partition.ErrTransactionCoordinatorFenced,
	34: partition.ErrTransactionalIDNotFound,
	35: partition.ErrNotLeaderOrFollower,
	36: partition.ErrNotEnoughReplicas,
	37: partition.ErrNotEnoughReplicasAfterAppend,
	38: partition.ErrOffsetNotAvailable,
	39: partition.ErrSharedConflict,
	40: partition.ErrInvalidReplicationFactor,
	41: log.ErrCorrupt,
	42: partition.ErrWritten,

	60: group.ErrIllegalGeneration,
	61: group.ErrUnknownMemberID,
	62: group.ErrRebalanceInProgress,
	63: group.ErrMemberIDRequired,
	64: group.ErrInconsistentGroupProtocol,
	65: group.ErrInvalidGroupID,
	66: group.ErrInvalidSessionTimeout,
	67: group.ErrGroupMaxSizeReached,
	68: group.ErrOffsetMetadataTooLarge,
	69: group.ErrInvalidCommitOffsetSize,
	70: group.ErrCoordinatorNotAvailable,
	84: group.ErrNotCoordinator,
	71: group.ErrFencedInstanceID,
	72: group.ErrUnstableOffsetCommit,
	73: group.ErrGroupNotEmpty,
	74: group.ErrGroupIDNotFound,
	75: group.ErrGroupSubscribedToTopic,
	76: group.ErrFencedMemberEpoch,
	77: group.ErrStaleMemberEpoch,
	78: group.ErrUnreleasedInstanceID,
	79: group.ErrUnsupportedAssignor,
	80: group.ErrInvalidRegularExpression,
	81: group.ErrInvalidRequest,
	82: group.ErrInvalidCommitOffset,
	83: group.ErrCorruptRecord,

	100: ErrNoQuorum,
	101: ErrNotController,
	102: ErrLeaderNotAvailable,
	103: ErrNodeNotAvailable,
	104: ErrStaleBrokerEpoch,
	105: ErrDuplicateNode,
	106: ErrWrongCluster,
	107: ErrNoReassignmentInProgress,
	108: ErrReassignmentInProgress,
	109: ErrInvalidReplicaAssignment,
	110: ErrPreferredLeaderNotAvailable,
	111: ErrEligibleLeadersNotAvailable,
	112: ErrElectionNotNeeded,
	113: ErrUnknownNode,

	// Whose waiting ended was the other node's: to this one it is as if it had not answered.
	130: context.DeadlineExceeded,
	131: context.Canceled,
}

// codes are the numbers in order.
var codes = slices.Sorted(maps.Keys(sentinels))

// wireError is an error on its way between nodes: its text, what it Is, and the data of those with data.
type wireError struct {
	Text       string                          `json:"text"`
	Is         []uint16                        `json:"is,omitempty"`
	Retriable  bool                            `json:"retriable,omitempty"`
	Corruption *wireCorruption                 `json:"corruption,omitempty"`
	Range      *log.OffsetOutOfRangeError      `json:"range,omitempty"`
	Epoch      *log.ProducerEpochError         `json:"epoch,omitempty"`
	Sequence   *log.SequenceError              `json:"sequence,omitempty"`
	Txn        *log.TxnStateError              `json:"txn,omitempty"`
	Config     *partition.ConfigError          `json:"config,omitempty"`
	Version    *partition.VersionConflictError `json:"version,omitempty"`
	Commit     []wirePartitionError            `json:"commit,omitempty"`
	Offsets    []wirePartitionError            `json:"offsets,omitempty"`
	Leave      []*wireError                    `json:"leave,omitempty"`
	Groups     map[string]*wireError           `json:"groups,omitempty"`
}

// wireCorruption is a *log.CorruptionError.
type wireCorruption struct {
	Path         string
	Position     int64
	Offset, Next partition.Offset
	Cause        string
}

// wirePartitionError is one partition's of a map.
type wirePartitionError struct {
	TP  partition.TopicPartition
	Err *wireError
}

func toWire(err error) *wireError {
	if err == nil {
		return nil
	}
	w := &wireError{Text: err.Error(), Retriable: partition.Retriable(err)}
	for _, code := range codes {
		if errors.Is(err, sentinels[code]) {
			w.Is = append(w.Is, code)
		}
	}
	if e, ok := errors.AsType[*log.CorruptionError](err); ok {
		w.Corruption = &wireCorruption{Path: e.Path, Position: e.Position, Offset: e.Offset, Next: e.NextOffset}
		if e.Err != nil {
			w.Corruption.Cause = e.Err.Error()
		}
	}
	w.Range, _ = errors.AsType[*log.OffsetOutOfRangeError](err)
	w.Epoch, _ = errors.AsType[*log.ProducerEpochError](err)
	w.Sequence, _ = errors.AsType[*log.SequenceError](err)
	w.Txn, _ = errors.AsType[*log.TxnStateError](err)
	w.Config, _ = errors.AsType[*partition.ConfigError](err)
	w.Version, _ = errors.AsType[*partition.VersionConflictError](err)
	if e, ok := errors.AsType[*group.CommitError](err); ok {
		w.Commit = toWirePartitions(e.Partitions)
	}
	if e, ok := errors.AsType[*group.OffsetsError](err); ok {
		w.Offsets = toWirePartitions(e.Partitions)
	}
	if e, ok := errors.AsType[*group.LeaveError](err); ok {
		for _, member := range e.Members {
			w.Leave = append(w.Leave, toWire(member))
		}
	}
	if e, ok := errors.AsType[*group.DeleteGroupsError](err); ok {
		w.Groups = map[string]*wireError{}
		for id, err := range e.Groups {
			w.Groups[id] = toWire(err)
		}
	}
	return w
}

func toWirePartitions(errs map[partition.TopicPartition]error) []wirePartitionError {
	var all []wirePartitionError
	for tp, err := range errs {
		all = append(all, wirePartitionError{tp, toWire(err)})
	}
	return all
}

// remoteError is an error of another node: its text, and what it is.
type remoteError struct {
	text      string
	retriable bool
	is        []error
}

func (e *remoteError) Error() string   { return e.text }
func (e *remoteError) Unwrap() []error { return e.is }
func (e *remoteError) Retriable() bool { return e.retriable }

// err makes the error again. Errors with data are what errors.AsType finds.
func (w *wireError) err() error {
	if w == nil {
		return nil
	}
	e := &remoteError{text: w.Text, retriable: w.Retriable}
	add := func(there bool, err error) {
		if there {
			e.is = append(e.is, err)
		}
	}
	if c := w.Corruption; c != nil {
		e.is = append(e.is, &log.CorruptionError{Path: c.Path, Position: c.Position, Offset: c.Offset, NextOffset: c.Next, Err: errors.New(c.Cause)})
	}
	add(w.Range != nil, w.Range)
	add(w.Epoch != nil, w.Epoch)
	add(w.Sequence != nil, w.Sequence)
	add(w.Txn != nil, w.Txn)
	add(w.Config != nil, w.Config)
	add(w.Version != nil, w.Version)
	if w.Commit != nil {
		e.is = append(e.is, &group.CommitError{Partitions: fromWirePartitions(w.Commit)})
	}
	if w.Offsets != nil {
		e.is = append(e.is, &group.OffsetsError{Partitions: fromWirePartitions(w.Offsets)})
	}
	if w.Leave != nil {
		leave := &group.LeaveError{}
		for _, member := range w.Leave {
			leave.Members = append(leave.Members, member.err())
		}
		e.is = append(e.is, leave)
	}
	if w.Groups != nil {
		groups := &group.DeleteGroupsError{Groups: map[string]error{}}
		for id, err := range w.Groups {
			groups.Groups[id] = err.err()
		}
		e.is = append(e.is, groups)
	}
	for _, code := range w.Is {
		if code == 1 || code == 130 || code == 131 { // neither the caller's node nor its context has ended
			e.retriable = true
			add(true, ErrNodeNotAvailable)
			continue
		}
		add(sentinels[code] != nil, sentinels[code])
	}
	return e
}

func fromWirePartitions(all []wirePartitionError) map[partition.TopicPartition]error {
	errs := map[partition.TopicPartition]error{}
	for _, p := range all {
		errs[p.TP] = p.Err.err()
	}
	return errs
}
