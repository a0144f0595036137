package producer

import (
	"context"
	"errors"
	"time"

	"github.com/partlog/partlog/partition"
)

var (
	errMaxBlock  = errors.New("MaxBlock is over")
	errAbandoned = errors.New("batch was given up")
)

// sender is one of the goroutines that append.
func (p *Producer) sender() {
	for ln := p.sched.next(); ln != nil; {
		ln = p.drain(ln)
	}
}

// drain appends what the lane has, and returns the next lane, or nil if the goroutine has ended.
func (p *Producer) drain(ln *lane) *lane {
	now := p.cfg.Clock.Now()
	ln.mu.Lock()
	ln.queued = false
	for {
		b := ln.take(now)
		var r released
		var calls bool
		if len(ln.flight) > 0 && ln.flight[0].state == done { // given up when the epoch changed
			ln.advance(&r, now)
			calls = ln.claimResults()
		}
		if b != nil {
			ln.schedule() // another sender may have the next in flight
		}
		ln.mu.Unlock()
		r.handle(p)
		if calls {
			p.deliverElsewhere(ln)
		}
		if b == nil {
			return p.sched.next()
		}
		res, err := p.transmit(p.life, ln, b)
		now = p.cfg.Clock.Now()
		if p.settle(ln, b, res, err, now) {
			p.sched.leave()
			p.deliver(ln)
			return p.sched.enter()
		}
		crowded := p.sched.crowded()
		ln.mu.Lock()
		if crowded {
			ln.schedule()
			ln.mu.Unlock()
			return p.sched.next()
		}
	}
}

// transmit appends b once. It holds no lock while it does.
func (p *Producer) transmit(ctx context.Context, ln *lane, b *pending) (partition.AppendResult, error) {
	if b.builder.Count() == 0 { // all withdrawn
		return partition.AppendResult{BaseOffset: -1, LogAppendTime: -1}, nil
	}
	if !p.cfg.DisableIdempotence {
		if !b.sequenced {
			if err := p.identify(ctx, ln, b); err != nil {
				return partition.AppendResult{}, err
			}
		}
		if b.bump != nil {
			if f := p.cfg.Events.EpochBump; f != nil {
				p.guard("event", func() { f(*b.bump) })
			}
			b.bump = nil
		}
		b.builder.SetProducer(b.id.ID, b.id.Epoch, b.sequence)
	}
	data, err := b.builder.Finish()
	if err != nil {
		return partition.AppendResult{}, err
	}
	b.size, b.sent = len(data), true
	if p.cfg.TransactionalID != "" && !ln.begin(b) {
		return partition.AppendResult{}, errAbandoned
	}
	r := partition.AppendRequest{TopicPartition: ln.tp, TopicID: b.topicID, Batch: data, Acks: b.acks, TransactionalID: p.cfg.TransactionalID}
	if b.mixed() && !p.cfg.DisableIdempotence {
		r.Acks = partition.AcksLeader
		res, err := p.backend.Append(ctx, r)
		if err != nil {
			return res, err
		}
		p.answerEarly(ln, b, res)
		if data, err = b.builder.Finish(); err != nil { // the store has patched it
			return res, err
		}
		r.Acks, r.Batch = b.acks, data
	}
	return p.backend.Append(ctx, r)
}

// settle takes note of what became of an append. It reports whether the caller has to call deliver.
func (p *Producer) settle(ln *lane, b *pending, res partition.AppendResult, err error, now time.Time) (calls bool) {
	gone := false
	if err != nil && moved(err) {
		gone = p.lost(ln, err)
	}
	ln.mu.Lock()
	ln.count.append(p, b, err, now)
	if b.abandoned {
		ln.mu.Unlock()
		p.memory.release(b.charge)
		return false
	}
	ln.inFlight--
	inline := b.inline
	b.inline = false
	var note func()
	switch {
	case err == nil:
		b.state, b.result, b.err = done, res, nil
		if ln.used = true; b.sequenced && b.id == ln.id {
			ln.known = true
		}
	case gone:
		ln.fail(b, errGone(ln.tp))
	default:
		note = ln.failed(b, err, inline, now)
	}
	var r released
	ln.advance(&r, now)
	calls = ln.claimResults()
	if calls || inline {
		ln.schedule() // others append while this goroutine has other things to do
	}
	ln.mu.Unlock()
	r.handle(p)
	if note != nil {
		p.guard("event", note)
	}
	return calls
}

// claimResults reports whether there are results to deliver and nobody does; then the caller has to.
func (ln *lane) claimResults() bool {
	if ln.delivering || ln.results == nil {
		return false
	}
	ln.delivering = true
	return true
}

// lost asks for the topic after an append that did not find it, and reports whether the partition is gone for good.
func (p *Producer) lost(ln *lane, err error) bool {
	if again := p.refresh(p.life, ln.topic); again != nil {
		return moved(again) || errors.Is(again, partition.ErrInvalidTopic)
	}
	return ln.tp.Partition >= ln.topic.facts.Load().partitions
}
