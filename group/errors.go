package group

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/partlog/partlog/partition"
)

// Errors that a caller can act on, with Kafka's names. Test for them with errors.Is.
var (
	ErrIllegalGeneration         = errors.New("illegal generation: the group has moved on")
	ErrUnknownMemberID           = errors.New("unknown member id: the member has left or was expelled")
	ErrRebalanceInProgress       = errors.New("rebalance in progress: the member must join again")
	ErrMemberIDRequired          = errors.New("member id required: join again with the id of the result")
	ErrInconsistentGroupProtocol = errors.New("inconsistent group protocol: no assignor in common with the members")
	ErrInvalidGroupID            = errors.New("invalid group id")
	ErrInvalidSessionTimeout     = errors.New("invalid session timeout")
	ErrGroupMaxSizeReached       = errors.New("group is full")
	ErrOffsetMetadataTooLarge    = errors.New("offset metadata too large")
	// ErrInvalidCommitOffsetSize: nothing of the commit counts; partition.ErrMessageTooLarge has the sizes.
	ErrInvalidCommitOffsetSize  = errors.New("invalid commit offset size: the commit is larger than a batch of the offsets topic may be")
	ErrCoordinatorNotAvailable  = error(retriableError("group coordinator not available"))
	ErrNotCoordinator           = error(retriableError("not the coordinator of the group: another node is"))
	ErrFencedInstanceID         = errors.New("fenced instance id: another member has taken the instance's place")
	ErrUnstableOffsetCommit     = error(retriableError("unstable offset commit: a transaction with an offset of the partition has not ended"))
	ErrGroupNotEmpty            = errors.New("group is not empty") // NON_EMPTY_GROUP
	ErrGroupIDNotFound          = errors.New("group id not found")
	ErrGroupSubscribedToTopic   = errors.New("group is subscribed to the topic")
	ErrFencedMemberEpoch        = errors.New("fenced member epoch: the member must give up its partitions and join again")
	ErrStaleMemberEpoch         = errors.New("stale member epoch: the member must get its new epoch by a heartbeat first")
	ErrUnreleasedInstanceID     = errors.New("unreleased instance id: another member has it and has not left")
	ErrUnsupportedAssignor      = errors.New("unsupported assignor: the coordinator has none of that name")
	ErrInvalidRegularExpression = errors.New("invalid regular expression")
	ErrInvalidRequest           = errors.New("invalid request")
	ErrInvalidCommitOffset      = errors.New("invalid commit offset") // a negative one: Kafka's INVALID_REQUEST

	// ErrCorruptRecord is a record of the offsets topic, a subscription or an assignment that cannot be read.
	ErrCorruptRecord = errors.New("corrupt group record")
)

// errNoSuchGroup is a member's commit to a group that there is not. Kafka tells newer clients one, older ones the other.
var errNoSuchGroup = fmt.Errorf("%w: %w", ErrIllegalGeneration, ErrGroupIDNotFound)

// retriableError is a sentinel that partition.Retriable knows to pass by itself.
type retriableError string

// Error returns the text.
func (e retriableError) Error() string { return string(e) }

// Retriable reports true.
func (retriableError) Retriable() bool { return true }

// LeaveError says which of several members could not be removed, and why, by their place in the request; the others have
// left. errors.Is looks into the reasons.
type LeaveError struct {
	Members []error // nil for those that have left
}

// Error names the members that stayed by their place, with the reasons.
func (e *LeaveError) Error() string {
	var all []string
	for i, err := range e.Members {
		if err != nil {
			all = append(all, fmt.Sprintf("member %d of %d: %v", i+1, len(e.Members), err))
		}
	}
	return strings.Join(all, "; ")
}

// Unwrap returns the reasons.
func (e *LeaveError) Unwrap() []error {
	return slices.DeleteFunc(slices.Clone(e.Members), func(err error) bool { return err == nil })
}

// DeleteGroupsError says which groups could not be deleted, and why; the others are gone. errors.Is looks into the reasons.
type DeleteGroupsError struct {
	Groups map[string]error
}

// Error names the groups in order, with their reasons.
func (e *DeleteGroupsError) Error() string {
	var all []string
	for id, err := range e.Groups {
		all = append(all, fmt.Sprintf("delete group %q: %v", id, err))
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

// Unwrap returns the reasons, in no order.
func (e *DeleteGroupsError) Unwrap() []error { return slices.Collect(maps.Values(e.Groups)) }

// OffsetsError says for which partitions offsets could not be told or deleted, and why; the others of the request are not
// concerned. errors.Is looks into the reasons.
type OffsetsError struct {
	Partitions map[partition.TopicPartition]error
}

// Error names the partitions in order, with their reasons.
func (e *OffsetsError) Error() string { return partitionErrors(e.Partitions) }

// Unwrap returns the reasons, in no order.
func (e *OffsetsError) Unwrap() []error { return slices.Collect(maps.Values(e.Partitions)) }

func partitionErrors(errs map[partition.TopicPartition]error) string {
	var all []string
	for tp, err := range errs {
		all = append(all, fmt.Sprintf("%s: %v", tp, err))
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

// CommitError says which partitions of a commit were refused, and why. The others of the request are committed.
// errors.Is looks into the reasons.
type CommitError struct {
	Partitions map[partition.TopicPartition]error
}

// Error names the partitions in order, with their reasons.
func (e *CommitError) Error() string { return "commit offsets: " + partitionErrors(e.Partitions) }

// Unwrap returns the reasons, in no order.
func (e *CommitError) Unwrap() []error { return slices.Collect(maps.Values(e.Partitions)) }
