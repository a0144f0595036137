package group

import (
	"maps"
	"slices"
	"sort"

	"github.com/partlog/partlog/partition"
)

// RoundRobin is Kafka's RoundRobinAssignor: all partitions, by topic and number, go around the members in order, past
// those that do not subscribe. With equal subscriptions nobody gets two more than another.
var RoundRobin Assignor = roundRobinAssignor{}

type roundRobinAssignor struct{}

// Name returns "roundrobin".
func (roundRobinAssignor) Name() string { return "roundrobin" }

// Cooperative returns false.
func (roundRobinAssignor) Cooperative() bool { return false }

// UserData returns nil.
func (roundRobinAssignor) UserData([]partition.TopicPartition, Generation) []byte { return nil }

// Assign implements Assignor.
func (roundRobinAssignor) Assign(c Cluster, members []AssignorMember) map[string][]partition.TopicPartition {
	members = sortMembers(members)
	subscribers := subscribersOf(members)
	out := make(map[string][]partition.TopicPartition, len(members))
	next := 0 // the member whose turn it is
	for _, topic := range slices.Sorted(maps.Keys(subscribers)) {
		turns := subscribers[topic]
		for p := range c.Partitions[topic] {
			i := sort.SearchInts(turns, next)
			if i == len(turns) {
				i = 0
			}
			id := members[turns[i]].MemberID
			out[id] = append(out[id], partition.TopicPartition{Topic: topic, Partition: p})
			next = (turns[i] + 1) % len(members)
		}
	}
	return out
}

// subscribersOf returns for each topic the indexes of the members that subscribe to it, ascending.
func subscribersOf(members []AssignorMember) map[string][]int {
	subscribers := make(map[string][]int)
	for i, m := range members {
		for _, t := range m.Topics {
			if s := subscribers[t]; len(s) == 0 || s[len(s)-1] != i {
				subscribers[t] = append(s, i)
			}
		}
	}
	return subscribers
}
