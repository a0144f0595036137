package group

import (
	"cmp"
	"slices"
)

// equalShares divides partitions between members that subscribe to the same topics (Kafka's
// ConstrainedAssignmentBuilder): everybody gets least or most partitions, which differ by one at the most, and keeps
// what it owns as far as that allows.
type equalShares struct {
	*stickiness
	least, most int
	overWanted  int // members that are to get most, where that is more than least
	over        int // members that have it
	sizes       []int
	under       []int32 // members with less than least
	exactly     []int32 // members with least that may still get one more
}

func newEqualShares(s *stickiness) *equalShares {
	n, members := s.partitions(), len(s.members)
	return &equalShares{
		stickiness: s, sizes: make([]int, members),
		least: n / members, most: (n + members - 1) / members, overWanted: n % members,
	}
}

func (e *equalShares) divide() {
	e.keep()
	unassigned := make([]int32, 0, e.partitions())
	for p, m := range e.owner {
		if m == noMember {
			unassigned = append(unassigned, int32(p))
		}
	}
	byID := func(a, b int32) int { return cmp.Compare(e.members[a].MemberID, e.members[b].MemberID) }
	slices.SortFunc(e.under, byID)
	slices.SortFunc(e.exactly, byID)
	if e.racks.aware() {
		e.racks.sortByMembers(unassigned)
		unassigned = e.fillInRacks(unassigned)
	}
	e.fill(unassigned)
}

// keep leaves every member what it owns, up to its share, and takes the rest.
func (e *equalShares) keep() {
	owned := make([][]int32, len(e.members))
	for m, claims := range e.claims {
		kept := claims[:0:0]
		for _, p := range claims {
			switch {
			case e.owner[p] != int32(m):
			case e.racks.mismatch(int32(m), p):
				e.revoke(p)
			case e.doubled[p]:
				e.owner[p] = noMember
			default:
				kept = append(kept, p)
			}
		}
		owned[m] = kept
	}
	for m, kept := range owned {
		share := e.least
		switch {
		case len(kept) < e.least:
			e.under = append(e.under, int32(m))
			share = len(kept)
		case len(kept) >= e.most && e.over < e.overWanted:
			share = e.most
			if e.over++; e.over == e.overWanted {
				e.exactly = e.exactly[:0]
			}
		case e.over < e.overWanted:
			e.exactly = append(e.exactly, int32(m))
		}
		if len(kept) > share {
			// By number, so that co-partitioned topics lose the same ones.
			slices.SortFunc(kept, func(a, b int32) int {
				return cmp.Or(cmp.Compare(a-e.base[e.topicOf[a]], b-e.base[e.topicOf[b]]), cmp.Compare(a, b))
			})
			for _, p := range kept[share:] {
				e.revoke(p)
			}
		}
		e.sizes[m] = share
	}
}

func (e *equalShares) revoke(p int32) { e.revoked[p], e.owner[p] = e.owner[p], noMember }

func (e *equalShares) give(p, member int32) int {
	e.owner[p] = member
	e.sizes[member]++
	return e.sizes[member]
}

// fillInRacks gives partitions to members in their racks, around, and returns those that found none.
func (e *equalShares) fillInRacks(unassigned []int32) []int32 {
	left, next := unassigned[:0], 0
	for _, p := range unassigned {
		if i := e.racks.next(p, e.under, next); i >= 0 {
			m := e.under[i]
			if size := e.give(p, m); size < e.least {
				i++
			} else {
				e.under = slices.Delete(e.under, i, i+1)
				if size < e.most && e.over < e.overWanted {
					e.exactly = append(e.exactly, m)
				}
			}
			next = 0
			if len(e.under) > 0 {
				next = i % len(e.under)
			}
			continue
		}
		i := e.racks.next(p, e.exactly, 0)
		if i < 0 {
			left = append(left, p)
			continue
		}
		if e.give(p, e.exactly[i]) == e.most {
			e.exactly = slices.Delete(e.exactly, i, i+1)
			if e.over++; e.over == e.overWanted {
				e.exactly = e.exactly[:0]
			}
		}
	}
	return left
}

// fill gives partitions to the members that have less than least, around, and then one each to those that may have
// one more.
func (e *equalShares) fill(unassigned []int32) {
	for len(e.under) > 0 && len(unassigned) > 0 {
		around := e.under
		e.under = e.under[:0]
		for i, m := range around {
			if len(unassigned) == 0 {
				e.under = append(e.under, around[i:]...)
				break
			}
			if e.give(unassigned[0], m) == e.least {
				e.exactly = append(e.exactly, m)
			} else {
				e.under = append(e.under, m)
			}
			unassigned = unassigned[1:]
		}
	}
	for i, p := range unassigned {
		e.give(p, e.exactly[i])
	}
}
