package txn

// init is InitProducerId (KIP-98, KIP-360).
func (m *Machine) init(ev Init) {
	if ev.Timeout <= 0 || ev.Timeout > m.MaxTimeout {
		m.fail(ev.Call, ErrInvalidTransactionTimeout)
		return
	}
	e := m.byID[ev.ID]
	if e == nil {
		if ev.Fresh == None {
			m.emit(NeedID{})
			return
		}
		e = &entry{}
		m.adopt(e, Meta{ID: ev.ID, ProducerID: ev.Fresh, Previous: None, Next: None, Epoch: None, LastEpoch: None,
			Timeout: ev.Timeout, State: Empty, Start: None, Updated: m.now})
	}
	meta := &e.meta
	continues := ev.Last != None
	switch {
	case e.busy():
		m.fail(ev.Call, ErrConcurrentTransactions)
		return
	case continues && meta.Epoch != None && ev.Last != meta.ProducerID && !(ev.Last == meta.Previous && ev.LastEpoch >= maxEpoch):
		m.fail(ev.Call, ErrProducerFenced)
		return
	case meta.State == Ongoing:
		// Kafka looks at the epoch only when it bumps it, so a zombie could abort the transaction of its successor.
		if continues && ev.LastEpoch != meta.Epoch && ev.LastEpoch != meta.LastEpoch {
			m.fail(ev.Call, ErrProducerFenced)
			return
		}
		m.fence(e, ev.Call, ByFence)
		return
	}
	next := *meta
	next.State, next.Timeout, next.Partitions, next.Start, next.Next = Empty, ev.Timeout, nil, None, None
	repeated := continues && meta.Epoch != None && ev.LastEpoch != meta.Epoch && ev.LastEpoch == meta.LastEpoch
	switch {
	case meta.exhausted() && (!continues || ev.LastEpoch == meta.Epoch || repeated && meta.Epoch > maxEpoch):
		if ev.Fresh == None {
			m.emit(NeedID{})
			return
		}
		next.ProducerID, next.Epoch, next.LastEpoch = ev.Fresh, 0, None
		if continues {
			next.LastEpoch = meta.Epoch
		}
	case !continues:
		next.Epoch, next.LastEpoch = meta.Epoch+1, None
	case repeated:
		// The answer to a bump was lost. Nobody else can have come in between: that sets LastEpoch to None.
	case meta.Epoch == None || ev.LastEpoch == meta.Epoch:
		next.Epoch, next.LastEpoch = meta.Epoch+1, meta.Epoch
	default:
		m.fail(ev.Call, ErrProducerFenced)
		return
	}
	m.transit(e, next, ev.Call, true)
}

// add is AddPartitionsToTxn.
func (m *Machine) add(ev Add) {
	e := m.byID[ev.ID]
	switch {
	case e == nil || e.meta.Epoch == None:
		m.fail(ev.Call, ErrInvalidProducerIDMapping)
		return
	case e.busy() && !ev.VerifyOnly: // whether one is in the transaction is checked again when it is appended to
		m.fail(ev.Call, ErrConcurrentTransactions)
		return
	case e.meta.ProducerID != ev.ProducerID:
		m.fail(ev.Call, ErrInvalidProducerIDMapping)
		return
	case e.meta.Epoch != ev.Epoch:
		m.fail(ev.Call, ErrProducerFenced)
		return
	case e.meta.State.Prepared():
		m.fail(ev.Call, ErrConcurrentTransactions)
		return
	}
	all := e.meta.State == Ongoing
	for _, p := range ev.Partitions {
		all = all && e.meta.has(p)
	}
	switch {
	case all:
		m.emit(Answer{Call: ev.Call, ProducerID: ev.ProducerID, Epoch: ev.Epoch})
		return
	case ev.VerifyOnly:
		m.fail(ev.Call, ErrTransactionAbortable)
		return
	}
	next := e.meta
	if next.State != Ongoing {
		next.State, next.Start, next.Partitions = Ongoing, m.now, nil
	}
	next.Partitions = next.with(ev.Partitions)
	next.Version = ev.Version
	// Of version 2 it need not be durable: see the package comment. An older client's transactions share an epoch, so one
	// that is found in a partition would not tell which of them it is.
	m.transit(e, next, ev.Call, ev.Version < 2)
}

// end is EndTxn. Version 2 accepts, beside the current epoch, the one before the bump that an earlier attempt has caused.
func (m *Machine) end(ev End) {
	e := m.byID[ev.ID]
	if e == nil || e.meta.Epoch == None {
		m.fail(ev.Call, ErrInvalidProducerIDMapping)
		return
	}
	meta := &e.meta
	bumps := ev.Version >= 2
	overflown := bumps && meta.Previous == ev.ProducerID && ev.Epoch == maxEpoch && meta.Epoch == 0
	bumped := bumps && meta.bumps() && meta.Epoch == ev.Epoch+1
	ended := meta.State == CompleteCommit || meta.State == CompleteAbort
	valid := ev.Epoch == meta.Epoch || ended && (bumped || overflown)
	switch {
	case e.busy() && bumps:
		m.fail(ev.Call, ErrConcurrentTransactions)
		return
	case meta.ProducerID != ev.ProducerID && !overflown:
		m.fail(ev.Call, ErrInvalidProducerIDMapping)
		return
	case !valid:
		m.fail(ev.Call, ErrProducerFenced)
		return
	case e.next != nil:
		m.fail(ev.Call, ErrConcurrentTransactions)
		return
	}
	repeated := bumped || overflown || !bumps // the result of version 1 is the same however often it is asked for
	same := ev.Commit == (meta.State == CompleteCommit || meta.State == PrepareCommit)
	switch {
	case meta.State == Ongoing:
	case meta.State.Prepared() && same:
		m.fail(ev.Call, ErrConcurrentTransactions)
		return
	case ended && same && meta.Epoch > maxEpoch: // a fence used the last one up: only a new producer id helps
		m.fail(ev.Call, ErrProducerFenced)
		return
	case ended && same && repeated:
		m.emit(Answer{Call: ev.Call, ProducerID: meta.ProducerID, Epoch: meta.Epoch})
		return
	case bumps && !ev.Commit && !meta.State.Prepared() && !repeated:
		// A client that does not know whether anything was added: the abort is for the epoch.
	default:
		m.fail(ev.Call, ErrInvalidTxnState)
		return
	}
	next := *meta
	if meta.State != Ongoing {
		next.Start, next.Partitions = m.now, nil
	}
	if bumps {
		if meta.exhausted() {
			if ev.Fresh == None {
				m.emit(NeedID{})
				return
			}
			next.Next = ev.Fresh
		}
		next.Epoch, next.LastEpoch = bump(meta.Epoch), meta.Epoch
	}
	next.State, next.Version = PrepareAbort, ev.Version
	if ev.Commit {
		next.State = PrepareCommit
	}
	e.cause = ByProducer
	m.transit(e, next, ev.Call, true)
}

// busy reports whether the id waits for the disk: everything but a fence has to wait too. In version 2 it is looked at first of
// all, as a producer may have been told already which id and epoch it will have when the end of its transaction is complete.
func (e *entry) busy() bool { return e.next != nil || e.meta.State.Prepared() }

// bump returns the epoch after e; after the largest, which only a bug or a damaged record can have brought about, that one again.
func bump(e int16) int16 {
	if e == maxEpoch+1 {
		return e
	}
	return e + 1
}

// abort is the administrator's.
func (m *Machine) abort(ev Abort) {
	e := m.byID[ev.ID]
	switch {
	case e == nil || e.meta.Epoch == None:
		m.fail(ev.Call, ErrTransactionalIDNotFound)
	case e.busy():
		m.fail(ev.Call, ErrConcurrentTransactions)
	case e.meta.State != Ongoing:
		m.fail(ev.Call, ErrInvalidTxnState)
	default:
		m.fence(e, ev.Call, ByAdmin)
	}
}

// fence aborts an open transaction under the next epoch, so that its producer is fenced from then on. The caller is
// answered that he has to come again (PrepareEpochFence). It goes by version 2 whatever the client's, as the store does. A write that fails
// changes nothing, so the next attempt does not bump twice.
func (m *Machine) fence(e *entry, c Call, cause Cause) {
	next := e.meta
	next.State, next.Version, next.Next = PrepareAbort, 2, None
	next.Epoch, next.LastEpoch = bump(e.meta.Epoch), e.meta.Epoch
	e.cause = cause
	m.transit(e, next, c, true)
	e.refuse = ErrConcurrentTransactions
}
