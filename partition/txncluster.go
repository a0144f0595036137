package partition

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/partlog/partlog/internal/txn"
)

// ledTxns are the transaction coordinators of a node of a cluster: one for each partition of __transaction_state that it leads.
type ledTxns struct {
	mu     sync.Mutex // guards all below; before txnCoordinator.mu
	byPart map[int32]*txnCoordinator
	left   map[int32]*txnCoordinator // that are gone, and may still have something under way
	past   TransactionStats          // of those that are gone
	closed bool
}

// ledTxn is the place of one of them.
type ledTxn struct {
	tp     TopicPartition
	epoch  LeaderEpoch
	life   context.Context // ends when it is gone, or the store is closed
	end    context.CancelFunc
	before *txnCoordinator // which was here in an earlier epoch
	moved  error           // what requests get then
	gone   bool            // another node leads it, or will; guarded by the coordinator's mu
}

// LeadTransactions begins to coordinate the transactional ids of a partition of __transaction_state, which this node of a cluster leads in an epoch:
// SetReplica comes first. The coordinator reads the partition as soon as the node knows that it has all that was committed; requests wait for it. Open
// transactions go on, prepared ones are completed. The same epoch again changes nothing, a later one begins anew. It does not wait; calls for one partition
// come one after the other.
func (s *Store) LeadTransactions(index int32, epoch LeaderEpoch) {
	if s.config.Cluster == nil || s.readOnly {
		return
	}
	v := &s.txnsLed
	v.mu.Lock()
	defer v.mu.Unlock()
	before := v.byPart[index]
	if v.closed || before != nil && epoch <= before.home.epoch {
		return
	}
	if before == nil {
		before = v.left[index]
	} else {
		v.resignLocked(before)
	}
	if v.byPart == nil {
		v.byPart, v.left = map[int32]*txnCoordinator{}, map[int32]*txnCoordinator{}
	}
	delete(v.left, index)
	c := newTxnCoordinator(s)
	tp := TopicPartition{txn.Topic, index}
	c.home = &ledTxn{tp: tp, epoch: epoch, before: before, moved: fmt.Errorf("%w: %s", ErrNotLeaderOrFollower, tp)}
	c.home.life, c.home.end = context.WithCancel(context.Background())
	v.byPart[index] = c
	c.work.Go(c.lead)
}

// ResignTransactions ends the coordination of the transactional ids of a partition: requests get ErrNotLeaderOrFollower, and nothing more is
// written. It does not wait for what is being written; the next LeadTransactions does.
func (s *Store) ResignTransactions(index int32) {
	v := &s.txnsLed
	v.mu.Lock()
	defer v.mu.Unlock()
	if c := v.byPart[index]; c != nil && !v.closed {
		v.resignLocked(c)
		delete(v.byPart, index)
		v.left[index] = c
	}
}

func (v *ledTxns) resignLocked(c *txnCoordinator) {
	c.stop(true)
	st := c.statistics()
	st.IDs, st.Ongoing = 0, 0
	v.past.add(st)
}

// stop ends a coordinator of a cluster.
func (c *txnCoordinator) stop(gone bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing, c.stopped, c.home.gone = true, true, gone
	for id := range c.waiting {
		c.freeLocked(id)
	}
	select {
	case <-c.ready:
	default: // still reading
		c.err = c.over()
		close(c.ready)
	}
	c.home.end()
}

// closeLedTransactions ends the coordinators of a cluster.
func (s *Store) closeLedTransactions() (err error) {
	v := &s.txnsLed
	v.mu.Lock()
	v.closed = true
	all := slices.AppendSeq(slices.Collect(maps.Values(v.byPart)), maps.Values(v.left))
	for _, c := range v.byPart {
		c.stop(false)
	}
	v.mu.Unlock()
	for _, c := range all {
		if e := c.await(); e != nil {
			err = fmt.Errorf("close transaction coordinator of %s: %w", c.home.tp, e)
		}
	}
	return err
}

// lead reads the partition, again and again until it works or the coordinator is gone, and begins to finish what is prepared.
func (c *txnCoordinator) lead() {
	h := c.home
	if h.before != nil {
		h.before.work.Wait() // a write of then must not come after what is read now
		h.before = nil
	}
	for pause := firstTxnRetry / 16; ; pause = min(2*pause, lastTxnRetry/8) {
		c.mu.Lock()
		c.m = txn.Machine{MaxTimeout: c.m.MaxTimeout}
		c.mu.Unlock()
		err := c.readHome()
		c.mu.Lock()
		if c.closing {
			c.mu.Unlock()
			return
		}
		if err == nil {
			effects := c.stepLocked(txn.Start{Keep: true})
			close(c.ready)
			c.mu.Unlock()
			c.carryOut(effects)
			return
		}
		c.mu.Unlock()
		if !c.rest(pause) {
			return
		}
	}
}

// rest waits for a while, and reports whether the coordinator is still there.
func (c *txnCoordinator) rest(d time.Duration) bool {
	over := make(chan struct{})
	stop := c.s.config.Clock.AfterFunc(d, func() { close(over) })
	defer stop()
	select {
	case <-over:
		return true
	case <-c.home.life.Done():
		return false
	}
}

// readHome reads the coordinator's partition, if this node knows that it has all that was committed there.
func (c *txnCoordinator) readHome() error {
	h := c.home
	if _, err := c.s.ListOffsets(h.life, h.tp, TimestampLatest); err != nil {
		return err
	}
	p, err := c.s.part(h.tp, TopicID{})
	if err != nil {
		return err
	}
	if r := p.role.Load(); r.Role != RoleLeader || r.Epoch != h.epoch {
		return ErrNotLeaderOrFollower // not yet, or not any more
	}
	_, err = c.readPart(p, map[string]*part{})
	return err
}

// coordinatorOf returns the coordinator of a transactional id, its log read: ErrNotLeaderOrFollower if another node of the cluster has it. It makes
// __transaction_state if there is none.
func (s *Store) coordinatorOf(ctx context.Context, txnID string) (*txnCoordinator, error) {
	if s.config.Cluster == nil {
		return s.transactions(ctx)
	}
	t, err := s.lookup(txn.Topic)
	if errors.Is(err, ErrUnknownTopicOrPartition) && !s.readOnly {
		if err = s.EnsureInternalTopic(ctx, txn.Topic); err == nil {
			t, err = s.lookup(txn.Topic)
		}
	}
	if err != nil {
		return nil, s.closedOr(err)
	}
	index := txn.PartitionFor(txnID, int32(len(*t.parts.Load())))
	s.txnsLed.mu.Lock()
	c, closed := s.txnsLed.byPart[index], s.txnsLed.closed
	s.txnsLed.mu.Unlock()
	switch {
	case closed:
		return nil, ErrClosed
	case c == nil:
		return nil, fmt.Errorf("%w: transactional id %q is coordinated by the leader of %s", ErrNotLeaderOrFollower, txnID, TopicPartition{txn.Topic, index})
	}
	return c.wait(ctx)
}

// wait returns the coordinator when its log has been read.
func (c *txnCoordinator) wait(ctx context.Context) (*txnCoordinator, error) {
	select {
	case <-c.ready:
		return c, c.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// coordinators returns the store's coordinator, or all of the node.
func (s *Store) coordinators(ctx context.Context) ([]*txnCoordinator, error) {
	if s.config.Cluster == nil {
		c, err := s.transactions(ctx)
		return []*txnCoordinator{c}, err
	}
	v := &s.txnsLed
	v.mu.Lock()
	all, closed := slices.Collect(maps.Values(v.byPart)), v.closed
	v.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	for _, c := range all {
		if _, err := c.wait(ctx); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// EnsureInternalTopic makes __consumer_offsets or __transaction_state, unless it is there.
func (s *Store) EnsureInternalTopic(ctx context.Context, name string) error {
	if _, err := s.lookup(name); err == nil {
		return nil
	}
	config := txnTopicConfig
	switch name {
	case offsetsTopic:
		config = offsetsTopicConfig
	case txn.Topic:
	default:
		return fmt.Errorf("%w: %q is no internal topic", ErrInvalidTopic, name)
	}
	if _, err := s.CreateTopic(ctx, name, config); err != nil && !errors.Is(err, ErrTopicAlreadyExists) {
		return err
	}
	return nil
}

// markElsewhere has the leader of a partition write a marker, and reports whether the partition needs no more of this transaction.
func (c *txnCoordinator) markElsewhere(e *txn.Mark, tp txn.Partition) (done bool) {
	at := TopicPartition{tp.Topic, tp.Index}
	err := c.s.config.Cluster.WriteTxnMarker(c.home.life, TxnMarker{TopicPartition: at, Producer: ProducerID{e.ProducerID, e.Epoch},
		Commit: e.Commit, CoordinatorEpoch: int32(c.home.epoch), Version: e.Version})
	switch {
	case err == nil, errors.Is(err, ErrUnknownTopicOrPartition):
		return true
	case errors.Is(err, ErrInvalidProducerEpoch): // a newer epoch has a marker there, so the transaction has had its own
		c.s.warn(at.String(), fmt.Sprintf("transaction of producer %d epoch %d: marker refused: %v", e.ProducerID, e.Epoch, err))
		return true
	case c.home.life.Err() == nil: // ErrTransactionCoordinatorFenced as well: there is a later coordinator, and this one will hear of it
		c.mu.Lock()
		c.stats.FailedMarkers++
		c.mu.Unlock()
	}
	return false
}

func (v *ledTxns) stats() TransactionStats {
	v.mu.Lock()
	defer v.mu.Unlock()
	st := v.past
	for _, c := range v.byPart {
		st.add(c.statistics())
	}
	return st
}

func (st *TransactionStats) add(o TransactionStats) {
	st.IDs += o.IDs
	st.Ongoing += o.Ongoing
	st.Committed += o.Committed
	st.Aborted += o.Aborted
	st.TimedOut += o.TimedOut
	st.ByFence += o.ByFence
	st.ByAdmin += o.ByAdmin
	st.ByRestart += o.ByRestart
	st.Fenced += o.Fenced
	st.FailedMarkers += o.FailedMarkers
	st.MarkerTime += o.MarkerTime
	st.MaxMarkerTime = max(st.MaxMarkerTime, o.MaxMarkerTime)
}
