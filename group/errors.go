package group

import (
	"errors"
	"fmt"
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
	ErrCoordinatorNotAvailable   = errors.New("group coordinator not available")
	ErrInvalidCommitOffset       = errors.New("invalid commit offset") // a negative one: Kafka's INVALID_REQUEST

	// ErrCorruptRecord is a record of the offsets topic, a subscription or an assignment that cannot be read.
	ErrCorruptRecord = errors.New("corrupt group record")
)

// CommitError says which partitions of a commit were refused, and why. The others of the request are committed.
// errors.Is looks into the reasons.
type CommitError struct {
	Partitions map[partition.TopicPartition]error
}

// Error names the partitions in order, with their reasons.
func (e *CommitError) Error() string {
	var all []string
	for tp, err := range e.Partitions {
		all = append(all, fmt.Sprintf("%s: %v", tp, err))
	}
	slices.Sort(all)
	return "commit offsets: " + strings.Join(all, "; ")
}

// Unwrap returns the reasons, in no order.
func (e *CommitError) Unwrap() []error {
	var all []error
	for _, err := range e.Partitions {
		all = append(all, err)
	}
	return all
}
