package txn

import (
	"fmt"
	"maps"
	"slices"
)

// Machine is the coordinator of all transactional ids of a store. The zero value with MaxTimeout is ready. It is for one
// goroutine at a time.
//
// Rules are Kafka's, of TransactionCoordinator and TransactionMetadata at transaction.version 2; clients may be older.
type Machine struct {
	MaxTimeout int32 // milliseconds: transaction.max.timeout.ms

	byID       map[string]*entry
	byProducer map[int64]*entry // Invariant: exactly the producer ids of byID
	open       map[string]*entry
	orphans    map[orphan]*entry
	started    bool

	now int64
	out []Effect
}

// entry is one transactional id, or with orphan set a transaction without one.
//
// Invariant: at most one of these is under way: a Write (next is not nil), a Mark (marking), a Later (resting).
// Invariant: left is not empty only in a prepared state.
type entry struct {
	meta    Meta
	next    *Meta // what is being written
	call    Call  // who gets its answer
	refuse  error // the answer when it is written, instead of success
	cause   Cause
	left    []Partition // without a marker yet
	marking bool
	resting bool
	doomed  bool // is to be aborted at the next Tick, whatever its timeout
	orphan  bool
	decided int64 // when the outcome became durable

	// After a crash, until a prepared transaction is complete: the next one's partitions, and the epoch that one of them has seen.
	behind []Partition
	floor  int16
	// Partitions of a prepared transaction that have lost it.
	without []Partition
}

type orphan struct {
	producerID int64
	epoch      int16
}

// Step takes an event at a time, in milliseconds since 1970, and returns effects appended to out, to be done in this order.
func (m *Machine) Step(now int64, ev Event, out []Effect) []Effect {
	if m.byID == nil {
		m.byID, m.byProducer = map[string]*entry{}, map[int64]*entry{}
		m.open, m.orphans = map[string]*entry{}, map[orphan]*entry{}
	}
	m.now, m.out = now, out
	switch ev := ev.(type) {
	case Init:
		m.init(ev)
	case Add:
		m.add(ev)
	case End:
		m.end(ev)
	case Abort:
		m.abort(ev)
	case Written:
		m.written(ev)
	case Marked:
		m.marked(ev)
	case Resume:
		m.resume(ev)
	case Tick:
		m.tick()
	case Expire:
		m.expire(ev)
	case Replay:
		m.replay(ev)
	case Found:
		m.found(ev)
	case Seen:
		m.seen(ev)
	case Start:
		m.start(ev.Keep)
	default:
		panic(fmt.Sprintf("BUG: event %T", ev))
	}
	out, m.out = m.out, nil
	return out
}

func (m *Machine) emit(e Effect) { m.out = append(m.out, e) }

func (m *Machine) fail(c Call, err error) {
	if c != 0 {
		m.emit(Answer{Call: c, ProducerID: None, Epoch: None, Err: err})
	}
}

// Describe returns what is known of an id.
func (m *Machine) Describe(id string) (Meta, bool) {
	if e := m.byID[id]; e != nil && e.meta.Epoch != None {
		return e.meta, true
	}
	return Meta{}, false
}

// Each calls f for every id, by id.
func (m *Machine) Each(f func(Meta)) {
	for _, id := range slices.Sorted(maps.Keys(m.byID)) {
		if e := m.byID[id]; e.meta.Epoch != None {
			f(e.meta)
		}
	}
}

// Open returns how many transactions are open: not yet prepared.
func (m *Machine) Open() int { return len(m.open) }

// Len returns how many ids there are.
func (m *Machine) Len() int { return len(m.byID) }

// Owner returns the id that has a producer id, "" if there is none.
func (m *Machine) Owner(producerID int64) string {
	if e := m.byProducer[producerID]; e != nil {
		return e.meta.ID
	}
	return ""
}

// Knows reports whether a producer's transaction is one that the coordinator will end by itself.
func (m *Machine) Knows(producerID int64, p Partition) bool {
	e := m.byProducer[producerID]
	return e != nil && (e.meta.State == Ongoing || e.meta.State.Prepared()) && e.meta.has(p)
}

// transit begins a transition: next is in force when it has been written.
func (m *Machine) transit(e *entry, next Meta, c Call, durable bool) {
	before := e.meta.State
	if !next.State.follows(before) && !(next.State == PrepareAbort && before == Ongoing) {
		panic(fmt.Sprintf("BUG: transactional id %q from %s to %s", e.meta.ID, before, next.State))
	}
	next.Previous = e.meta.ProducerID
	next.Updated = m.now
	e.next, e.call, e.refuse = &next, c, nil
	m.emit(Write{Meta: next, Durable: durable})
}

// written ends a transition.
func (m *Machine) written(ev Written) {
	e := m.byID[ev.ID]
	if e == nil || e.next == nil {
		panic(fmt.Sprintf("BUG: nothing of transactional id %q is being written", ev.ID))
	}
	next, call, refuse := e.next, e.call, e.refuse
	e.next, e.call, e.refuse = nil, 0, nil
	if ev.Err != nil {
		m.notWritten(e, next.State, call, ev.Err)
		return
	}
	if next.State == Dead {
		delete(m.byID, ev.ID)
		delete(m.byProducer, e.meta.ProducerID)
		m.emit(Free{ev.ID})
		return
	}
	before := e.meta
	m.adopt(e, *next)
	switch {
	case next.State.Prepared():
		e.decided = m.now
		if call != 0 {
			a := Answer{Call: call, ProducerID: next.ProducerID, Epoch: next.Epoch}
			if next.Next != None {
				a.ProducerID, a.Epoch = next.Next, 0
			}
			if refuse != nil {
				a = Answer{Call: call, ProducerID: None, Epoch: None, Err: refuse}
			}
			m.emit(a)
		}
		e.left = next.Partitions
		m.finish(e)
	case next.State == CompleteCommit || next.State == CompleteAbort:
		m.emit(Ended{Meta: e.meta, Commit: next.State == CompleteCommit, Cause: e.cause, Prepared: e.decided})
		e.cause = ByProducer
		m.abortFound(e)
		m.emit(Free{ev.ID})
	default:
		if call != 0 {
			m.emit(Answer{Call: call, ProducerID: next.ProducerID, Epoch: next.Epoch})
		}
		if before.State != next.State || before.Epoch != next.Epoch || before.ProducerID != next.ProducerID || len(before.Partitions) > 0 {
			m.emit(Free{ev.ID})
		}
	}
}

// notWritten takes a transition back. What must happen is tried again later; all else is the caller's to repeat.
func (m *Machine) notWritten(e *entry, state State, c Call, err error) {
	m.fail(c, err)
	if e.meta.Epoch == None { // it had just been made, and nobody has seen it
		delete(m.byID, e.meta.ID)
		delete(m.byProducer, e.meta.ProducerID)
	}
	if state == CompleteCommit || state == CompleteAbort {
		m.rest(e)
	}
	m.emit(Free{e.meta.ID})
}

// adopt makes meta the entry's.
func (m *Machine) adopt(e *entry, meta Meta) {
	if m.byProducer[e.meta.ProducerID] == e {
		delete(m.byProducer, e.meta.ProducerID)
	}
	e.meta = meta
	m.byID[meta.ID], m.byProducer[meta.ProducerID] = e, e
	if meta.State == Ongoing {
		m.open[meta.ID] = e
	} else {
		delete(m.open, meta.ID)
		e.doomed = false
	}
}

// Unwritten returns the partitions of transactions that are open there and in no record: they were found, and what ends
// them has not been written. The next start must look for them again.
func (m *Machine) Unwritten() (ps []Partition) {
	for _, e := range m.open {
		if e.doomed {
			ps = append(ps, e.meta.Partitions...)
		}
	}
	for _, e := range m.byID {
		ps = append(ps, e.behind...)
	}
	for _, e := range m.orphans {
		ps = append(ps, e.left...)
	}
	return ps
}

// Doomed returns the ids whose transactions were open at the start and are still to be aborted.
func (m *Machine) Doomed() (ids []string) {
	for id, e := range m.open {
		if e.doomed {
			ids = append(ids, id)
		}
	}
	return ids
}
