package replication

import (
	"cmp"
	"slices"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// What has maps by partition, channels or functions travels in other shapes. A field here hides the one of the same name in what is embedded.
type (
	wireJoined struct {
		group.JoinResult
		Rebalance any `json:",omitempty"`
	}
	wireCommit struct {
		group.CommitRequest
		Offsets []wireOffset
	}
	wireOffset struct {
		TP        partition.TopicPartition
		Committed group.CommittedOffset
	}
	wireOffsets struct {
		Offsets []wireOffset
		Error   *wireError // beside what there is
	}
	wireLeave struct {
		Group   string
		Members []group.LeavingMember
	}
	wireDeleteOffsets struct {
		Group string
		TPs   []partition.TopicPartition
	}
	wireHeartbeat struct {
		group.ConsumerHeartbeatRequest
		Describable any `json:",omitempty"`
	}
	wireDescription struct {
		group.Description
		Offsets []wireOffset
	}
)

func toWireOffsets(m map[partition.TopicPartition]group.CommittedOffset) []wireOffset {
	if m == nil {
		return nil
	}
	all := []wireOffset{}
	for tp, o := range m {
		all = append(all, wireOffset{tp, o})
	}
	slices.SortFunc(all, func(a, b wireOffset) int {
		return cmp.Or(cmp.Compare(a.TP.Topic, b.TP.Topic), cmp.Compare(a.TP.Partition, b.TP.Partition))
	})
	return all
}

func fromWireOffsets(all []wireOffset) map[partition.TopicPartition]group.CommittedOffset {
	if all == nil {
		return nil
	}
	m := map[partition.TopicPartition]group.CommittedOffset{}
	for _, o := range all {
		m[o.TP] = o.Committed
	}
	return m
}

// joinedOrNot is a JoinResult, which comes also with ErrMemberIDRequired.
type joinedOrNot struct {
	Result wireJoined
	Error  *wireError
}
