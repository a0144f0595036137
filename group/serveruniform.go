package group

import (
	"github.com/partlog/partlog/partition"
)

// uniform is the assignment of a group whose members are all subscribed to the same topics: Kafka's
// UniformHomogeneousAssignmentBuilder, with members in the order of their ids and topics in that of theirs.
type uniform struct {
	g          ServerGroup
	unassigned []topicIDPartition
	out        map[string][]TopicIDPartitions
}

type topicIDPartition struct {
	topic     partition.TopicID
	partition int32
}

func newUniform(g ServerGroup) *uniform {
	return &uniform{g: g, out: make(map[string][]TopicIDPartitions, len(g.Members))}
}

func (u *uniform) assign() map[string][]TopicIDPartitions {
	topics := u.g.Members[0].Topics
	if len(topics) == 0 {
		return nil
	}
	taken := u.g.flags(topics)
	had := make([]partitionSet, len(u.g.Members))
	for i := range u.g.Members {
		had[i] = u.g.target(&u.g.Members[i], taken)
	}
	total := 0
	for _, id := range topics {
		for p, t := range taken[id] {
			if !t {
				u.unassigned = append(u.unassigned, topicIDPartition{id, int32(p)})
			}
		}
		total += len(taken[id])
	}

	// Everybody may keep up to its quota; what is beyond is free. The partitions that do not divide go to those who have
	// one more already, as far as enough others are left to take the rest of them.
	least, extra := total/len(u.g.Members), total%len(u.g.Members)
	quotas := make([]int, len(had))
	for i, set := range had {
		quotas[i] = least
		more := extra > 0
		if more {
			quotas[i]++
		}
		had[i] = set.filter(func(id partition.TopicID, p int32) bool {
			if quotas[i] > 0 {
				quotas[i]--
				return true
			}
			u.unassigned = append(u.unassigned, topicIDPartition{id, p})
			return false
		})
		if more && quotas[i] > 0 && len(had)-i > extra {
			quotas[i]--
			more = false
		}
		if more {
			extra--
		}
	}
	for i, set := range had {
		n := min(quotas[i], len(u.unassigned))
		if n > 0 {
			more := make(map[partition.TopicID][]int32)
			for _, p := range u.unassigned[:n] {
				more[p.topic] = append(more[p.topic], p.partition)
			}
			u.unassigned = u.unassigned[n:]
			set = set.union(partitionSetOf(more))
		}
		u.out[u.g.Members[i].MemberID] = set
	}
	return u.out
}
