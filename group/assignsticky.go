package group

import (
	"encoding/binary"

	"github.com/partlog/partlog/partition"
)

// Sticky is Kafka's StickyAssignor: as even as the subscriptions allow, then as few partitions moved as that allows.
// With equal subscriptions nobody gets two more than another. Members tell their last assignment in the user data, as
// they have given it up when they join (eager).
var Sticky Assignor = stickyAssignor{}

// CooperativeSticky is Kafka's CooperativeStickyAssignor (KIP-429): Sticky for members that keep their partitions while
// they join. A partition that moves is given to nobody at first; its owner gives it up and joins again, and the
// generation after has it. Members tell what they own in the subscription, and its generation also in the user data,
// for leaders that do not know version 2.
var CooperativeSticky Assignor = cooperativeStickyAssignor{}

type stickyAssignor struct{}

// Name returns "sticky".
func (stickyAssignor) Name() string { return "sticky" }

// Cooperative returns false.
func (stickyAssignor) Cooperative() bool { return false }

// UserData returns the last assignment and its generation; nil if there was none.
func (stickyAssignor) UserData(owned []partition.TopicPartition, g Generation) []byte {
	if len(owned) == 0 && g == NoGeneration {
		return nil
	}
	return appendStickyUserData(nil, owned, g)
}

// Assign implements Assignor.
func (stickyAssignor) Assign(c Cluster, members []AssignorMember) map[string][]partition.TopicPartition {
	s := newStickiness(c, members)
	s.readClaims(func(i int32) Generation {
		m := &s.members[i]
		topics, g := readStickyUserData(m.UserData)
		topics.all(func(topic, partitions []byte) bool {
			t, ok := s.topicID[string(topic)]
			for ; ok && len(partitions) > 0; partitions = partitions[4:] {
				s.claim(i, t, int32(binary.BigEndian.Uint32(partitions)))
			}
			return true
		})
		return g
	})
	s.divide()
	return s.assignment(nil)
}

type cooperativeStickyAssignor struct{}

// Name returns "cooperative-sticky".
func (cooperativeStickyAssignor) Name() string { return "cooperative-sticky" }

// Cooperative returns true.
func (cooperativeStickyAssignor) Cooperative() bool { return true }

// UserData returns the generation of the last assignment.
func (cooperativeStickyAssignor) UserData(_ []partition.TopicPartition, g Generation) []byte {
	return binary.BigEndian.AppendUint32(nil, uint32(g))
}

// Assign implements Assignor.
func (cooperativeStickyAssignor) Assign(c Cluster, members []AssignorMember) map[string][]partition.TopicPartition {
	s := newStickiness(c, members)
	s.readClaims(func(i int32) Generation {
		m := &s.members[i]
		topic, t, ok := "", int32(0), false
		for _, tp := range m.Owned {
			if topic != tp.Topic || !ok {
				topic = tp.Topic
				t, ok = s.topicID[topic]
			}
			if ok {
				s.claim(i, t, tp.Partition)
			}
		}
		if m.Generation >= 0 {
			return m.Generation
		}
		return cooperativeGeneration(m.UserData)
	})
	s.divide()
	return s.assignment(s.transferring())
}
