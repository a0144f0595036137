package main

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// A record's payload tells who wrote it and carries its own checksum, so that reading back finds a lost, doubled,
// mixed-up or damaged one: writer (8 bytes), sequence (8), xxh64 of the rest (8), filler.
func fill(p []byte, writer, sequence uint64) {
	binary.LittleEndian.PutUint64(p, writer)
	binary.LittleEndian.PutUint64(p[8:], sequence)
}

// newPayload returns n bytes of filler that does not compress to nothing.
func newPayload(n int) []byte {
	p := make([]byte, n)
	for i := 24; i < n; i++ {
		p[i] = byte(i*131 + i>>3)
	}
	binary.LittleEndian.PutUint64(p[16:], xxhash.Sum64(p[24:]))
	return p
}

// checker verifies what is read back.
type checker struct {
	size int
	next map[uint64]uint64 // by writer
	seen int64
}

func newChecker(size int) *checker { return &checker{size: size, next: map[uint64]uint64{}} }

func (c *checker) record(p []byte) error {
	if len(p) != c.size {
		return fmt.Errorf("record %d has %d bytes, want %d", c.seen, len(p), c.size)
	}
	w, s := binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(p[8:])
	if s != c.next[w] {
		return fmt.Errorf("writer %d: read sequence %d, want %d", w, s, c.next[w])
	}
	if xxhash.Sum64(p[24:]) != binary.LittleEndian.Uint64(p[16:]) {
		return fmt.Errorf("writer %d sequence %d: damaged payload", w, s)
	}
	c.next[w]++
	c.seen++
	return nil
}
