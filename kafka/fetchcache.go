package kafka

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

// fetchCache holds the fetch sessions of a server (KIP-227): what a client fetches from is told once, and then only what
// changes. It is bounded (max.incremental.fetch.session.cache.slots); a client without a session fetches all the same.
type fetchCache struct {
	server *Server

	mu       sync.Mutex // guards all below, and created, used and size of sessions
	sessions map[int32]*fetchSession
	random   *rand.Rand
	evicted  int64
}

// fetchSession is one client's incremental fetch. It belongs to nobody's connection.
type fetchSession struct {
	id      int32
	usesIDs bool // of topics: Fetch 13
	created time.Duration
	used    time.Duration
	size    int // how many partitions it had when it was used last

	mu    sync.Mutex // guards all below; not held while a fetch waits
	epoch int32      // that the next request has
	parts map[cachedKey]*cachedPartition
	ring  cachedPartition // the list of parts, in the order in which they are tried: those that had data last go last
}

// cachedKey names a partition of a session: by its topic's id if the session uses ids, else by name.
type cachedKey struct {
	name      string
	id        partition.TopicID
	partition int32
}

// cachedPartition is what a session remembers of a partition.
type cachedPartition struct {
	key        cachedKey
	prev, next *cachedPartition
	want       fetchWant

	highWatermark, logStart int64 // last told; -1: nothing
}

// fetchWant is what a client wants of one partition.
type fetchWant struct {
	offset       int64
	maxBytes     int32
	leaderEpoch  int32
	fetchedEpoch int32
}

// evictAfter is for how long a session without use is kept, and one in use safe from larger ones.
const evictAfter = 2 * time.Minute

func (c *fetchCache) now() time.Duration { return clock.Elapsed(c.server.clock) }

// find returns a session and marks it as used; nil if there is none.
func (c *fetchCache) find(id int32) *fetchSession {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sessions[id]
	if s != nil {
		s.used = c.now()
	}
	return s
}

// remove ends a session, if there is one with this id.
func (c *fetchCache) remove(id int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sessions, id)
}

// resized notes how many partitions a session has now.
func (c *fetchCache) resized(s *fetchSession, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.size = size
}

// add gives s an id and keeps it, if there is a place or a less valuable session to take one from: one that has not been
// used for evictAfter, else the smallest that has lived for as long, if s has more partitions.
func (c *fetchCache) add(s *fetchSession, slots int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if len(c.sessions) >= slots && !c.evictLocked(len(s.parts), now) {
		return false
	}
	if c.sessions == nil {
		c.sessions = map[int32]*fetchSession{}
		c.random = rand.New(rand.NewPCG(c.server.config.Seed, 227))
	}
	for s.id == 0 || c.sessions[s.id] != nil {
		s.id = c.random.Int32()
	}
	s.created, s.used, s.size = now, now, len(s.parts)
	c.sessions[s.id] = s
	return true
}

func (c *fetchCache) evictLocked(size int, now time.Duration) bool {
	var oldest, smallest *fetchSession
	for _, s := range c.sessions {
		if oldest == nil || s.used < oldest.used || s.used == oldest.used && s.id < oldest.id {
			oldest = s
		}
		if now-s.created > evictAfter && (smallest == nil || s.size < smallest.size || s.size == smallest.size && s.id < smallest.id) {
			smallest = s
		}
	}
	switch {
	case oldest == nil:
		return false
	case now-oldest.used > evictAfter:
		delete(c.sessions, oldest.id)
	case smallest != nil && size > smallest.size:
		delete(c.sessions, smallest.id)
	default:
		return false
	}
	c.evicted++
	return true
}

// figures are for Stats.
func (c *fetchCache) figures() (sessions int, evicted int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sessions), c.evicted
}

func newFetchSession(usesIDs bool) *fetchSession {
	s := &fetchSession{usesIDs: usesIDs, epoch: 1, parts: map[cachedKey]*cachedPartition{}}
	s.ring.prev, s.ring.next = &s.ring, &s.ring
	return s
}

// put adds a partition, or changes what is wanted of it.
func (s *fetchSession) put(key cachedKey, want fetchWant) *cachedPartition {
	p := s.parts[key]
	if p == nil {
		p = &cachedPartition{key: key, highWatermark: -1, logStart: -1}
		s.parts[key] = p
		s.append(p)
	}
	p.want = want
	return p
}

func (s *fetchSession) forget(key cachedKey) {
	if p := s.parts[key]; p != nil {
		p.unlink()
		delete(s.parts, key)
	}
}

// append makes p the last to be tried.
func (s *fetchSession) append(p *cachedPartition) {
	p.prev, p.next = s.ring.prev, &s.ring
	p.prev.next, p.next.prev = p, p
}

func (p *cachedPartition) unlink() { p.prev.next, p.next.prev = p.next, p.prev }

// nextEpoch is the session epoch that follows e: never 0 or -1, which mean something else.
func nextEpoch(e int32) int32 {
	if e <= 0 || e == 1<<31-1 {
		return 1
	}
	return e + 1
}
