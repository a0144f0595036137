package producer

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/partition"
)

// memory is the budget of Config.BufferMemory. It counts bytes, it does not hold them. Who waits longest is served
// first: as long as somebody waits, nobody overtakes, however little they want.
type memory struct {
	clock partition.Clock
	size  int

	mu        sync.Mutex // guards all below
	used      int
	closed    bool
	waiters   []*memoryWaiter
	waits     atomic.Int32 // len(waiters), for those who do not hold mu
	exhausted uint64
	waited    time.Duration
}

type memoryWaiter struct {
	need  int
	ready chan struct{} // closed when the need was granted or the producer closed
	err   error         // set before ready is closed
}

// try takes n bytes if they are free and nobody waits.
func (m *memory) try(n int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.waiters) > 0 || m.used+n > m.size || m.closed {
		return false
	}
	m.used += n
	return true
}

// force takes n bytes even if they are not free, for what is already accepted.
func (m *memory) force(n int) {
	m.mu.Lock()
	m.used += n
	m.mu.Unlock()
}

// release gives n bytes back.
func (m *memory) release(n int) {
	m.mu.Lock()
	m.used -= n
	granted := m.grantLocked()
	m.mu.Unlock()
	for _, w := range granted {
		close(w.ready)
	}
}

// grantLocked serves the waiters in front for whom there is room, and returns them.
func (m *memory) grantLocked() []*memoryWaiter {
	n := 0
	for n < len(m.waiters) && m.used+m.waiters[n].need <= m.size {
		m.used += m.waiters[n].need
		n++
	}
	if n == 0 {
		return nil
	}
	granted := m.waiters[:n:n]
	m.waiters = m.waiters[n:]
	m.waits.Add(-int32(n))
	return granted
}

// wait takes n bytes as soon as they are free. pressed is called once the wait is on, so that what could be written is.
// The errors are ErrClosed, the context's, and errMaxBlock.
func (m *memory) wait(ctx context.Context, n int, maxBlock time.Duration, pressed func()) error {
	w := &memoryWaiter{need: n, ready: make(chan struct{})}
	start := m.clock.Now()
	timeout := make(chan struct{})
	stop := m.clock.AfterFunc(maxBlock, func() { close(timeout) }) // before anybody sees that w waits
	defer stop()
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return ErrClosed
	}
	m.waiters = append(m.waiters, w)
	m.waits.Add(1)
	granted := m.grantLocked() // bytes may have become free since try
	m.mu.Unlock()
	for _, g := range granted {
		close(g.ready)
	}
	pressed()
	var err error
	select {
	case <-w.ready:
		err = w.err
	case <-ctx.Done():
		err = ctx.Err()
	case <-timeout:
		err = errMaxBlock
	}
	m.settle(w, &err, m.clock.Now().Sub(start))
	return err
}

// settle ends a wait. A grant that came at the same time as a cancel wins: the bytes are there.
func (m *memory) settle(w *memoryWaiter, err *error, waited time.Duration) {
	m.mu.Lock()
	m.waited += max(waited, 0)
	select {
	case <-w.ready:
		*err = w.err
		m.mu.Unlock()
		return
	default:
	}
	still := false
	for i, x := range m.waiters {
		if x == w {
			m.waiters = append(m.waiters[:i:i], m.waiters[i+1:]...)
			m.waits.Add(-1)
			still = true
			break
		}
	}
	if !still { // granted, and ready is about to be closed
		m.mu.Unlock()
		<-w.ready
		*err = w.err
		return
	}
	if *err == errMaxBlock {
		m.exhausted++
	}
	granted := m.grantLocked() // the one behind may want less
	m.mu.Unlock()
	for _, g := range granted {
		close(g.ready)
	}
}

// waiting reports whether anybody waits.
func (m *memory) waiting() bool { return m.waits.Load() > 0 }

// close fails all who wait, and all who will.
func (m *memory) close() {
	m.mu.Lock()
	m.closed = true
	all := m.waiters
	m.waiters = nil
	m.waits.Store(0)
	for _, w := range all {
		w.err = ErrClosed
	}
	m.mu.Unlock()
	for _, w := range all {
		close(w.ready)
	}
}

// bufferFor returns how many bytes of buffer memory a new batch takes whose first record needs need, header included.
func (p *Producer) bufferFor(need, class int) int {
	for class > 0 && (classSize(class) > p.memory.size/4 || classSize(class-1) >= p.cfg.BatchBytes) {
		class--
	}
	if c := classOf(need); c > class {
		class = c
	}
	if class == noPool || classOf(need) == noPool || classSize(class) > p.memory.size {
		return need
	}
	return classSize(class)
}

// giveBack returns bytes of buffer memory.
func (p *Producer) giveBack(n int) {
	if n > 0 {
		p.memory.release(n)
	}
}

// press is called when somebody waits for memory: batches that linger go now.
func (p *Producer) press() {
	if p.linger == 0 {
		return
	}
	p.eachLane(func(ln *lane) {
		ln.mu.Lock()
		ln.schedule()
		ln.mu.Unlock()
	})
}
