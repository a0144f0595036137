package partition

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/partlog/partlog/internal/txn"
)

// txnCoordinator is the shell around txn.Machine: it has the lock, the clock, the log and the goroutines that the machine
// has not. There is one in a store that is alone (in a cluster see LeadTransactions), started by Open if __transaction_state holds anything, else by the first transactional producer.
//
// A step is made under mu, its effects are carried out without it. The caller of a request writes the record itself: requests
// of different ids share the log's writes and syncs. Markers and what follows them are written by a goroutine of their own.
type txnCoordinator struct {
	s     *Store
	ready chan struct{} // closed when the log has been read
	err   error         // why not; set before ready is closed
	home  *ledTxn       // of a node of a cluster: where it is; else nil

	mu       sync.Mutex // guards all below; never held during I/O
	m        txn.Machine
	waiting  map[string]*txnWaiters // by id
	ticking  bool                   // a Tick is on its way
	expiring bool                   // an Expire is
	attempts map[retryKey]int       // of what could not be written
	stuck    map[string]error       // by id: why its transaction cannot end before the next open
	closing  bool                   // no new requests
	stopped  bool                   // nothing more is written
	stats    TransactionStats
	work     sync.WaitGroup // requests and goroutines; added to under mu while closing is false, or by one that counts

	writers sync.Pool // of *txnWriter
}

// txnWaiters are the requests that wait for the same id.
type txnWaiters struct {
	free chan struct{}
	n    int
}

type retryKey struct {
	producerID int64
	epoch      int16
	orphan     bool
}

// The pauses between attempts to write what must be written.
const (
	firstTxnRetry = 100 * time.Millisecond
	lastTxnRetry  = 10 * time.Second

	// Kafka's transaction.remove.expired.transaction.cleanup.interval.ms.
	txnExpireInterval = time.Hour
)

// transactions returns the coordinator with its log read, starting it at the first use.
func (s *Store) transactions(ctx context.Context) (*txnCoordinator, error) {
	c := s.txns.Load()
	if c == nil {
		var err error
		if c, err = s.startTransactions(); err != nil {
			return nil, err
		}
	}
	select {
	case <-c.ready:
		return c, c.err
	default:
	}
	select {
	case <-c.ready:
		return c, c.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// startTransactions starts the coordinator unless somebody else has.
func (s *Store) startTransactions() (*txnCoordinator, error) {
	s.txnStart.Lock()
	defer s.txnStart.Unlock()
	if c := s.txns.Load(); c != nil {
		return c, nil
	}
	if s.closed.Load() || s.txnClosed {
		return nil, ErrClosed
	}
	c := newTxnCoordinator(s)
	c.work.Go(c.load)
	s.txns.Store(c)
	return c, nil
}

func newTxnCoordinator(s *Store) *txnCoordinator {
	c := &txnCoordinator{s: s, ready: make(chan struct{}), waiting: map[string]*txnWaiters{}, attempts: map[retryKey]int{}, stuck: map[string]error{}}
	c.m.MaxTimeout = int32(min(s.config.MaxTransactionTimeout.Milliseconds(), 1<<31-1))
	return c
}

// openTransactions starts the coordinator if there is anything for it to know. suspects are partitions that went through
// recovery: a transaction may be open there that the loss of power has taken from the coordinator's log.
func (s *Store) openTransactions() {
	if s.readOnly {
		return
	}
	start := false
	if t := s.index.Load().byName[txn.Topic]; t != nil {
		for _, p := range *t.parts.Load() {
			start = start || p.start.end > 0 || !p.start.clean
		}
	}
	for _, p := range s.suspects {
		if l := p.log.Load(); l != nil {
			start = start || l.LastStable() < l.End()
		}
	}
	if start {
		_, _ = s.startTransactions() // whoever asks it for something is told how that went
	} else {
		s.suspects = nil
	}
}

// now is the time of a step.
func (c *txnCoordinator) now() int64 { return c.s.config.Clock.Now().UnixMilli() }

// enter counts a request, so that close waits for it.
func (c *txnCoordinator) enter() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return c.over()
	}
	c.work.Add(1)
	return nil
}

// over is what requests get when closing is true.
func (c *txnCoordinator) over() error {
	if c.home != nil && c.home.gone {
		return c.home.moved
	}
	return ErrClosed
}

// request makes one request of an id and waits for its answer; event is called with mu held. As long as the id is busy with something else it waits for that:
// until ctx ends, and then the answer is ErrConcurrentTransactions and the context's error; or until it is known that only the next
// open can help, and then it is ErrStorage.
func (c *txnCoordinator) request(ctx context.Context, id string, event func(fresh int64) txn.Event) (ProducerID, error) {
	if err := c.enter(); err != nil {
		return NoProducerID, err
	}
	defer c.work.Done()
	fresh := int64(txn.None)
	for {
		answer, wait, err := c.attempt(id, fresh, event)
		switch {
		case err != nil:
			return NoProducerID, err
		case wait == nil && answer == nil: // a producer id is needed
			if fresh, err = c.s.newProducerID(ctx); err != nil {
				return NoProducerID, err
			}
			continue
		case wait == nil:
			return ProducerID{answer.ProducerID, answer.Epoch}, answer.Err
		}
		select {
		case <-wait.free:
		case <-ctx.Done():
			c.leave(id, wait)
			return NoProducerID, fmt.Errorf("%w: %w", ErrConcurrentTransactions, ctx.Err())
		}
	}
}

// attempt makes one attempt at a request. It returns its answer, or what to wait for before the next, or neither if the
// event needs a producer id.
func (c *txnCoordinator) attempt(id string, fresh int64, event func(fresh int64) txn.Event) (*txn.Answer, *txnWaiters, error) {
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		return nil, nil, c.over() // also of one that has waited
	}
	effects := c.stepLocked(event(fresh))
	if len(effects) == 1 {
		switch e := effects[0].(type) {
		case txn.NeedID:
			c.mu.Unlock()
			return nil, nil, nil
		case txn.Answer:
			if e.Err != txn.ErrConcurrentTransactions {
				c.mu.Unlock()
				return &e, nil, nil
			}
			w, err := c.waitLocked(id)
			c.mu.Unlock()
			return nil, w, err
		}
	}
	c.mu.Unlock()
	answer := c.carryOut(effects)
	if answer == nil {
		panic("BUG: a transactional request without an answer")
	}
	if answer.Err == txn.ErrConcurrentTransactions { // a fence: what it fenced must end first
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.closing { // nobody would wake it, if a marker has to wait for the next open
			return nil, nil, c.over()
		}
		if m, ok := c.m.Describe(id); ok && (m.State == txn.PrepareAbort || m.State == txn.PrepareCommit) {
			w, err := c.waitLocked(id)
			return nil, w, err
		}
		again := &txnWaiters{free: make(chan struct{})}
		close(again.free)
		return nil, again, nil
	}
	return answer, nil, nil
}

// waitLocked joins those who wait for an id, unless that is in vain.
func (c *txnCoordinator) waitLocked(id string) (*txnWaiters, error) {
	if err := c.stuck[id]; err != nil {
		return nil, fmt.Errorf("its last transaction is decided and will end with the next open: %w", err)
	}
	w := c.waiting[id]
	if w == nil {
		w = &txnWaiters{free: make(chan struct{})}
		c.waiting[id] = w
	}
	w.n++
	return w, nil
}

// failed counts an attempt at ending an id's transaction that failed, and notes if it has met a partition that takes nothing more.
func (c *txnCoordinator) failed(id string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.FailedMarkers++
	if id != "" && errors.Is(err, ErrStorage) {
		c.stuck[id] = err
		c.freeLocked(id)
	}
}

// leave gives up waiting.
func (c *txnCoordinator) leave(id string, w *txnWaiters) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.n--; w.n == 0 && c.waiting[id] == w {
		delete(c.waiting, id)
	}
}

func (c *txnCoordinator) freeLocked(id string) {
	if w := c.waiting[id]; w != nil {
		delete(c.waiting, id)
		close(w.free)
	}
}

// stepLocked makes one step, wakes whom it frees, and arms what the new state needs.
func (c *txnCoordinator) stepLocked(ev txn.Event) []txn.Effect {
	effects := c.m.Step(c.now(), ev, nil)
	for _, e := range effects {
		switch e := e.(type) {
		case txn.Free:
			c.freeLocked(e.ID)
		case txn.Ended:
			c.endedLocked(e)
		case txn.Answer:
			if e.Err == txn.ErrProducerFenced {
				c.stats.Fenced++
			}
		}
	}
	if c.m.Open() > 0 && !c.ticking && !c.closing {
		c.ticking = true
		c.s.shell.after(c.s.config.TransactionTimeoutInterval, c.tick)
	}
	if c.s.config.TransactionalIDExpiration > 0 && !c.expiring && !c.closing && c.m.Len() > 0 {
		c.expiring = true
		c.s.shell.after(txnExpireInterval, c.expire)
	}
	return effects
}

func (c *txnCoordinator) step(ev txn.Event) []txn.Effect {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stepLocked(ev)
}

// carryOut does what a step asked for, and what the answers to that ask for. It returns the answer to the request that
// the caller made, if there is one among them.
func (c *txnCoordinator) carryOut(effects []txn.Effect) (answer *txn.Answer) {
	for len(effects) > 0 {
		effect := effects[0]
		effects = effects[1:]
		switch e := effect.(type) {
		case txn.Write:
			err := c.write(&e.Meta, e.Durable)
			if err != nil && (e.Meta.State == txn.CompleteCommit || e.Meta.State == txn.CompleteAbort) {
				c.failed(e.Meta.ID, err)
			}
			effects = append(effects, c.step(txn.Written{ID: e.Meta.ID, Err: err})...)
		case txn.Answer:
			answer = &e
		case txn.Mark:
			c.startMarking(e)
		case txn.Later:
			c.later(e)
		case txn.Ended:
			c.tellEnded(e)
		}
	}
	return answer
}

// tick aborts what has timed out, and arms the next tick while anything is open.
func (c *txnCoordinator) tick() { c.periodically(&c.ticking, txn.Tick{}) }

// expire forgets idle ids.
func (c *txnCoordinator) expire() {
	c.periodically(&c.expiring, txn.Expire{Idle: c.s.config.TransactionalIDExpiration.Milliseconds()})
}

func (c *txnCoordinator) periodically(armed *bool, ev txn.Event) {
	c.mu.Lock()
	*armed = false
	if c.closing {
		c.mu.Unlock()
		return
	}
	c.work.Add(1)
	defer c.work.Done()
	effects := c.stepLocked(ev)
	c.mu.Unlock()
	c.carryOut(effects)
}

// later arms the next attempt at something that could not be written: with growing pauses, so that a full disk is not
// asked all the time, and a partition that a failed sync has poisoned waits for the next open.
func (c *txnCoordinator) later(e txn.Later) {
	key := retryKey{e.ProducerID, e.Epoch, e.Orphan}
	c.mu.Lock()
	pause := min(firstTxnRetry<<min(c.attempts[key], 10), lastTxnRetry)
	c.attempts[key]++
	c.mu.Unlock()
	c.s.shell.after(pause, func() {
		c.mu.Lock()
		if c.closing {
			c.mu.Unlock()
			return
		}
		c.work.Add(1)
		defer c.work.Done()
		effects := c.stepLocked(txn.Resume(e))
		c.mu.Unlock()
		c.carryOut(effects)
	})
}

// close ends the coordinator: requests that wait get ErrClosed, those that write are answered, markers that are being
// written are finished. What is still to be done then is left to the next open, which finds it in the log.
func (s *Store) closeTransactions() error {
	s.txnStart.Lock()
	s.txnClosed = true
	c := s.txns.Load()
	s.txnStart.Unlock()
	err := s.closeLedTransactions()
	if c == nil {
		return err
	}
	c.mu.Lock()
	c.closing = true
	for id := range c.waiting {
		c.freeLocked(id)
	}
	c.mu.Unlock()
	if err = c.await(); err != nil {
		err = fmt.Errorf("close transaction coordinator: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	for _, tp := range c.m.Unwritten() {
		if p, perr := s.part(TopicPartition{tp.Topic, tp.Index}, TopicID{}); perr == nil {
			p.suspect.Store(true) // the next open looks for its open transactions again
		}
	}
	return err
}

// await waits for what a coordinator that is closing has under way, but not longer than CloseTimeout.
func (c *txnCoordinator) await() error {
	done := make(chan struct{})
	go func() { // nobody waits for one that hangs
		c.work.Wait()
		close(done)
	}()
	late := make(chan struct{})
	defer c.s.config.Clock.AfterFunc(c.s.config.CloseTimeout, func() { close(late) })()
	select {
	case <-done:
		return nil
	case <-late:
		return fmt.Errorf("%w after %s", ErrTimeout, c.s.config.CloseTimeout)
	}
}
