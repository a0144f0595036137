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

// ProducerEpochError says that a producer's epoch is below the newest one seen. It is ErrInvalidProducerEpoch.
type ProducerEpochError struct {
	ProducerID  int64
	Epoch, Last int16
}

// Error names the producer and both epochs.
func (e *ProducerEpochError) Error() string {
	return fmt.Sprintf("producer %d: %v: epoch %d is below %d", e.ProducerID, ErrInvalidProducerEpoch, e.Epoch, e.Last)
}

// Is reports whether target is ErrInvalidProducerEpoch.
func (e *ProducerEpochError) Is(target error) bool { return target == ErrInvalidProducerEpoch }

func (p *producer) at(i uint8) *sentBatch { return &p.window[(p.first+i)%windowSize] }

func (p *producer) last() *sentBatch {
	if p.count == 0 {
		return nil
	}
	return p.at(p.count - 1)
}

// check says what a client's batch of a producer id is: nil and nil, it may be appended; an earlier batch, it is that one's
// duplicate; or an error. Nothing changes.
func (s *producers) check(b batch.Batch) (*sentBatch, error) {
	id, epoch, first := b.ProducerID(), b.ProducerEpoch(), b.BaseSequence()
	p := s.byID[id]
	if p == nil || p.epoch == batch.None {
		return nil, nil // nothing known: after state was lost or expired, any sequence begins
	}
	if epoch == p.epoch {
		last := b.LastSequence()
		for i := range p.count {
			if sent := p.at(i); sent.lastSequence == last && sent.firstSequence() == first {
				return sent, nil
			}
		}
		want := int32(0) // only a marker of this epoch has been seen
		if sent := p.last(); sent != nil {
			want = batch.AddSequence(sent.lastSequence, 1)
		}
		if first != want {
			return nil, &SequenceError{ProducerID: id, Epoch: epoch, Got: first, Want: want}
		}
		return nil, nil
	}
	if epoch < p.epoch {
		return nil, &ProducerEpochError{ProducerID: id, Epoch: epoch, Last: p.epoch}
	}
	if first != 0 {
		return nil, &SequenceError{ProducerID: id, Epoch: epoch, Got: first, Want: 0}
	}
	return nil, nil
}

// producerUndo is how to take an apply back. The zero value takes back nothing.
type producerUndo struct {
	id        int64
	kind      undoKind
	evicted   sentBatch // what fell out of a full window
	timestamp int64
	whole     *producer // the state before, where more changed than the window's end
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
	if b.IsControl() || b.IsTransactional() || b.ProducerEpoch() != p.epoch {
		if u.kind == undoNothing {
			before := *p
			u.kind, u.whole = undoWhole, &before
		}
		if !p.bracket(b, base) {
			return u
		}
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

// bracket does what a batch changes beside the window: epoch and transaction. It returns false for a control batch, which is
// not data.
func (p *producer) bracket(b batch.Batch, base Offset) (data bool) {
	if b.ProducerEpoch() != p.epoch {
		p.epoch, p.first, p.count = b.ProducerEpoch(), 0, 0
	}
	if b.IsControl() {
		if c, ok := marker(b); ok {
			p.coordinatorEpoch = c.CoordinatorEpoch
			p.txnStart = batch.None
			p.timestamp = b.MaxTimestamp()
		}
		return false
	}
	if b.IsTransactional() && p.txnStart == batch.None {
		p.txnStart = base
	}
	return true
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

// expire forgets producers without an open transaction whose last batch is as old as before, in milliseconds.
func (s *producers) expire(before int64) {
	for id, p := range s.byID {
		if p.txnStart == batch.None && p.timestamp <= before {
			delete(s.byID, id)
		}
	}
}

// clone copies the state, so that it can be looked at without the lock that guards s.
func (s *producers) clone() *producers {
	c := &producers{byID: make(map[int64]*producer, len(s.byID))}
	for id, p := range s.byID {
		q := *p
		c.byID[id] = &q
	}
	return c
}
