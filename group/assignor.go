package group

import (
	"cmp"
	"maps"
	"slices"

	"github.com/partlog/partlog/partition"
)

// Assignor divides partitions between the members of a group. It runs in the group's leader and must be a function of
// its arguments alone.
type Assignor interface {
	// Name is the protocol name, the same in all members ("range").
	Name() string
	// Assign returns the partitions of each member, by member id. A member that gets nothing may be left out.
	// Topics that are not in partitions do not exist and are ignored; only members that subscribe to a topic may
	// get its partitions. Racks of replicas are nil where unknown.
	Assign(partitions map[string]int32, members []AssignorMember) map[string][]partition.TopicPartition
}

// AssignorMember is one member as an Assignor sees it.
type AssignorMember struct {
	MemberID   string
	InstanceID string // empty for dynamic members
	Subscription
}

// sortMembers orders members as Kafka's assignors do: static ones first by instance id, then dynamic ones by member id.
func sortMembers(members []AssignorMember) []AssignorMember {
	return slices.SortedFunc(slices.Values(members), func(a, b AssignorMember) int {
		switch {
		case a.InstanceID != "" && b.InstanceID != "":
			return cmp.Compare(a.InstanceID, b.InstanceID)
		case a.InstanceID != "":
			return -1
		case b.InstanceID != "":
			return 1
		}
		return cmp.Compare(a.MemberID, b.MemberID)
	})
}

func compareTopicPartitions(a, b partition.TopicPartition) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

// Range is Kafka's RangeAssignor: per topic, each subscriber gets a contiguous range, and the first ones one
// partition more where it does not divide. Topics with as many partitions and the same subscribers are co-partitioned.
var Range Assignor = rangeAssignor{}

type rangeAssignor struct{}

// Name returns "range".
func (rangeAssignor) Name() string { return "range" }

// Assign implements Assignor. Racks are not looked at: an embedded store has none.
func (rangeAssignor) Assign(partitions map[string]int32, members []AssignorMember) map[string][]partition.TopicPartition {
	subscribers := make(map[string][]string)
	for _, m := range sortMembers(members) {
		topics := slices.Compact(slices.Sorted(slices.Values(m.Topics)))
		for _, t := range topics {
			subscribers[t] = append(subscribers[t], m.MemberID)
		}
	}
	out := make(map[string][]partition.TopicPartition, len(members))
	for _, t := range slices.Sorted(maps.Keys(subscribers)) {
		n, c := partitions[t], int32(len(subscribers[t]))
		each, extra, next := n/c, n%c, int32(0)
		for i, id := range subscribers[t] {
			end := next + each
			if int32(i) < extra {
				end++
			}
			for ; next < end; next++ {
				out[id] = append(out[id], partition.TopicPartition{Topic: t, Partition: next})
			}
		}
	}
	return out
}
