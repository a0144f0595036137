package partition

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/txn"
	"github.com/partlog/partlog/log"
)

// txnVersion is the transaction.version of clients in this process (KIP-890).
const txnVersion = 2

func (s *Store) initTransactional(ctx context.Context, txnID string, timeout time.Duration, last ProducerID) (ProducerID, error) {
	if s.readOnly {
		return NoProducerID, ErrReadOnly
	}
	if len(txnID) > math.MaxInt16 {
		return NoProducerID, &ConfigError{Key: "transactional.id", Value: strconv.Itoa(len(txnID)) + " bytes", Range: "at most 32767 bytes"}
	}
	c, err := s.coordinatorOf(ctx, txnID)
	if err != nil {
		return NoProducerID, err
	}
	ms := timeout.Milliseconds()
	if ms > math.MaxInt32 {
		return NoProducerID, fmt.Errorf("%w: %v", ErrInvalidTransactionTimeout, timeout)
	}
	id, err := c.request(ctx, txnID, func(fresh int64) txn.Event {
		return txn.Init{Call: 1, ID: txnID, Timeout: int32(ms), Last: last.ID, LastEpoch: last.Epoch, Fresh: fresh}
	})
	if errors.Is(err, ErrInvalidTransactionTimeout) {
		err = fmt.Errorf("%w: %v; want 1ms to %v", err, timeout, s.config.MaxTransactionTimeout)
	}
	if err != nil {
		return NoProducerID, fmt.Errorf("transactional id %q: %w", txnID, err)
	}
	return id, nil
}

// AddPartitionsToTxn adds partitions to the producer's transaction, and begins one if none is open. Appends with
// AppendRequest.TransactionalID do it by themselves: this is for a caller who knows beforehand which there will be.
//
// Errors: ErrProducerFenced, ErrInvalidProducerIDMapping, ErrConcurrentTransactions if ctx ends while the end of the
// previous transaction is still going on, ErrUnknownTopicOrPartition, in which case none was added, ErrNoSpace, ErrStorage,
// ErrReadOnly, ErrClosed.
func (s *Store) AddPartitionsToTxn(ctx context.Context, txnID string, p ProducerID, tps []TopicPartition) error {
	err := ctx.Err()
	if err == nil {
		err = s.addToTxn(ctx, txnID, p, tps, txnVersion)
	}
	if err != nil {
		return fmt.Errorf("add partitions to transaction of %q: %w", txnID, err)
	}
	return nil
}

func (s *Store) addToTxn(ctx context.Context, txnID string, p ProducerID, tps []TopicPartition, version int16) error {
	if s.readOnly {
		return ErrReadOnly
	}
	ps := make([]txn.Partition, 0, len(tps))
	for _, tp := range tps {
		// In a cluster this node may not have heard of it yet. One that is not there will need no marker.
		if _, err := s.part(tp, TopicID{}); err != nil && s.config.Cluster == nil {
			return s.closedOr(err)
		}
		ps = append(ps, txn.Partition{Topic: tp.Topic, Index: tp.Partition})
	}
	c, err := s.coordinatorOf(ctx, txnID)
	if err != nil {
		return err
	}
	_, err = c.request(ctx, txnID, func(int64) txn.Event {
		return txn.Add{Call: 1, ID: txnID, ProducerID: p.ID, Epoch: p.Epoch, Partitions: ps, Version: version}
	})
	return err
}

// enlist makes the partition part of the transaction that b belongs to, unless it is already, and returns what the log
// wants to see with the first batch of a transaction: that no marker has come since the coordinator was asked (KIP-890). The guard
// comes first: a transaction that ends between the two steps invalidates it. With added it only asks whether the partition is part of it.
func (p *part) enlist(ctx context.Context, l *log.Log, b batch.Batch, txnID string, added bool) (log.TxnGuard, error) {
	if len(b) < batch.HeaderSize || !b.IsTransactional() || b.ProducerID() < 0 {
		return 0, fmt.Errorf("%w: a batch of transactional id %q that is not transactional", ErrInvalidRecord, txnID)
	}
	verify, version := l.TxnGuard, int16(txnVersion)
	if added {
		verify, version = l.TxnGuardV1, 1
	}
	guard, ongoing, err := verify(b.ProducerID(), b.ProducerEpoch(), b.BaseSequence())
	if err != nil || ongoing {
		return 0, p.gone(err)
	}
	if cluster := p.s.config.Cluster; cluster != nil {
		err = cluster.TxnAdd(ctx, txnID, ProducerID{b.ProducerID(), b.ProducerEpoch()}, []TopicPartition{p.tp}, version, added)
	} else if c, e := p.s.transactions(ctx); e != nil {
		return 0, e
	} else {
		tp := []txn.Partition{{Topic: p.tp.Topic, Index: p.tp.Partition}}
		_, err = c.request(ctx, txnID, func(int64) txn.Event {
			return txn.Add{Call: 1, ID: txnID, ProducerID: b.ProducerID(), Epoch: b.ProducerEpoch(), Partitions: tp, Version: version, VerifyOnly: added}
		})
	}
	if errors.Is(err, ErrProducerFenced) {
		// All partitions say the same of an old epoch, also one without a part in the transaction: it may come of a timeout,
		// after which the producer goes on, or of a newer instance, and EndTxn tells which (Kafka's AddPartitionsToTxnManager).
		err = fmt.Errorf("%w: transactional id %q has a newer one", ErrInvalidProducerEpoch, txnID)
	}
	return guard, err
}

// EndTxn commits or aborts the producer's transaction and returns the producer id for the next one, whose epoch has
// been bumped (KIP-890, transaction.version 2); after the last epoch it is another id. When it returns nil the outcome is
// durable: all data of a committed transaction was made so before. Readers of committed records see it a moment later, when each
// partition has its marker; the next transaction of the same id waits for that.
//
// A call may be repeated after any error but the fatal ones, with the same p: it has the same result. Errors:
// ErrInvalidTxnState (the transaction had the other outcome, or there is nothing to commit), and the fatal ones
// ErrProducerFenced and ErrInvalidProducerIDMapping; ErrConcurrentTransactions if ctx ends before an earlier attempt has; ErrNoSpace:
// nothing was decided; ErrStorage: the next open decides; ErrReadOnly, ErrClosed.
func (s *Store) EndTxn(ctx context.Context, txnID string, p ProducerID, commit bool) (next ProducerID, err error) {
	if err = ctx.Err(); err == nil {
		next, err = s.endTxn(ctx, txnID, p, commit, txnVersion)
	}
	if err != nil {
		return NoProducerID, fmt.Errorf("%s transaction of %q: %w", endName(commit), txnID, err)
	}
	return next, nil
}

func endName(commit bool) string {
	if commit {
		return "commit"
	}
	return "abort"
}

func (s *Store) endTxn(ctx context.Context, txnID string, p ProducerID, commit bool, version int16) (ProducerID, error) {
	if s.readOnly {
		return NoProducerID, ErrReadOnly
	}
	c, err := s.coordinatorOf(ctx, txnID)
	if err != nil {
		return NoProducerID, err
	}
	if commit {
		if err := c.syncData(txnID, p); err != nil {
			return NoProducerID, err
		}
	}
	return c.request(ctx, txnID, func(fresh int64) txn.Event {
		return txn.End{Call: 1, ID: txnID, ProducerID: p.ID, Epoch: p.Epoch, Commit: commit, Version: version, Fresh: fresh}
	})
}

// lastStable is the offset below which every transaction has ended: where readers of committed records stop.
// Invariant: log start ≤ last stable offset ≤ high watermark.
func (p *part) lastStable(l *log.Log, highWatermark Offset) Offset {
	return min(l.LastStable(), highWatermark)
}

// readCommitted reads batches of ended transactions, and lists in dst's storage the aborted ones among them. The log does both at
// once: compaction may come in between, and removes batches together with what is known of their transactions.
func (p *part) readCommitted(l *log.Log, dst []AbortedTxn, from, limit Offset, maxBytes int) (log.View, []AbortedTxn, error) {
	buf, _ := p.s.aborted.Get().(*[]log.AbortedTxn)
	if buf == nil {
		buf = new([]log.AbortedTxn)
	}
	view, list, err := l.ReadCommitted((*buf)[:0], from, limit, maxBytes)
	for _, x := range list {
		dst = append(dst, AbortedTxn{x.ProducerID, x.First})
	}
	*buf = list[:0]
	p.s.aborted.Put(buf)
	return view, dst, err
}
