package mmap

import "sync/atomic"

// Mapping is a Region with a count of those who look at it: it is unmapped when its owner has retired it and the last
// reader has released it. All methods are safe for concurrent use and none blocks, but for the unmapping itself.
//
// Without a lock, because:
//   - refs counts the owner (one, until Retire) and every reader between Acquire and Release.
//   - refs leaves 0 never: Acquire raises it from a positive value only, by compare-and-swap. So exactly one decrement
//     reaches 0, and whoever made it is alone with the region and unmaps it.
//   - Retire gives up the owner's reference once, by swapping retired.
type Mapping struct {
	region  Region
	refs    atomic.Int64
	retired atomic.Bool
	after   func()
}

// NewMapping counts one reference to r, the owner's, which Retire gives up.
func NewMapping(r Region) *Mapping {
	m := &Mapping{region: r}
	m.refs.Store(1)
	return m
}

// AfterUnmap has f called once when the region has been unmapped, by whoever dropped the last reference: to return a
// place in a Budget or to close a file. It must be set before the mapping is shared.
func (m *Mapping) AfterUnmap(f func()) { m.after = f }

// Region returns the region; its bytes are valid while the caller holds a reference.
func (m *Mapping) Region() Region { return m.region }

// Bytes returns the region's bytes, valid while the caller holds a reference.
func (m *Mapping) Bytes() []byte { return m.region.Bytes() }

// Acquire takes a reference, which Release gives back. It returns false when the mapping has been retired and its last
// reader has gone: it is, or is about to be, unmapped.
func (m *Mapping) Acquire() bool {
	for {
		n := m.refs.Load()
		if n == 0 {
			return false
		}
		if m.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release gives a reference back; the region's bytes must not be touched after it.
func (m *Mapping) Release() {
	switch n := m.refs.Add(-1); {
	case n == 0:
		// An error here means that the address range is wrong: nothing that a caller could act on.
		_ = m.region.Unmap()
		if m.after != nil {
			m.after()
		}
	case n < 0:
		panic("BUG: mapping released more often than acquired")
	}
}

// Retire gives up the owner's reference: the region is unmapped now, or when its last reader has released it. A second
// call does nothing.
func (m *Mapping) Retire() {
	if !m.retired.Swap(true) {
		m.Release()
	}
}

// Readers returns how many references are held besides the owner's, as of some instant during the call.
func (m *Mapping) Readers() int64 {
	n := m.refs.Load()
	if n > 0 && !m.retired.Load() {
		n--
	}
	return n
}
