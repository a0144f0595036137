package wire

import (
	"math/bits"
	"sync"
)

// block is memory of a pool. Blocks are passed by pointer so that giving one back allocates nothing.
type block struct{ b []byte }

// Sizes of pooled memory go from 4 KiB to 16 MiB in quarters of a power of two: 4, 5, 6, 7, 8, 10, 12 KiB and so on. What
// is larger is rare, and left to the garbage collector.
const (
	minClassBits, maxClassBits = 12, 24
	classes                    = (maxClassBits-minClassBits)*4 + 1
)

var pools [classes]sync.Pool

// classFor is the smallest class of at least n bytes; classes or above if there is none.
func classFor(n int) int {
	if n <= 1<<minClassBits {
		return 0
	}
	top := bits.Len(uint(n-1)) - 1 // n-1 has its highest bit here
	return (top-minClassBits)*4 + (n-1)>>(top-2)&3 + 1
}

// classSize is how many bytes blocks of a class have.
func classSize(class int) int { return (4 + class&3) << (class>>2 + minClassBits - 2) }

// Where no block of a size is free, one of the next classes will do, up to twice the size, from spareClass on: new memory of
// that size has to be cleared, page by page, which takes longer than reading a request to it, and clients whose requests
// differ in length would have a block of each class made.
const (
	spareClass = (16 - minClassBits) * 4 // 64 KiB
	spares     = 4
)

// take returns a block of at least n bytes, full length, of undefined content.
func take(n int) *block {
	class := classFor(n)
	if class >= classes {
		return &block{make([]byte, n)}
	}
	last := class
	if class >= spareClass {
		last = min(class+spares, classes-1)
	}
	for from := class; from <= last; from++ {
		if b, _ := pools[from].Get().(*block); b != nil {
			return b
		}
	}
	return &block{make([]byte, classSize(class))}
}

// blockBytes is how many bytes take(n) returns.
func blockBytes(n int) int {
	if class := classFor(n); class < classes {
		return classSize(class)
	}
	return n
}

// give returns a block to the pools. Nobody may hold a part of it any more.
func give(b *block) {
	n := cap(b.b)
	if n < 1<<minClassBits || n > 1<<maxClassBits {
		return
	}
	class := classFor(n)
	if classSize(class) > n { // memory that grew by append is of the class below
		class--
	}
	b.b = b.b[:n]
	pools[class].Put(b)
}
