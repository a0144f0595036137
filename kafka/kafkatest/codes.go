package kafkatest

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// sentinels are the errors of the packages below by their codes in Kafka's protocol.
var sentinels = map[int16]error{
	1: partition.ErrOffsetOutOfRange, 2: partition.ErrCorruptMessage, 3: partition.ErrUnknownTopicOrPartition, 7: partition.ErrTimeout,
	10: partition.ErrMessageTooLarge, 12: group.ErrOffsetMetadataTooLarge, 15: group.ErrCoordinatorNotAvailable, 17: partition.ErrInvalidTopic,
	18: partition.ErrRecordListTooLarge, 21: partition.ErrInvalidRequiredAcks, 22: group.ErrIllegalGeneration, 23: group.ErrInconsistentGroupProtocol,
	24: group.ErrInvalidGroupID, 25: group.ErrUnknownMemberID, 26: group.ErrInvalidSessionTimeout, 27: group.ErrRebalanceInProgress,
	28: group.ErrInvalidCommitOffsetSize, 32: partition.ErrInvalidTimestamp, 35: partition.ErrUnsupported, 36: partition.ErrTopicAlreadyExists,
	37: partition.ErrInvalidPartitions, 40: partition.ErrInvalidConfig, 42: group.ErrInvalidRequest, 44: partition.ErrPolicyViolation,
	45: partition.ErrOutOfOrderSequence, 47: partition.ErrInvalidProducerEpoch, 48: partition.ErrInvalidTxnState, 49: partition.ErrInvalidProducerIDMapping,
	50: partition.ErrInvalidTransactionTimeout, 51: partition.ErrConcurrentTransactions, 52: partition.ErrTransactionCoordinatorFenced,
	56: partition.ErrStorage, 68: group.ErrGroupNotEmpty, 69: group.ErrGroupIDNotFound, 74: partition.ErrFencedLeaderEpoch, 75: partition.ErrUnknownLeaderEpoch,
	79: group.ErrMemberIDRequired, 81: group.ErrGroupMaxSizeReached, 82: group.ErrFencedInstanceID, 86: group.ErrGroupSubscribedToTopic,
	87: partition.ErrInvalidRecord, 88: group.ErrUnstableOffsetCommit, 90: partition.ErrProducerFenced, 100: partition.ErrUnknownTopicID,
	105: partition.ErrTransactionalIDNotFound, 110: group.ErrFencedMemberEpoch, 111: group.ErrUnreleasedInstanceID, 112: group.ErrUnsupportedAssignor,
	113: group.ErrStaleMemberEpoch, 120: partition.ErrTransactionAbortable, 128: group.ErrInvalidRegularExpression,
}

// codeError returns the error for a code that is not 0.
func codeError(code int16) error {
	if err := sentinels[code]; err != nil {
		return err
	}
	return &CodeError{code}
}

func retriable(code int16) bool {
	e := kerr.TypedErrorForCode(code)
	return e != nil && e.Retriable
}
