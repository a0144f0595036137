package consumer

import (
	"container/heap"
	"sync/atomic"
	"time"
)

// maxRun is how many records a worker takes at a time, if they are quick; slow is after how long it tells what is done, and gives the rest
// back for others to take.
const (
	maxRun = 64
	slow   = time.Millisecond
)

// run is what a worker has in its hands.
type run struct {
	lane  *lane // nil for records without an order
	tasks [maxRun]*task
	n     int
	// begun is how many of tasks have an outcome. The worker moves it without mu, behind the outcome, so that who has mu may
	// look at what is done before the run is over; swept is how many have been looked at.
	begun atomic.Int32
	swept int

	processed, took, longest int64
}

// queue takes what the reader has read and makes it everybody's. It gives the reader free tasks for more, as far as there
// is room.
func (w *workers) queue() {
	w.mu.Lock()
	defer w.mu.Unlock()
	added := 0
	for w.batch.n > 0 {
		t := w.batch.pop()
		tr := t.of
		tr.last = nil
		if tr.stopped.Load() {
			if tr.refused < 0 {
				tr.refused, w.refused = t.rec.Offset, true
			}
			w.clear(t)
			continue
		}
		tr.add(t)
		w.inFlight++
		w.bytes += t.size
		w.enqueue(t)
		added++
	}
	w.rouse(added)
	w.batchBytes = 0
	for room := min(maxRun, w.config.MaxInFlight-w.inFlight); w.spare.n < room; {
		w.spare.push(w.freeTask())
	}
	w.roomBytes = w.config.MaxInFlightBytes - w.bytes
}

// enqueue puts a task where it waits for a worker. The caller has mu.
func (w *workers) enqueue(t *task) {
	if w.config.Unordered || t.rec.Key == nil {
		w.loose.push(t)
		return
	}
	l := w.lanes.of(t.hash)
	l.tasks.push(t)
	if l.state == laneFresh {
		w.ready.push(l)
	}
}

// rouse wakes workers that wait, at most n. The caller has mu.
func (w *workers) rouse(n int) {
	for range min(n, w.idle) {
		w.work.Signal()
	}
}

// take fills r with what the worker does next, and waits for it. It returns false when the worker is to end.
func (w *workers) take(r *run) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		if w.stopping {
			return false
		}
		w.toggle = !w.toggle
		switch loose := w.loose.n > 0; {
		case loose && (w.toggle || w.ready.head == nil):
			r.lane = nil
			w.fill(r, &w.loose, min(max(1, w.loose.n/(2*w.config.Workers)), w.stride))
			return true
		case w.ready.head != nil:
			l := w.ready.pop()
			if l.tasks.n == 0 { // purged
				w.lanes.drop(l)
				continue
			}
			l.state = laneRunning
			r.lane = l
			w.fill(r, &l.tasks, min(l.tasks.n, w.stride))
			return true
		}
		w.idle++
		w.work.Wait()
		w.idle--
	}
}

func (w *workers) fill(r *run, from *taskList, n int) {
	r.n, r.swept, r.processed, r.took, r.longest = n, 0, 0, 0, 0
	r.begun.Store(0)
	for i := range n {
		t := from.pop()
		t.of.taken++
		t.outcome = taskDropped
		r.tasks[i] = t
	}
	w.running += n
}

// settle takes back what a worker had: what it has begun has an outcome, the rest is for whoever takes it.
func (w *workers) settle(r *run) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sweepRun(r)
	begun := int(r.begun.Load())
	for i := r.n - 1; i >= begun; i-- { // from behind, so that they come back in order
		switch t := r.tasks[i]; {
		case t.of.stopped.Load():
			w.put(t)
		case r.lane != nil:
			r.lane.tasks.pushFront(t)
			t.of.put()
		default:
			w.loose.pushFront(t)
			t.of.put()
		}
		r.tasks[i] = nil
	}
	var retried *task
	for i, t := range r.tasks[:begun] {
		if t.outcome == taskAgain && !t.of.stopped.Load() {
			retried = t
			t.of.put()
			w.wait(waiter{due: t.due, lane: r.lane, task: t})
		} else {
			w.put(t)
		}
		r.tasks[i] = nil
	}
	w.running -= r.n
	w.handled += int64(begun)
	if l := r.lane; l != nil {
		switch {
		case retried != nil:
			l.tasks.pushFront(retried)
			l.state = laneWaiting
		case l.tasks.n > 0:
			w.ready.push(l)
		default:
			w.lanes.drop(l)
		}
	}
	if w.idle > 0 && (w.ready.head != nil || w.loose.n > 0) {
		w.rouse(1)
	}
	w.counters.tally(r)
	switch took := time.Duration(r.took); {
	case took >= slow:
		w.stride = max(1, w.stride/2)
	case took < slow/4 && begun == w.stride:
		w.stride = min(2*w.stride, maxRun)
	}
	r.n = 0
	w.tellReader()
}

// sweepRun finishes what is done of a run. The caller has mu.
func (w *workers) sweepRun(r *run) {
	begun := int(r.begun.Load())
	for _, t := range r.tasks[r.swept:begun] {
		if t.outcome == taskDone {
			t.of.finish(t)
		}
	}
	for i, t := range r.tasks[r.swept:begun] {
		if r.swept+i+1 == begun || r.tasks[r.swept+i+1].of != t.of {
			t.of.advance()
		}
	}
	r.swept = begun
}

// sweep finishes what is done of runs that are not over, before somebody looks at how far all is finished. The caller has
// mu.
func (w *workers) sweep() {
	for _, r := range w.runs {
		if r.n > 0 {
			w.sweepRun(r)
		}
	}
}

// put takes a task that was in a worker's hands out of flight. The caller has mu.
func (w *workers) put(t *task) {
	tr := t.of
	w.release(t)
	tr.put()
}

// put notes that a worker has a task less in its hands.
func (tr *tracker) put() {
	if tr.taken--; tr.taken == 0 {
		for _, d := range tr.drainage {
			d.less()
		}
		tr.drainage = nil
	}
}

// release takes a task out of flight. The caller has mu.
func (w *workers) release(t *task) {
	w.inFlight--
	w.bytes -= t.size
	w.clear(t)
}

func (w *workers) clear(t *task) {
	*t = task{} // its bytes are the host's, or garbage
	w.free.push(t)
}

// freeTask returns an unused task. The caller has mu.
func (w *workers) freeTask() *task {
	if w.free.n == 0 {
		slab := make([]task, maxRun)
		for i := range slab {
			w.free.push(&slab[i])
		}
	}
	return w.free.pop()
}

// purge takes everything out of the queues that is not to begin any more. The caller has mu.
func (w *workers) purge() {
	stopped := func(t *task) bool { return t.of.stopped.Load() }
	w.loose.purge(stopped, w.release)
	for _, l := range w.lanes.buckets {
		for ; l != nil; l = l.chain {
			l.tasks.purge(stopped, w.release)
		}
	}
	kept := w.waiters[:0]
	for _, x := range w.waiters {
		switch {
		case x.lane == nil && x.task.of.stopped.Load():
			w.release(x.task)
		case x.lane != nil && (x.lane.tasks.n == 0 || x.lane.tasks.head != x.task):
			w.ready.push(x.lane) // for whoever is behind the one that waited
		default:
			kept = append(kept, x)
		}
	}
	clear(w.waiters[len(kept):])
	w.waiters = kept
	heap.Init(&w.waiters)
	w.rouse(w.idle)
	w.tellReader()
}

// waiter is a record that is to be tried again, with its lane if it has one.
type waiter struct {
	due  time.Time
	lane *lane
	task *task
}

type waiters []waiter

func (h waiters) Len() int           { return len(h) }
func (h waiters) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h waiters) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *waiters) Push(x any)        { *h = append(*h, x.(waiter)) }
func (h *waiters) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = waiter{}
	*h = old[:len(old)-1]
	return x
}

// wait lets a record wait until it is due. There is one timer for all. The caller has mu.
func (w *workers) wait(x waiter) {
	heap.Push(&w.waiters, x)
	if w.waiters[0].task == x.task {
		w.arm()
	}
}

// arm sets the timer to the first that is due. The caller has mu.
func (w *workers) arm() {
	if w.halt != nil {
		w.halt()
		w.halt = nil
	}
	if len(w.waiters) > 0 && !w.stopping {
		w.halt = w.clock.AfterFunc(w.waiters[0].due.Sub(w.clock.Now()), w.ring)
	}
}

// ring makes what is due ready.
func (w *workers) ring() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.clock.Now()
	for len(w.waiters) > 0 && !w.waiters[0].due.After(now) {
		x := heap.Pop(&w.waiters).(waiter)
		if x.lane != nil {
			w.ready.push(x.lane)
		} else {
			w.loose.pushFront(x.task)
		}
		w.rouse(1)
	}
	w.arm()
}
