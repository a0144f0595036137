package group

import (
	"cmp"
	"slices"
)

// unequalShares divides partitions between members with different subscriptions (Kafka's GeneralAssignmentBuilder):
// owners keep what they may have, the rest goes to whoever has least, topics with few subscribers first; then partitions
// move from those that have more to those that have less, as long as that helps.
type unequalShares struct {
	*stickiness
	subscribers [][]int32 // of each topic
	order       []int32   // topics by number of subscribers, then by name
	rank        []int32   // of each member by id
	sizes       []int     // of each member
	previous    []int32   // the member that has claimed a partition in the newest of older generations; or noMember
	moved       movements
}

func newUnequalShares(s *stickiness) *unequalShares {
	u := &unequalShares{
		stickiness: s, subscribers: make([][]int32, len(s.topics)), sizes: make([]int, len(s.members)), rank: make([]int32, len(s.members)),
		previous: slices.Repeat([]int32{noMember}, s.partitions()), moved: newMovements(s.partitions()),
	}
	byID := make([]int32, len(s.members))
	for m := range byID {
		byID[m] = int32(m)
		for _, t := range s.subs[m] {
			u.subscribers[t] = append(u.subscribers[t], int32(m))
		}
	}
	slices.SortFunc(byID, func(a, b int32) int { return cmp.Compare(s.members[a].MemberID, s.members[b].MemberID) })
	for i, m := range byID {
		u.rank[m] = int32(i)
	}
	for t := range s.topics {
		u.order = append(u.order, int32(t))
	}
	slices.SortFunc(u.order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(len(u.subscribers[a]), len(u.subscribers[b])), cmp.Compare(a, b))
	})
	return u
}

func (u *unequalShares) divide() {
	u.findPrevious()
	revocation := u.keep()
	initial := !slices.ContainsFunc(u.sizes, func(n int) bool { return n > 0 })
	unassigned := make([]int32, 0, u.partitions())
	all := make([]int32, 0, u.partitions())
	for _, t := range u.order {
		shared := len(u.subscribers[t]) > 1
		for p := u.base[t]; p < u.base[t+1]; p++ {
			if u.owner[p] == noMember {
				unassigned = append(unassigned, p)
			}
			if shared {
				all = append(all, p)
			}
		}
	}
	u.assign(unassigned)

	// What follows may make it worse: remember.
	owner, sizes := slices.Clone(u.owner), slices.Clone(u.sizes)
	if !revocation {
		// First by what is on the move anyway.
		u.balance(slices.DeleteFunc(unassigned, func(p int32) bool { return len(u.subscribers[u.topicOf[p]]) < 2 }))
	}
	if u.balance(all) && !initial && u.score(u.sizes) >= u.score(sizes) {
		u.owner, u.sizes = owner, sizes
	}
}

// findPrevious fills in previous.
func (u *unequalShares) findPrevious() {
	for m, claims := range u.claims {
		if u.generations[m] == u.latest {
			continue
		}
		for _, p := range claims {
			if q := u.previous[p]; q == noMember || u.generations[m] > u.generations[q] {
				u.previous[p] = int32(m)
			}
		}
	}
}

// keep leaves members what they own and may have, and reports whether anybody lost anything.
func (u *unequalShares) keep() (revocation bool) {
	for p, m := range u.owner {
		switch {
		case m == noMember:
		case !u.subscribes(m, u.topicOf[p]) || u.racks.mismatch(m, int32(p)):
			u.owner[p] = noMember
			revocation = true
		default:
			u.sizes[m]++
		}
	}
	return revocation
}

// less reports whether member a is before b: it has less, or as much and a smaller id.
func (u *unequalShares) less(a, b int32) bool {
	return u.sizes[a] < u.sizes[b] || u.sizes[a] == u.sizes[b] && u.rank[a] < u.rank[b]
}

// assign gives each partition to the subscriber that has least; within its racks first, if those are known.
func (u *unequalShares) assign(unassigned []int32) {
	if u.racks.aware() {
		for _, p := range unassigned {
			least := noMember
			for _, m := range u.subscribers[u.topicOf[p]] {
				if !u.racks.mismatch(m, p) && (least == noMember || u.less(m, least)) {
					least = m
				}
			}
			if least != noMember {
				u.owner[p] = least
				u.sizes[least]++
			}
		}
	}
	var h memberHeap
	topic := int32(-1)
	for _, p := range unassigned {
		if u.owner[p] != noMember {
			continue
		}
		if u.topicOf[p] != topic {
			topic = u.topicOf[p]
			h.init(u, u.subscribers[topic])
		}
		m := h.members[0]
		u.owner[p] = m
		u.sizes[m]++
		h.fix(m)
	}
}

// balance moves partitions of these, which come by topic, to members that have at least two less than their owners,
// until there is none. It reports whether any moved.
func (u *unequalShares) balance(partitions []int32) (any bool) {
	var h memberHeap
	// Kafka goes on as long as something moves. It ends, but nobody has proven it: not more often than could ever help.
	for range len(partitions) {
		modified, topic := false, int32(-1)
		for _, p := range partitions {
			if u.topicOf[p] != topic {
				topic = u.topicOf[p]
				h.init(u, u.subscribers[topic])
			}
			m := u.owner[p]
			to := h.members[0]
			if q := u.previous[p]; q != noMember && u.sizes[m] > u.sizes[q]+1 && u.subscribes(q, topic) {
				to = q
			}
			if u.sizes[m] > u.sizes[to]+1 {
				from := u.move(u.moved.actual(u, p, m, to), to)
				h.fix(from)
				h.fix(to)
				modified, any = true, true
			}
		}
		if !modified {
			break
		}
	}
	return any
}

// move gives a partition to another member, and returns its former owner.
func (u *unequalShares) move(p, to int32) (from int32) {
	from = u.owner[p]
	u.moved.add(u, p, from, to)
	u.owner[p] = to
	u.sizes[from]--
	u.sizes[to]++
	return from
}

// score is Kafka's measure of imbalance: the sum of the differences of all pairs of members that share a topic with
// somebody.
func (u *unequalShares) score(sizes []int) (score int) {
	var taking []int
	for m, topics := range u.subs {
		if slices.ContainsFunc(topics, func(t int32) bool { return len(u.subscribers[t]) > 1 }) {
			taking = append(taking, sizes[m])
		}
	}
	slices.Sort(taking)
	for i, n := range taking {
		score += n * (2*i - len(taking) + 1)
	}
	return score
}

// memberHeap orders the subscribers of a topic by less.
type memberHeap struct {
	u       *unequalShares
	members []int32
	at      []int32 // where each member of the group is in members; those of this topic only
}

func (h *memberHeap) init(u *unequalShares, subscribers []int32) {
	h.u = u
	h.members = append(h.members[:0], subscribers...)
	if h.at == nil {
		h.at = make([]int32, len(u.members))
	}
	for i, m := range h.members {
		h.at[m] = int32(i)
	}
	for i := len(h.members)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
}

// fix puts a member to its place after its size has changed.
func (h *memberHeap) fix(m int32) {
	i := int(h.at[m])
	for i > 0 && h.u.less(h.members[i], h.members[(i-1)/2]) {
		h.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
	h.down(i)
}

func (h *memberHeap) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h.members); child++ {
			if h.u.less(h.members[child], h.members[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}

func (h *memberHeap) swap(i, j int) {
	h.members[i], h.members[j] = h.members[j], h.members[i]
	h.at[h.members[i]], h.at[h.members[j]] = int32(i), int32(j)
}
