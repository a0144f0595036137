package partition

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// stickyBytes is how much goes to one partition before another is drawn: the default batch.size.
const stickyBytes = 16 << 10

// recordOverhead is about what a record takes beside its key and value.
const recordOverhead = 16

// StickyPartitioner ignores keys and stays with a partition of a topic until about a batch has gone to it; then it
// draws another one, uniformly. So batches are full and partitions equally loaded (KIP-480, KIP-794).
type StickyPartitioner struct {
	bytes  int64
	topics sync.Map // topic name → *stickyTopic
	last   atomic.Pointer[stickyTopic]

	mu  sync.Mutex // guards rng
	rng *rand.Rand
}

type stickyTopic struct {
	name  string
	mu    sync.Mutex   // one draw at a time
	state atomic.Int64 // partition, or −1 before the first draw
	sent  atomic.Int64 // bytes since the last draw
}

// Sticky returns a sticky partitioner for batches of 16 KiB.
func Sticky() *StickyPartitioner { return NewSticky(stickyBytes, rand.Uint64()) }

// NewSticky returns a sticky partitioner that changes partition after batchBytes, in an order that seed decides.
func NewSticky(batchBytes int, seed uint64) *StickyPartitioner {
	return &StickyPartitioner{bytes: int64(max(batchBytes, 1)), rng: rand.New(rand.NewPCG(seed, 0))}
}

// Partition returns the topic's current partition and counts the record to it.
func (s *StickyPartitioner) Partition(topic string, key, value []byte, n int32) int32 {
	if n <= 1 {
		return n - 1
	}
	t := s.last.Load()
	if t == nil || t.name != topic {
		t = s.topic(topic)
	}
	size := int64(len(key) + len(value) + recordOverhead)
	now := t.state.Load()
	if now >= 0 && now < int64(n) && t.sent.Add(size) < s.bytes+size {
		return int32(now) // the record that passes the bound still belongs to this batch
	}
	return s.draw(t, now, n, size)
}

func (s *StickyPartitioner) topic(name string) *stickyTopic {
	v, ok := s.topics.Load(name)
	if !ok {
		t := &stickyTopic{name: name}
		t.state.Store(-1)
		v, _ = s.topics.LoadOrStore(name, t)
	}
	t := v.(*stickyTopic)
	s.last.Store(t)
	return t
}

// draw chooses the partition after seen, unless another goroutine has done so meanwhile.
func (s *StickyPartitioner) draw(t *stickyTopic, seen int64, n int32, size int64) int32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := t.state.Load(); now != seen && now < int64(n) {
		t.sent.Add(size)
		return int32(now)
	}
	s.mu.Lock()
	next := s.rng.Int32N(n)
	s.mu.Unlock()
	t.state.Store(int64(next))
	t.sent.Store(size)
	return next
}
