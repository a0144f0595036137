package producer

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/partlog/partlog/partition"
)

// failed decides what to do with a batch whose append failed: send it again, send it in pieces, or give it up. It
// returns a function that reports it, to be called when mu is free, or nil.
func (ln *lane) failed(b *pending, err error, inline bool, now time.Time) (note func()) {
	p := ln.p
	if b.sent && vague(err) {
		b.uncertain, ln.used = true, true
	}
	age := now.Sub(b.created)
	switch {
	case divisible(err) && b.builder.Count() > 1:
		records := b.builder.Count()
		pieces, serr := ln.split(b)
		if serr != nil {
			ln.fail(b, errors.Join(err, serr))
			return nil
		}
		ln.count.splits++
		if f := p.cfg.Events.Split; f != nil {
			return func() { f(ln.tp, records, pieces) }
		}
		return nil
	case age >= p.cfg.DeliveryTimeout && (partition.Retriable(err) || outOfSequence(err)):
		ln.fail(b, ln.overdue(b, age, err))
		return nil
	case inline && b.sent && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)):
		// The Send has gone, its record has not: another append says which sequence the leader has.
		b.state = retrying
		return nil
	case outOfSequence(err) && ln.tx != nil && (ln.broken != nil || !b.behind):
		ln.fail(b, err)
		return nil
	case outOfSequence(err) && !p.cfg.DisableIdempotence:
		if ln.broken != nil || b.behind {
			b.state = retrying // it overtook the one before it
			return nil
		}
		if b.uncertain {
			ln.fail(b, err)
			return nil
		}
		// The leader knows another sequence, or a newer epoch of this producer id. With a new epoch it takes the batch.
		ln.broken = err
	case !partition.Retriable(err):
		ln.fail(b, err)
		return nil
	}
	b.state = retrying
	b.err = err
	ln.count.retries++
	wait := p.backoff(b.attempts)
	if errors.Is(err, partition.ErrConcurrentTransactions) {
		wait = min(wait, backoffConcurrent)
	}
	if b.topicID != ln.topic.facts.Load().id {
		wait = 0 // there is a new topic, which is to be tried now
	} else {
		ln.mute(wait, age)
	}
	if f := p.cfg.Events.Retry; f != nil {
		r := Retry{TopicPartition: ln.tp, Attempt: b.attempts, Backoff: wait, Err: err}
		return func() { f(r) }
	}
	return nil
}

// mute keeps the lane from sending for d, because of a batch of that age. If d is longer than the batch has left, expire
// will give it up and end the pause.
func (ln *lane) mute(d, age time.Duration) {
	if ln.muted != nil {
		return // a batch before this one waits already
	}
	if age+d >= ln.p.cfg.DeliveryTimeout {
		ln.muted = func() bool { return false }
		return
	}
	ln.muted = ln.p.cfg.Clock.AfterFunc(d, func() {
		ln.mu.Lock()
		defer ln.mu.Unlock()
		ln.muted = nil
		ln.schedule()
	})
}

// fail gives b up.
func (ln *lane) fail(b *pending, err error) {
	if b.uncertain {
		if _, ok := errors.AsType[*UncertainError](err); !ok {
			err = &UncertainError{TopicPartition: ln.tp, Err: err}
		}
	}
	b.state, b.err = done, err
	if ln.tx != nil {
		ln.tx.doom(err)
	}
	if !b.sequenced || ln.p.cfg.DisableIdempotence {
		return
	}
	if !ln.used && ln.inFlight == 0 {
		// Nothing with this epoch is in the log and nothing will be: its sequences can begin again. So a disk that
		// is full for long does not use up the epochs.
		ln.next = 0
		for _, x := range ln.flight {
			if x.state == retrying {
				x.sequenced = false
			}
		}
		return
	}
	ln.broken = err
}

// earlier reports whether a batch before b has no outcome yet.
func (ln *lane) earlier(b *pending) bool {
	for _, x := range ln.flight {
		if x == b {
			return false
		}
		if x.state != done {
			return true
		}
	}
	return false
}

// overdue is the error of a batch that is too old to be sent again.
func (ln *lane) overdue(b *pending, age time.Duration, err error) error {
	ln.count.timeouts += uint64(len(b.entries))
	return &DeliveryTimeoutError{TopicPartition: ln.tp, Age: age, Attempts: b.attempts, Err: err}
}

// backoff is the pause before the next attempt: RetryBackoff·2ⁿ up to RetryBackoffMax, ±20 %.
func (p *Producer) backoff(attempts int) time.Duration {
	d := p.cfg.RetryBackoff
	for n := 1; n < attempts && d < p.cfg.RetryBackoffMax; n++ {
		d *= 2
	}
	d = min(d, p.cfg.RetryBackoffMax)
	return d - d/5 + time.Duration(rand.Int64N(int64(2*(d/5)+1)))
}

// outOfSequence reports whether the leader refused a batch because of its producer's identity.
func outOfSequence(err error) bool {
	return errors.Is(err, partition.ErrOutOfOrderSequence) || errors.Is(err, partition.ErrInvalidProducerEpoch)
}

// divisible reports whether parts of a batch may be taken where the whole was not: it is too large, or one record in it
// is bad (Kafka's broker names the record, KIP-467; halving finds it without).
func divisible(err error) bool {
	return errors.Is(err, partition.ErrMessageTooLarge) || errors.Is(err, partition.ErrInvalidTimestamp) || errors.Is(err, partition.ErrInvalidRecord)
}

// refusals are errors after which a batch is certainly not in the log.
var refusals = []error{
	partition.ErrNoSpace, partition.ErrMessageTooLarge, partition.ErrInvalidTimestamp, partition.ErrInvalidRecord,
	partition.ErrUnknownTopicOrPartition, partition.ErrUnknownTopicID, partition.ErrInvalidTopic,
	partition.ErrOutOfOrderSequence, partition.ErrInvalidProducerEpoch, partition.ErrReadOnly, partition.ErrClosed,
	partition.ErrFencedLeaderEpoch, partition.ErrUnknownLeaderEpoch, partition.ErrCorruptMessage,
	partition.ErrInvalidTxnState, partition.ErrTransactionAbortable, partition.ErrProducerFenced,
	partition.ErrConcurrentTransactions, partition.ErrInvalidProducerIDMapping,
	partition.ErrInvalidRequiredAcks, partition.ErrPolicyViolation, partition.ErrUnsupported, partition.ErrInvalidConfig,
	errAbandoned,
}

// vague reports whether an append's error leaves open whether the batch is in the log: a timeout, a cancelled context,
// a failed sync, an attempt of the backend before the one that was refused, or an error that the producer does not know.
func vague(err error) bool {
	if errors.Is(err, partition.ErrWritten) || errors.Is(err, partition.ErrTimeout) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, partition.ErrStorage) {
		return true
	}
	for _, r := range refusals {
		if errors.Is(err, r) {
			return false
		}
	}
	var answered interface{ Refused() bool } // a broker's answer with another code
	return !errors.As(err, &answered) || !answered.Refused()
}
