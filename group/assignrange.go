package group

import (
	"maps"
	"slices"

	"github.com/partlog/partlog/partition"
)

// Range is Kafka's RangeAssignor: per topic, each subscriber gets a contiguous range, and the first ones one
// partition more where it does not divide. Topics with as many partitions and the same subscribers are co-partitioned.
var Range Assignor = rangeAssignor{}

type rangeAssignor struct{}

// Name returns "range".
func (rangeAssignor) Name() string { return "range" }

// Cooperative returns false.
func (rangeAssignor) Cooperative() bool { return false }

// UserData returns nil.
func (rangeAssignor) UserData([]partition.TopicPartition, Generation) []byte { return nil }

// Assign implements Assignor.
func (rangeAssignor) Assign(c Cluster, members []AssignorMember) map[string][]partition.TopicPartition {
	subscribers := make(map[string][]string)
	for _, m := range sortMembers(members) {
		topics := slices.Compact(slices.Sorted(slices.Values(m.Topics)))
		for _, t := range topics {
			subscribers[t] = append(subscribers[t], m.MemberID)
		}
	}
	out := make(map[string][]partition.TopicPartition, len(members))
	for _, t := range slices.Sorted(maps.Keys(subscribers)) {
		n, count := c.Partitions[t], int32(len(subscribers[t]))
		each, extra, next := n/count, n%count, int32(0)
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
