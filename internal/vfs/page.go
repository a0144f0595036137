package vfs

import (
	"bytes"
	"cmp"
	"slices"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
)

const sectorSize = 512

// page is 4 KiB of a file in crash mode. It never changes once it is in a file, so clones share it. A nil page is zeros.
type page struct {
	data [pageSize]byte
	sum  atomic.Uint64 // the hash of data once somebody has asked; 0: nobody has
}

var zeroPage page

func (p *page) bytes() []byte {
	if p == nil {
		return zeroPage.data[:]
	}
	return p.data[:]
}

func (p *page) hash() uint64 {
	if p == nil {
		return zeroPage.hash()
	}
	sum := p.sum.Load()
	if sum == 0 {
		sum = max(xxhash.Sum64(p.data[:]), 1)
		p.sum.Store(sum)
	}
	return sum
}

// cut returns the page with zeros from byte n on.
func (p *page) cut(n int) *page {
	if p == nil || bytes.Equal(p.data[n:], zeroPage.data[n:]) {
		return p
	}
	c := new(page)
	copy(c.data[:n], p.data[:])
	return c
}

// history is what a page has been since its file was last synced.
type history struct {
	index    int64
	versions []*page // oldest first; at least one

	// What may be found on the disk, brought up to date when somebody asks. kinds has, for each sector, a page for every
	// content that it has had, the durable one first; a key says which of them each sector has, a byte for each.
	kinds  [sectors][]*page
	keys   []uint64 // of the durable page, and of as many versions as have been looked at
	states []state  // oldest first
	known  map[uint64]bool
}

const sectors = pageSize / sectorSize

// state is a content that may be found.
type state struct {
	key  uint64
	page *page
	made bool // page is it; otherwise it is made by get
}

// maxVersions bounds what is remembered of a page that is written again and again without a sync; some of the versions
// in the middle are then forgotten, never the newest. Keys have room for as many.
const maxVersions = 64

func (h *history) add(p *page) {
	if len(h.versions) == maxVersions {
		kept := make([]*page, 0, maxVersions) // not in place: a clone may share it
		for i := 0; i < maxVersions; i += 2 {
			kept = append(kept, h.versions[i+1])
		}
		*h = history{index: h.index, versions: kept}
	}
	h.versions = append(h.versions, p)
}

func (h *history) newest() *page { return h.versions[len(h.versions)-1] }

// possible returns all states, the oldest first and the newest last: the durable page, unless it was not there and is
// not to be found as a hole; every version; and every version torn while it was being written over an older one.
func (h *history) possible(durable *page, noHole bool) []state {
	if h.keys == nil {
		h.keys = []uint64{0}
		h.known = map[uint64]bool{}
		for sector := range h.kinds {
			h.kinds[sector] = []*page{durable}
		}
		if !noHole {
			h.put(state{page: durable, made: true})
		}
	}
	for len(h.keys) <= len(h.versions) {
		older := h.keys
		next := h.versions[len(older)-1]
		key := h.keyOf(next, older[len(older)-1])
		h.keys = append(h.keys, key)
		if key == older[len(older)-1] && len(h.states) > 0 {
			continue // the same bytes again
		}
		for i, before := range older {
			const recent = 6 // of many versions, the durable one and the last ones are enough
			if noHole && i == 0 || i > 0 && i < len(older)-recent {
				continue
			}
			h.tear(before, key)
		}
		h.known[key] = true
		h.states = append(h.states, state{key: key, page: next, made: true}) // again if need be: the newest is last
	}
	return h.states
}

func (h *history) put(s state) {
	if !h.known[s.key] {
		h.known[s.key] = true
		h.states = append(h.states, s)
	}
}

func sectorOf(p *page, sector int) []byte {
	return p.bytes()[sector*sectorSize : (sector+1)*sectorSize]
}

// keyOf finds out which contents the sectors of a page have, most of them probably those that they had before.
func (h *history) keyOf(p *page, before uint64) uint64 {
	key := uint64(0)
	for sector := range sectors {
		have := sectorOf(p, sector)
		kind := int(before >> (8 * sector) & 0xFF)
		if !bytes.Equal(have, sectorOf(h.kinds[sector][kind], sector)) {
			same := func(q *page) bool { return bytes.Equal(have, sectorOf(q, sector)) }
			if kind = slices.IndexFunc(h.kinds[sector], same); kind < 0 {
				kind = len(h.kinds[sector])
				h.kinds[sector] = append(h.kinds[sector], p)
			}
		}
		key |= uint64(kind) << (8 * sector)
	}
	return key
}

// tear adds the states in which some sectors have been written and others not: all combinations of up to three that
// differ, and of more the first ones, the last ones, and all but one.
func (h *history) tear(older, newer uint64) {
	var differ [sectors]uint64 // masks of the bytes that differ
	n := 0
	for sector := range sectors {
		if mask := uint64(0xFF) << (8 * sector); (older^newer)&mask != 0 {
			differ[n] = mask
			n++
		}
	}
	mix := func(written uint64) { h.put(state{key: older&^written | newer&written}) }
	if n <= 3 {
		for choice := 1; choice < 1<<n-1; choice++ {
			written := uint64(0)
			for i := range n {
				if choice&(1<<i) != 0 {
					written |= differ[i]
				}
			}
			mix(written)
		}
		return
	}
	first, last := uint64(0), uint64(0)
	for i := range n - 1 {
		first |= differ[i]
		last |= differ[n-1-i]
		mix(first)
		mix(last)
	}
	for i := range n {
		mix(^differ[i])
	}
}

// get returns the content of a state.
func (h *history) get(i int) *page {
	s := &h.states[i]
	if !s.made {
		s.page, s.made = new(page), true
		for sector := range sectors {
			kind := s.key >> (8 * sector) & 0xFF
			copy(s.page.data[sector*sectorSize:], sectorOf(h.kinds[sector][kind], sector))
		}
	}
	return s.page
}

func findHistory(list []history, index int64) (int, bool) {
	return slices.BinarySearchFunc(list, index, func(h history, index int64) int { return cmp.Compare(h.index, index) })
}
