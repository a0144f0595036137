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

	states []state // what may be found on the disk, oldest first; made when first asked for
	used   int     // how many versions states covers
}

// state is a possible content of a page: a version, or a mix of two successive ones.
type state struct {
	page  *page
	older *page // of a mix: in those sectors that mask has a bit for, page's contents are found, in the others older's
	mask  uint8
	made  bool
}

// maxVersions bounds what is remembered of a page that is written again and again without a sync; some of the versions
// in the middle are then forgotten, never the newest.
const maxVersions = 64

func (h *history) add(p *page) {
	if len(h.versions) == maxVersions {
		kept := make([]*page, 0, maxVersions) // not in place: a clone may share it
		for i := 0; i < maxVersions; i += 2 {
			kept = append(kept, h.versions[i+1])
		}
		h.versions, h.states, h.used = kept, nil, 0
	}
	h.versions = append(h.versions, p)
}

func (h *history) newest() *page { return h.versions[len(h.versions)-1] }

// possible returns all states, the durable one first and the newest last.
func (h *history) possible(durable *page) []state {
	if h.used == 0 {
		h.states = append(h.states[:0], state{page: durable, made: true})
	}
	last := h.states[len(h.states)-1].page
	for ; h.used < len(h.versions); h.used++ {
		next := h.versions[h.used]
		masks := tears(last, next)
		if masks == nil {
			continue // the same bytes again
		}
		for _, mask := range masks {
			h.states = append(h.states, state{page: next, older: last, mask: mask})
		}
		h.states = append(h.states, state{page: next, made: true})
		last = next
	}
	return h.states
}

// get returns the content of a state.
func (h *history) get(i int) *page {
	s := &h.states[i]
	if s.made {
		return s.page
	}
	mixed := new(page)
	copy(mixed.data[:], s.older.bytes())
	for sector := range pageSize / sectorSize {
		if s.mask&(1<<sector) != 0 {
			at := sector * sectorSize
			copy(mixed.data[at:at+sectorSize], s.page.bytes()[at:])
		}
	}
	*s = state{page: mixed, made: true}
	return mixed
}

// written is the first state in which the page has been written wholly. Only after possible.
func (h *history) written() int {
	return max(slices.IndexFunc(h.states, func(s state) bool { return s.page == h.versions[0] && s.mask == 0 }), 0)
}

// tears returns which sectors may be new where others are old: all combinations of up to three sectors that differ, and
// beyond that the first ones and the last ones. It is nil where none differs, and empty where one does.
func tears(older, newer *page) []uint8 {
	if older == newer {
		return nil
	}
	var differ []uint8
	a, b := older.bytes(), newer.bytes()
	for sector := range pageSize / sectorSize {
		at := sector * sectorSize
		if !bytes.Equal(a[at:at+sectorSize], b[at:at+sectorSize]) {
			differ = append(differ, 1<<sector)
		}
	}
	if len(differ) == 0 {
		return nil
	}
	masks := []uint8{}
	if len(differ) <= 3 {
		for choice := 1; choice < 1<<len(differ)-1; choice++ {
			mask := uint8(0)
			for i, bit := range differ {
				if choice&(1<<i) != 0 {
					mask |= bit
				}
			}
			masks = append(masks, mask)
		}
		return masks
	}
	for n := 1; n < len(differ); n++ {
		first, last := uint8(0), uint8(0)
		for i := range n {
			first |= differ[i]
			last |= differ[len(differ)-1-i]
		}
		masks = append(masks, first, last)
	}
	return masks
}

func findHistory(list []history, index int64) (int, bool) {
	return slices.BinarySearchFunc(list, index, func(h history, index int64) int { return cmp.Compare(h.index, index) })
}
