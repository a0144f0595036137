package group

// movements remembers who gave what to whom while partitions are moved, so that none of a topic goes from a to b while
// another goes from b to a (Kafka's PartitionMovements).
type movements struct {
	of    []pair                // of each partition; the zero pair if it has not moved
	pairs map[movement]*hashSet // the numbers of the partitions of a topic that moved so
}

// pair is a move between two members; their numbers are one higher, so that the zero pair is none.
type pair struct{ from, to int32 }

type movement struct {
	topic int32
	pair
}

func newMovements(partitions int) movements {
	return movements{of: make([]pair, partitions), pairs: make(map[movement]*hashSet)}
}

// actual returns the partition to move to a member in the place of p: one of its topic that came from there, if there is
// one.
func (v *movements) actual(u *unequalShares, p, from, to int32) int32 {
	topic := u.topicOf[p]
	origin := v.of[p].from
	if origin == 0 {
		origin = from + 1
	}
	if back := v.pairs[movement{topic, pair{to + 1, origin}}]; back != nil {
		return u.base[topic] + back.first()
	}
	return p
}

// add notes that p goes from one member to another.
func (v *movements) add(u *unequalShares, p, from, to int32) {
	topic := u.topicOf[p]
	number := p - u.base[topic]
	now := pair{from + 1, to + 1}
	if before := v.of[p]; before != (pair{}) {
		key := movement{topic, before}
		if set := v.pairs[key]; len(set.elements) == 1 {
			delete(v.pairs, key)
		} else {
			set.remove(number)
		}
		if now.from = before.from; now.from == now.to {
			v.of[p] = pair{} // it is home again
			return
		}
	}
	v.of[p] = now
	key := movement{topic, now}
	set := v.pairs[key]
	if set == nil {
		set = &hashSet{topic: javaHash(u.topics[topic])}
		v.pairs[key] = set
	}
	set.add(number)
}
