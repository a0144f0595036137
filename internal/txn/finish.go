package txn

import (
	"maps"
	"slices"
)

// finish does the next of what a decided transaction still needs: markers, then the Complete record.
func (m *Machine) finish(e *entry) {
	if len(e.left) > 0 {
		e.marking = true
		m.emit(Mark{ProducerID: e.meta.ProducerID, Epoch: e.meta.Epoch, Commit: e.meta.State == PrepareCommit,
			Version: e.meta.Version, Orphan: e.orphan, Partitions: e.left})
		return
	}
	if e.orphan {
		delete(m.orphans, orphan{e.meta.ProducerID, e.meta.Epoch})
		m.emit(Free{})
		return
	}
	next := e.meta
	next.State = CompleteAbort
	if e.meta.State == PrepareCommit {
		next.State = CompleteCommit
	}
	if next.Next != None { // the client has it already
		next.ProducerID, next.Epoch, next.Next = next.Next, 0, None
	}
	next.Partitions = nil
	m.transit(e, next, 0, false)
}

// decided returns the transaction that an answer of the shell is about, if it is still that one.
func (m *Machine) decidedEntry(producerID int64, epoch int16, isOrphan bool) *entry {
	e := m.byProducer[producerID]
	if isOrphan {
		e = m.orphans[orphan{producerID, epoch}]
	}
	if e == nil || e.meta.Epoch != epoch || !e.meta.State.Prepared() || e.next != nil {
		return nil
	}
	return e
}

func (m *Machine) marked(ev Marked) {
	e := m.decidedEntry(ev.ProducerID, ev.Epoch, ev.Orphan)
	if e == nil || !e.marking {
		return
	}
	e.marking = false
	left := make([]Partition, 0, len(e.left))
	for _, p := range e.left {
		if !slices.Contains(ev.Done, p) {
			left = append(left, p)
		}
	}
	if e.left = left; len(left) > 0 {
		m.rest(e)
		return
	}
	m.finish(e)
}

// rest waits before the next attempt.
func (m *Machine) rest(e *entry) {
	e.resting = true
	m.emit(Later{e.meta.ProducerID, e.meta.Epoch, e.orphan})
}

func (m *Machine) resume(ev Resume) {
	if e := m.decidedEntry(ev.ProducerID, ev.Epoch, ev.Orphan); e != nil && e.resting {
		e.resting = false
		m.finish(e)
	}
}

// tick aborts transactions whose timeout is over. Two-phase commits, with the largest timeout, have none (KIP-939).
func (m *Machine) tick() {
	for _, id := range slices.Sorted(maps.Keys(m.open)) {
		e := m.open[id]
		timeout := e.meta.Timeout
		late := timeout != 1<<31-1 && e.meta.Start+int64(timeout) < m.now
		switch {
		case e.next != nil:
		case e.doomed:
			m.fence(e, 0, ByRestart)
		case late:
			m.fence(e, 0, ByTimeout)
		}
	}
}

// expire forgets idle ids. Their next producer gets another producer id, so nothing is to be fenced.
func (m *Machine) expire(ev Expire) {
	for _, id := range slices.Sorted(maps.Keys(m.byID)) {
		e := m.byID[id]
		if e.next == nil && e.meta.Epoch != None && Dead.follows(e.meta.State) && e.meta.Updated <= m.now-ev.Idle {
			next := e.meta
			next.State, next.Partitions = Dead, nil
			m.transit(e, next, 0, false)
		}
	}
}
