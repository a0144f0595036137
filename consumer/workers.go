package consumer

import (
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"sync"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

// Handler handles one record. Nil means done; an error, or a panic, is for WorkConfig.Retry and WorkConfig.DeadLetter. Many
// run at the same time. The record's bytes are the handler's. A record that comes from a retry topic is shown as it was in
// the topic that it was first read from.
//
// ctx has the values of Work's; it is cancelled when the result will not count any more: the partition is lost, or
// WorkConfig.Grace is over. What is handled then is handled again, by whoever has the partition next.
type Handler func(ctx context.Context, r Record) error

// Typed makes a Handler of one whose key and value are decoded. A record that cannot be decoded fails with a
// *DecodeError, which is never tried again: it goes to the dead letters, undecoded.
func Typed[K, V any](key Decoder[K], value Decoder[V], h func(ctx context.Context, r TypedRecord[K, V]) error) Handler {
	envelopes := sync.Pool{New: func() any { return new(Envelope) }}
	return func(ctx context.Context, r Record) error {
		at := envelopes.Get().(*Envelope)
		typed, err := decode(at, r, key, value)
		*at = Envelope{}
		envelopes.Put(at)
		if err != nil {
			return err
		}
		return h(ctx, typed)
	}
}

// Work handles the consumer's records in parallel until it ends as a loop over Records does: with ctx's error, ErrClosed,
// *ExpelledError, ...; nil when all bounds are reached and everything is done. It is the consumer's loop: meanwhile
// there is no other.
//
// Records of one key in one partition are handled one after the other, in offset order; different keys, and records with
// a null key, in parallel (WorkConfig.Unordered: all of them). What is finished of a partition, and so committed as
// Config.Commit says, is the longest prefix of its records that is done: handled without an error, or written to a
// retry or dead-letter topic. So a crash repeats records that were done behind one that was not; it skips none.
//
// A record that fails and has nowhere to go ends the work: *HandlerError, *ForwardError. When the work ends, or
// the consumer is closed, no more handlers begin; those that run have WorkConfig.Grace to finish, then what is finished is
// committed (unless Config.Commit is CommitManual). Work waits for its handlers: one that ignores its ctx holds it up. After it, the
// consumer goes on, in another Work or loop, behind what is finished.
//
// In a rebalance only the partitions that the member gives up are stopped, in the same way; the others' records are handled
// all the while. A member is expelled (max.poll.interval) if for so long no handler finishes and reading waits for them.
//
// Damage that Config.OnCorruption goes behind, and lost tails, are told by WorkEvents.Skipped. In a handler, Commit
// commits the finished prefix, without the record in hand, and Close only begins. Nothing is allocated per record.
func Work(ctx context.Context, c *Consumer, h Handler, config WorkConfig) (err error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return fmt.Errorf("work: %w", err)
	}
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	stop, err := c.begin(reading)
	if err != nil {
		return err
	}
	if config.Group == "" && c.member != nil {
		config.Group = c.member.group.ID()
	}
	config.Clock = c.clock
	w := newWorkers(ctx, h, config, &c.worked)
	w.consumer, w.interrupt = c, stopReading
	c.workers.Store(w)
	w.start()
	defer func() {
		err = w.end(err)
		c.workers.Store(nil)
		c.finish(stop)
	}()
	c.holding = true
	for {
		if err = w.read(reading); err != io.EOF {
			return err
		}
		empty, err := w.sleep(reading, true)
		if err == nil && empty && c.member != nil {
			empty, err = c.member.finish(reading, true)
		}
		if err != nil || empty {
			return err
		}
	}
}

// WorkBatch handles records, which may come from a Poll, in parallel and returns when all of them are done: handled, or
// written to a retry or dead-letter topic. It knows no consumer, so it commits nothing. Its use is the body of a
// transaction, with the Tx as WorkConfig.Forwarder, so that results, dead letters and offsets are one:
//
//	records, err := c.Poll(ctx)
//	...
//	err = p.TransactFrom(ctx, c, func(tx *producer.Tx) error {
//		return consumer.WorkBatch(ctx, records, handler(tx), consumer.WorkConfig{DeadLetter: "dead", Forwarder: tx})
//	})
//
// Order, retries and panics are as in Work. After an error, which is ctx's, *HandlerError or *ForwardError, some of the
// records have been handled: abort, or handle all of them again. With retry topics, set Config.HoldRetries. Bounds of
// records in flight have no meaning: they are in memory.
func WorkBatch(ctx context.Context, records []Record, h Handler, config WorkConfig) error {
	config = config.withDefaults()
	config.MaxInFlight, config.MaxInFlightBytes = max(1, len(records)), 1
	if err := config.validate(); err != nil {
		return fmt.Errorf("work: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err // else some, or all, might be handled before anybody looks
	}
	if config.Clock == nil {
		config.Clock = clock.System
	}
	config.Workers = max(1, min(config.Workers, len(records)))
	interrupted, interrupt := context.WithCancel(ctx)
	defer interrupt()
	w := newWorkers(ctx, h, config, new(workCounters))
	w.interrupt = interrupt
	w.start()
	var tr *tracker
	trackers := make(map[partition.TopicPartition]*tracker)
	for i := range records {
		tp := partition.TopicPartition{Topic: records[i].Topic, Partition: records[i].Partition}
		if tr == nil || tr.tp != tp {
			if tr = trackers[tp]; tr == nil {
				tr = w.track(newCursor(tp, partition.TopicID{}, 0, noBound))
				trackers[tp] = tr
			}
		}
		if w.spare.n == 0 {
			w.queue()
		}
		t := w.spare.pop()
		t.rec = records[i]
		w.add(t, tr)
	}
	w.queue()
	_, err := w.sleep(interrupted, true)
	return w.end(err)
}

// workers is one Work or WorkBatch: a reader, which is the goroutine that called it and owns what says so, and workers.
//
// Lock order: workers.mu → cursor.mu.
type workers struct {
	config     WorkConfig
	handler    Handler
	clock      clock.Clock
	consumer   *Consumer // nil in WorkBatch
	counters   *workCounters
	base       context.Context // of handlers
	cancel     context.CancelFunc
	seed       maphash.Seed
	goroutines sync.WaitGroup

	// interrupt ends the reader's waiting.
	interrupt context.CancelFunc
	// wake wakes the reader out of a sleep.
	wake chan struct{}

	// The reader's.
	batch                 taskList // read, not queued
	spare                 taskList // to read into
	batchBytes, roomBytes int
	refused               bool // some tracker has refused a record

	mu       sync.Mutex // guards what follows, and trackers; never held over I/O or a caller's function
	work     sync.Cond  // that there is some, or never will be
	idle     int        // workers that wait for it
	lanes    lanes
	ready    laneList
	loose    taskList // records without an order
	runs     []*run   // of all workers
	stride   int      // how many records a worker takes: as many as are quick
	toggle   bool     // whose turn it is, of loose and ready
	waiters  waiters
	halt     func() bool // the timer's
	free     taskList
	inFlight int // queued, waiting and running
	bytes    int // of those
	running  int
	handled  int64 // attempts, for max.poll.interval
	trackers map[partition.TopicPartition]*tracker
	leaving  map[partition.TopicPartition]bool // what is about to be given up
	stopping bool                              // nothing begins any more
	quiet    chan struct{}                     // closed when nothing runs, once stopping
	failure  error                             // the first
	sleeping sleeping                          // what the reader waits for
}

// sleeping is what wakes a reader.
type sleeping uint8

const (
	awake    sleeping = iota
	forRoom           // room for more records in flight
	forEmpty          // nothing in flight
)

func newWorkers(ctx context.Context, h Handler, config WorkConfig, counters *workCounters) *workers {
	w := &workers{
		config: config, handler: h, clock: config.Clock, counters: counters, seed: maphash.MakeSeed(),
		wake: make(chan struct{}, 1), quiet: make(chan struct{}), lanes: newLanes(config.MaxInFlight), stride: 1,
		trackers: make(map[partition.TopicPartition]*tracker), leaving: make(map[partition.TopicPartition]bool),
	}
	w.base, w.cancel = context.WithCancel(context.WithoutCancel(ctx))
	w.work.L = &w.mu
	return w
}

func (w *workers) start() {
	for range w.config.Workers {
		w.goroutines.Go(w.serve)
	}
}

// read queues what the consumer reads until that ends. The caller has the turn.
func (w *workers) read(ctx context.Context) error {
	c := w.consumer
	for {
		if w.spare.n == 0 || w.batchBytes >= w.roomBytes {
			w.queue()
			w.leave()
			if w.spare.n == 0 || w.roomBytes <= 0 {
				if _, err := w.sleep(ctx, false); err != nil {
					return err
				}
				w.queue()
				continue
			}
		}
		k, r, err := c.next(ctx, w.batch.n == 0)
		switch {
		case err != nil:
			w.queue()
			w.leave()
			if !c.skippable(err) {
				return err
			}
			w.tellSkipped(err)
		case r == nil:
			w.queue()
			w.leave()
		default:
			w.collect(k, r)
		}
	}
}

// collect reads one record.
func (w *workers) collect(k *chunk, r *batch.Record) {
	c, t := w.consumer, w.spare.pop()
	c.give(k, r, &t.rec)
	if len(c.config.Interceptors) > 0 {
		c.intercept(&t.rec)
	}
	tr := k.cursor.tracker
	if tr == nil {
		tr = w.track(k.cursor)
	}
	w.add(t, tr)
}

// add puts a task with its record into the batch.
func (w *workers) add(t *task, tr *tracker) {
	t.of, t.after = tr, int64(t.rec.Offset)+1
	t.size = len(t.rec.Key) + len(t.rec.Value)
	for i := range t.rec.Headers {
		t.size += len(t.rec.Headers[i].Key) + len(t.rec.Headers[i].Value)
	}
	if t.rec.Key != nil && !w.config.Unordered {
		t.hash = maphash.Bytes(w.seed, t.rec.Key) ^ tr.hash
	}
	tr.last = t
	w.batch.push(t)
	w.batchBytes += t.size
}

// leave goes back, in partitions that are about to be given up, to the first record that was refused, and reads no more of
// them. The caller has the turn.
func (w *workers) leave() {
	if !w.refused {
		return
	}
	w.refused = false
	for _, k := range w.consumer.cursors {
		if tr := k.tracker; tr != nil && tr.refused >= 0 {
			k.jump(tr.refused)
			k.resting = true
			tr.refused = -1
		}
	}
}

// sleep waits until there is room, or with empty until nothing is in flight, and reports whether that is so; a signal to the
// consumer ends the wait too, and is obeyed. The caller has the turn; when sleep returns it may have been elsewhere.
func (w *workers) sleep(ctx context.Context, empty bool) (bool, error) {
	want := forRoom
	if empty {
		want = forEmpty
	}
	for {
		w.mu.Lock()
		if w.satisfied(want) {
			w.sleeping = awake
			err := w.failure
			w.mu.Unlock()
			return true, err
		}
		w.sleeping = want
		w.mu.Unlock()
		if w.consumer == nil {
			select {
			case <-w.wake:
			case <-ctx.Done():
				return false, ctx.Err()
			}
			continue
		}
		asleep := w.consumer.asleep()
		if w.consumer.signals.Load() == 0 {
			select {
			case <-w.wake:
				continue
			case <-asleep.Done():
			}
		}
		return false, w.consumer.look(ctx)
	}
}

// satisfied reports whether a reader that wants this need not sleep. The caller has mu.
func (w *workers) satisfied(want sleeping) bool {
	switch want {
	case forRoom: // some, so that it does not come back for each record; all that there is, if workers wait for it
		free := w.config.MaxInFlight - w.inFlight
		return free > 0 && w.bytes < w.config.MaxInFlightBytes &&
			(free >= w.config.MaxInFlight/4 || w.ready.head == nil && w.loose.n == 0)
	case forEmpty:
		return w.inFlight == 0
	}
	return false
}

// tellReader wakes the reader if it has what it waits for. The caller has mu.
func (w *workers) tellReader() {
	if w.sleeping != awake && w.satisfied(w.sleeping) {
		w.sleeping = awake
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
	if w.stopping && w.running == 0 {
		select {
		case <-w.quiet:
		default:
			close(w.quiet)
		}
	}
}

// fail ends the work with err, if it is the first.
func (w *workers) fail(err error) {
	w.mu.Lock()
	if w.failure == nil {
		w.failure = err
	}
	w.mu.Unlock()
	w.interrupt()
}
