package segment

import "sync/atomic"

// table is an append-only array with one writer and any number of readers that
// take no lock. The zero table is empty and holds no memory.
//
// Why this is safe without a lock:
//   - A reader loads rows once and then rows.n; it only touches entries below
//     that n, which were stored before n was (atomics order them).
//   - The writer stores only entries at or above n, so never one that a reader
//     of the same rows may touch.
//   - Growing and truncating publish new rows and leave the old ones as they
//     are, so a reader that still holds them sees an older, consistent state.
type table[E any] struct {
	rows atomic.Pointer[rows[E]]
}

type rows[E any] struct {
	n       atomic.Int64
	entries []E // length is the capacity; entries[:n] are set
}

// firstRows is small: most partitions of a store are small.
const firstRows = 16

// view returns the entries so far; they do not change while the caller has them.
func (t *table[E]) view() []E {
	r := t.rows.Load()
	if r == nil {
		return nil
	}
	return r.entries[:r.n.Load()]
}

// add appends e. One goroutine at a time may call add and replace.
func (t *table[E]) add(e E) {
	r := t.rows.Load()
	if r == nil {
		r = t.replace(nil, firstRows)
	}
	n := r.n.Load()
	if int(n) == len(r.entries) {
		r = t.replace(r.entries, 2*len(r.entries))
	}
	r.entries[n] = e
	r.n.Store(n + 1)
}

// replace makes entries the content, with space for size.
func (t *table[E]) replace(entries []E, size int) *rows[E] {
	if size == 0 {
		t.rows.Store(nil)
		return nil
	}
	r := &rows[E]{entries: make([]E, size)}
	r.n.Store(int64(copy(r.entries, entries)))
	t.rows.Store(r)
	return r
}
