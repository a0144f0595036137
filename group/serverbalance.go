package group

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/partlog/partlog/partition"
)

// maxBalanceRounds bounds how often all topics are looked at. Where subscriptions overlap without being equal, every
// round is assumed to halve the imbalance.
const maxBalanceRounds = 16

// balancer is the assignment of a group whose members are subscribed to different topics: Kafka's
// UniformHeterogeneousAssignmentBuilder, with members in the order of their ids. Balance counts more than stickiness:
// partitions that nobody has go to the subscriber with the fewest, then partitions move, topic by topic, from those
// subscribers of the topic with most to those with fewest.
type balancer struct {
	g           ServerGroup
	topics      []partition.TopicID // by partitions per subscriber, most first
	subscribers map[partition.TopicID][]int
	owners      map[partition.TopicID][]int // members by partition, -1 for none
	sizes       []int                       // by member
}

func newBalancer(g ServerGroup) *balancer {
	b := &balancer{g: g, subscribers: make(map[partition.TopicID][]int), owners: make(map[partition.TopicID][]int), sizes: make([]int, len(g.Members))}
	for i, m := range g.Members {
		for _, id := range m.Topics {
			b.subscribers[id] = append(b.subscribers[id], i)
		}
	}
	b.topics = slices.SortedFunc(maps.Keys(b.subscribers), func(x, y partition.TopicID) int {
		nx, ny := len(b.subscribers[x]), len(b.subscribers[y])
		return cmp.Or(
			cmp.Compare(float64(g.Partitions[y])/float64(ny), float64(g.Partitions[x])/float64(nx)),
			cmp.Compare(nx, ny),
			compareUUIDs(x, y),
		)
	})
	for _, id := range b.topics {
		b.owners[id] = slices.Repeat([]int{-1}, int(g.Partitions[id]))
	}
	return b
}

func (b *balancer) assign() map[string][]TopicIDPartitions {
	taken := b.g.flags(b.topics)
	for i := range b.g.Members {
		for id, p := range eachPartition(b.g.target(&b.g.Members[i], taken)) {
			b.move(id, int(p), i)
		}
	}
	var load loads
	for _, id := range b.topics {
		load.begin(b.subscribers[id], b.sizes)
		for p, owner := range b.owners[id] {
			if owner < 0 {
				b.move(id, p, load.nextLeast())
			}
		}
	}
	b.balance(&load)

	byMember := make([]map[partition.TopicID][]int32, len(b.g.Members))
	for _, id := range b.topics {
		for p, owner := range b.owners[id] {
			if byMember[owner] == nil {
				byMember[owner] = make(map[partition.TopicID][]int32)
			}
			byMember[owner][id] = append(byMember[owner][id], int32(p))
		}
	}
	out := make(map[string][]TopicIDPartitions, len(b.g.Members))
	for i, m := range b.g.Members {
		out[m.MemberID] = partitionSetOf(byMember[i])
	}
	return out
}

// move gives a partition to a member.
func (b *balancer) move(id partition.TopicID, p, to int) {
	if from := b.owners[id][p]; from >= 0 {
		b.sizes[from]--
	}
	b.owners[id][p] = to
	b.sizes[to]++
}

// balance goes through the topics until a whole round has changed nothing.
func (b *balancer) balance(load *loads) {
	var topics []partition.TopicID
	for _, id := range b.topics {
		if len(b.subscribers[id]) > 1 {
			topics = append(topics, id)
		}
	}
	last := -1 // the topic that was changed last
	for range maxBalanceRounds {
		for i, id := range topics {
			if i == last {
				return
			}
			if b.balanceTopic(id, load) || last < 0 {
				last = i
			}
		}
	}
}

// balanceTopic moves partitions of a topic from the subscribers with most to those with fewest, and reports whether it
// has moved any.
func (b *balancer) balanceTopic(id partition.TopicID, load *loads) (moved bool) {
	if load.begin(b.subscribers[id], b.sizes) <= 1 {
		return false
	}
	owned := make(map[int][]int) // what each may give up, the last one first
	for p, owner := range b.owners[id] {
		owned[owner] = append(owned[owner], p)
	}
	for !load.balanced() {
		from := load.nextMost()
		for from >= 0 && len(owned[from]) == 0 {
			load.exclude()
			from = load.nextMost()
		}
		if from < 0 {
			break
		}
		last := len(owned[from]) - 1
		p := owned[from][last]
		owned[from] = owned[from][:last]
		to := load.nextLeast()
		if load.balanced() {
			break
		}
		b.move(id, p, to)
		moved = true
	}
	return moved
}

// compareUUIDs orders ids as Java does, as two signed numbers.
func compareUUIDs(a, b partition.TopicID) int {
	half := func(id partition.TopicID, i int) int64 { return int64(binary.BigEndian.Uint64(id[i:])) }
	return cmp.Or(cmp.Compare(half(a, 0), half(b, 0)), cmp.Compare(half(a, 8), half(b, 8)))
}

// loads finds, among some members, those with the fewest and those with the most partitions, while partitions are given
// to the former and taken from the latter: Kafka's MemberAssignmentBalancer.
//
// The members are sorted by their partitions. Those before leastEnd have leastCount each, and get one each before the
// range grows to the right; those in [mostStart, mostEnd) have mostCount each, and give up one each before it grows to
// the left; those from mostEnd on have nothing to give.
type loads struct {
	sizes                               []int
	members                             []int
	leastEnd, leastCount, least         int
	mostStart, mostEnd, mostCount, most int
}

// begin starts anew with some members, at least one, and returns the difference between the most and the fewest.
func (l *loads) begin(members, sizes []int) int {
	l.sizes = sizes
	l.members = append(l.members[:0], members...)
	slices.SortStableFunc(l.members, func(a, b int) int { return cmp.Or(cmp.Compare(sizes[a], sizes[b]), cmp.Compare(a, b)) })
	n := len(l.members)
	fewest, most := sizes[l.members[0]], sizes[l.members[n-1]]
	l.leastEnd, l.leastCount, l.least = 0, fewest-1, 0
	l.mostStart, l.mostEnd, l.mostCount, l.most = n, n, most+1, n-1
	return most - fewest
}

// nextLeast returns the member that is to get the next partition.
func (l *loads) nextLeast() int {
	if l.least >= l.leastEnd {
		l.leastCount++
		for l.leastEnd < len(l.members) && l.sizes[l.members[l.leastEnd]] == l.leastCount {
			l.leastEnd++
		}
		l.least = 0
	}
	m := l.members[l.least]
	l.least++
	return m
}

// nextMost returns the member that is to give up the next partition, -1 if nobody has one.
func (l *loads) nextMost() int {
	if l.most < l.mostStart {
		if l.mostEnd <= l.mostStart && l.mostStart > 0 {
			// All of the range was excluded: it begins again at whoever is left of it.
			l.mostCount = l.sizes[l.members[l.mostStart-1]]
		} else {
			l.mostCount--
		}
		for l.mostStart > 0 && l.sizes[l.members[l.mostStart-1]] == l.mostCount {
			l.mostStart--
		}
		l.most = l.mostEnd - 1
	}
	if l.most < 0 {
		return -1
	}
	m := l.members[l.most]
	l.most--
	return m
}

// exclude takes the member that nextMost has returned out of the range.
func (l *loads) exclude() {
	i, last := l.most+1, l.mostEnd-1
	l.members[i], l.members[last] = l.members[last], l.members[i]
	l.mostEnd--
}

func (l *loads) balanced() bool { return l.mostCount-l.leastCount <= 1 }
