package consumer

import (
	"time"
)

// task is a record in flight. Who has it owns it: the reader until it is queued, then mu of workers guards it, and a
// worker has it while it is in its run.
type task struct {
	rec   Record
	of    *tracker
	seq   uint64 // in of
	after int64  // the offset behind it, gaps included
	hash  uint64 // of partition and key
	size  int
	next  *task

	attempts int   // failures in place
	failure  error // it only has to be forwarded now
	final    bool  // not to a retry topic
	forwards int   // failures of that
	due      time.Time
	outcome  outcome
}

// outcome is what came of a task in a worker's hands.
type outcome uint8

const (
	taskDropped outcome = iota // nothing that counts: its partition is given up, or the work stops
	taskDone                   // handled, or buried
	taskAgain                  // to be tried again when it is due
)

// taskList is a queue.
type taskList struct {
	head, tail *task
	n          int
}

func (l *taskList) push(t *task) {
	t.next = nil
	if l.tail == nil {
		l.head = t
	} else {
		l.tail.next = t
	}
	l.tail = t
	l.n++
}

func (l *taskList) pushFront(t *task) {
	t.next = l.head
	l.head = t
	if l.tail == nil {
		l.tail = t
	}
	l.n++
}

func (l *taskList) pop() *task {
	t := l.head
	if l.head = t.next; l.head == nil {
		l.tail = nil
	}
	t.next = nil
	l.n--
	return t
}

// purge takes out what match says and gives it to free.
func (l *taskList) purge(match func(*task) bool, free func(*task)) {
	all := *l
	*l = taskList{}
	for all.n > 0 {
		if t := all.pop(); match(t) {
			free(t)
		} else {
			l.push(t)
		}
	}
}

// lane is the queue of one key. It exists while the key has records in flight.
type lane struct {
	hash  uint64
	chain *lane // the next in its bucket
	next  *lane // in the queue of those that are ready, or of those that are free
	tasks taskList
	state laneState
}

type laneState uint8

const (
	laneFresh   laneState = iota // not seen by anybody
	laneReady                    // in the queue of those a worker may take
	laneRunning                  // a worker has its first records
	laneWaiting                  // its first record is to be tried again when it is due
)

// lanes finds a lane by its hash. Different keys with the same 64 bits share one, which costs time, not order.
type lanes struct {
	buckets []*lane // a power of two
	free    *lane
}

func newLanes(inFlight int) lanes {
	size := 64
	for size < 2*inFlight {
		size *= 2
	}
	return lanes{buckets: make([]*lane, size)}
}

// of returns the lane of a hash, made if need be.
func (s *lanes) of(hash uint64) *lane {
	bucket := &s.buckets[hash&uint64(len(s.buckets)-1)]
	for l := *bucket; l != nil; l = l.chain {
		if l.hash == hash {
			return l
		}
	}
	l := s.free
	if l == nil {
		l = new(lane)
	} else {
		s.free = l.next
	}
	*l = lane{hash: hash, chain: *bucket}
	*bucket = l
	return l
}

// drop forgets an empty lane.
func (s *lanes) drop(l *lane) {
	at := &s.buckets[l.hash&uint64(len(s.buckets)-1)]
	for *at != l {
		at = &(*at).chain
	}
	*at = l.chain
	*l = lane{next: s.free}
	s.free = l
}

// laneList is a queue of lanes.
type laneList struct{ head, tail *lane }

func (q *laneList) push(l *lane) {
	l.next, l.state = nil, laneReady
	if q.tail == nil {
		q.head = l
	} else {
		q.tail.next = l
	}
	q.tail = l
}

func (q *laneList) pop() *lane {
	l := q.head
	if q.head = l.next; q.head == nil {
		q.tail = nil
	}
	l.next = nil
	return l
}
