package mmap

import "sync/atomic"

// Budget is a cap on the number of mappings. It is safe for concurrent use.
type Budget struct {
	max   int64
	inUse atomic.Int64
}

// NewBudget allows up to max mappings at a time.
func NewBudget(max int) *Budget { return &Budget{max: int64(max)} }

// Reserve takes a place and reports true, or false when all are taken: then the caller reads by pread.
func (b *Budget) Reserve() bool {
	for {
		n := b.inUse.Load()
		if n >= b.max {
			return false
		}
		if b.inUse.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Return gives a place back.
func (b *Budget) Return() {
	if b.inUse.Add(-1) < 0 {
		panic("BUG: budget of mappings returned more often than reserved")
	}
}

// InUse returns how many places are taken.
func (b *Budget) InUse() int { return int(b.inUse.Load()) }
