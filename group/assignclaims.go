package group

import (
	"maps"
	"slices"

	"github.com/partlog/partlog/partition"
)

// stickiness is a sticky assignment while it is made: numbers for topics (by name), partitions (of all topics, in
// order) and members (in hashOrder), and who says that it owns what.
type stickiness struct {
	members []AssignorMember
	racks   racks
	topics  []string
	topicID map[string]int32
	base    []int32   // the first partition of each topic, and one more: the number of all
	topicOf []int32   // the topic of each partition
	subs    [][]int32 // the topics of each member that exist, ascending
	equal   bool      // all members subscribe to the same topics

	generations []Generation // of each member's claims
	latest      Generation   // the newest of them
	claims      [][]int32    // the partitions that each member says are its own, as it says
	claimed     []int32      // the member whose claim to a partition counts, also where owner was taken away; or noMember
	owner       []int32      // the member that has the partition before and, after divide, from now on; or noMember
	doubled     []bool       // partitions that two members of one generation claim
	revoked     []int32      // the member that had the partition taken from it for balance; or noMember. Equal subscriptions only
}

const noMember int32 = -1

func newStickiness(c Cluster, members []AssignorMember) *stickiness {
	s := &stickiness{members: hashOrder(members), topicID: make(map[string]int32)}
	for i := range s.members {
		if i > 0 && slices.Equal(s.members[i].Topics, s.members[i-1].Topics) {
			continue // as mostly
		}
		for _, t := range s.members[i].Topics {
			if _, ok := s.topicID[t]; !ok && c.Partitions[t] > 0 {
				s.topicID[t] = 0
			}
		}
	}
	s.topics = slices.Sorted(maps.Keys(s.topicID))
	s.base = make([]int32, len(s.topics)+1)
	for i, t := range s.topics {
		s.topicID[t] = int32(i)
		s.base[i+1] = s.base[i] + c.Partitions[t]
		for range c.Partitions[t] {
			s.topicOf = append(s.topicOf, int32(i))
		}
	}
	s.subscribe()
	s.racks = newRacks(c, s.members, s.partitions(), func(i int) partition.TopicPartition { return s.name(int32(i)) })
	return s
}

// subscribe fills in subs and equal.
func (s *stickiness) subscribe() {
	s.subs = make([][]int32, len(s.members))
	s.equal = true
	for i := range s.members {
		if i > 0 && slices.Equal(s.members[i].Topics, s.members[i-1].Topics) {
			s.subs[i] = s.subs[i-1]
			continue
		}
		for _, t := range s.members[i].Topics {
			if id, ok := s.topicID[t]; ok {
				s.subs[i] = append(s.subs[i], id)
			}
		}
		slices.Sort(s.subs[i])
		s.subs[i] = slices.Compact(s.subs[i])
		s.equal = s.equal && sameTopics(s.members[i].Topics, s.members[0].Topics)
	}
}

func sameTopics(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}

func (s *stickiness) partitions() int { return len(s.topicOf) }

func (s *stickiness) name(p int32) partition.TopicPartition {
	t := s.topicOf[p]
	return partition.TopicPartition{Topic: s.topics[t], Partition: p - s.base[t]}
}

func (s *stickiness) subscribes(member, topic int32) bool {
	_, ok := slices.BinarySearch(s.subs[member], topic)
	return ok
}

// readClaims asks each member what it owns and decides whose it is: of claims to one partition, the newest generation's;
// nobody's if two have the same. read calls claim for each partition of a member, and returns the generation.
func (s *stickiness) readClaims(read func(member int32) Generation) {
	n := s.partitions()
	backing := slices.Repeat([]int32{noMember}, 3*n)
	s.owner, s.claimed, s.revoked = backing[:n:n], backing[n:2*n:2*n], backing[2*n:]
	s.doubled = make([]bool, n)
	s.claims, s.generations = make([][]int32, len(s.members)), make([]Generation, len(s.members))
	s.latest = NoGeneration
	for i := range int32(len(s.members)) {
		g := max(read(i), NoGeneration)
		s.generations[i] = g
		s.latest = max(s.latest, g)
		for _, p := range s.claims[i] {
			other := s.claimed[p]
			switch {
			case other == noMember, g > s.generations[other]:
				s.owner[p], s.claimed[p] = i, i
			case g == s.generations[other]:
				s.owner[p], s.claimed[p] = noMember, i
				s.doubled[p] = true
			}
		}
	}
}

// claim notes that the member says that it owns a partition; one that does not exist is nobody's.
func (s *stickiness) claim(member, topic, number int32) {
	if number >= 0 && number < s.base[topic+1]-s.base[topic] {
		s.claims[member] = append(s.claims[member], s.base[topic]+number)
	}
}

// divide gives every partition its owner.
func (s *stickiness) divide() {
	switch {
	case len(s.members) == 0:
	case s.equal:
		newEqualShares(s).divide()
	default:
		newUnequalShares(s).divide()
	}
}

// transferring returns the partitions whose new owner has to wait, because a member that claims them must give them up
// first.
func (s *stickiness) transferring() []bool {
	out := make([]bool, s.partitions())
	if s.equal {
		for p, from := range s.revoked {
			out[p] = s.doubled[p] || from != noMember && from != s.owner[p]
		}
		return out
	}
	for _, claims := range s.claims {
		for _, p := range claims {
			out[p] = true
		}
	}
	for i, claims := range s.claims {
		for _, p := range claims {
			if s.owner[p] == int32(i) {
				out[p] = false
			}
		}
	}
	return out
}

// assignment returns what each member gets, without the partitions that are withheld.
func (s *stickiness) assignment(withheld []bool) map[string][]partition.TopicPartition {
	counts := make([]int, len(s.members))
	total := 0
	for p, m := range s.owner {
		if m != noMember && (withheld == nil || !withheld[p]) {
			counts[m]++
			total++
		}
	}
	backing, lists := make([]partition.TopicPartition, total), make([][]partition.TopicPartition, len(s.members))
	for m, n := range counts {
		lists[m], backing = backing[:0:n], backing[n:]
	}
	for p, m := range s.owner {
		if m != noMember && (withheld == nil || !withheld[p]) {
			lists[m] = append(lists[m], s.name(int32(p)))
		}
	}
	out := make(map[string][]partition.TopicPartition, len(s.members))
	for m, list := range lists {
		if len(list) > 0 {
			out[s.members[m].MemberID] = list
		}
	}
	return out
}
