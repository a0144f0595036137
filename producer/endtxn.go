package producer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/partlog/partlog/partition"
)

// initTransactions gets the producer id and epoch of the transactional id. With NoProducerID as last it fences older
// instances and aborts what they left open (Kafka's initTransactions); otherwise it continues last (KIP-360).
func (p *Producer) initTransactions(ctx context.Context, last partition.ProducerID) error {
	begin := p.cfg.Clock.Now()
	var id partition.ProducerID
	err := p.again(ctx, p.cfg.MaxBlock, func(ctx context.Context) (err error) {
		id, err = p.backend.InitProducerID(ctx, p.cfg.TransactionalID, p.cfg.TransactionTimeout, last)
		return err
	})
	p.stats.txn.initTime.Add(int64(since(begin, p.cfg.Clock.Now())))
	if err != nil {
		if err = ended(err); fatal(err) {
			p.die(err)
		}
		return fmt.Errorf("init transactions of %q: %w", p.cfg.TransactionalID, err)
	}
	p.txn.id, p.txn.bump = id, false
	return nil
}

// endTxn commits or aborts tx at the coordinator, as decided, and takes note of what became of it. It may be called
// again with a transaction that is open still. It waits for limit at most.
func (p *Producer) endTxn(ctx context.Context, tx *Tx, limit time.Duration) error {
	if !tx.begun.Load() { // the coordinator has never heard of it
		return p.concluded(tx, nil)
	}
	p.txn.mu.Lock()
	dead := p.txn.fatal
	p.txn.mu.Unlock()
	if dead != nil {
		return p.concluded(tx, dead)
	}
	begin := p.cfg.Clock.Now()
	var next partition.ProducerID
	err := p.again(ctx, limit, func(ctx context.Context) (err error) {
		next, err = p.backend.EndTxn(ctx, p.cfg.TransactionalID, tx.id, tx.commit)
		if err != nil && !refusedEnd(err) {
			tx.unclear = true
		}
		return err
	})
	took := int64(since(begin, p.cfg.Clock.Now()))
	if tx.commit {
		p.stats.txn.commitTime.Add(took)
	} else {
		p.stats.txn.abortTime.Add(took)
	}
	switch err = ended(err); {
	case err == nil:
		// A coordinator that does not bump the epoch with each transaction leaves it to the producer to do so after
		// a failure (KIP-360).
		p.txn.bump = next == tx.id && tx.failure() != nil
		p.txn.id = next
		p.txn.bumps.Store(next != tx.id)
	case tx.commit && (errors.Is(err, partition.ErrTransactionAbortable) || errors.Is(err, partition.ErrInvalidTxnState)):
		// The latter says that it has been aborted already. The abort brings the next epoch.
		if errors.Is(err, partition.ErrInvalidTxnState) {
			err = fmt.Errorf("%w: it was aborted before, as by its timeout (%s)", err, p.cfg.TransactionTimeout)
		}
		tx.doom(err)
		tx.commit = false
		return p.endTxn(ctx, tx, limit)
	case fatal(err) || errors.Is(err, partition.ErrInvalidTxnState):
		p.die(err)
	}
	return p.concluded(tx, err)
}

// refusedEnd reports whether an error of EndTxn says that this call has changed nothing, and none before has.
func refusedEnd(err error) bool {
	return fatal(err) || errors.Is(err, partition.ErrInvalidProducerEpoch) || errors.Is(err, partition.ErrInvalidTxnState) ||
		errors.Is(err, partition.ErrTransactionAbortable)
}

// concluded turns the answer to an EndTxn, nil or an error, into that of Transact.
func (p *Producer) concluded(tx *Tx, err error) error {
	final := err == nil || refusedEnd(err)
	if p.txn.open = tx; final {
		p.txn.open = nil
	}
	switch {
	case tx.commit && err == nil:
		p.stats.txn.committed.Add(1)
		tx.tell(true)
		return nil
	case tx.commit && (!final || tx.unclear):
		// An instance that took over later refuses the question, whatever the answer to the first was.
		if final {
			tx.tell(false)
		}
		if !tx.counted {
			tx.counted = true
			p.stats.txn.unknown.Add(1)
		}
		return &OutcomeUnknownError{TransactionalID: p.cfg.TransactionalID, Err: err}
	}
	aborted := &AbortedError{TransactionalID: p.cfg.TransactionalID, Err: tx.failure(), Pending: err}
	if aborted.Err == nil {
		aborted.Err, aborted.Pending = err, nil
	}
	if !tx.told {
		tx.told = true
		p.stats.txn.aborted.Add(1)
		tx.tell(false)
	}
	return aborted
}

// again calls f until it does not fail or another call would not help, waiting between calls. It gives up when ctx ends
// or limit is over, with the last error.
func (p *Producer) again(ctx context.Context, limit time.Duration, f func(ctx context.Context) error) error {
	ctx, cancel := p.bound(ctx, limit)
	defer cancel()
	for n := 1; ; n++ {
		err := f(ctx)
		if err == nil {
			return nil
		}
		if cause := context.Cause(ctx); cause != nil {
			if cause == errMaxBlock {
				cause = fmt.Errorf("no answer within %s: %w", limit, partition.ErrTimeout)
			}
			if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
				return cause
			}
			if partition.Retriable(err) {
				return fmt.Errorf("%w: %w", cause, err)
			}
		}
		if !partition.Retriable(err) {
			return err
		}
		wait := p.backoff(n)
		if errors.Is(err, partition.ErrConcurrentTransactions) {
			wait = min(wait, backoffConcurrent)
		}
		p.pause(ctx, wait)
	}
}

// bound returns a context that ends with ctx, and after d with the cause errMaxBlock.
func (p *Producer) bound(ctx context.Context, d time.Duration) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := p.cfg.Clock.AfterFunc(d, func() { cancel(errMaxBlock) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// pause waits for d, or until ctx ends.
func (p *Producer) pause(ctx context.Context, d time.Duration) {
	over := make(chan struct{})
	stop := p.cfg.Clock.AfterFunc(d, func() { close(over) })
	defer stop()
	select {
	case <-over:
	case <-ctx.Done():
	}
}
