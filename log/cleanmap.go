package log

import (
	"hash/maphash"
	"math/bits"
	"sync"
)

// offsetMap maps keys to their last offset, for compaction (Apache Kafka's SkimpyOffsetMap). It knows keys by 92 bits of a hash, so
// its memory does not depend on their length: among the keys that fit into 128 MiB, two are taken for one with a probability of
// 2^-48. The hash's seeds are the process's own, so nobody can look for such a pair; Kafka's is MD5, which is slower, has known
// collisions, and takes half as much memory again.
//
// It is open addressing with linear probing. It begins with a fifth of its memory, so that few keys stay in the processor's caches, and
// takes the rest when that is full; both together are never more than was asked for. An access may still be a cache miss; so
// keys come by the queue, whose slots are touched one after another before any is used, and the misses overlap.
type offsetMap struct {
	seeds   [2]maphash.Seed
	first   Offset // that can be put
	slots   []mapSlot
	limit   int // most keys in slots
	larger  int // how many slots it may have when these are full; 0: no more
	keys    int
	queue   []mapSlot
	touched uint64 // keeps the compiler from dropping what only touches
}

// mapSlot is a key's hash and its offset: 64 bits; then 28 bits and, as 36 bits, how far the offset is from the first, plus 1. The
// last word of an empty slot is 0.
type mapSlot struct{ hash, rest uint64 }

const (
	mapSlotBytes  = 16
	mapOffsetBits = 36
	mapOffsetMask = 1<<mapOffsetBits - 1
	mapQueue      = 128
	mapLoad       = 17 // of 20 slots
	mapFirstPart  = 5  // a fifth
)

// newOffsetMap returns a map of at most bytes for offsets from first on, with room for keys if those need less.
func newOffsetMap(bytes, keys int64, first Offset) *offsetMap {
	n := max(min(bytes/mapSlotBytes, keys*20/mapLoad+2), 8)
	small := bytes / mapSlotBytes / mapFirstPart
	large := min(n, bytes/mapSlotBytes-small)
	m := &offsetMap{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, first: first, queue: make([]mapSlot, 0, mapQueue)}
	if small < 1<<16 || large < 2*small {
		m.use(newSlots(int(n)))
		return m
	}
	m.larger = int(large)
	m.use(newSlots(int(small)))
	return m
}

func (m *offsetMap) use(slots []mapSlot) { m.slots, m.limit = slots, max(len(slots)*mapLoad/20, 1) }

// spareSlots has the slots of a map that was given back, for the pass that follows at once: two maps would be twice the memory. The
// garbage collector takes them when nobody does.
var spareSlots sync.Pool

func newSlots(n int) []mapSlot {
	if spare, ok := spareSlots.Get().(*[]mapSlot); ok && cap(*spare) >= n {
		slots := (*spare)[:n]
		clear(slots)
		return slots
	}
	return make([]mapSlot, n)
}

// release gives the slots back.
func (m *offsetMap) release() {
	slots := m.slots
	m.slots = nil
	spareSlots.Put(&slots)
}

// usage returns how many keys there are, and the part of the slots that they take.
func (m *offsetMap) usage() (keys int, part float64) {
	return m.keys, float64(m.keys) / float64(max(len(m.slots), m.larger))
}

// slotOf returns a slot with key's hash, without an offset.
func (m *offsetMap) slotOf(key []byte) mapSlot {
	return mapSlot{maphash.Bytes(m.seeds[0], key), maphash.Bytes(m.seeds[1], key) &^ mapOffsetMask}
}

// place returns the slot that the search for a hash begins with.
func (m *offsetMap) place(hash uint64) int {
	place, _ := bits.Mul64(hash, uint64(len(m.slots)))
	return int(place)
}

// find returns the slot of q's hash, or the empty one where it belongs.
func (m *offsetMap) find(q *mapSlot) *mapSlot {
	for i := m.place(q.hash); ; {
		s := &m.slots[i]
		if s.rest == 0 || s.hash == q.hash && (s.rest^q.rest)&^mapOffsetMask == 0 {
			return s
		}
		if i++; i == len(m.slots) {
			i = 0
		}
	}
}

// get returns the last offset of key, -1 if there is none.
func (m *offsetMap) get(key []byte) Offset {
	q := m.slotOf(key)
	s := m.find(&q)
	if s.rest == 0 {
		return -1
	}
	return m.offsetIn(s)
}

func (m *offsetMap) offsetIn(s *mapSlot) Offset { return m.first + Offset(s.rest&mapOffsetMask) - 1 }

// put notes that key is at offset, which is above all put before. It reports false when the map is full; full then has the first offset
// that has no place.
func (m *offsetMap) put(key []byte, offset Offset) (full Offset, ok bool) {
	q := m.slotOf(key)
	if offset-m.first >= mapOffsetMask {
		if full, ok = m.flush(); ok {
			full = offset
		}
		return full, false
	}
	q.rest |= uint64(offset-m.first) + 1
	m.queue = append(m.queue, q)
	if len(m.queue) < mapQueue {
		return 0, true
	}
	return m.flush()
}

// flush puts what is queued.
func (m *offsetMap) flush() (full Offset, ok bool) {
	var touched uint64
	for i := range m.queue {
		touched += m.slots[m.place(m.queue[i].hash)].rest
	}
	m.touched += touched
	for i := range m.queue {
		q := &m.queue[i]
		s := m.find(q)
		if s.rest == 0 {
			if m.keys == m.limit {
				if m.larger == 0 {
					full = m.offsetIn(q)
					m.queue = m.queue[:0]
					return full, false
				}
				m.grow()
				s = m.find(q)
			}
			m.keys++
		}
		*s = *q
	}
	m.queue = m.queue[:0]
	return 0, true
}

// grow takes the rest of the memory.
func (m *offsetMap) grow() {
	old := m.slots
	m.use(newSlots(m.larger))
	m.larger = 0
	for i := range old {
		if old[i].rest != 0 {
			*m.find(&old[i]) = old[i]
		}
	}
}

// survivors returns which offsets of [first, end) are some key's last, as a set.
func (m *offsetMap) survivors(first, end Offset) []uint64 {
	set := make([]uint64, (end-first+63)/64)
	for i := range m.slots {
		s := &m.slots[i]
		if at := m.offsetIn(s) - first; s.rest != 0 && at >= 0 && at < end-first {
			set[at>>6] |= 1 << (at & 63)
		}
	}
	return set
}
