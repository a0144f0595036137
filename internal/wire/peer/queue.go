package peer

import "sync"

// message waits to be sent one way.
type message struct {
	kind uint8
	body []byte
}

// queue holds a peer's messages, also while there is no connection. When it is full the oldest goes: a newer one says more.
type queue struct {
	mu       sync.Mutex // guards all below
	maxCount int
	maxBytes int64
	waiting  []message
	bytes    int64
	sent     uint64
	dropped  uint64
}

func (q *queue) push(m message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, m)
	q.bytes += int64(len(m.body))
	for len(q.waiting) > q.maxCount || q.bytes > q.maxBytes && len(q.waiting) > 1 {
		q.bytes -= int64(len(q.waiting[0].body))
		q.waiting[0] = message{}
		q.waiting = q.waiting[1:]
		q.dropped++
	}
}

// pop returns the oldest message that is waiting.
func (q *queue) pop() (m message, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return m, false
	}
	m = q.waiting[0]
	q.waiting[0] = message{}
	q.waiting = q.waiting[1:]
	if len(q.waiting) == 0 {
		q.waiting = nil
	}
	q.bytes -= int64(len(m.body))
	q.sent++
	return m, true
}

// clear forgets what is waiting.
func (q *queue) clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropped += uint64(len(q.waiting))
	q.waiting, q.bytes = nil, 0
}

func (q *queue) counts() (waiting int, sent, dropped uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting), q.sent, q.dropped
}
