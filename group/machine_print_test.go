package group

import (
	"errors"
	"fmt"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
)

func (k timerKey) String() string {
	name := map[timerKind]string{timerJoin: "join", timerSync: "sync", timerSession: "session", timerPending: "pending", timerRetry: "retry",
		timerRevoke: "revoke", timerClassicJoin: "classic-join", timerClassicSync: "classic-sync", timerAssign: "assign"}[k.kind]
	return strings.TrimSpace(name + " " + k.memberID)
}

func (s *story) answer(e answerEffect) string {
	var out []string
	if e.err != nil {
		if several, ok := errors.AsType[*LeaveError](e.err); ok {
			for _, err := range several.Members {
				out = append(out, nameOf(err))
			}
			return strings.Join(out, ", ")
		}
		if refused, ok := errors.AsType[*OffsetsError](e.err); ok {
			for _, tp := range sortedKeys(refused.Partitions) {
				out = append(out, tp.String()+" "+nameOf(refused.Partitions[tp]))
			}
			return strings.Join(out, ", ")
		}
		out = append(out, nameOf(e.err))
		if errors.Is(e.err, ErrMemberIDRequired) {
			out = append(out, e.join.MemberID)
		}
		return strings.Join(out, " ")
	}
	switch {
	case e.join != nil:
		out = append(out, fmt.Sprintf("generation %d, protocol %s, leader %s", e.join.Generation, e.join.Protocol, e.join.LeaderID))
		for _, m := range e.join.Members {
			out = append(out, strings.TrimSpace(m.MemberID+" "+printable(m.Metadata)))
		}
		if e.join.SkipAssignment {
			out = append(out, "skip the assignment")
		}
		return strings.Join(out, ", ")
	case e.sync != nil:
		return "assigned [" + printableAssignment(e.sync.Assignment) + "]"
	case e.consumer != nil:
		return printableHeartbeat(e.consumer)
	}
	return "ok"
}

// printable is what scripts say of metadata; a subscription is its topics.
func printable(metadata []byte) string {
	if s, err := DecodeSubscription(metadata); err == nil {
		return strings.Join(s.Topics, "+")
	}
	return string(metadata)
}

// nameOf is Kafka's name of an error.
func nameOf(err error) string {
	if err == nil {
		return "ok"
	}
	err = sentinelOf(err)
	for n, sentinel := range map[string]error{
		"ILLEGAL_GENERATION": ErrIllegalGeneration, "UNKNOWN_MEMBER_ID": ErrUnknownMemberID, "REBALANCE_IN_PROGRESS": ErrRebalanceInProgress,
		"MEMBER_ID_REQUIRED": ErrMemberIDRequired, "INCONSISTENT_GROUP_PROTOCOL": ErrInconsistentGroupProtocol,
		"INVALID_SESSION_TIMEOUT": ErrInvalidSessionTimeout, "GROUP_MAX_SIZE_REACHED": ErrGroupMaxSizeReached,
		"FENCED_INSTANCE_ID": ErrFencedInstanceID, "NON_EMPTY_GROUP": ErrGroupNotEmpty, "GROUP_SUBSCRIBED_TO_TOPIC": ErrGroupSubscribedToTopic, "GROUP_ID_NOT_FOUND": ErrGroupIDNotFound,
		"COORDINATOR_NOT_AVAILABLE": ErrCoordinatorNotAvailable, "KAFKA_STORAGE_ERROR": partition.ErrStorage, "CLOSED": partition.ErrClosed,
		"FENCED_MEMBER_EPOCH": ErrFencedMemberEpoch, "STALE_MEMBER_EPOCH": ErrStaleMemberEpoch, "UNRELEASED_INSTANCE_ID": ErrUnreleasedInstanceID,
		"UNSUPPORTED_ASSIGNOR": ErrUnsupportedAssignor, "INVALID_REGULAR_EXPRESSION": ErrInvalidRegularExpression, "INVALID_REQUEST": ErrInvalidRequest,
	} {
		if err == sentinel { //nolint:errorlint // the name is for the sentinel itself
			return n
		}
	}
	return err.Error()
}

func describe(t require.TestingT, r record) string {
	v, ok, err := decodeRecord(r.key, r.value)
	require.NoError(t, err)
	require.True(t, ok)
	switch {
	case v.isOffset && v.offset == nil:
		return fmt.Sprintf("offset of %s deleted", v.tp)
	case v.isOffset:
		return fmt.Sprintf("offset %d of %s", v.offset.Offset, v.tp)
	}
	if v.change != nil {
		return describeChange(v.change)
	}
	if v.metadata == nil {
		return "the group deleted"
	}
	var out strings.Builder
	fmt.Fprintf(&out, "generation %d protocol=%q leader=%q", v.metadata.generation, v.metadata.protocol, v.metadata.leader)
	for _, m := range v.metadata.members {
		fmt.Fprintf(&out, " %s=[%s]", m.id, printableAssignment(m.assignment))
	}
	return out.String()
}
