package partition

import (
	"context"
	"errors"
	"fmt"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/txn"
	"github.com/partlog/partlog/log"
)

// txnTopicConfig is transaction.state.log.num.partitions, transaction.state.log.segment.bytes and what a broker adds.
var txnTopicConfig = TopicConfig{Partitions: txn.Partitions, CleanupPolicy: CleanupCompact, SegmentBytes: 100 << 20, Compression: CompressionNone}

// txnWriter is what the encoding of one record needs.
type txnWriter struct {
	builder    batch.Builder
	key, value []byte
}

// write appends the record of an id. A durable one is as durable as the strongest mode among the store's and those of the
// transaction's partitions promises: a commit must not be forgotten where its records are not.
func (c *txnCoordinator) write(m *txn.Meta, durable bool) error {
	c.mu.Lock()
	stopped, over := c.stopped, c.over()
	c.mu.Unlock()
	if stopped {
		return over
	}
	ctx := context.Background()
	if c.home != nil {
		ctx = c.home.life
	}
	p, err := c.statePart(m.ID)
	if err != nil {
		return err
	}
	w, _ := c.writers.Get().(*txnWriter)
	if w == nil {
		w = &txnWriter{}
	}
	defer c.writers.Put(w)
	w.builder.Reset(nil, batch.Options{})
	w.key = txn.AppendKey(w.key[:0], m.ID)
	if m.State == txn.Dead {
		w.builder.Append(m.Updated, w.key, nil, nil)
	} else {
		w.value = txn.AppendValue(w.value[:0], m)
		w.builder.Append(m.Updated, w.key, w.value, nil)
	}
	b, err := w.builder.Finish()
	if err != nil {
		return err
	}
	acks := AcksLeader
	if durable {
		acks = AcksAll
	}
	if _, err := p.append(ctx, b, appendOptions{acks: acks, internal: true, lazy: true}); err != nil {
		if ctx.Err() != nil { // it may be written, and the next coordinator knows
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.over()
		}
		return err
	}
	if durable && c.home == nil && p.t.settings.Load().log.Sync != SyncAlways && c.s.anySyncs(m.Partitions) {
		l, err := p.open()
		if err == nil {
			err = l.Sync()
		}
		if err != nil {
			return p.appendFailed(len(b), err)
		}
	}
	return nil
}

// statePart returns the partition of __transaction_state that holds an id, making the topic at its first use.
func (c *txnCoordinator) statePart(id string) (*part, error) {
	if c.home != nil {
		return c.s.part(c.home.tp, TopicID{})
	}
	t, err := c.s.lookup(txn.Topic)
	if err != nil {
		if _, err = c.s.CreateTopic(context.Background(), txn.Topic, txnTopicConfig); err != nil && !errors.Is(err, ErrTopicAlreadyExists) {
			return nil, err
		}
		if t, err = c.s.lookup(txn.Topic); err != nil {
			return nil, c.s.closedOr(err)
		}
	}
	// A topic that a broker has made may have any number of partitions.
	return t.part(txn.PartitionFor(id, int32(len(*t.parts.Load()))))
}

// anySyncs reports whether any of the partitions promises that an acknowledged record is durable.
func (s *Store) anySyncs(ps []txn.Partition) bool {
	for _, tp := range ps {
		if p, err := s.part(TopicPartition{tp.Topic, tp.Index}, TopicID{}); err == nil && p.t.settings.Load().log.Sync == SyncAlways {
			return true
		}
	}
	return false
}

// syncData makes durable what a transaction has written so far, in all its partitions at once, where their mode
// promises that. Its Prepare record is written behind it: no outcome can be found after a crash of which records are missing.
func (c *txnCoordinator) syncData(id string, producer ProducerID) error {
	if c.home != nil {
		return nil // each batch was acknowledged by all replicas in sync
	}
	c.mu.Lock()
	m, ok := c.m.Describe(id)
	c.mu.Unlock()
	if !ok || m.State != txn.Ongoing || m.ProducerID != producer.ID || m.Epoch != producer.Epoch {
		return nil // the coordinator says what is wrong
	}
	errs := make([]error, len(m.Partitions))
	c.forEach(m.Partitions, func(i int, tp txn.Partition) { errs[i] = c.syncOne(tp) })
	return errors.Join(errs...)
}

func (c *txnCoordinator) syncOne(tp txn.Partition) error {
	p, err := c.s.part(TopicPartition{tp.Topic, tp.Index}, TopicID{})
	if err != nil {
		return nil // deleted
	}
	l, err := p.open()
	if err == nil && p.t.settings.Load().log.Sync == SyncAlways {
		if err = l.Sync(); err != nil {
			err = p.appendFailed(0, err)
		}
	}
	if err = p.gone(err); err != nil && !errors.Is(err, ErrUnknownTopicOrPartition) {
		return fmt.Errorf("sync %s: %w", p.tp, err)
	}
	return nil
}

// forEach calls f for each partition, several at a time.
func (c *txnCoordinator) forEach(ps []txn.Partition, f func(int, txn.Partition)) {
	if len(ps) == 1 {
		f(0, ps[0])
		return
	}
	index := make([]int, len(ps))
	for i := range index {
		index[i] = i
	}
	inParallel(c.s.config.SyncConcurrency, index, func(i int) { f(i, ps[i]) })
}

// startMarking has the markers of a transaction written by a goroutine: its producer has its answer already.
func (c *txnCoordinator) startMarking(e txn.Mark) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return // the next open writes them
	}
	c.work.Go(func() { c.mark(e) }) // whoever started it counts, so the counter is not 0
}

// mark writes the markers of one transaction.
func (c *txnCoordinator) mark(e txn.Mark) {
	done := make([]bool, len(e.Partitions))
	if c.home != nil {
		c.forEach(e.Partitions, func(i int, tp txn.Partition) { done[i] = c.markElsewhere(&e, tp) })
	} else {
		c.s.marking.RLock()
		c.forEach(e.Partitions, func(i int, tp txn.Partition) { done[i] = c.markOne(&e, tp) })
		c.s.marking.RUnlock()
	}
	ev := txn.Marked{ProducerID: e.ProducerID, Epoch: e.Epoch, Orphan: e.Orphan}
	for i, ok := range done {
		if ok {
			ev.Done = append(ev.Done, e.Partitions[i])
		}
	}
	c.mu.Lock()
	if len(ev.Done) == len(e.Partitions) {
		delete(c.attempts, retryKey{e.ProducerID, e.Epoch, e.Orphan})
	}
	effects := c.stepLocked(ev)
	c.mu.Unlock()
	c.carryOut(effects)
}

// markOne writes one marker and reports whether the partition needs no more of this transaction.
func (c *txnCoordinator) markOne(e *txn.Mark, tp txn.Partition) (done bool) {
	p, err := c.s.part(TopicPartition{tp.Topic, tp.Index}, TopicID{})
	if err == nil {
		epoch := int32(c.epoch())
		if e.Orphan {
			epoch = max(epoch, p.coordinatorEpoch(e.ProducerID)) // of another store or broker, whose epochs went further
		}
		err = p.appendMarker(e.ProducerID, e.Epoch, e.Commit, e.Version, epoch, c.now())
	}
	switch err = c.s.closedOr(err); {
	case err == nil, errors.Is(err, ErrUnknownTopicOrPartition):
		return true
	case errors.Is(err, ErrInvalidProducerEpoch), errors.Is(err, ErrTransactionCoordinatorFenced):
		// A newer epoch has a marker there, so the transaction has had its own. Kafka leaves the rest to a coordinator
		// that has taken over; there is none here.
		c.s.warn(p.dir(), fmt.Sprintf("transaction of producer %d epoch %d: marker refused: %v", e.ProducerID, e.Epoch, err))
		return true
	case !errors.Is(err, ErrClosed):
		id := ""
		if !e.Orphan {
			c.mu.Lock()
			id = c.m.Owner(e.ProducerID)
			c.mu.Unlock()
		}
		c.failed(id, err)
	}
	return false
}

// coordinatorEpoch returns the epoch of the coordinator that has written a producer's last marker, −1 if there is none.
func (p *part) coordinatorEpoch(producerID int64) int32 {
	l, err := p.open()
	if err != nil {
		return -1
	}
	producers, err := l.Producers()
	if err != nil {
		return -1
	}
	for _, x := range producers {
		if x.ProducerID == producerID {
			return x.CoordinatorEpoch
		}
	}
	return -1
}

// epoch is the coordinator's epoch in markers: the largest leader epoch of __transaction_state.
func (c *txnCoordinator) epoch() LeaderEpoch {
	t, err := c.s.lookup(txn.Topic)
	if err != nil {
		return 0
	}
	var largest LeaderEpoch
	for _, p := range *t.parts.Load() {
		largest = max(largest, p.epoch())
	}
	return largest
}

// appendMarker appends a transaction marker and waits for what the partition's mode promises.
func (p *part) appendMarker(producerID int64, epoch int16, commit bool, version int16, coordinatorEpoch int32, now int64) error {
	l, err := p.open()
	if err != nil {
		return err
	}
	typ := batch.ControlAbort
	if commit {
		typ = batch.ControlCommit
	}
	b := batch.BuildControl(make([]byte, 0, 80), typ, producerID, epoch, coordinatorEpoch, now)
	_, err = l.Append(b, log.AppendOptions{Durable: true, Origin: log.OriginCoordinator, TxnVersion: version})
	if err != nil {
		return p.appendFailed(len(b), err)
	}
	return nil
}
