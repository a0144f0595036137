package group

import (
	"slices"

	"github.com/partlog/partlog/partition"
)

// racks are where members and replicas are (KIP-881). The zero value knows of none: nothing mismatches then.
type racks struct {
	names   map[string]int32
	members []int32   // of each member; noRack if unknown
	of      [][]int32 // of each partition, distinct; nil if racks are not to be looked at
}

const noRack int32 = -1

// newRacks looks up the racks of members and of partitions, n of them. Racks are known if they matter.
func newRacks(c Cluster, members []AssignorMember, n int, partitionAt func(i int) partition.TopicPartition) racks {
	if r, matter := allRacks(c, members, n, partitionAt); matter {
		return r
	}
	return racks{}
}

// allRacks looks up the racks of members and of partitions, n of them; none if no member has one. They matter if members
// and replicas share one, and not every partition is on every rack.
func allRacks(c Cluster, members []AssignorMember, n int, partitionAt func(i int) partition.TopicPartition) (r racks, matter bool) {
	r = racks{names: make(map[string]int32), members: make([]int32, len(members))}
	for i, m := range members {
		r.members[i] = r.id(m.RackID)
	}
	if len(r.names) == 0 {
		return racks{}, false
	}
	r.of = make([][]int32, n)
	for i := range r.of {
		if c.Racks == nil {
			continue
		}
		for _, name := range c.Racks(partitionAt(i)) {
			if id := r.id(name); id != noRack && !slices.Contains(r.of[i], id) {
				r.of[i] = append(r.of[i], id)
			}
		}
	}
	return r, r.matter(r.members, r.of)
}

// id numbers the racks by name.
func (r *racks) id(name string) int32 {
	if name == "" {
		return noRack
	}
	id, ok := r.names[name]
	if !ok {
		id = int32(len(r.names))
		r.names[name] = id
	}
	return id
}

// matter reports whether it makes a difference which of these members gets which of these partitions
// (Kafka's useRackAwareAssignment).
func (r *racks) matter(members []int32, partitions [][]int32) bool {
	used := make([]bool, len(r.names))
	total := 0
	for _, of := range partitions {
		for _, id := range of {
			if !used[id] {
				used[id] = true
				total++
			}
		}
	}
	return slices.ContainsFunc(members, func(id int32) bool { return id != noRack && used[id] }) &&
		slices.ContainsFunc(partitions, func(of []int32) bool { return len(of) != total })
}

// aware reports whether racks are to be looked at.
func (r *racks) aware() bool { return r.of != nil }

// mismatch reports whether the member has a rack in which the partition has no replica.
func (r *racks) mismatch(member, partition int32) bool {
	return r.aware() && r.members[member] != noRack && !slices.Contains(r.of[partition], r.members[member])
}

// match reports whether the member has a rack in which the partition has a replica.
func (r *racks) match(member, partition int32) bool {
	return r.aware() && r.members[member] != noRack && slices.Contains(r.of[partition], r.members[member])
}

// next returns the index of the first of these members, from index first on and around, that is in a rack of the
// partition; -1 if there is none.
func (r *racks) next(partition int32, members []int32, first int) int {
	for i := range members {
		if at := (first + i) % len(members); r.match(members[at], partition) {
			return at
		}
	}
	return -1
}

// sortByMembers brings the partitions with the fewest members in their racks to the front.
func (r *racks) sortByMembers(partitions []int32) {
	if !r.aware() {
		return
	}
	inRack := make([]int, len(r.names))
	for _, id := range r.members {
		if id != noRack {
			inRack[id]++
		}
	}
	members := func(p int32) (n int) {
		for _, id := range r.of[p] {
			n += inRack[id]
		}
		return n
	}
	slices.SortStableFunc(partitions, func(a, b int32) int { return members(a) - members(b) })
}
