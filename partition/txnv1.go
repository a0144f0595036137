package partition

import (
	"context"
	"fmt"

	"github.com/partlog/partlog/internal/txn"
)

// AddPartitionsToTxnV1 is AddPartitionsToTxn for a client before transaction.version 2 (KIP-890), which must add a partition
// before its first append to it, with AppendRequest.TxnAdded, and whose epoch is the same from one transaction to the next. When it
// returns nil that is as durable as __transaction_state. A partition of __consumer_offsets may be added before the topic is there. Errors
// are those of AddPartitionsToTxn.
func (s *Store) AddPartitionsToTxnV1(ctx context.Context, txnID string, p ProducerID, tps []TopicPartition) error {
	err := ctx.Err()
	for _, tp := range tps {
		if _, e := s.lookup(offsetsTopic); err == nil && e != nil && tp.Topic == offsetsTopic && !s.readOnly {
			err = s.closedOr(s.ensureOffsetsTopic(ctx))
		}
	}
	if err == nil {
		err = s.addToTxn(ctx, txnID, p, tps, 1)
	}
	if err != nil {
		return fmt.Errorf("add partitions to transaction of %q: %w", txnID, err)
	}
	return nil
}

// PartitionsInTxn says which of these partitions are in the producer's open transaction, in their order, and changes nothing
// (AddPartitionsToTxn with VerifyOnly). Errors: ErrProducerFenced, ErrInvalidProducerIDMapping, ErrConcurrentTransactions while the
// transaction is being ended, ErrClosed.
func (s *Store) PartitionsInTxn(ctx context.Context, txnID string, p ProducerID, tps []TopicPartition) ([]bool, error) {
	c, err := s.coordinatorOf(ctx, txnID)
	if err != nil {
		return nil, fmt.Errorf("verify partitions of transaction of %q: %w", txnID, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return nil, c.over()
	}
	m, ok := c.m.Describe(txnID)
	switch {
	case !ok || m.ProducerID != p.ID:
		err = ErrInvalidProducerIDMapping
	case m.Epoch != p.Epoch:
		err = ErrProducerFenced
	case m.State.Prepared():
		err = ErrConcurrentTransactions
	}
	if err != nil {
		return nil, fmt.Errorf("verify partitions of transaction of %q: %w", txnID, err)
	}
	in := make(map[TopicPartition]bool, len(m.Partitions))
	for _, tp := range m.Partitions {
		in[TopicPartition{tp.Topic, tp.Index}] = m.State == txn.Ongoing
	}
	out := make([]bool, len(tps))
	for i, tp := range tps {
		out[i] = in[tp]
	}
	return out, nil
}

// EndTxnV1 is EndTxn for a client before transaction.version 2: its producer id and epoch are good for the next transaction too.
// Errors are those of EndTxn; ErrInvalidTxnState also for an abort when nothing is open.
func (s *Store) EndTxnV1(ctx context.Context, txnID string, p ProducerID, commit bool) error {
	err := ctx.Err()
	if err == nil {
		_, err = s.endTxn(ctx, txnID, p, commit, 1)
	}
	if err != nil {
		return fmt.Errorf("%s transaction of %q: %w", endName(commit), txnID, err)
	}
	return nil
}

// WriteTxnMarker appends a transaction marker to one partition without asking the coordinator (WriteTxnMarkers): it is a tool's
// way to end a transaction that hangs there. It returns when the marker is as durable as the partition promises. Errors:
// ErrInvalidProducerEpoch, ErrTransactionCoordinatorFenced for a coordinatorEpoch below that of the producer's last marker,
// ErrUnknownTopicOrPartition, ErrNoSpace, ErrStorage, ErrReadOnly, ErrClosed.
func (s *Store) WriteTxnMarker(ctx context.Context, tp TopicPartition, p ProducerID, commit bool, coordinatorEpoch int32) error {
	err := ctx.Err()
	if err == nil && s.readOnly {
		err = ErrReadOnly
	}
	var part *part
	if err == nil {
		part, err = s.part(tp, TopicID{})
		err = s.closedOr(err)
	}
	if err == nil && s.config.Cluster != nil {
		return s.AppendTxnMarker(ctx, TxnMarker{TopicPartition: tp, Producer: p, Commit: commit, CoordinatorEpoch: coordinatorEpoch})
	}
	if err == nil {
		err = part.appendMarker(p.ID, p.Epoch, commit, 0, coordinatorEpoch, s.config.Clock.Now().UnixMilli())
	}
	if err != nil {
		return fmt.Errorf("write transaction marker to %s: %w", tp, err)
	}
	return nil
}
