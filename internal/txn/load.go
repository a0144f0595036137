package txn

import (
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
//   - It is of the present epoch, and the id is not open: the loss of power took the Ongoing record and not the data. The
//     transaction is taken up again, to be aborted under a new epoch: a producer in another process that does not know
//     of the loss must not be able to commit the rest.
//   - It is of the epoch before, and the id is prepared or complete: its outcome is known, and this partition's marker is missing.
//   - All others belong to nobody who could still end them, and are aborted.
func (m *Machine) found(ev Found) {
	e := m.byProducer[ev.ProducerID]
	epoch, version, state := ev.Epoch, int16(1), PrepareAbort
	if e != nil {
		meta := &e.meta
		switch {
		case ev.Epoch == meta.Epoch && !meta.State.Prepared():
			next := *meta
			if next.State != Ongoing {
				next.State, next.Start, next.Partitions, next.Version = Ongoing, m.now, nil, 2
			}
			next.Partitions = next.with([]Partition{ev.Partition})
			m.adopt(e, next)
			return
		case meta.State.Prepared() && meta.has(ev.Partition):
			return // Start marks it
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
}

// start finishes what was prepared and aborts what was not.
func (m *Machine) start() {
	for _, id := range slices.Sorted(maps.Keys(m.byID)) {
		e := m.byID[id]
		switch {
		case e.meta.State.Prepared():
			e.cause, e.decided = ByRestart, m.now
			e.left = e.meta.Partitions
			m.finish(e)
		case e.meta.State == Ongoing:
			e.doomed = true
			m.fence(e, 0, ByRestart)
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(m.orphans), func(a, b orphan) int {
		if a.producerID != b.producerID {
			return int(min(max(a.producerID-b.producerID, -1), 1))
		}
		return int(a.epoch) - int(b.epoch)
	}) {
		if e := m.orphans[key]; !e.marking {
			m.finish(e)
		}
	}
}
