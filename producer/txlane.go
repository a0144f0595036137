package producer

import "time"

// enter checks that the lane may take a record of tx, which is nil outside transactions, and gives the lane to tx with
// its first record. It is called with the lane's mu held, for every record.
func (ln *lane) enter(tx *Tx) error {
	if ln.tx == tx && !ln.txOver {
		return nil
	}
	return ln.join(tx)
}

func (ln *lane) join(tx *Tx) error {
	if ln.forgotten {
		return errForgotten
	}
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.over {
		return ErrTransactionEnded
	}
	tx.lanes = append(tx.lanes, ln)
	ln.tx, ln.txOver = tx, false
	return nil
}

// begin notes that something of the transaction is about to be appended, so that its end has to be told. It reports false if b has been given up
// meanwhile: the lane may belong to the next transaction by then.
func (ln *lane) begin(b *pending) bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if b.abandoned {
		return false
	}
	if ln.tx != nil {
		ln.tx.begun.Store(true)
	}
	return true
}

// close ends the scope: no record enters any more, and commits of offsets have ended.
func (tx *Tx) close() {
	tx.mu.Lock()
	tx.over = true
	tx.closed.Store(true)
	tx.mu.Unlock()
	tx.running.Wait()
	for _, ln := range tx.lanes { // nobody adds to it any more
		ln.mu.Lock()
		ln.txOver = true
		ln.mu.Unlock()
	}
}

// drop gives up what is left of the lane's transaction, which is to be aborted: batches that wait, and, with sending,
// also those of which an append is running. What may still arrive of these is aborted with the rest, or comes after the
// markers and is refused.
func (ln *lane) drop(cause error, sending bool) {
	var r released
	now := ln.p.cfg.Clock.Now()
	ln.mu.Lock()
	for _, b := range ln.flight {
		ln.dropOne(b, cause, sending)
	}
	for ln.first != nil {
		ln.dropUnsent(ln.unqueue(), cause)
	}
	if ln.open != nil {
		ln.closeOpen()
		ln.dropUnsent(ln.unqueue(), cause)
	}
	ln.unmute()
	ln.advance(&r, now)
	calls := ln.claimResults()
	ln.mu.Unlock()
	r.handle(ln.p)
	if calls {
		ln.p.deliverElsewhere(ln)
	}
}

func (ln *lane) dropOne(b *pending, cause error, appending bool) {
	switch {
	case b.state == done:
	case b.state == sending && !appending:
	case b.state == sending:
		ln.abandon(b, cause)
	default:
		ln.fail(b, cause)
	}
}

func (ln *lane) dropUnsent(b *pending, cause error) {
	ln.taken += uint64(len(b.entries))
	ln.flight = append(ln.flight, b)
	ln.fail(b, cause)
}

// backoffConcurrent is the pause before another attempt while the end of the transaction before is going on, which
// takes a moment (Kafka's add.partitions.to.txn.retry.backoff.ms).
const backoffConcurrent = 20 * time.Millisecond
