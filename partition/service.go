package partition

import (
	"io"
	"sync"
)

// services are the higher floors' single instances, in the order of their start.
type services struct {
	mu      sync.Mutex // guards all below; never held while start or Close of a service runs
	byName  map[string]*service
	started []*service
	closed  bool
}

type service struct {
	name  string
	ready chan struct{} // closed when start has returned
	inst  io.Closer
	err   error
}

// Service returns the store's only instance of a higher floor's service, calling start on first use. Concurrent
// callers of one name wait for the same start; a start that failed is tried again by the next call. Store.Close closes
// all instances, the last started first, while the store still takes appends.
func (s *Store) Service(name string, start func() (io.Closer, error)) (io.Closer, error) {
	v := &s.services
	v.mu.Lock()
	if v.closed {
		v.mu.Unlock()
		return nil, ErrClosed
	}
	if x := v.byName[name]; x != nil {
		v.mu.Unlock()
		<-x.ready
		return x.inst, x.err
	}
	x := &service{name: name, ready: make(chan struct{})}
	if v.byName == nil {
		v.byName = map[string]*service{}
	}
	v.byName[name] = x
	v.mu.Unlock()

	returned := false
	defer func() { // also when start panics, so that nobody waits for ever
		if !returned {
			x.err = ErrClosed
		}
		v.mu.Lock()
		if x.err != nil {
			delete(v.byName, name)
		} else {
			v.started = append(v.started, x)
		}
		v.mu.Unlock()
		close(x.ready)
	}()
	x.inst, x.err = start()
	returned = true
	return x.inst, x.err
}

// take ends the list: no service starts any more. It returns what was started, the last first.
func (v *services) take() []*service {
	v.mu.Lock()
	v.closed = true
	pending := make([]*service, 0, len(v.byName))
	for _, x := range v.byName {
		pending = append(pending, x)
	}
	v.mu.Unlock()
	for _, x := range pending {
		<-x.ready
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make([]*service, 0, len(v.started))
	for i := len(v.started) - 1; i >= 0; i-- {
		out = append(out, v.started[i])
	}
	v.started, v.byName = nil, nil
	return out
}
