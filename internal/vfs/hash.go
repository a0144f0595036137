package vfs

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// Hash returns a hash of all names and contents, for telling whether a crash state has been seen before. Modes and times
// do not count, nor what is not durable. It is the same for equal contents in every process.
func (m *Mem) Hash() uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	h := hasher{digest: xxhash.New(), live: m.crash == nil}
	h.dir(m.root)
	return h.digest.Sum64()
}

type hasher struct {
	digest *xxhash.Digest
	live   bool // files have locks of their own
	word   [8]byte
}

func (h *hasher) number(n uint64) {
	binary.LittleEndian.PutUint64(h.word[:], n)
	_, _ = h.digest.Write(h.word[:]) // never fails
}

func (h *hasher) dir(node *inode) {
	for _, name := range sortedNames(node.entries) {
		child := node.entries[name]
		h.number(uint64(len(name)))
		_, _ = h.digest.WriteString(name)
		if child.isDir() {
			h.number(1)
			h.dir(child)
			h.number(2)
			continue
		}
		h.number(3)
		h.file(child)
	}
}

func (h *hasher) file(node *inode) {
	if h.live {
		node.mu.RLock()
		defer node.mu.RUnlock()
	}
	h.number(uint64(node.content.size()))
	zero := zeroPage.hash()
	each := func(i int, sum uint64) {
		if sum != zero { // a hole and zeros are the same
			h.number(uint64(i))
			h.number(sum)
		}
	}
	switch c := node.content.(type) {
	case *paged:
		for i, p := range c.pages {
			if p != nil {
				each(i, p.hash())
			}
		}
	case *flat:
		for i := 0; i*pageSize < int(min(c.n, int64(len(c.main.buf)))); i++ {
			each(i, max(xxhash.Sum64(c.main.buf[i*pageSize:(i+1)*pageSize]), 1))
		}
	}
}
