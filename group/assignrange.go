package group

import (
	"maps"
	"slices"

	"github.com/partlog/partlog/partition"
)

// Range is Kafka's RangeAssignor: per topic, each subscriber gets a contiguous range, and the first ones one
// partition more where it does not divide. Topics with as many partitions and the same subscribers are co-partitioned.
// If the racks of members and replicas are known and not every partition is on every rack, members get partitions of
// their rack first, as far as their numbers and co-partitioning allow (KIP-881); then ranges need not be contiguous.
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
	members = sortMembers(members)
	subscribers := subscribersOf(members)
	var topics []*rangeTopic
	aware := false
	for _, name := range slices.Sorted(maps.Keys(subscribers)) {
		if c.Partitions[name] <= 0 {
			continue
		}
		t := newRangeTopic(name, c, members, subscribers[name])
		aware = aware || t.racksMatter
		topics = append(topics, t)
	}
	if aware {
		for _, together := range coPartitioned(topics) {
			switch {
			case len(together) > 1:
				assignTogether(together)
			case together[0].racksMatter:
				together[0].assign(together[0].inRack)
			}
		}
	}
	out := make(map[string][]partition.TopicPartition, len(members))
	for _, t := range topics {
		t.assign(func(int, int32) bool { return true })
		for p, i := range t.owner {
			id := members[t.subscribers[i]].MemberID
			out[id] = append(out[id], partition.TopicPartition{Topic: t.name, Partition: int32(p)})
		}
	}
	return out
}

// rangeTopic is one topic while it is divided.
type rangeTopic struct {
	name        string
	subscribers []int // indexes of members
	racks       racks // of subscribers and partitions
	racksMatter bool

	owner    []int // of each partition, an index in subscribers; -1 for none yet
	left     int   // partitions without an owner
	assigned []int // partitions of each subscriber
	each     int
	extra    int // how many may still get one more
}

func newRangeTopic(name string, c Cluster, members []AssignorMember, subscribers []int) *rangeTopic {
	n := int(c.Partitions[name])
	t := &rangeTopic{
		name: name, subscribers: subscribers, owner: make([]int, n), left: n, assigned: make([]int, len(subscribers)),
		each: n / len(subscribers), extra: n % len(subscribers),
	}
	for p := range t.owner {
		t.owner[p] = -1
	}
	of := make([]AssignorMember, len(subscribers))
	for i, m := range subscribers {
		of[i] = members[m]
	}
	t.racks, t.racksMatter = allRacks(c, of, n, func(i int) partition.TopicPartition {
		return partition.TopicPartition{Topic: name, Partition: int32(i)}
	})
	return t
}

// inRack reports whether a subscriber may get a partition before others do: the partition is in its rack, or it has
// none.
func (t *rangeTopic) inRack(i int, p int32) bool { return !t.racks.mismatch(int32(i), p) }

// room is how many more partitions a subscriber may get.
func (t *rangeTopic) room(i int) int { return max(0, t.each+min(t.extra, 1)-t.assigned[i]) }

func (t *rangeTopic) give(i int, p int32) {
	t.owner[p] = i
	t.left--
	t.assigned[i]++
	if t.assigned[i] > t.each {
		t.extra--
	}
}

// assign gives each subscriber in order as many of the partitions that are left, and that it may have, as it has room
// for.
func (t *rangeTopic) assign(may func(i int, p int32) bool) {
	first := 0 // nothing below is left
	for i := range t.subscribers {
		if t.left == 0 {
			return
		}
		for first < len(t.owner) && t.owner[first] >= 0 {
			first++
		}
		room := t.room(i)
		for p := first; p < len(t.owner) && room > 0; p++ {
			if t.owner[p] < 0 && may(i, int32(p)) {
				t.give(i, int32(p))
				room--
			}
		}
	}
}

// coPartitioned groups topics with the same subscribers and as many partitions.
func coPartitioned(topics []*rangeTopic) [][]*rangeTopic {
	var groups [][]*rangeTopic
	for _, t := range topics {
		i := slices.IndexFunc(groups, func(g []*rangeTopic) bool {
			return len(g[0].owner) == len(t.owner) && slices.Equal(g[0].subscribers, t.subscribers)
		})
		if i < 0 {
			i = len(groups)
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], t)
	}
	return groups
}

// assignTogether gives partition p of all these topics to the first subscriber who is in a rack of each and has room.
func assignTogether(topics []*rangeTopic) {
	if !topics[0].racks.aware() {
		return // no subscriber has a rack
	}
	open := make([]int, len(topics[0].subscribers)) // subscribers that may have room
	for i := range open {
		open[i] = i
	}
	for p := range int32(len(topics[0].owner)) {
		at := slices.IndexFunc(open, func(i int) bool {
			return !slices.ContainsFunc(topics, func(t *rangeTopic) bool { return !t.inRack(i, p) || t.room(i) == 0 })
		})
		if at < 0 {
			continue
		}
		i := open[at]
		for _, t := range topics {
			t.give(i, p)
		}
		if !slices.ContainsFunc(topics, func(t *rangeTopic) bool { return t.room(i) > 0 }) {
			if open = slices.Delete(open, at, at+1); len(open) == 0 {
				return
			}
		}
	}
}
