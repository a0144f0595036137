package partition

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/partlog/partlog/internal/txn"
)

// TransactionState is the state of a transactional id at the coordinator, in Kafka's words.
type TransactionState string

// The states of a transactional id.
const (
	TransactionEmpty             TransactionState = "Empty"
	TransactionOngoing           TransactionState = "Ongoing"
	TransactionPrepareCommit     TransactionState = "PrepareCommit"
	TransactionPrepareAbort      TransactionState = "PrepareAbort"
	TransactionCompleteCommit    TransactionState = "CompleteCommit"
	TransactionCompleteAbort     TransactionState = "CompleteAbort"
	TransactionDead              TransactionState = "Dead"
	TransactionPrepareEpochFence TransactionState = "PrepareEpochFence"
)

// TransactionFilter selects transactional ids. Each field that is not zero must hold (ListTransactions, KIP-664, KIP-994, KIP-1152).
type TransactionFilter struct {
	States      []TransactionState
	ProducerIDs []int64
	OlderThan   time.Duration // only transactions that have been open for longer
	Pattern     string        // RE2; the whole transactional id must match
}

// TransactionListing is one transactional id of ListTransactions.
type TransactionListing struct {
	TransactionalID string
	Producer        ProducerID
	State           TransactionState
}

// TransactionDescription is what the coordinator knows of a transactional id (DescribeTransactions).
type TransactionDescription struct {
	TransactionListing
	Timeout    time.Duration
	Start      time.Time        // of the open transaction; zero if none
	Partitions []TopicPartition // of the open transaction, in order
	Err        error            // ErrTransactionalIDNotFound; all else but the id is zero then
}

// ProducerState is what a partition knows of a producer (DescribeProducers).
type ProducerState struct {
	Producer         ProducerID
	LastSequence     int32 // −1 if no batch is remembered
	LastTimestamp    time.Time
	CoordinatorEpoch int32  // of the last marker; −1 if none
	TxnStart         Offset // first offset of its open transaction; −1 if none
}

// ListTransactions returns the transactional ids that f selects, by id. A pattern that does not compile, or a state that
// there is not, is a *ConfigError. A store that was opened for reading answers too.
func (s *Store) ListTransactions(ctx context.Context, f TransactionFilter) ([]TransactionListing, error) {
	pattern, err := f.compile()
	if err != nil {
		return nil, fmt.Errorf("list transactions: %w", err)
	}
	coordinators, err := s.coordinators(ctx)
	if err != nil {
		return nil, fmt.Errorf("list transactions: %w", err)
	}
	var out []TransactionListing
	for _, c := range coordinators {
		if out, err = c.list(out, &f, pattern); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b TransactionListing) int { return cmp.Compare(a.TransactionalID, b.TransactionalID) })
	return out, nil
}

// list appends those of a coordinator.
func (c *txnCoordinator) list(out []TransactionListing, f *TransactionFilter, pattern *regexp.Regexp) ([]TransactionListing, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return out, c.over()
	}
	now := c.now()
	c.m.Each(func(m txn.Meta) {
		state := TransactionState(m.State.String())
		switch {
		case len(f.States) > 0 && !slices.Contains(f.States, state),
			len(f.ProducerIDs) > 0 && !slices.Contains(f.ProducerIDs, m.ProducerID),
			f.OlderThan > 0 && (m.State != txn.Ongoing && !m.State.Prepared() || now-m.Start <= f.OlderThan.Milliseconds()),
			pattern != nil && !pattern.MatchString(m.ID):
			return
		}
		out = append(out, TransactionListing{m.ID, ProducerID{m.ProducerID, m.Epoch}, state})
	})
	return out, nil
}

// compile checks the filter and returns its pattern, nil if there is none.
func (f *TransactionFilter) compile() (*regexp.Regexp, error) {
	for _, state := range f.States {
		if _, ok := txn.ParseState(string(state)); !ok {
			return nil, &ConfigError{Key: "States", Value: string(state), Range: "one of Kafka's states of a transaction"}
		}
	}
	if f.Pattern == "" {
		return nil, nil
	}
	re, err := regexp.Compile("^(?:" + f.Pattern + ")$")
	if err != nil {
		return nil, &ConfigError{Key: "Pattern", Value: f.Pattern, Range: "a regular expression (RE2): " + err.Error()}
	}
	return re, nil
}

// DescribeTransactions describes transactional ids, in their order. One that nobody has used has Err.
func (s *Store) DescribeTransactions(ctx context.Context, ids []string) ([]TransactionDescription, error) {
	if s.config.Cluster == nil { // also if there are no ids
		if _, err := s.transactions(ctx); err != nil {
			return nil, fmt.Errorf("describe transactions: %w", err)
		}
	}
	out := make([]TransactionDescription, len(ids))
	for i, id := range ids {
		d := &out[i]
		d.TransactionalID = id
		c, err := s.coordinatorOf(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("describe transactions: %w", err)
		}
		c.mu.Lock()
		if c.closing {
			err := c.over()
			c.mu.Unlock()
			return nil, err
		}
		m, ok := c.m.Describe(id)
		c.mu.Unlock()
		if !ok {
			d.Err = fmt.Errorf("%w: %q", ErrTransactionalIDNotFound, id)
			continue
		}
		d.Producer, d.State, d.Timeout = ProducerID{m.ProducerID, m.Epoch}, TransactionState(m.State.String()), milliseconds(int64(m.Timeout))
		if m.State == txn.Ongoing || m.State.Prepared() {
			d.Start = time.UnixMilli(m.Start)
		}
		for _, tp := range m.Partitions {
			d.Partitions = append(d.Partitions, TopicPartition{tp.Topic, tp.Index})
		}
	}
	return out, nil
}

// DescribeProducers returns the producers that a partition remembers, by id.
func (s *Store) DescribeProducers(ctx context.Context, tp TopicPartition) ([]ProducerState, error) {
	err := ctx.Err()
	var out []ProducerState
	if err == nil {
		out, err = s.producersOf(tp)
	}
	if err != nil {
		return nil, fmt.Errorf("describe producers of %s: %w", tp, err)
	}
	return out, nil
}

func (s *Store) producersOf(tp TopicPartition) ([]ProducerState, error) {
	p, err := s.part(tp, TopicID{})
	if err != nil {
		return nil, s.closedOr(err)
	}
	l, err := p.open()
	if err != nil {
		return nil, err
	}
	producers, err := l.Producers()
	if err != nil {
		return nil, p.gone(err)
	}
	out := make([]ProducerState, len(producers))
	for i, x := range producers {
		out[i] = ProducerState{Producer: ProducerID{x.ProducerID, x.Epoch}, LastSequence: x.LastSequence,
			LastTimestamp: time.UnixMilli(x.LastTimestamp), CoordinatorEpoch: x.CoordinatorEpoch, TxnStart: x.TxnStart}
	}
	return out, nil
}

// AbortTransaction aborts the open transaction of a transactional id and fences its producer, which gets
// ErrProducerFenced from then on. It returns when the markers are written; if ctx ends before, the transaction is aborted all the
// same, but its producer may go on with another. ErrTransactionalIDNotFound; ErrInvalidTxnState if none is open.
func (s *Store) AbortTransaction(ctx context.Context, txnID string) error {
	if s.readOnly {
		return fmt.Errorf("abort transaction of %q: %w", txnID, ErrReadOnly)
	}
	c, err := s.coordinatorOf(ctx, txnID)
	if err == nil {
		began, timeout := false, time.Duration(0)
		_, err = c.request(ctx, txnID, func(int64) txn.Event {
			if m, ok := c.m.Describe(txnID); ok && m.State == txn.Ongoing {
				began, timeout = true, min(milliseconds(int64(m.Timeout)), s.config.MaxTransactionTimeout)
			}
			return txn.Abort{Call: 1, ID: txnID}
		})
		if began && errors.Is(err, ErrInvalidTxnState) {
			err = nil // the second attempt, after the end of what the first began
		}
		if err == nil {
			// The abort's epoch is the one that the producer's own abort would be given. The next one fences it, as
			// kafka-transactions.sh force-terminate does.
			_, err = s.initTransactional(ctx, txnID, timeout, NoProducerID)
		}
	}
	if err != nil {
		return fmt.Errorf("abort transaction of %q: %w", txnID, err)
	}
	return nil
}

// AbortHanging writes an abort marker for a transaction that is open in one partition and that no coordinator will end,
// as one of a broker whose files were imported. p is what DescribeProducers returned. ErrInvalidTxnState if the
// partition has no such transaction any more, or if the coordinator knows it: AbortTransaction is for that.
func (s *Store) AbortHanging(ctx context.Context, tp TopicPartition, p ProducerState) error {
	if err := s.abortHanging(ctx, tp, p); err != nil {
		return fmt.Errorf("abort hanging transaction in %s: %w", tp, err)
	}
	return nil
}

func (s *Store) abortHanging(ctx context.Context, tp TopicPartition, p ProducerState) error {
	if s.readOnly {
		return ErrReadOnly
	}
	if s.config.Cluster == nil { // else its coordinator may be any node, and the caller's judgement counts, as with Kafka's tool
		c, err := s.transactions(ctx)
		if err != nil {
			return err
		}
		if err := c.enter(); err != nil {
			return err
		}
		defer c.work.Done()
		c.mu.Lock()
		known := c.m.Knows(p.Producer.ID, txn.Partition{Topic: tp.Topic, Index: tp.Partition})
		c.mu.Unlock()
		if known {
			return fmt.Errorf("%w: the coordinator will end it; abort it by its transactional id", ErrInvalidTxnState)
		}
	}
	now, err := s.producersOf(tp)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(now, func(x ProducerState) bool { return x.Producer == p.Producer })
	if i < 0 || now[i].TxnStart < 0 || now[i].TxnStart != p.TxnStart {
		return fmt.Errorf("%w: producer %d epoch %d has no transaction open since offset %d", ErrInvalidTxnState, p.Producer.ID, p.Producer.Epoch, p.TxnStart)
	}
	part, err := s.part(tp, TopicID{})
	if err != nil {
		return s.closedOr(err)
	}
	if s.config.Cluster != nil {
		return s.AppendTxnMarker(ctx, TxnMarker{TopicPartition: tp, Producer: p.Producer, CoordinatorEpoch: max(now[i].CoordinatorEpoch, 0)})
	}
	return part.appendMarker(p.Producer.ID, p.Producer.Epoch, false, 0, max(now[i].CoordinatorEpoch, 0), s.config.Clock.Now().UnixMilli())
}
