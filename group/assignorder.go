package group

import (
	"cmp"
	"slices"
)

// hashOrder returns the members in the order in which Kafka's Java assignors come across them, that of a HashMap by
// member id. Where an answer depends on it (who keeps one partition more, say), a leader in Java and one of ours give
// the same. Members in one bucket come by id, so that the order in which they joined makes no difference.
func hashOrder(members []AssignorMember) []AssignorMember {
	type slot struct {
		bucket uint32
		member *AssignorMember
	}
	capacity, slots := hashCapacity(hashCapacityMin, len(members)), make([]slot, len(members))
	for i := range members {
		slots[i] = slot{hashBucket(javaHash(members[i].MemberID), capacity), &members[i]}
	}
	slices.SortFunc(slots, func(a, b slot) int {
		return cmp.Or(cmp.Compare(a.bucket, b.bucket), cmp.Compare(a.member.MemberID, b.member.MemberID))
	})
	out := make([]AssignorMember, len(members))
	for i, s := range slots {
		out[i] = *s.member
	}
	return out
}

const hashCapacityMin = 16

// hashCapacity is the size of the table of a HashMap that had this capacity before and has n entries now.
func hashCapacity(capacity uint32, n int) uint32 {
	for n > int(capacity/4*3) {
		capacity *= 2
	}
	return capacity
}

// hashBucket is where a HashMap of this capacity keeps a key with this hash code.
func hashBucket(hash int32, capacity uint32) uint32 {
	h := uint32(hash)
	return (h ^ h>>16) & (capacity - 1)
}

// hashSet is a HashSet<TopicPartition> of one topic, as far as its first element goes.
type hashSet struct {
	topic    int32   // its hash code
	elements []int32 // partition numbers as they came
	capacity uint32
}

func (s *hashSet) add(partition int32) {
	s.elements = append(s.elements, partition)
	s.capacity = hashCapacity(max(s.capacity, hashCapacityMin), len(s.elements))
}

func (s *hashSet) remove(partition int32) {
	if i := slices.Index(s.elements, partition); i >= 0 {
		s.elements = slices.Delete(s.elements, i, i+1)
	}
}

// first is what the set's iterator returns first. The set is not empty.
func (s *hashSet) first() int32 {
	return slices.MinFunc(s.elements, func(a, b int32) int {
		return cmp.Compare(hashBucket(31*(31+a)+s.topic, s.capacity), hashBucket(31*(31+b)+s.topic, s.capacity))
	})
}
