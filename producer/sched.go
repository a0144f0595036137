package producer

import "sync"

// sched is the run queue of lanes that have something to append, and the count of the goroutines that do it. They
// exist only while the queue holds something or they are at work.
type sched struct {
	run func() // a sender's loop; it calls next, leave and enter
	max int

	mu          sync.Mutex // guards all below
	first, last *lane
	running     int           // senders that append: at most max
	alive       int           // goroutines, those that only deliver results included
	ended       chan struct{} // not nil once somebody waits for alive to become 0
}

// push queues a lane. It is called with the lane's mu held, and only if the lane is not queued.
func (s *sched) push(ln *lane) {
	s.mu.Lock()
	ln.nextQueued = nil
	if s.last == nil {
		s.first = ln
	} else {
		s.last.nextQueued = ln
	}
	s.last = ln
	start := s.running < s.max
	if start {
		s.running++
		s.alive++
	}
	s.mu.Unlock()
	if start {
		go s.run()
	}
}

// next returns the lane that has waited longest. If there is none, the sender has ended and its goroutine returns.
func (s *sched) next() *lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ln := s.popLocked(); ln != nil {
		return ln
	}
	s.running--
	s.endLocked()
	return nil
}

func (s *sched) popLocked() *lane {
	ln := s.first
	if ln != nil {
		s.first, ln.nextQueued = ln.nextQueued, nil
		if s.first == nil {
			s.last = nil
		}
	}
	return ln
}

// leave makes room for another sender, while this one runs callers' functions, which may wait for other senders.
func (s *sched) leave() {
	s.mu.Lock()
	start := s.first != nil
	if start {
		s.alive++
	} else {
		s.running--
	}
	s.mu.Unlock()
	if start {
		go s.run()
	}
}

// enter is the way back: it returns a lane to drain, or nil if the goroutine is not needed and has ended.
func (s *sched) enter() *lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running < s.max {
		if ln := s.popLocked(); ln != nil {
			s.running++
			return ln
		}
	}
	s.endLocked()
	return nil
}

func (s *sched) endLocked() {
	s.alive--
	if s.alive == 0 && s.ended != nil {
		close(s.ended)
		s.ended = nil
	}
}

// crowded reports whether lanes wait for a sender.
func (s *sched) crowded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first != nil
}

// wait returns a channel that is closed when no sender is left. It is called once, when nothing is pushed any more.
func (s *sched) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := make(chan struct{})
	if s.alive == 0 {
		close(c)
	} else {
		s.ended = c
	}
	return c
}
