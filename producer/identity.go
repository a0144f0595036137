package producer

import (
	"context"
	"math"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// identity is what makes the batches of one lane idempotent (KIP-98): producer id, epoch and the next sequence. It is
// guarded by the lane's mu.
//
// A partition's leader knows a producer by what was appended to that partition only, so outside transactions each lane
// can have an epoch of its own, and a failure in one partition does not stop the others (Kafka's client has one epoch
// for all and resets every partition). In transactions all lanes have the one epoch of the transaction, and a batch that
// fails dooms it: the next one begins with another epoch.
type identity struct {
	id      partition.ProducerID
	next    int32             // the sequence of the next batch
	topicID partition.TopicID // the topic that these sequences belong to
	used    bool              // a batch with id may be in the log
	known   bool              // a batch with id is: the leader knows the next sequence, and takes no other
	broken  error             // why batches have to begin with a new epoch; nil if they have not
	bump    *EpochBump        // a change that has not been reported
	spent   int64             // a producer id that has no epochs left; −1 for none
}

func (i *identity) reset() { i.id, i.spent = partition.NoProducerID, -1 }

// unsure reports whether sequences begin anew before the next batch.
func (i *identity) unsure(ln *lane) bool {
	if ln.tx != nil {
		return i.id != ln.tx.id || i.topicID != ln.topic.facts.Load().id
	}
	return !ln.p.cfg.DisableIdempotence && (i.id.ID < 0 || i.broken != nil || i.topicID != ln.topic.facts.Load().id)
}

// renew begins a new epoch if a batch failed, and new sequences if the topic is another one. Nothing is being sent.
func (i *identity) renew(ln *lane) {
	if ln.p.cfg.DisableIdempotence {
		return
	}
	if id := ln.topic.facts.Load().id; id != i.topicID {
		i.topicID, i.next, i.used, i.known = id, 0, false, false
		for _, b := range ln.flight {
			b.sequenced, b.uncertain = false, false // whatever was appended, was to a log that is gone
		}
	}
	if ln.tx != nil {
		if i.id != ln.tx.id {
			i.id, i.next, i.used, i.known = ln.tx.id, 0, false, false
		}
		i.broken = nil // what failed, failed in a transaction that was aborted
		return
	}
	if i.broken == nil {
		return
	}
	before := i.id
	if i.id.Epoch == math.MaxInt16 {
		i.spent = i.id.ID
		i.id = partition.NoProducerID
	} else if i.id.ID >= 0 {
		i.id.Epoch++
	}
	i.bump = &EpochBump{TopicPartition: ln.tp, Before: before, After: i.id, Err: i.broken}
	ln.count.bumps++
	for _, b := range ln.flight {
		if b.state != retrying {
			continue
		}
		b.sequenced = false
		if b.uncertain { // with a new sequence it could be there twice
			b.state, b.err = done, &UncertainError{TopicPartition: ln.tp, Err: i.broken}
		}
	}
	i.next, i.used, i.known, i.broken = 0, false, false, nil
}

// number gives b its sequence, unless it has one or there is no producer id yet.
func (i *identity) number(b *pending) {
	if i.id.ID < 0 || b.sequenced {
		return
	}
	b.id, b.sequence, b.sequenced = i.id, i.next, true
	b.bump, i.bump = i.bump, nil
	i.next = batch.AddSequence(i.next, int32(b.builder.Count()))
}

// identify gets a producer id for the lane of b, which is the only batch being sent, and numbers b.
func (p *Producer) identify(ctx context.Context, ln *lane, b *pending) error {
	ln.mu.Lock()
	spent := ln.spent
	ln.mu.Unlock()
	id, err := p.producerID(ctx, spent)
	if err != nil {
		return err
	}
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if b.abandoned {
		return errAbandoned
	}
	if ln.id.ID < 0 {
		ln.id, ln.next, ln.used, ln.known = id, 0, false, false
		if ln.identity.bump != nil {
			ln.identity.bump.After = id
		}
	}
	ln.identity.number(b)
	return nil
}

// producerID returns the id that lanes begin with, asking the backend if there is none yet or it is the spent one.
func (p *Producer) producerID(ctx context.Context, spent int64) (partition.ProducerID, error) {
	for {
		p.idMu.Lock()
		if p.id.ID >= 0 && p.id.ID != spent {
			defer p.idMu.Unlock()
			return p.id, nil
		}
		asked := p.idAsked
		if asked == nil {
			asked = make(chan struct{})
			p.idAsked = asked
			p.idMu.Unlock()
			id, err := p.backend.InitProducerID(ctx, "", 0, partition.NoProducerID)
			p.idMu.Lock()
			if err == nil {
				p.id = id
			}
			p.idAsked = nil
			p.idMu.Unlock()
			close(asked)
			return id, err
		}
		p.idMu.Unlock()
		select {
		case <-asked:
		case <-ctx.Done():
			return partition.NoProducerID, ctx.Err()
		}
	}
}
