package log

import (
	"errors"
	"fmt"

	"github.com/partlog/partlog/internal/batch"
)

// Origin says who appends a batch, and so which checks apply (Apache Kafka's AppendOrigin).
type Origin uint8

const (
	OriginClient      Origin = iota // all checks
	OriginCoordinator               // a coordinator: control batches and any sequence are allowed
	OriginReplica                   // offsets and leader epochs are the leader's and are kept
)

// AppendOptions are the choices of one append.
type AppendOptions struct {
	Durable bool // wait for what Settings.Sync promises; false: only until the batch is in the page cache
	// Lazy, without Durable, says that with SyncAlways no sync is to be made for this batch alone: it becomes durable, and visible, with
	// the next one that is appended without it, by Sync, or after 4 MiB. It is for parts of something whose end will be durable.
	Lazy   bool
	Origin Origin
	// Guard is what TxnGuard returned, of the first batch of a transaction.
	Guard TxnGuard
	// TxnVersion is the transaction.version that a transaction marker is written with: 2, its epoch is above its transaction's; 0 and
	// 1, it may be the same.
	TxnVersion int16
}

// AppendResult says where a batch is.
type AppendResult struct {
	Base, Last    Offset
	LogAppendTime int64 // milliseconds; -1 unless Settings.LogAppendTime
	LogStart      Offset
	Duplicate     bool // the producer had sent this batch before: Base and Last are the first one's
}

// Append appends one record batch v2 and waits as o says; a duplicate waits for the same of the batch that it repeats. It assigns
// the batch's offsets and leader epoch in b and, with LogAppendTime, its time; b may be reused when it returns. The CRC is not
// checked.
//
// Errors that a caller can act on: ErrInvalidRecord, ErrMessageTooLarge (of which ErrRecordListTooLarge is one), ErrInvalidTimestamp, ErrOutOfOrderSequence,
// ErrInvalidProducerEpoch, ErrInvalidTxnState, ErrTransactionCoordinatorFenced, ErrNotLeaderOrFollower (of a replicated log) and ErrReadOnly change nothing; ErrNoSpace and other errors of a write likewise, though after a crash the
// batch may be found again; after ErrPoisoned the batch may or may not be there.
func (l *Log) Append(b []byte, o AppendOptions) (AppendResult, error) {
	s := l.settings.Load()
	bt := batch.Batch(b)
	if err := checkBatch(bt, o.Origin, s); err != nil {
		return AppendResult{}, err
	}
	result := AppendResult{LogAppendTime: -1}
	if o.Origin != OriginReplica {
		if o.Origin == OriginClient {
			if err := l.checkTime(bt, s); err != nil {
				return AppendResult{}, err
			}
		}
		if s.LogAppendTime {
			result.LogAppendTime = milliseconds(l.clock.Now())
			bt.SetLogAppendTime(result.LogAppendTime)
		}
	}

	if err := l.lockReady(); err != nil {
		return AppendResult{}, err
	}
	duplicate, err := l.placeLocked(bt, &o)
	if err != nil {
		l.mu.Unlock()
		return AppendResult{}, err
	}

	// Alone, or first after a group that was alone: nobody else is to be expected, so no queue and no waiter from the pool.
	alone := !l.writing && (l.appenders <= 1 || s.Sync != SyncAlways)
	w := &l.writer.solo
	if !alone {
		w = l.waiters.get()
	}
	if duplicate != nil {
		// Its first one may be unwritten yet: the answer means what acks promise, so it waits in line.
		result.Duplicate = true
		if s.LogAppendTime {
			result.LogAppendTime = duplicate.timestamp // as the record has it
		}
		w.batch, w.base, w.last = nil, duplicate.baseOffset(), duplicate.lastOffset
		w.undo.kind, w.undo.ended = undoNothing, nil
		l.duplicates++
	} else {
		w.batch, w.base, w.last = bt, l.next, l.next+Offset(bt.LastOffsetDelta())
		w.undo.kind, w.undo.ended = undoNothing, nil
		if bt.ProducerID() >= 0 {
			if w.undo = l.producers.apply(bt, w.base); w.undo.began || w.undo.ended != nil {
				l.showUnstableLocked()
			}
		}
		l.next = w.last + 1
	}
	w.durable, w.lazy, w.err = o.Durable, o.Lazy && !o.Durable, nil
	result.Base, result.Last = w.base, w.last
	if alone {
		l.writing = true
		l.mu.Unlock()
		w.next = nil
		// When lead returns, the role may be somebody else's, and solo with it.
		err = l.lead(w, w)
	} else {
		err = l.enqueue(w)
	}
	if err != nil {
		return AppendResult{}, err
	}
	result.LogStart = l.Start()
	return result, nil
}

// checkBatch applies the rules that need no state.
func checkBatch(b batch.Batch, origin Origin, s *Settings) error {
	if origin == OriginClient {
		if err := b.CheckShape(); err != nil {
			return refused(err)
		}
		if len(b) > s.MaxMessageBytes {
			return fmt.Errorf("%w: %d bytes, max.message.bytes is %d", ErrMessageTooLarge, len(b), s.MaxMessageBytes)
		}
	} else {
		whole, err := batch.Peek(b)
		if err != nil {
			return refused(err)
		}
		if len(whole) != len(b) || b.LastOffsetDelta() < 0 {
			return fmt.Errorf("%w: %d bytes are not exactly one batch", ErrInvalidRecord, len(b))
		}
	}
	if int64(len(b)) > s.SegmentBytes {
		return fmt.Errorf("%w: %d bytes, segment.bytes is %d", ErrRecordListTooLarge, len(b), s.SegmentBytes)
	}
	return nil
}

// refused puts this package's sentinel over an error of package batch.
func refused(err error) error {
	if errors.Is(err, batch.ErrInvalidTimestamp) {
		return fmt.Errorf("%w: %w", ErrInvalidTimestamp, err)
	}
	return fmt.Errorf("%w: %w", ErrInvalidRecord, err)
}

// checkTime applies TimestampBefore and TimestampAfter to what the header tells: the first and the largest timestamp. The clock is
// read only when there is a bound that the last reading does not settle: a batch that was no later than that is not now.
func (l *Log) checkTime(b batch.Batch, s *Settings) error {
	if s.LogAppendTime {
		return nil
	}
	if s.TimestampAfter != Unlimited {
		if latest := b.MaxTimestamp() - s.TimestampAfter.Milliseconds(); latest > l.lastNow.Load() {
			if now := l.readClock(); latest > now {
				return fmt.Errorf("%w: %d is more than %v after %d", ErrInvalidTimestamp, b.MaxTimestamp(), s.TimestampAfter, now)
			}
		}
	}
	if first := b.BaseTimestamp(); s.TimestampBefore != Unlimited && first >= 0 {
		if now := l.readClock(); now-first > s.TimestampBefore.Milliseconds() {
			return fmt.Errorf("%w: %d is more than %v before %d", ErrInvalidTimestamp, first, s.TimestampBefore, now)
		}
	}
	return nil
}

func (l *Log) readClock() int64 {
	now := milliseconds(l.clock.Now())
	l.lastNow.Store(now)
	return now
}

// notReadyLocked says why an append cannot go on; nil means that the log is to be loaded first.
func (l *Log) notReadyLocked() error {
	switch {
	case l.state == stateClosed || l.closed.Load():
		return ErrClosed
	case l.state == statePoisoned:
		return l.failure
	case l.config.ReadOnly:
		return ErrReadOnly
	}
	return nil
}

// placeLocked validates b against the state and stamps its place in the log. It changes nothing but b.
func (l *Log) placeLocked(b batch.Batch, o *AppendOptions) (duplicate *sentBatch, err error) {
	if l.config.Replicated && l.leading == (o.Origin == OriginReplica) {
		return nil, ErrNotLeaderOrFollower
	}
	if o.Origin == OriginReplica {
		if base := Offset(b.BaseOffset()); base < l.next {
			return nil, &OffsetOutOfRangeError{Offset: base, Start: l.next, End: l.next}
		}
		l.next = Offset(b.BaseOffset())
		return nil, nil
	}
	if b.ProducerID() >= 0 {
		if duplicate, err = l.producers.check(b, o); err != nil || duplicate != nil {
			return duplicate, err
		}
	}
	b.SetBaseOffset(int64(l.next))
	b.SetLeaderEpoch(int32(l.epoch))
	return nil, nil
}

// IsDuplicate reports whether an idempotent producer has appended b before: Append would answer it as a duplicate.
func (l *Log) IsDuplicate(b []byte) bool {
	if bt := batch.Batch(b); bt.ProducerID() >= 0 && l.touch() == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		sent, err := l.producers.check(bt, &AppendOptions{})
		return err == nil && sent != nil
	}
	return false
}
