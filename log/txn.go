package log

// TxnGuard prepares the first batch of a transaction (KIP-890). It is called before the transaction coordinator is asked whether the
// transaction has this partition; what it returns goes into AppendOptions.Guard, and shows that no marker has been written in between.
// ongoing says that a transaction of this producer and epoch is open here already, so that no guard is needed. sequence is the batch's
// base sequence. Errors: ErrInvalidProducerEpoch, and those of Append that say that the log cannot be appended to.
func (l *Log) TxnGuard(producerID int64, epoch int16, sequence int32) (g TxnGuard, ongoing bool, err error) {
	return l.txnGuard(producerID, epoch, sequence, true)
}

// TxnGuardV1 is TxnGuard for a producer of transaction.version 0 or 1, whose epoch stays the same from transaction to transaction, so that its
// first batch here may have any sequence number.
func (l *Log) TxnGuardV1(producerID int64, epoch int16, sequence int32) (g TxnGuard, ongoing bool, err error) {
	return l.txnGuard(producerID, epoch, sequence, false)
}

func (l *Log) txnGuard(producerID int64, epoch int16, sequence int32, epochBump bool) (TxnGuard, bool, error) {
	now := milliseconds(l.clock.Now())
	if err := l.lockReady(); err != nil {
		return 0, false, err
	}
	defer l.mu.Unlock()
	p := l.producers.byID[producerID]
	if p != nil && epoch < p.epoch {
		return 0, false, &ProducerEpochError{ProducerID: producerID, Epoch: epoch, Last: p.epoch}
	}
	if p.inTransaction(epoch) {
		return 0, true, nil
	}
	return l.producers.verify(producerID, epoch, sequence, epochBump, now), false, nil
}

// lockReady takes mu, with the log loaded for appends.
func (l *Log) lockReady() error {
	l.mu.Lock()
	for l.state != stateReady {
		err := l.notReadyLocked()
		l.mu.Unlock()
		if err == nil {
			err = l.touch()
		}
		if err != nil {
			return err
		}
		l.mu.Lock()
	}
	return nil
}

// LastStable returns the last stable offset: below it every record is visible and every transaction decided. It is Visible, or where the
// oldest transaction begins whose marker is not visible. It never falls, but by TruncateTo, and Config.Notify is called after it has
// moved. The first call after a clean open reads a file; if that fails, nothing is stable yet.
func (l *Log) LastStable() Offset {
	if !l.stableKnown.Load() && l.loadStable() != nil {
		return l.Start()
	}
	// In this order. A transaction that begins below visible was unstable before that moved; if it is none afterwards, it has ended,
	// and everybody may see how.
	visible := l.Visible()
	return min(visible, max(Offset(l.unstable.Load()), l.Start()))
}

// showUnstableLocked publishes where the first unstable transaction begins, and the marker that will move it.
func (l *Log) showUnstableLocked() {
	if l.producers != nil {
		l.unstable.Store(int64(l.producers.firstUnstable()))
		l.nextStable.Store(int64(l.producers.nextStable()))
	}
}

// show lets readers see what lies below to, which of a replicated log only the high watermark does.
func (l *Log) show(to Offset) {
	if l.config.Replicated {
		return
	}
	raise(&l.visible, int64(to))
	if Offset(l.nextStable.Load()) < to {
		l.mu.Lock()
		l.producers.settle(l.Visible())
		l.showUnstableLocked()
		l.mu.Unlock()
	}
}

// loadStable finds the open transactions of a log that nobody has used since a clean open.
func (l *Log) loadStable() error {
	l.loading.Lock()
	defer l.loading.Unlock()
	if l.closed.Load() {
		return ErrClosed
	}
	return l.loadStableLocked()
}

// loadStableLocked is loadStable with loading held.
func (l *Log) loadStableLocked() error {
	if l.stableKnown.Load() {
		return nil
	}
	if list := l.segmentList(); len(list) > 0 {
		if err := l.ensure(list[len(list)-1]); err != nil { // it may have more than the owner knows
			return err
		}
	}
	state, err := l.loadProducers(l.End())
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.producers = state
	l.showUnstableLocked()
	if l.config.Replicated { // the high watermark may have moved meanwhile, and met no marker
		state.settle(l.Visible())
		l.showUnstableLocked()
	}
	l.transactional.Store(state.transactional())
	l.stableKnown.Store(true)
	return nil
}
