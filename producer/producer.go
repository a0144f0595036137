package producer

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// Producer sends records to the topics of one backend. It is safe for any number of goroutines, and one is enough for
// a process. Lock order: topicsMu, a topic's mu, a lane's mu, then sched's, memory's and a Tx's, which are leaves.
type Producer struct {
	cfg     Config
	backend Backend
	watched bool // an interceptor wants results
	linger  time.Duration
	memory  memory
	sched   sched
	stats   counters
	waiters sync.Pool // of *waiter
	panics  atomic.Uint64

	life    context.Context // ends when Close gives up
	endLife context.CancelFunc

	topicsMu   sync.Mutex // guards forgotten, and is taken to change topics
	forgotten  Counts     // of topics that are not known any more
	topics     atomic.Pointer[map[string]*topic]
	firstTopic atomic.Pointer[topic]
	refreshing atomic.Bool

	txn transactions

	idMu    sync.Mutex // guards id and idAsked
	id      partition.ProducerID
	idAsked chan struct{} // closed when the call of InitProducerID that is running has ended

	watchMu   sync.Mutex // guards stopWatch and watchOver
	watching  atomic.Bool
	stopWatch func() bool
	watchOver bool

	closed    atomic.Bool
	closing   sync.Once
	refused   chan struct{} // closed when no record is accepted any more
	closeDone chan struct{}
	closeErr  error // set before closeDone is closed

	tasksMu    sync.Mutex // guards tasksEnded; tasks.Add happens under it
	tasks      sync.WaitGroup
	tasksEnded bool
}

// New returns a producer that writes to backend. An error is a *partition.ConfigError that names the field, its value
// and its range. It asks the backend for nothing until a record is sent, unless the producer is transactional: then New is
// also Kafka's initTransactions. It fences every earlier producer with the same TransactionalID, waits, up to MaxBlock,
// until what that left open has been aborted, and fails if the backend does.
func New(backend Backend, c Config) (*Producer, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	p := &Producer{cfg: c, backend: backend, id: partition.NoProducerID, refused: make(chan struct{}), closeDone: make(chan struct{})}
	p.life, p.endLife = context.WithCancel(context.Background())
	p.memory.clock, p.memory.size = c.Clock, c.BufferMemory
	p.sched.run, p.sched.max = p.sender, c.Senders
	p.waiters.New = newWaiter
	p.topics.Store(&map[string]*topic{})
	for _, in := range c.Interceptors {
		p.watched = p.watched || in.OnResult != nil
	}
	p.linger = c.Linger
	if c.TransactionalID != "" {
		p.linger = max(c.Linger, txnLinger)
		if err := p.initTransactions(p.life, partition.NoProducerID); err != nil {
			p.endLife()
			return nil, err
		}
	}
	return p, nil
}

// Send sends a record and waits for its result; the error is also in the Result. If the partition has nothing else on
// its way, the append runs on the calling goroutine.
//
// When the context ends first, the error wraps the context's: the record has been withdrawn, or, as *UncertainError, it
// could not be any more and may be appended. A call of the backend that runs on this goroutine is waited for if the
// backend does not heed the context. Further errors: *RecordTooLargeError, *BufferExhaustedError,
// *DeliveryTimeoutError, ErrClosed, partition.ErrUnknownTopicOrPartition, partition.ErrInvalidTopic,
// partition.ErrNoSpace, and whatever else the backend says.
func (p *Producer) Send(ctx context.Context, r Record) (Result, error) {
	w := p.waiters.Get().(*waiter)
	res, err := p.send(ctx, nil, &r, w)
	if err != nil {
		return p.refusedSend(r, err)
	}
	return res, res.Err
}

// SendAsync sends a record and returns when it is in the producer's memory; the result goes to done, which may be nil.
// It does not wait for the disk. It waits up to MaxBlock while the buffer is full or the topic is not known yet; ctx
// ends that wait and nothing else.
//
// done is called once. For an accepted record: on one of the producer's goroutines, in the order in which the
// partition's records were accepted, one call at a time for each partition; a callback that takes long delays those
// behind it, but no append. With AcksNone, and for a record that is refused: on the calling goroutine before
// SendAsync returns. done may call Send, SendAsync, Flush and Close. Its panic is caught and reported in Events.
func (p *Producer) SendAsync(ctx context.Context, r Record, done func(Result)) {
	if err := p.sendAsync(ctx, nil, &r, done); err != nil {
		p.refusedAsync(r, err, done)
	}
}

// Forward sends a record and waits for it, as consumers do with records to be retried or buried.
func (p *Producer) Forward(ctx context.Context, topic string, key, value []byte, headers []partition.Header) error {
	_, err := p.Send(ctx, Record{Topic: topic, Key: key, Value: value, Headers: headers})
	return err
}

func (p *Producer) sendAsync(ctx context.Context, tx *Tx, r *Record, done func(Result)) error {
	ln, a, err := p.admit(ctx, tx, r)
	if err != nil {
		return err
	}
	e := entry{key: sizeOf(r.Key), value: sizeOf(r.Value), acks: a.acks}
	if a.acks != partition.AcksNone {
		e.done = done
		_, err := ln.add(ctx, r, a, e)
		if err == errForgotten {
			_, _, err = p.place(ctx, r, a, e)
		}
		return err
	}
	e.answered = true
	ms, err := ln.add(ctx, r, a, e)
	if err == errForgotten {
		ln, ms, err = p.place(ctx, r, a, e)
	}
	if err != nil {
		return err
	}
	res := ln.atAcceptance(e, ms)
	p.observe(res)
	if done != nil {
		p.guard("callback", func() { done(res) })
	}
	return nil
}

// atAcceptance is the result of a record with AcksNone.
func (ln *lane) atAcceptance(e entry, ms int64) Result {
	return Result{TopicPartition: ln.tp, Offset: -1, Timestamp: time.UnixMilli(ms), KeySize: int(e.key), ValueSize: int(e.value)}
}

// admission is what a record needs to join a batch.
type admission struct {
	size  int // the most that the record takes in a batch
	acks  partition.Acks
	timed bool // the record has a timestamp of its own
	tx    *Tx
}

// admit runs the interceptors, chooses the partition and checks the size.
func (p *Producer) admit(ctx context.Context, tx *Tx, r *Record) (*lane, admission, error) {
	a := admission{acks: p.cfg.Acks, tx: tx}
	if p.closed.Load() {
		return nil, a, ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, a, fmt.Errorf("send to topic %q: not accepted: %w", r.Topic, err)
	}
	if tx == nil && p.cfg.TransactionalID != "" {
		return nil, a, fmt.Errorf("send to topic %q: %w", r.Topic, ErrNoTransaction)
	}
	for i := range p.cfg.Interceptors {
		if f := p.cfg.Interceptors[i].OnSend; f != nil {
			if err := p.intercept(ctx, r, f); err != nil {
				return nil, a, err
			}
		}
	}
	if r.Acks.set {
		if a.acks = r.Acks.acks; a.acks > partition.AcksNone {
			return nil, a, fmt.Errorf("send to topic %q: acks %s: %w", r.Topic, a.acks, partition.ErrInvalidRequiredAcks)
		}
	}
	if tx != nil {
		a.acks = partition.AcksLeader // written; EndTxn makes it durable
	}
	a.size = batch.RecordSize(r.Key, r.Value, r.Headers)
	a.timed = !r.Timestamp.IsZero()
	ln, err := p.route(ctx, r, a.size)
	return ln, a, err
}

// route chooses the partition and checks the size.
func (p *Producer) route(ctx context.Context, r *Record, size int) (*lane, error) {
	for {
		t, err := p.topic(ctx, r.Topic)
		if err != nil {
			return nil, err
		}
		n, err := p.choose(ctx, t, r)
		if err != nil {
			return nil, err
		}
		if err = p.fits(t, r, size); err != nil {
			return nil, err
		}
		if ln := p.lane(t, n); ln != nil {
			return ln, nil
		}
	}
}

// place adds a record whose lane has been forgotten since it was chosen. It returns the lane that has it now, and the
// record's timestamp.
func (p *Producer) place(ctx context.Context, r *Record, a admission, e entry) (*lane, int64, error) {
	for {
		ln, err := p.route(ctx, r, a.size)
		if err != nil {
			return nil, 0, err
		}
		if ms, err := ln.add(ctx, r, a, e); err != errForgotten {
			return ln, ms, err
		}
	}
}

// intercept runs one interceptor. Its error refuses the record; its panic does not, and what it changed stays.
func (p *Producer) intercept(ctx context.Context, r *Record, f func(context.Context, *Record) error) error {
	seen := *r // so that the records of a producer without interceptors stay off the heap
	defer func() { *r = seen }()
	var err, panicked error
	func() {
		defer p.catch(inInterceptor, &panicked)
		err = f(ctx, &seen)
	}()
	return err
}

// fits refuses a record that alone is too large, before it can spoil a batch. What is within a few bytes of the limit
// is for the store to decide.
func (p *Producer) fits(t *topic, r *Record, size int) error {
	f := t.facts.Load()
	least := batch.HeaderSize + size - batch.MaxRecordOverhead - 10*len(r.Headers)
	switch {
	case least > f.limit:
		return &RecordTooLargeError{Topic: r.Topic, Size: least, Limit: f.limit, By: "max.message.bytes"}
	case batch.HeaderSize+size > p.memory.size:
		return &RecordTooLargeError{Topic: r.Topic, Size: batch.HeaderSize + size, Limit: p.memory.size, By: "BufferMemory"}
	}
	return nil
}

func sizeOf(b []byte) int32 {
	if b == nil {
		return -1
	}
	return int32(len(b))
}

// refusal is the result of a record that was not accepted.
func (p *Producer) refusal(r *Record, err error) Result {
	n := int32(-1)
	if r.Partition.set {
		n = r.Partition.partition
	}
	res := Result{TopicPartition: partition.TopicPartition{Topic: r.Topic, Partition: n}, Offset: -1, Timestamp: r.Timestamp,
		KeySize: int(sizeOf(r.Key)), ValueSize: int(sizeOf(r.Value)), Err: err}
	p.stats.refuse(err)
	p.observe(res)
	return res
}

func (p *Producer) refusedSend(r Record, err error) (Result, error) {
	return p.refusal(&r, err), err
}

func (p *Producer) refusedAsync(r Record, err error, done func(Result)) {
	res := p.refusal(&r, err)
	switch {
	case done != nil:
		p.guard("callback", func() { done(res) })
	case p.cfg.Events.Lost != nil:
		p.guard("event", func() { p.cfg.Events.Lost(LostRecords{TopicPartition: res.TopicPartition, Records: 1, Err: err}) })
	}
}

// background runs f on a goroutine that Close waits for. It reports false, and does not, when that is too late.
func (p *Producer) background(f func()) bool {
	p.tasksMu.Lock()
	defer p.tasksMu.Unlock()
	if p.tasksEnded {
		return false
	}
	p.tasks.Go(f)
	return true
}
