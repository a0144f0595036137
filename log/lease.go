package log

import (
	"sync"
	"time"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/mmap"
)

// View is a borrowed piece of the log: whole record batches, as they are on disk. Bytes is valid until Release and must not be
// written to. A file cut short by somebody else can still fault the goroutine that touches Bytes; ReadInto is safe from that.
// The zero View is valid, empty and released.
type View struct {
	Bytes []byte
	Next  Offset // offset after the last batch in Bytes
	lease *lease
	turn  uint64
}

// Release ends the loan. It may be called again, also on copies of v, and from any goroutine.
func (v *View) Release() {
	if v.lease != nil {
		v.lease.owner.end(v.lease, v.turn)
	}
	v.Bytes, v.lease = nil, nil
}

// LeaseStats counts the views that have not been released.
type LeaseStats struct {
	Count     int
	OldestAge time.Duration
}

// leases are the views of one log that are out, oldest first, and spent ones for use again: lending allocates nothing in the
// steady state.
type leases struct {
	clock clock.Clock
	mu    sync.Mutex // guards all below; innermost of all locks
	ring  lease      // ring.next is the oldest
	free  *lease
	count int
}

// lease keeps alive what a View shows: a mapping, or a buffer that it was copied to.
type lease struct {
	owner      *leases
	prev, next *lease
	turn       uint64 // raised when the lease ends: a View of an earlier turn is spent
	since      time.Time
	upTo       Offset // View.Next
	mapping    *mmap.Mapping
	buffer     *[]byte
}

// begin lends bytes that m or buf keeps alive, whichever is not nil; the reference on m is the lease's from now on.
func (s *leases) begin(b []byte, next Offset, m *mmap.Mapping, buf *[]byte) View {
	now := s.clock.Now()
	s.mu.Lock()
	if s.ring.next == nil {
		s.ring.next, s.ring.prev = &s.ring, &s.ring
	}
	l := s.free
	if l == nil {
		l = &lease{owner: s}
	} else {
		s.free = l.next
	}
	l.since, l.upTo, l.mapping, l.buffer = now, next, m, buf
	l.prev, l.next = s.ring.prev, &s.ring
	l.prev.next, l.next.prev = l, l
	s.count++
	turn := l.turn
	s.mu.Unlock()
	return View{Bytes: b, Next: next, lease: l, turn: turn}
}

func (s *leases) end(l *lease, turn uint64) {
	s.mu.Lock()
	if l.turn != turn {
		s.mu.Unlock()
		return
	}
	l.turn++
	m, buf := l.mapping, l.buffer
	l.mapping, l.buffer = nil, nil
	l.prev.next, l.next.prev = l.next, l.prev
	l.prev, l.next, s.free = nil, s.free, l
	s.count--
	s.mu.Unlock()
	if m != nil {
		m.Release()
	}
	if buf != nil {
		putBuffer(buf)
	}
}

func (s *leases) stats() LeaseStats {
	now := s.clock.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := LeaseStats{Count: s.count}
	if s.count > 0 {
		st.OldestAge = max(now.Sub(s.ring.next.since), 0)
	}
	return st
}

// Leases counts the views that are out.
func (l *Log) Leases() LeaseStats { return l.leases.stats() }
