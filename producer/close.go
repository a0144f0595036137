package producer

import (
	"fmt"
	"time"
)

// closeGrace is how long Close waits, after it has given up the last records, for backends that do not heed a context
// and for callbacks that do not return.
const closeGrace = 5 * time.Second

// Close refuses new records, flushes, and ends all goroutines of the producer. Records that have no result after
// DeliveryTimeout get a *DeliveryTimeoutError. If any record fails while Close waits, it returns a *CloseError. Calling
// it again waits for the same and returns the same. In a callback it waits for the records, but neither for callbacks
// nor for the goroutines, of which it is itself one, and returns nil.
//
// A transaction that is open goes on without further records, and its Transact ends it: it commits if nothing that was
// sent has been refused. Close does not wait for its function. What an earlier Transact could not end Close tries to end.
func (p *Producer) Close() error {
	p.closing.Do(func() { go p.shut() })
	if inCallback() {
		<-p.refused
		select {
		case <-p.flush(false):
		case <-p.closeDone:
		}
		return nil
	}
	<-p.closeDone
	return p.closeErr
}

// CloseError says what Close left behind.
type CloseError struct {
	Records uint64        // that failed meanwhile; each has had its result
	Waited  time.Duration // for the others at most
	Stuck   bool          // an append or a callback is still running, on a goroutine that ends with it
}

// Error says how many records failed.
func (e *CloseError) Error() string {
	s := fmt.Sprintf("close producer: %d records failed or were not acknowledged within %s", e.Records, e.Waited)
	if e.Stuck {
		s += ", and an append or a callback is still running"
	}
	return s
}

// shut is Close, on a goroutine of its own, so that a callback may call it.
func (p *Producer) shut() {
	defer close(p.closeDone)
	p.refuseAll()
	close(p.refused)
	before := p.failures()
	late := p.within(p.cfg.DeliveryTimeout, p.flush(true))
	if late {
		p.eachLane(func(ln *lane) { ln.expire(p.cfg.Clock.Now(), 0) })
	}
	p.settleAtClose()
	p.endWatch()
	p.endLife()
	ended := make(chan struct{})
	senders := p.sched.wait()
	p.tasksMu.Lock()
	p.tasksEnded = true
	p.tasksMu.Unlock()
	go func() {
		<-senders
		p.tasks.Wait()
		close(ended)
	}()
	stuck := false
	if late || p.failures() > before {
		stuck = p.within(closeGrace, ended)
	} else {
		<-ended
	}
	if n := p.failures() - before; n > 0 || stuck {
		p.closeErr = &CloseError{Records: n, Waited: p.cfg.DeliveryTimeout, Stuck: stuck}
	}
}

// failures returns how many accepted records have failed.
func (p *Producer) failures() (n uint64) {
	p.topicsMu.Lock()
	defer p.topicsMu.Unlock()
	n = p.forgotten.Failed
	p.eachLane(func(ln *lane) {
		ln.mu.Lock()
		n += ln.count.failed
		ln.mu.Unlock()
	})
	return n
}

// within waits for c, and reports whether d was over first.
func (p *Producer) within(d time.Duration, c <-chan struct{}) bool {
	late := make(chan struct{})
	stop := p.cfg.Clock.AfterFunc(d, func() { close(late) })
	defer stop()
	select {
	case <-c:
		return false
	case <-late:
		return true
	}
}

// refuseAll makes every call from now on ErrClosed, also those that wait for memory.
func (p *Producer) refuseAll() {
	p.closed.Store(true)
	p.eachLane(func(ln *lane) {
		ln.mu.Lock()
		ln.closed = true
		ln.flushTo = ln.accepted
		if ln.lingering != nil {
			ln.lingering()
			ln.lingering = nil
		}
		ln.schedule()
		ln.mu.Unlock()
	})
	p.memory.close()
}
