package log

import (
	"hash/maphash"
	"math/bits"
	"sync"
)

// offsetMap maps keys to their last offset, for compaction (Apache Kafka's SkimpyOffsetMap): it knows keys by 16 bytes of hash, so its
// memory does not depend on their length. The hash's seeds are the process's own: two keys collide with a probability of 2^-128, and
// nobody can look for such a pair. Kafka's is MD5, which is slower and has known collisions.
//
// It is open addressing with linear probing. An access is a cache miss; so keys come and go by the queue, whose slots are
// touched one after another before any is used, and the misses overlap.
type offsetMap struct {
	seeds   [2]maphash.Seed
	slots   []mapSlot
	limit   int // most keys
	keys    int
	queue   []mapSlot
	touched uint64 // keeps the compiler from dropping what only touches
}

// mapSlot is a key's hash and its offset; next is 0 in an empty slot.
type mapSlot struct {
	high, low uint64
	next      int64 // the offset plus 1
}

const (
	mapSlotBytes = 24
	mapQueue     = 128
	// Of 20 slots. Apache Kafka fills 18, which with its probing costs as much as 17 do here.
	mapLoad = 17
)

// spareSlots has the slots of a map that was given back, for the pass that follows at once: two maps would be twice the memory. The
// garbage collector takes them when nobody does.
var spareSlots sync.Pool

// newOffsetMap returns a map of at most bytes, and with room for keys if those need less.
func newOffsetMap(bytes, keys int64) *offsetMap {
	n := min(bytes/mapSlotBytes, keys*20/mapLoad+2)
	n = max(n, 8)
	return &offsetMap{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, slots: newSlots(int(n)),
		limit: max(int(n)*mapLoad/20, 1), queue: make([]mapSlot, 0, mapQueue)}
}

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
	spareSlots.Put(&m.slots)
	m.slots = nil
}

// use returns how many keys there are, and the part of the slots that they take.
func (m *offsetMap) use() (keys int, part float64) {
	return m.keys, float64(m.keys) / float64(len(m.slots))
}

func (m *offsetMap) hash(key []byte) (high, low uint64) {
	return maphash.Bytes(m.seeds[0], key), maphash.Bytes(m.seeds[1], key)
}

// place returns the slot that the search for a hash begins with.
func (m *offsetMap) place(high uint64) int {
	place, _ := bits.Mul64(high, uint64(len(m.slots)))
	return int(place)
}

// find returns the slot of a hash, or the empty one where it belongs.
func (m *offsetMap) find(high, low uint64) *mapSlot {
	for i := m.place(high); ; {
		s := &m.slots[i]
		if s.next == 0 || s.high == high && s.low == low {
			return s
		}
		if i++; i == len(m.slots) {
			i = 0
		}
	}
}

// get returns the last offset of key, -1 if there is none.
func (m *offsetMap) get(key []byte) Offset {
	return Offset(m.find(m.hash(key)).next) - 1
}

// put notes that key is at offset, which is above all put before. It reports false when the map is full; full then has the first offset
// that has no place.
func (m *offsetMap) put(key []byte, offset Offset) (full Offset, ok bool) {
	high, low := m.hash(key)
	m.queue = append(m.queue, mapSlot{high, low, int64(offset) + 1})
	if len(m.queue) < mapQueue {
		return 0, true
	}
	return m.flush()
}

// flush puts what is queued.
func (m *offsetMap) flush() (full Offset, ok bool) {
	var touched uint64
	for i := range m.queue {
		touched += uint64(m.slots[m.place(m.queue[i].high)].next)
	}
	m.touched += touched
	for i := range m.queue {
		q := &m.queue[i]
		s := m.find(q.high, q.low)
		if s.next == 0 {
			if m.keys == m.limit {
				full = Offset(q.next) - 1
				m.queue = m.queue[:0]
				return full, false
			}
			m.keys++
		}
		*s = *q
	}
	m.queue = m.queue[:0]
	return 0, true
}

// survivors returns which offsets of [first, end) are some key's last, as a set.
func (m *offsetMap) survivors(first, end Offset) []uint64 {
	set := make([]uint64, (end-first+63)/64)
	for i := range m.slots {
		if at := Offset(m.slots[i].next) - 1 - first; at >= 0 {
			set[at>>6] |= 1 << (at & 63)
		}
	}
	return set
}
