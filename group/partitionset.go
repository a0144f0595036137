package group

import (
	"bytes"
	"maps"
	"slices"

	"github.com/partlog/partlog/partition"
)

// partitionSet is a set of partitions: sorted by topic id, the numbers of each topic sorted, no topic empty. It is never
// changed once it is made, so it may be shared.
type partitionSet []TopicIDPartitions

func compareTopicIDs(a, b partition.TopicID) int { return bytes.Compare(a[:], b[:]) }

// newPartitionSet returns the set of what it is given, in whatever order and however often.
func newPartitionSet(parts []TopicIDPartitions) partitionSet {
	byTopic := make(map[partition.TopicID][]int32, len(parts))
	for _, t := range parts {
		byTopic[t.TopicID] = append(byTopic[t.TopicID], t.Partitions...)
	}
	return partitionSetOf(byTopic)
}

func partitionSetOf(byTopic map[partition.TopicID][]int32) partitionSet {
	var s partitionSet
	for _, id := range slices.SortedFunc(maps.Keys(byTopic), compareTopicIDs) {
		if p := byTopic[id]; len(p) > 0 {
			s = append(s, TopicIDPartitions{id, slices.Compact(slices.Sorted(slices.Values(p)))})
		}
	}
	return s
}

func (s partitionSet) of(id partition.TopicID) []int32 {
	i, ok := slices.BinarySearchFunc(s, id, func(t TopicIDPartitions, id partition.TopicID) int { return compareTopicIDs(t.TopicID, id) })
	if !ok {
		return nil
	}
	return s[i].Partitions
}

func (s partitionSet) has(id partition.TopicID, p int32) bool {
	_, ok := slices.BinarySearch(s.of(id), p)
	return ok
}

// contains reports whether all of these are in s.
func (s partitionSet) contains(parts []TopicIDPartitions) bool {
	for id, p := range eachPartition(parts) {
		if !s.has(id, p) {
			return false
		}
	}
	return true
}

// touches reports whether any of these is in s.
func (s partitionSet) touches(parts []TopicIDPartitions) bool {
	for id, p := range eachPartition(parts) {
		if s.has(id, p) {
			return true
		}
	}
	return false
}

// filter returns those partitions of s for which keep holds.
func (s partitionSet) filter(keep func(partition.TopicID, int32) bool) partitionSet {
	var out partitionSet
	for _, t := range s {
		var kept []int32
		for _, p := range t.Partitions {
			if keep(t.TopicID, p) {
				kept = append(kept, p)
			}
		}
		if len(kept) > 0 {
			out = append(out, TopicIDPartitions{t.TopicID, kept})
		}
	}
	return out
}

func (s partitionSet) union(o partitionSet) partitionSet {
	switch {
	case len(s) == 0:
		return o
	case len(o) == 0:
		return s
	}
	return newPartitionSet(append(slices.Clone(s), o...))
}

func (s partitionSet) equal(o partitionSet) bool {
	return slices.EqualFunc(s, o, func(a, b TopicIDPartitions) bool {
		return a.TopicID == b.TopicID && slices.Equal(a.Partitions, b.Partitions)
	})
}

// clone returns a copy that the caller may change.
func (s partitionSet) clone() []TopicIDPartitions {
	out := make([]TopicIDPartitions, 0, len(s))
	for _, t := range s {
		out = append(out, TopicIDPartitions{t.TopicID, slices.Clone(t.Partitions)})
	}
	return out
}

func (s partitionSet) size() (n int) {
	for _, t := range s {
		n += len(t.Partitions)
	}
	return n
}

func eachPartition(parts []TopicIDPartitions) func(func(partition.TopicID, int32) bool) {
	return func(yield func(partition.TopicID, int32) bool) {
		for _, t := range parts {
			for _, p := range t.Partitions {
				if !yield(t.TopicID, p) {
					return
				}
			}
		}
	}
}
