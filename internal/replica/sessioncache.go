package replica

import (
	"maps"
	"slices"
	"time"
)

const (
	// DefaultSessionSlots is max.incremental.fetch.session.cache.slots.
	DefaultSessionSlots = 1000
	// DefaultSessionIdle is how long a session may be idle before another may have its slot.
	DefaultSessionIdle = 120 * time.Second
)

// SessionCacheConfig bounds a SessionCache.
type SessionCacheConfig struct {
	Slots int           // 0: DefaultSessionSlots
	Idle  time.Duration // 0: DefaultSessionIdle
	// Seed makes the ids. It must be another one after each start of the process, so that a session of before is not taken for one of now.
	Seed uint64
}

// SessionCache has the sessions of a node's followers: at most one for each follower, as one goroutine fetches from a node.
type SessionCache struct {
	config   SessionCacheConfig
	sessions map[int32]*FetchSession
	drawn    uint64
	evicted  uint64
}

// NewSessionCache returns an empty cache.
func NewSessionCache(c SessionCacheConfig) *SessionCache {
	if c.Slots <= 0 {
		c.Slots = DefaultSessionSlots
	}
	if c.Idle <= 0 {
		c.Idle = DefaultSessionIdle
	}
	return &SessionCache{config: c, sessions: map[int32]*FetchSession{}}
}

// Request finds or makes the session of a request and takes over what it says (04 §2.2). changed is called with each partition that the
// request names, gone with each that is in no session any more. With a code other than None the request is refused, and the follower
// begins again with a full request. A session with id 0 is for this request only.
func (c *SessionCache) Request(req *FetchRequest, now time.Duration, changed, gone func(*SessionPartition)) (*FetchSession, Code) {
	if req.SessionEpoch == FirstEpoch || req.SessionEpoch == FinalEpoch {
		// All of its sessions go, not only the one it names: a full request that was long on its way, over a connection given up, tells of
		// positions of the past. What the follower does next is refused then, and it tells of the present.
		c.Drop(req.Node, gone)
		s := &FetchSession{node: req.Node, under: req.BrokerEpoch, parts: make(map[TopicPartition]*SessionPartition, len(req.Partitions)), used: now, made: now}
		if req.SessionEpoch == FirstEpoch && len(req.Partitions) > 0 && c.room(now, len(req.Partitions), gone) {
			s.id, s.epoch = c.draw(), 1
			c.sessions[s.id] = s
		}
		s.update(req, changed, gone)
		return s, None
	}
	s := c.sessions[req.SessionID]
	switch {
	case s == nil || s.node != req.Node || s.under != req.BrokerEpoch: // a node that has registered anew says everything again: else nobody would hear of its epoch for an idle partition
		return nil, FetchSessionIDNotFound
	case s.epoch != req.SessionEpoch:
		return nil, InvalidFetchSessionEpoch
	}
	s.epoch = nextSessionEpoch(s.epoch)
	s.used = max(s.used, now)
	s.update(req, changed, gone)
	return s, None
}

// Drop removes all sessions of a node that has started anew or is gone.
func (c *SessionCache) Drop(node NodeID, gone func(*SessionPartition)) {
	for _, id := range slices.Sorted(maps.Keys(c.sessions)) {
		if s := c.sessions[id]; s.node == node {
			c.drop(s, gone)
		}
	}
}

// Len is the number of sessions, Evicted how many had to make room for others.
func (c *SessionCache) Len() int { return len(c.sessions) }

// Evicted counts sessions that lost their slot to another.
func (c *SessionCache) Evicted() uint64 { return c.evicted }

// room makes a slot free for a session of size partitions if one can be had: of the session that has been idle longest, if it has been for
// Idle; else of the smallest, if it is smaller than the new one and has had its slot for Idle.
func (c *SessionCache) room(now time.Duration, size int, gone func(*SessionPartition)) bool {
	if len(c.sessions) < c.config.Slots {
		return true
	}
	var oldest, smallest *FetchSession
	for _, id := range slices.Sorted(maps.Keys(c.sessions)) {
		s := c.sessions[id]
		if oldest == nil || s.used < oldest.used {
			oldest = s
		}
		if now-s.made >= c.config.Idle && s.Len() < size && (smallest == nil || s.Len() < smallest.Len()) {
			smallest = s
		}
	}
	victim := smallest
	if now-oldest.used >= c.config.Idle {
		victim = oldest
	}
	if victim == nil {
		return false
	}
	c.drop(victim, gone)
	c.evicted++
	return true
}

func (c *SessionCache) drop(s *FetchSession, gone func(*SessionPartition)) {
	delete(c.sessions, s.id)
	s.closed = true
	for _, tp := range slices.SortedFunc(maps.Keys(s.parts), comparePartitions) {
		p := s.parts[tp]
		s.unlink(p)
		gone(p)
	}
	clear(s.parts)
}

// draw returns an id that is not in use and has not been for long: positive, and not a number that a process of before has likely drawn.
func (c *SessionCache) draw() int32 {
	for {
		c.drawn++
		// The finalizer of SplitMix64.
		z := c.config.Seed + c.drawn*0x9e3779b97f4a7c15
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		id := int32((z ^ z>>31) & 0x7fffffff)
		if id != 0 && c.sessions[id] == nil {
			return id
		}
	}
}
