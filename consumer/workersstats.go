package consumer

import (
	"sync/atomic"
	"time"
)

// WorkEvents are functions that work calls when something happens to a record that no call returns. Each may be nil. Workers
// call them at the same time; what they wait for, the worker waits for.
type WorkEvents struct {
	// Failed tells of every attempt that failed, and what comes of it; also of a *ForwardError.
	Failed func(Failure)

	// Skipped tells of an error that reading has gone behind: damage (Config.OnCorruption), a *TruncationError. On the
	// goroutine of Work.
	Skipped func(error)
}

// Failure is a failed attempt.
type Failure struct {
	Record  Record // as it was read
	Attempt int    // which one, those before it came from a retry topic included
	Err     error
	Next    Next
	To      string // the topic, if it has one
}

// Next is what comes of a failed attempt.
type Next uint8

const (
	TriedAgain Next = iota // in place, after a wait
	Delayed                // written to a retry topic
	Buried                 // written to the dead-letter topic
	Stopped                // the work ends
)

// String is for people.
func (n Next) String() string { return [...]string{"tried again", "delayed", "buried", "stopped"}[n] }

func (w *workers) tellFailed(t *task, err error, next Next, to string) {
	if tell := w.config.Events.Failed; tell != nil {
		f := Failure{Record: t.rec, Attempt: w.attemptsOf(t), Err: err, Next: next, To: to}
		event(func() { tell(f) })
	}
}

func (w *workers) tellSkipped(err error) {
	if tell := w.config.Events.Skipped; tell != nil {
		event(func() { tell(err) })
	}
}

// WorkStats is Work's part of Stats: everything since the consumer was made, and what is in flight now. A rate is the
// difference of two snapshots over the time between.
type WorkStats struct {
	Processed   int64         // records that a handler, or a dead letter, has done with
	ProcessTime time.Duration // in handlers and forwarding, in all
	MaxTime     time.Duration // of one record

	// Failed attempts by what went wrong.
	HandlerErrors, DecodeErrors, Panics int64

	Retries       int64 // attempts to come in place
	Delayed       int64 // records written to retry topics
	DeadLetters   int64 // records written to the dead-letter topic
	ForwardErrors int64 // failures to write either
	Cancelled     int64 // records whose handler was cut off because WorkConfig.Grace was over; with NoGrace, those that were being handled

	InFlight, InFlightBytes int // read and not done
	Running                 int // of InFlight, in workers' hands
	Waiting                 int // of InFlight, to be tried again when they are due
}

// workCounters outlive the Work that counts.
type workCounters struct {
	processed, processTime, maxTime     atomic.Int64
	handlerErrors, decodeErrors, panics atomic.Int64
	retries, delayed, deadLetters       atomic.Int64
	forwardErrors, cancelled            atomic.Int64
}

// tally adds a run. The caller has mu of workers.
func (s *workCounters) tally(r *run) {
	s.processed.Add(r.processed)
	s.processTime.Add(r.took)
	if r.longest > s.maxTime.Load() {
		s.maxTime.Store(r.longest)
	}
}

func (s *workCounters) failed(err error) {
	switch kindOf(err) {
	case DecodeFailed:
		s.decodeErrors.Add(1)
	case HandlerPanicked:
		s.panics.Add(1)
	default:
		s.handlerErrors.Add(1)
	}
}

func (s *workCounters) forwarded(n Next) {
	if n == Delayed {
		s.delayed.Add(1)
	} else {
		s.deadLetters.Add(1)
	}
}

// tallyCut counts the records that workers are at and that will not count any more. The caller has mu, and has swept.
func (w *workers) tallyCut(cut func(*tracker) bool) {
	for _, r := range w.runs {
		if at := int(r.begun.Load()); at < r.n && r.tasks[at].of.cursor != nil && cut(r.tasks[at].of) {
			w.counters.cancelled.Add(1)
		}
	}
}

// workStats is a snapshot.
func (c *Consumer) workStats() WorkStats {
	s := &c.worked
	stats := WorkStats{
		Processed: s.processed.Load(), ProcessTime: time.Duration(s.processTime.Load()), MaxTime: time.Duration(s.maxTime.Load()),
		HandlerErrors: s.handlerErrors.Load(), DecodeErrors: s.decodeErrors.Load(), Panics: s.panics.Load(),
		Retries: s.retries.Load(), Delayed: s.delayed.Load(), DeadLetters: s.deadLetters.Load(),
		ForwardErrors: s.forwardErrors.Load(), Cancelled: s.cancelled.Load(),
	}
	if w := c.workers.Load(); w != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		stats.InFlight, stats.InFlightBytes, stats.Running, stats.Waiting = w.inFlight, w.bytes, w.running, len(w.waiters)
	}
	return stats
}

// progress says how many attempts have been made, and whether reading waits for nothing but records that wait for their
// next attempt: then no handler is late.
func (w *workers) progress() (done int64, resting bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.handled, w.inFlight > 0 && w.running == 0 && w.loose.n == 0 && w.ready.head == nil
}
