package consumer

import (
	"context"
	"reflect"
	"runtime/debug"
)

// serve is a worker.
func (w *workers) serve() {
	r := new(run)
	w.mu.Lock()
	w.runs = append(w.runs, r)
	w.mu.Unlock()
	defer func() {
		if r.n > 0 { // the handler has ended the goroutine
			w.fail(w.handlerError(r.tasks[r.begun.Load()], errGoexit))
			r.begun.Add(1)
			w.settle(r)
		}
	}()
	for w.take(r) {
		w.perform(r)
		w.settle(r)
	}
}

// perform handles the records of a run, in order, until all are, or one has to be tried again that others are behind, or it has
// taken long enough for others to know.
func (w *workers) perform(r *run) {
	begin := w.clock.Now()
	at := begin
	for i := range r.n {
		t := r.tasks[i]
		if t.of.stopped.Load() {
			r.begun.Store(int32(i) + 1)
			continue
		}
		t.outcome = w.process(t)
		now := w.clock.Now()
		took := int64(now.Sub(at))
		r.took += took
		r.longest = max(r.longest, took)
		at = now
		r.begun.Store(int32(i) + 1)
		if t.outcome == taskDone {
			r.processed++
		}
		if t.outcome == taskAgain && r.lane != nil || now.Sub(begin) >= slow {
			return
		}
	}
}

// process handles one record, or buries it.
func (w *workers) process(t *task) outcome {
	if t.failure != nil {
		return w.forward(t)
	}
	rec := &t.rec
	var origin *retried
	if len(rec.Headers) > 0 {
		if origin = retriedOf(rec); origin != nil {
			rec = &origin.record
		}
	}
	err := call(t.of.ctx, w.handler, rec)
	if err == nil {
		return taskDone
	}
	if t.of.ctx.Err() != nil {
		return taskDropped // it was told to end
	}
	t.attempts++
	w.counters.failed(err)
	retriable := w.config.Retry.retriable(err)
	if retriable && t.attempts < w.config.Retry.Attempts {
		w.counters.retries.Add(1)
		t.due = w.clock.Now().Add(w.config.Retry.wait(t.attempts))
		w.tellFailed(t, err, TriedAgain, "")
		return taskAgain
	}
	t.failure = err
	t.final = !retriable
	return w.forward(t)
}

// call calls the handler. Everything that a handler does goes through it, so that inEvent can tell.
//
//go:noinline
func call(ctx context.Context, h Handler, r *Record) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if v := recover(); v != nil { // else the goroutine ends
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	err = h(ctx, *r)
	returned = true
	return err
}

var handlerEntry = reflect.ValueOf(call).Pointer()

// end ends the work and returns why it has. The reader does not have the turn any more.
func (w *workers) end(err error) error {
	c := w.consumer
	w.mu.Lock()
	w.stopping = true
	if w.failure != nil {
		err = w.failure
	}
	for _, tr := range w.trackers {
		tr.stopped.Store(true)
	}
	w.purge()
	w.arm() // stops it
	w.work.Broadcast()
	w.mu.Unlock()
	if c != nil {
		c.release() // a rebalance need not wait
	}
	if w.config.Grace != NoGrace {
		over := make(chan struct{})
		halt := w.clock.AfterFunc(w.config.Grace, func() { close(over) })
		select {
		case <-w.quiet:
		case <-over:
		}
		halt()
	}
	w.mu.Lock()
	w.sweep()
	w.tallyCut(func(*tracker) bool { return true })
	for _, tr := range w.trackers {
		tr.cursor = nil
	}
	if w.failure != nil {
		err = w.failure
	}
	w.mu.Unlock()
	w.cancel()
	if c != nil && c.member != nil && !c.member.hasLeft() {
		_ = c.member.lastCommit() // Events tell; if it fails, Close or the next one tries again
	}
	w.goroutines.Wait()
	if c != nil {
		c.unwind.Store(true)
	}
	return err
}

// rewindWork makes the next loop go on behind what the work before has finished. The caller has the turn.
func (c *Consumer) rewindWork() {
	for _, k := range c.cursors {
		k.tracker = nil
		if at := k.place(); at != k.position {
			k.jump(at)
		}
	}
}
