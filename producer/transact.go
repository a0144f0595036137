package producer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/partition"
)

// transactions is what a transactional producer knows between its transactions (Kafka's TransactionManager). Its other
// fields belong to who has made busy true.
type transactions struct {
	mu    sync.Mutex // guards busy and fatal
	busy  bool       // a scope is open, or is being ended
	fatal error      // why there will be no other

	id    partition.ProducerID // of the next transaction
	bump  bool                 // the id needs a new epoch before it is used (KIP-360)
	bumps atomic.Bool          // the coordinator gives each transaction an epoch of its own
	open  *Tx                  // its end has been asked for and not been answered; nil if there is none
}

// txnLinger is how long a batch waits for more records in a transaction. Its end does not wait for it.
const txnLinger = 5 * time.Millisecond

// Transact runs fn as one transaction: what it sends through tx, to any topics, and the offsets that it commits are seen
// by readers of committed records all or not at all, whatever crashes. If fn returns nil, Transact waits for all records,
// commits, and returns nil when the commit is durable. If fn returns an error, or a record could not be sent, or ctx ends
// before the commit was asked for, it aborts and returns an *AbortedError that wraps the first reason. If fn panics, or
// ends its goroutine, it aborts and the panic goes on.
//
// If the commit is asked for and not answered, because ctx ended, Config.MaxBlock was over, or the backend failed, the
// error is an *OutcomeUnknownError; the next Transact learns the outcome first. Any other error means that fn was not
// called: ErrNotTransactional, ErrTransactionInProgress, ErrClosed, ctx's, and ErrProducerFenced, which is final. So is
// any error for which errors.Is says ErrProducerFenced.
//
// A producer has one transaction at a time; within one, any number of goroutines may send.
func (p *Producer) Transact(ctx context.Context, fn func(tx *Tx) error) error {
	return p.transact(ctx, nil, fn)
}

// TransactFrom is Transact for read, process, write: when fn has returned nil it commits the offsets of source in the
// same transaction, and whatever happens it tells source the outcome, also where fn fails before it has done anything or
// is not called. So the records that were meant for a transaction that is not are read again. The source is a
// *consumer.Consumer, as in examples/exactlyonce, or the host's own.
func (p *Producer) TransactFrom(ctx context.Context, source OffsetSource, fn func(tx *Tx) error) error {
	return p.transact(ctx, source, fn)
}

func (p *Producer) transact(ctx context.Context, source OffsetSource, fn func(tx *Tx) error) error {
	err := p.acquire()
	if err == nil {
		defer p.release()
		err = p.settleLast(ctx)
	}
	if err != nil {
		if source != nil {
			source.TxnEnded(false)
		}
		return fmt.Errorf("transact: %w", err)
	}
	tx := &Tx{p: p, ctx: ctx, id: p.txn.id}
	if source != nil {
		tx.sources = append(tx.sources, source)
	}
	returned := false
	defer func() {
		if !returned {
			tx.close()
			_ = tx.abort(ctx, errUnfinished) // what is not done now, the next Transact does
		}
	}()
	err = fn(tx)
	if err == nil && source != nil {
		err = tx.CommitOffsets(source)
	}
	returned = true
	return tx.end(ctx, err)
}

// acquire takes the producer's only scope.
func (p *Producer) acquire() error {
	if p.cfg.TransactionalID == "" {
		return ErrNotTransactional
	}
	if p.closed.Load() {
		return ErrClosed
	}
	p.txn.mu.Lock()
	defer p.txn.mu.Unlock()
	switch {
	case p.txn.busy:
		return ErrTransactionInProgress
	case p.txn.fatal != nil:
		return p.txn.fatal
	}
	p.txn.busy = true
	return nil
}

func (p *Producer) release() {
	p.txn.mu.Lock()
	p.txn.busy = false
	p.txn.mu.Unlock()
}

// die makes err the answer to every later call.
func (p *Producer) die(err error) {
	p.txn.mu.Lock()
	defer p.txn.mu.Unlock()
	p.txn.fatal = fmt.Errorf("transactional producer %q cannot go on: %w", p.cfg.TransactionalID, err)
}

// settleLast ends what the call before has left open.
func (p *Producer) settleLast(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if last := p.txn.open; last != nil {
		wanted := last.commit
		err := p.endTxn(ctx, last, p.cfg.MaxBlock)
		aborted, ok := errors.AsType[*AbortedError](err)
		if err != nil && (wanted || !ok || aborted.Pending != nil) {
			return fmt.Errorf("the transaction before: %w", err)
		}
	}
	if p.txn.bump {
		return p.initTransactions(ctx, p.txn.id)
	}
	return nil
}

// settleAtClose ends what the last Transact has left open, so that no reader waits for it until it times out. If that
// fails, the timeout or the store's next open does it.
func (p *Producer) settleAtClose() {
	p.txn.mu.Lock()
	idle := !p.txn.busy && p.txn.fatal == nil
	if idle {
		p.txn.busy = true
	}
	p.txn.mu.Unlock()
	if !idle {
		return
	}
	defer p.release()
	if last := p.txn.open; last != nil {
		_ = p.endTxn(p.life, last, min(p.cfg.MaxBlock, closeGrace))
	}
}

// end leaves the scope: it commits, or aborts because of err or of what has failed.
func (tx *Tx) end(ctx context.Context, err error) error {
	tx.close()
	if err == nil {
		err = tx.failure()
	}
	if err == nil {
		err = tx.flush(ctx)
	}
	if err == nil {
		err = tx.failure()
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return tx.abort(ctx, err)
	}
	tx.commit = true
	return tx.p.endTxn(ctx, tx, tx.p.cfg.MaxBlock)
}

// flush appends what is left, the last of it on this goroutine, and waits until every record has its result and its
// callback has run.
func (tx *Tx) flush(ctx context.Context) error {
	p := tx.p
	if len(tx.lanes) > 0 {
		for _, ln := range tx.lanes[1:] {
			ln.mu.Lock()
			ln.flushTo = ln.accepted
			ln.schedule()
			ln.mu.Unlock()
		}
		p.drainHere(ctx, tx.lanes[0])
	}
	if tx.flushed() {
		return nil
	}
	select {
	case <-p.flushLanes(tx.eachLane, !inCallback()):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// flushed reports whether there is nothing to wait for.
func (tx *Tx) flushed() bool {
	for _, ln := range tx.lanes {
		ln.mu.Lock()
		done := ln.delivered == ln.accepted
		ln.mu.Unlock()
		if !done {
			return false
		}
	}
	return true
}

// drainHere appends what the lane has and no sender has taken, as a Send does that appends by itself.
func (p *Producer) drainHere(ctx context.Context, ln *lane) {
	now := p.cfg.Clock.Now()
	for ctx.Err() == nil {
		ln.mu.Lock()
		ln.flushTo = ln.accepted
		if ln.queued {
			ln.mu.Unlock()
			return
		}
		b := ln.take(now)
		if b == nil {
			ln.mu.Unlock()
			return
		}
		b.inline = b.attempts == 1
		ln.mu.Unlock()
		res, err := p.transmit(ctx, ln, b)
		now = p.cfg.Clock.Now()
		if p.settle(ln, b, res, err, now) {
			p.deliverElsewhere(ln)
		}
	}
}

func (tx *Tx) eachLane(f func(*lane)) {
	for _, ln := range tx.lanes {
		f(ln)
	}
}

// abort drops what has not been sent, waits for what is being sent, and aborts. When ctx has ended it does not wait, and
// gives the coordinator closeGrace.
func (tx *Tx) abort(ctx context.Context, cause error) error {
	p := tx.p
	tx.doom(cause)
	tx.eachLane(func(ln *lane) { ln.drop(cause, false) })
	if tx.flush(ctx) != nil {
		tx.eachLane(func(ln *lane) { ln.drop(cause, true) })
	}
	if fatal(cause) {
		p.die(cause)
	}
	limit := p.cfg.MaxBlock
	if ctx.Err() != nil {
		limit = min(limit, closeGrace)
	}
	return p.endTxn(context.WithoutCancel(ctx), tx, limit)
}
