package group

import (
	"cmp"
	"slices"

	"github.com/partlog/partlog/partition"
)

// ServerAssignor divides partitions between the members of a consumer group (KIP-848). It runs in the coordinator and
// must be a function of its argument alone, which it must not change; it is called with a lock held.
type ServerAssignor interface {
	// Name is what members ask for in ConsumerHeartbeatRequest.Assignor.
	Name() string
	// Assign returns the partitions of each member, by member id. A member that gets nothing may be left out. Only
	// partitions that are in g may be given, each to one member that is subscribed to its topic.
	Assign(g ServerGroup) map[string][]TopicIDPartitions
}

// ServerGroup is a group as a ServerAssignor sees it.
type ServerGroup struct {
	Members []ServerMember // by member id
	// Partitions is the number of partitions of every topic that a member is subscribed to.
	Partitions map[partition.TopicID]int32
}

// ServerMember is one member of a ServerGroup.
type ServerMember struct {
	MemberID   string
	InstanceID string              // empty for dynamic members
	RackID     string              // empty if not known
	Topics     []partition.TopicID // subscribed to, and existing; sorted
	Target     []TopicIDPartitions // of the assignment before; sorted
}

// Server assignors, as Kafka has them.
var (
	// Uniform is Kafka's UniformAssignor: everybody has as many partitions as everybody else, as far as subscriptions
	// allow, and keeps what it has as far as that allows.
	Uniform ServerAssignor = uniformAssignor{}
	// ServerRange is Kafka's server-side RangeAssignor: of each topic every subscriber gets a contiguous range, and the
	// first ones one partition more where it does not divide.
	ServerRange ServerAssignor = serverRange{}
)

type serverRange struct{}

// Name returns "range".
func (serverRange) Name() string { return "range" }

// Assign implements ServerAssignor.
func (serverRange) Assign(g ServerGroup) map[string][]TopicIDPartitions {
	members := slices.SortedFunc(slices.Values(g.Members), func(a, b ServerMember) int {
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
	type share struct{ subscribers, extra, next int32 }
	shares := make(map[partition.TopicID]*share, len(g.Partitions))
	for _, m := range members {
		for _, id := range m.Topics {
			if shares[id] == nil {
				shares[id] = &share{}
			}
			shares[id].subscribers++
		}
	}
	for id, s := range shares {
		s.extra = g.Partitions[id] % s.subscribers
	}
	out := make(map[string][]TopicIDPartitions, len(members))
	for _, m := range members {
		for _, id := range m.Topics {
			s := shares[id]
			n := g.Partitions[id] / s.subscribers
			if s.extra > 0 {
				n++
				s.extra--
			}
			if n == 0 {
				continue
			}
			partitions := make([]int32, n)
			for i := range partitions {
				partitions[i] = s.next + int32(i)
			}
			s.next += n
			out[m.MemberID] = append(out[m.MemberID], TopicIDPartitions{id, partitions})
		}
	}
	return out
}

type uniformAssignor struct{}

// Name returns "uniform".
func (uniformAssignor) Name() string { return "uniform" }

// Assign implements ServerAssignor.
func (uniformAssignor) Assign(g ServerGroup) map[string][]TopicIDPartitions {
	switch {
	case len(g.Members) == 0:
		return nil
	case g.homogeneous():
		return newUniform(g).assign()
	}
	return newBalancer(g).assign()
}

// homogeneous reports whether all members are subscribed to the same topics.
func (g *ServerGroup) homogeneous() bool {
	for _, m := range g.Members[1:] {
		if !slices.Equal(m.Topics, g.Members[0].Topics) {
			return false
		}
	}
	return true
}

// target returns what a member keeps of its target before: partitions that exist, of topics that it is subscribed to,
// which no member before it had.
func (g *ServerGroup) target(m *ServerMember, taken map[partition.TopicID][]bool) partitionSet {
	return partitionSet(m.Target).filter(func(id partition.TopicID, p int32) bool {
		if _, ok := slices.BinarySearchFunc(m.Topics, id, compareTopicIDs); !ok || p < 0 || p >= g.Partitions[id] || taken[id][p] {
			return false
		}
		taken[id][p] = true
		return true
	})
}

// flags returns a flag for every partition of the topics.
func (g *ServerGroup) flags(topics []partition.TopicID) map[partition.TopicID][]bool {
	out := make(map[partition.TopicID][]bool, len(topics))
	for _, id := range topics {
		out[id] = make([]bool, g.Partitions[id])
	}
	return out
}
