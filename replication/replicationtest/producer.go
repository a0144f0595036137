package replicationtest

import (
	"fmt"
	"slices"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/simulate"
)

// producer is an idempotent producer with acks=all; the last of several is a weak one: acks=1, nothing is promised to it.
type producer struct {
	*client
	index int
	weak  bool
	lanes []*outbox
}

// outbox is what is to be written to one partition, in order.
type outbox struct {
	p        *producer
	part     int
	queue    []*outBatch // neither acknowledged nor given up
	flying   int
	attempt  uint64 // raised by each failure: everything is sent again
	resting  bool
	sequence int32  // of the next batch
	payloads uint64 // of the next record
	last     string // answer, if it was a refusal
	blamed   int    // answers in a row that say that records before the first are missing
	lives    int    // producer ids that were given up
}

type outBatch struct {
	bytes    []byte
	payloads []simulate.Payload
	sent     bool
}

func newProducer(c *cluster, i int) *producer {
	p := &producer{client: newClient(c, clientName("producer", i)), index: i, weak: i == 2}
	for part := range c.partitions {
		p.lanes = append(p.lanes, &outbox{p: p, part: part})
	}
	return p
}

func (p *producer) start() { p.process.Start() }

// produce takes records to write.
func (p *producer) produce(part, records int) { p.lanes[part%len(p.lanes)].add(records) }

func (o *outbox) add(records int) {
	p := o.p
	b := &outBatch{}
	options := batch.Options{Idempotent: !p.weak, ProducerID: int64(o.id()), BaseSequence: o.sequence}
	if p.weak {
		options = batch.Options{}
	}
	var w batch.Builder
	w.Reset(nil, options)
	for range records {
		payload := simulate.Payload{Producer: o.id(), Sequence: o.payloads, Partition: uint32(o.part)}
		o.payloads++
		p.c.history.Send(payload, p.weak)
		b.payloads = append(b.payloads, payload)
		w.Append(p.clock.Now().UnixMilli(), nil, payload.Append(nil), nil)
	}
	o.sequence += int32(records)
	built, err := w.Finish()
	if err != nil {
		panic("BUG: " + err.Error())
	}
	b.bytes = built
	o.queue = append(o.queue, b)
	o.send()
}

// send sends what may be sent.
func (o *outbox) send() {
	p := o.p
	for _, b := range o.queue {
		if o.resting || o.flying >= p.c.inFlight {
			return
		}
		if b.sent {
			continue
		}
		to, known := p.leader(o.part)
		if !known {
			o.rest()
			return
		}
		b.sent = true
		o.flying++
		attempt := o.attempt
		p.call(to, laneClient, produceRequest{part: o.part, all: !p.weak, batch: b.bytes}, 3*time.Second, func(answer any) {
			o.answered(b, attempt, answer)
		})
	}
}

func (o *outbox) answered(b *outBatch, attempt uint64, answer any) {
	p := o.p
	a, ok := answer.(produceAnswer)
	if ok {
		p.heard(o.part, a.hint)
	}
	if ok && a.code == control.OK {
		for i, payload := range b.payloads {
			p.c.history.Ack(payload, a.base+int64(i))
		}
		o.queue = slices.DeleteFunc(o.queue, func(q *outBatch) bool { return q == b })
		o.blamed = 0
	} else if p.weak {
		o.queue = slices.DeleteFunc(o.queue, func(q *outBatch) bool { return q == b })
	}
	if attempt != o.attempt {
		return
	}
	o.flying--
	if o.last = "no answer"; ok {
		o.last = a.code.String()
	}
	if !ok || a.code != control.OK {
		if ok && a.code == outOfOrderSequence && len(o.queue) > 0 && b == o.queue[0] {
			p.c.seen.Add("out of order sequence", 1)
			if o.blamed++; o.blamed == 8 {
				o.giveUp()
			}
		}
		// Everything again, in order.
		o.attempt++
		o.flying = 0
		for _, q := range o.queue {
			q.sent = false
		}
		if !ok || moved(a.code) {
			p.refresh()
		}
		o.rest()
		return
	}
	o.send()
}

// id is the producer id, one for each life of each lane.
func (o *outbox) id() uint32 { return uint32(o.p.index+1) + uint32(10*o.part) + uint32(1000*o.lives) }

// giveUp ends what the producer began, of which nobody knows what became, and begins with another producer id: as Apache Kafka's clients must where a
// broker has come back with less than the last five batches in mind (snapshots of producers hold the last one only).
func (o *outbox) giveUp() {
	o.p.c.seen.Add("producer gave up", 1)
	o.p.say("partition %d: gives up %d batches", o.part, len(o.queue))
	o.queue = nil
	o.lives++
	o.sequence, o.payloads, o.blamed = 0, 0, 0
}

// rest waits a while before anything is sent again.
func (o *outbox) rest() {
	if o.resting {
		return
	}
	o.resting = true
	o.p.clock.AfterFunc(time.Duration(100+o.p.rng.IntN(200))*time.Millisecond, func() {
		o.resting = false
		o.send()
	})
}

// unwell says what has not been acknowledged, and why.
func (p *producer) unwell() string {
	for _, o := range p.lanes {
		if len(o.queue) > 0 {
			return fmt.Sprintf("%s: partition %d: %d batches wait, from %+v: %s", p.name, o.part, len(o.queue), o.queue[0].payloads[0], o.last)
		}
	}
	return ""
}
