package txn

import (
	"cmp"
	"maps"
	"slices"
)

// replay takes over one record; the last one of an id counts.
func (m *Machine) replay(ev Replay) {
	e := m.byID[ev.ID]
	if ev.Meta == nil || ev.Meta.State == Dead {
		if e != nil {
			delete(m.byID, ev.ID)
			delete(m.open, ev.ID)
			delete(m.byProducer, e.meta.ProducerID)
		}
		return
	}
	if e == nil {
		e = &entry{}
		e.meta.ProducerID = None
	}
	m.adopt(e, *ev.Meta)
}

// found takes over a transaction that is open in a partition after a crash. What the records say of its producer decides:
//
//   - It is of the id's present epoch, and the id is open: the partition is one of the transaction's.
//   - It is of the present epoch, and the id is complete: the loss of power took the Ongoing record and not the data. The
//     transaction is taken up again, to be aborted under a new epoch: a producer in another process that does not know
//     of the loss must not be able to commit the rest.
//   - It is of the present epoch, and the id is prepared: the loss took the Complete record too. The prepared transaction has
//     its marker in this partition, or the next one could not have begun there. It is completed, and then as before.
//   - It is of the epoch before, and the id is prepared or complete: its outcome is known, and this partition's marker is missing.
//   - All others belong to nobody who could still end them, and are aborted.
//
// A mode that does not sync may have lost records of any kind, so a later epoch than the present counts as the present one.
func (m *Machine) found(ev Found) {
	e := m.byProducer[ev.ProducerID]
	if e == nil {
		e = m.promised(ev.ProducerID)
	}
	epoch, version, state := ev.Epoch, int16(1), PrepareAbort
	if m.started && e != nil {
		return // it is in the coordinator's hands
	}
	if e != nil {
		meta := &e.meta
		promised := meta.ProducerID != ev.ProducerID
		switch {
		case promised || meta.State.Prepared() && meta.bumps() && ev.Epoch >= meta.Epoch:
			e.floor = max(e.floor, ev.Epoch)
			e.behind = (&Meta{Partitions: e.behind}).with([]Partition{ev.Partition})
			return
		case meta.State.Prepared() && meta.has(ev.Partition):
			if ev.Epoch == meta.Epoch-1 || !meta.bumps() && ev.Epoch == meta.Epoch {
				return // Start marks it
			}
			// The loss took what the prepared one had there, and the marker of an older one: its own outcome must not end that.
			e.without = append(e.without, ev.Partition)
		case ev.Epoch >= meta.Epoch && !meta.State.Prepared():
			next := *meta
			next.Epoch = ev.Epoch
			m.adopt(e, next)
			m.takeUp(e, []Partition{ev.Partition})
			return
		case meta.bumps() && ev.Epoch == meta.Epoch-1 && meta.State != Empty && meta.State != Ongoing:
			epoch, version = meta.Epoch, 2
			if meta.State == PrepareCommit || meta.State == CompleteCommit {
				state = PrepareCommit
			}
		}
	}
	key := orphan{ev.ProducerID, epoch}
	o := m.orphans[key]
	if o == nil {
		o = &entry{orphan: true, meta: Meta{ProducerID: ev.ProducerID, Previous: None, Next: None, Epoch: epoch, LastEpoch: None, State: state, Version: version}}
		m.orphans[key] = o
	}
	o.meta.Partitions = o.meta.with([]Partition{ev.Partition})
	o.left = o.meta.Partitions
	if m.started && !o.marking {
		m.finish(o)
	}
}

// promised returns the id whose producer has been told that it will have this producer id.
func (m *Machine) promised(producerID int64) *entry {
	for _, e := range m.byID {
		if e.meta.Next == producerID {
			return e
		}
	}
	return nil
}

// takeUp makes ps part of e's open transaction, which begins with them if none is open.
func (m *Machine) takeUp(e *entry, ps []Partition) {
	next := e.meta
	if next.State != Ongoing {
		next.State, next.Start, next.Partitions, next.Version = Ongoing, m.now, nil, 2
	}
	next.Partitions = next.with(ps)
	m.adopt(e, next)
}

// seen raises an id's epoch to one that a partition has seen, where records that a mode without syncs has lost would
// have it lower: the next producer must come behind all before it.
func (m *Machine) seen(ev Seen) {
	if e := m.byProducer[ev.ProducerID]; e != nil {
		e.floor = max(e.floor, ev.Epoch)
	}
}

// start finishes what was prepared and aborts what was not, unless that is to go on.
func (m *Machine) start(keep bool) {
	m.started = true
	for _, id := range slices.Sorted(maps.Keys(m.byID)) {
		e := m.byID[id]
		if !e.meta.State.Prepared() {
			e.meta.Epoch = max(e.meta.Epoch, e.floor)
		}
		switch {
		case e.meta.State.Prepared():
			e.cause, e.decided = ByRestart, m.now
			e.left = slices.DeleteFunc(slices.Clone(e.meta.Partitions), func(p Partition) bool {
				return slices.Contains(e.behind, p) || slices.Contains(e.without, p)
			})
			e.without = nil
			m.finish(e)
		case e.meta.State == Ongoing && !keep:
			e.doomed = true
			m.fence(e, 0, ByRestart)
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(m.orphans), func(a, b orphan) int {
		return cmp.Or(cmp.Compare(a.producerID, b.producerID), cmp.Compare(a.epoch, b.epoch))
	}) {
		m.finish(m.orphans[key])
	}
}

// abortFound ends the transaction that had begun behind the one that is now complete.
func (m *Machine) abortFound(e *entry) {
	e.meta.Epoch = max(e.meta.Epoch, e.floor)
	e.floor = 0
	if ps := e.behind; ps != nil {
		e.behind = nil
		m.takeUp(e, ps)
		e.doomed = true
		m.fence(e, 0, ByRestart)
	}
}
