package log

import (
	"fmt"

	"github.com/partlog/partlog/internal/batch"
)

// Idempotence, Apache Kafka's ProducerStateManager (KIP-98), as a pure state machine: no clock, lock or I/O. For each producer id
// it keeps the epoch and the last five data batches:
//
//	            first batch, any sequence                 batch follows lastSequence
//	(unknown) ───────────────────────────▶ (epoch e) ◀───────────────────────────┐
//	    ▲                                    │  │  └──────────────────────────────┘
//	    │ expired                            │  │ one of the last five again: duplicate, answered with its offsets
//	    └────────────────────────────────────┘  │ epoch above e, sequence 0: the window is emptied, e grows
//	                                            │ epoch below e: ErrInvalidProducerEpoch
//	                                            └ anything else: ErrOutOfOrderSequence

// windowSize is how many batches are remembered, and so how many a client may have in flight (KIP-98).
const windowSize = 5

// producers is the state of one partition. Invariant: a producer's window is ordered by offset, and all of one epoch.
type producers struct {
	byID map[int64]*producer
	transactions
}

type producer struct {
	epoch            int16
	first, count     uint8 // window[first:], count of them, as a ring
	coordinatorEpoch int32
	timestamp        int64  // of the last batch or marker, milliseconds; decides expiry
	txnStart         Offset // first offset of the open transaction, -1
	window           [windowSize]sentBatch
}

// sentBatch is one data batch of a producer.
type sentBatch struct {
	lastOffset   Offset
	timestamp    int64
	lastSequence int32
	offsetDelta  int32
}

func (s *sentBatch) firstSequence() int32 { return subSequence(s.lastSequence, s.offsetDelta) }

func (s *sentBatch) baseOffset() Offset { return s.lastOffset - Offset(s.offsetDelta) }

// subSequence returns sequence number s minus n, going from 0 to 2147483647.
func subSequence(s, n int32) int32 { return int32(uint32(s)-uint32(n)) & 0x7fffffff }

// SequenceError says which sequence number a producer's batch should have had. It is ErrOutOfOrderSequence.
type SequenceError struct {
	ProducerID int64
	Epoch      int16
	Got, Want  int32
}

// Error names the producer and both numbers.
func (e *SequenceError) Error() string {
	return fmt.Sprintf("producer %d epoch %d: %v: got %d, want %d", e.ProducerID, e.Epoch, ErrOutOfOrderSequence, e.Got, e.Want)
}

// Is reports whether target is ErrOutOfOrderSequence.
func (e *SequenceError) Is(target error) bool { return target == ErrOutOfOrderSequence }

// ProducerEpochError says that a producer's epoch is below the newest one seen, or, of a marker, that of the open transaction. It is ErrInvalidProducerEpoch.
type ProducerEpochError struct {
	ProducerID  int64
	Epoch, Last int16
}

// Error names the producer and both epochs.
func (e *ProducerEpochError) Error() string {
	relation := "below"
	if e.Epoch == e.Last {
		relation = "not above"
	}
	return fmt.Sprintf("producer %d: %v: epoch %d is %s %d", e.ProducerID, ErrInvalidProducerEpoch, e.Epoch, relation, e.Last)
}

// Is reports whether target is ErrInvalidProducerEpoch.
func (e *ProducerEpochError) Is(target error) bool { return target == ErrInvalidProducerEpoch }

// TxnStateError says that a batch does not fit the transaction that its producer has, or has not, open here. It is ErrInvalidTxnState.
type TxnStateError struct {
	ProducerID int64
	Epoch      int16
	Open       bool   // a transaction is open, and the batch is none of it; false: the batch's transaction was not verified
	Start      Offset // of the open transaction
}

// Error names the producer and the state.
func (e *TxnStateError) Error() string {
	if e.Open {
		return fmt.Sprintf("producer %d epoch %d: %v: not transactional, with a transaction open since offset %d", e.ProducerID, e.Epoch, ErrInvalidTxnState, e.Start)
	}
	return fmt.Sprintf("producer %d epoch %d: %v: transaction is neither open here nor verified", e.ProducerID, e.Epoch, ErrInvalidTxnState)
}

// Is reports whether target is ErrInvalidTxnState.
func (e *TxnStateError) Is(target error) bool { return target == ErrInvalidTxnState }

func (p *producer) at(i uint8) *sentBatch { return &p.window[(p.first+i)%windowSize] }

func (p *producer) last() *sentBatch {
	if p.count == 0 {
		return nil
	}
	return p.at(p.count - 1)
}

// check says what a batch of a producer id is: nil and nil, it may be appended; an earlier batch, it is that one's duplicate; or an
// error. Nothing changes. The order of the rules is Apache Kafka's.
func (s *producers) check(b batch.Batch, o *AppendOptions) (*sentBatch, error) {
	id, epoch := b.ProducerID(), b.ProducerEpoch()
	p := s.byID[id]
	if b.IsControl() {
		return nil, s.checkMarker(p, b, o.TxnVersion)
	}
	client, transactional := o.Origin == OriginClient, b.IsTransactional()
	if client && p != nil && p.epoch == epoch {
		first, last := b.BaseSequence(), b.LastSequence()
		for i := range p.count {
			if sent := p.at(i); sent.lastSequence == last && sent.firstSequence() == first {
				return sent, nil
			}
		}
	}
	var v *verification
	if transactional {
		// With the transaction open, a guard is of the next one.
		if !p.inTransaction(epoch) {
			v = s.guards[id]
			if (v == nil || v.guard != o.Guard) && (p == nil || epoch >= p.epoch) {
				return nil, &TxnStateError{ProducerID: id, Epoch: epoch}
			}
		}
	}
	if p != nil && epoch < p.epoch {
		return nil, &ProducerEpochError{ProducerID: id, Epoch: epoch, Last: p.epoch}
	}
	if client {
		if err := p.checkSequence(b, v); err != nil {
			return nil, err
		}
	}
	if !transactional && p != nil && p.txnStart != batch.None {
		return nil, &TxnStateError{ProducerID: id, Epoch: epoch, Open: true, Start: p.txnStart}
	}
	return nil, nil
}

// inTransaction says whether a transaction of that epoch is open; p may be nil.
func (p *producer) inTransaction(epoch int16) bool {
	return p != nil && p.txnStart != batch.None && p.epoch == epoch
}

// checkSequence applies the rules of sequence numbers to a client's batch that is no duplicate; p and v may be nil.
func (p *producer) checkSequence(b batch.Batch, v *verification) error {
	epoch, first := b.ProducerEpoch(), b.BaseSequence()
	want := int32(0) // of a new epoch, or after a marker
	switch {
	case v != nil && v.epochBump && first != 0 && (p == nil || p.count == 0):
	case v != nil && first > v.lowest:
		want = v.lowest
	case p == nil || p.epoch == batch.None:
		return nil // nothing known: after state was lost or expired, any sequence begins
	default:
		if sent := p.last(); sent != nil && epoch == p.epoch {
			want = batch.AddSequence(sent.lastSequence, 1)
		}
		if first == want {
			return nil
		}
	}
	return &SequenceError{ProducerID: b.ProducerID(), Epoch: epoch, Got: first, Want: want}
}

// checkMarker applies the rules of a transaction marker; p may be nil. With transaction.version 2 a marker has the epoch above its
// transaction's, unless it repeats one (KIP-1228); before, it has the same or, when it fences, a higher one.
func (s *producers) checkMarker(p *producer, b batch.Batch, version int16) error {
	c, ok := marker(b)
	if !ok {
		return fmt.Errorf("%w: a control batch of producer %d has no transaction marker", ErrInvalidRecord, b.ProducerID())
	}
	if p == nil {
		return nil
	}
	epoch := b.ProducerEpoch()
	if epoch < p.epoch || version >= 2 && epoch == p.epoch && p.txnStart != batch.None {
		return &ProducerEpochError{ProducerID: b.ProducerID(), Epoch: epoch, Last: p.epoch}
	}
	if c.CoordinatorEpoch < p.coordinatorEpoch {
		return fmt.Errorf("%w: marker of producer %d has coordinator epoch %d, the last one had %d", ErrTransactionCoordinatorFenced,
			b.ProducerID(), c.CoordinatorEpoch, p.coordinatorEpoch)
	}
	return nil
}

// producerUndo is how to take an apply back. The zero value takes back nothing.
type producerUndo struct {
	id        int64
	kind      undoKind
	began     bool      // a transaction, with the batch
	evicted   sentBatch // what fell out of a full window
	timestamp int64
	whole     *producer     // the state before, where more changed than the window's end
	ended     *endedTxn     // the transaction that the batch, a marker, has ended
	guard     *verification // dropped
}

type undoKind uint8

const (
	undoNothing undoKind = iota
	undoCreate           // the producer was not known
	undoPush             // a batch was added to the window
	undoEvict            // and one fell out of it
	undoWhole            // put back the whole state
)

// apply records an appended batch. base is its first offset. Batches without a producer id change nothing.
func (s *producers) apply(b batch.Batch, base Offset) (u producerUndo) {
	id := b.ProducerID()
	if id < 0 {
		return u
	}
	p := s.byID[id]
	u.id = id
	if p == nil {
		u.kind = undoCreate
		p = &producer{epoch: b.ProducerEpoch(), coordinatorEpoch: batch.None, txnStart: batch.None, timestamp: batch.None}
		if s.byID == nil {
			s.byID = make(map[int64]*producer)
		}
		s.byID[id] = p
	}
	if b.IsControl() || b.ProducerEpoch() != p.epoch {
		if u.kind == undoNothing {
			before := *p
			u.kind, u.whole = undoWhole, &before
		}
		if b.ProducerEpoch() != p.epoch {
			p.epoch, p.first, p.count = b.ProducerEpoch(), 0, 0
		}
	}
	if b.IsTransactional() && len(s.guards) > 0 {
		u.guard = s.dropGuard(b)
	}
	if b.IsControl() {
		u.ended = s.mark(p, b, base)
		return u
	}
	if b.IsTransactional() && p.txnStart == batch.None {
		p.txnStart, u.began = base, true
		s.begin(id, base)
	}
	if u.kind == undoNothing {
		u.kind, u.timestamp = undoPush, p.timestamp
		if p.count == windowSize {
			u.kind, u.evicted = undoEvict, *p.at(0)
		}
	}
	p.timestamp = b.MaxTimestamp()
	p.push(sentBatch{lastOffset: base + Offset(b.LastOffsetDelta()), timestamp: b.MaxTimestamp(),
		lastSequence: b.LastSequence(), offsetDelta: b.LastOffsetDelta()})
	return u
}

// mark does what a control batch of p changes beside its epoch. One that compaction has emptied is the marker of a transaction that is
// gone from the log, with nothing left to be stable or not.
func (s *producers) mark(p *producer, b batch.Batch, base Offset) (ended *endedTxn) {
	c, ok := marker(b)
	if !ok {
		if b.Count() == 0 && p.txnStart != batch.None {
			ended = s.end(b.ProducerID(), p.txnStart, base, false)
			p.txnStart = batch.None
		}
		return ended
	}
	if p.txnStart != batch.None {
		ended = s.end(b.ProducerID(), p.txnStart, base, c.Type == batch.ControlAbort)
	}
	p.coordinatorEpoch, p.txnStart, p.timestamp = c.CoordinatorEpoch, batch.None, b.MaxTimestamp()
	return ended
}

// replay records a batch that is in the log already, and visible if it lies below visible. It returns the transaction that the batch has
// ended, if any.
func (s *producers) replay(b batch.Batch, base, visible Offset) *endedTxn {
	ended := s.apply(b, base).ended
	if ended != nil {
		s.settle(visible)
	}
	return ended
}

// marker reads the transaction marker of a control batch; ok is false for other control records.
func marker(b batch.Batch) (c batch.Control, ok bool) {
	var it batch.Iterator
	b.Iterate(&it, batch.DefaultMaxBytes)
	if !it.Next() {
		return c, false
	}
	c, err := batch.ParseControl(it.Record())
	return c, err == nil && c.IsMarker()
}

func (p *producer) push(s sentBatch) {
	if p.count == windowSize {
		p.first = (p.first + 1) % windowSize
		p.count--
	}
	p.count++
	*p.last() = s
}

// revert takes back what apply returned u for. Applies are taken back in reverse order.
func (s *producers) revert(u producerUndo) {
	p := s.byID[u.id]
	if p == nil || u.kind == undoNothing {
		return
	}
	if u.began {
		s.forget(p.txnStart)
		p.txnStart = batch.None
	}
	if u.ended != nil {
		s.reopen(u.ended)
	}
	s.restoreGuard(u.id, u.guard)
	switch u.kind {
	case undoCreate:
		delete(s.byID, u.id)
	case undoWhole:
		*p = *u.whole
	case undoEvict:
		p.count--
		p.first = (p.first + windowSize - 1) % windowSize
		p.count++
		*p.at(0) = u.evicted
		p.timestamp = u.timestamp
	case undoPush:
		p.count--
		p.timestamp = u.timestamp
	}
}

// transactional says whether a producer has, or had, a transaction here.
func (s *producers) transactional() bool {
	for _, p := range s.byID {
		if p.coordinatorEpoch != batch.None || p.txnStart != batch.None {
			return true
		}
	}
	return false
}

// expire forgets producers without an open transaction, nor an unstable one if keepUnstable, whose last batch is as old as before, in milliseconds.
func (s *producers) expire(before int64, keepUnstable bool) {
	for id, p := range s.byID {
		if p.txnStart == batch.None && p.timestamp <= before && !(keepUnstable && s.ending(id)) {
			delete(s.byID, id)
		}
	}
	s.expireGuards(before)
}

// clone copies the state, so that it can be looked at without the lock that guards s.
func (s *producers) clone() *producers {
	c := &producers{byID: make(map[int64]*producer, len(s.byID)), transactions: s.transactions.clone()}
	for id, p := range s.byID {
		q := *p
		c.byID[id] = &q
	}
	return c
}
