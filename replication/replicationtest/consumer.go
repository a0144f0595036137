package replicationtest

import (
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/replica"
	"github.com/partlog/partlog/internal/simulate"
)

// consumer reads its share of the partitions, and commits how far it has come as a group of its own.
type consumer struct {
	*client
	index     int
	positions []*position
}

type position struct {
	x         *consumer
	part      int
	next      int64
	committed int64 // acknowledged
	loading   bool  // it asks for what is committed, and begins there
	inquiry   uint64
}

func newConsumer(c *cluster, i int) *consumer {
	x := &consumer{client: newClient(c, clientName("consumer", i)), index: i}
	for part := range c.partitions {
		if part%c.setup.consumers == i {
			x.positions = append(x.positions, &position{x: x, part: part, committed: -1})
		}
	}
	return x
}

func (x *consumer) start() {
	x.process.Start()
	for _, p := range x.positions {
		p.load()
	}
}

// restart begins anew where the group has committed, as after a crash.
func (x *consumer) restart() {
	x.process.Kill()
	x.caller = newCaller(x.caller.station, x.c.net, x.clock)
	x.asking = false
	x.process.Start()
	for _, p := range x.positions {
		p.loading = false
		p.load()
	}
}

// load asks for the committed offset until somebody knows.
func (p *position) load() {
	x := p.x
	x.c.history.Rewind(x.index, p.part)
	again := func() { x.clock.AfterFunc(300*time.Millisecond, p.load) }
	coordinator := len(x.c.parts) - 1
	to, known := x.leader(coordinator)
	if !known {
		again()
		return
	}
	before := x.c.offsets.Acked(x.index, p.part)
	x.call(to, laneClient, committedRequest{uint32(x.index), uint32(p.part)}, 2*time.Second, func(answer any) {
		a, ok := answer.(offsetAnswer)
		if !ok || a.code != control.OK {
			if ok {
				x.heard(coordinator, a.hint)
			}
			x.refresh()
			again()
			return
		}
		x.c.offsets.Fetched(x.index, p.part, a.offset, before)
		p.next = max(a.offset, 0)
		x.say("begins to read partition %d at %d", p.part, p.next)
		p.poll()
		p.commit()
	})
}

func (p *position) poll() {
	x := p.x
	again := func(d time.Duration) { x.clock.AfterFunc(d, p.poll) }
	to, known := x.leader(p.part)
	if !known {
		again(300 * time.Millisecond)
		return
	}
	x.call(to, laneClient, consumeRequest{part: p.part, offset: p.next, epoch: x.leaders[p.part].epoch}, 2*time.Second, func(answer any) {
		a, ok := answer.(consumeAnswer)
		switch {
		case !ok:
			x.refresh()
			again(200 * time.Millisecond)
			return
		case a.code != control.OK:
			x.heard(p.part, a.hint)
			if moved(a.code) {
				x.refresh()
			}
			if a.code == replica.OffsetOutOfRange {
				x.c.seen.Add("consumer out of range", 1)
			}
			again(200 * time.Millisecond)
			return
		}
		if p.take(a.records) {
			again(20 * time.Millisecond)
			return
		}
		again(500 * time.Millisecond)
	})
}

// take gives the records to the checkers.
func (p *position) take(records []byte) (some bool) {
	x := p.x
	for len(records) > 0 {
		b, err := batch.Peek(records)
		if err != nil {
			break
		}
		records = records[len(b):]
		var it batch.Iterator
		b.Iterate(&it, 1<<20)
		for it.Next() {
			r := it.Record()
			if r.Offset < p.next {
				continue
			}
			if r.Offset > p.next {
				x.c.findings.Report(simulate.Skipped, "%s: partition %d: offset %d after %d", x.name, p.part, r.Offset, p.next)
			}
			x.c.history.Read(x.index, p.part, r.Offset, r.Value)
			p.next = r.Offset + 1
			some = true
		}
		if err := it.Err(); err != nil {
			x.c.findings.Report(simulate.Phantom, "%s: partition %d, batch at %d: %v", x.name, p.part, b.BaseOffset(), err)
			return some
		}
	}
	return some
}

// commit commits how far the consumer has come, every few seconds.
func (p *position) commit() {
	x := p.x
	again := func(d time.Duration) { x.clock.AfterFunc(d, p.commit) }
	coordinator := len(x.c.parts) - 1
	to, known := x.leader(coordinator)
	offset := p.next
	if !known || offset == p.committed {
		again(2 * time.Second)
		return
	}
	x.call(to, laneClient, commitRequest{uint32(x.index), uint32(p.part), offset}, 3*time.Second, func(answer any) {
		a, ok := answer.(offsetAnswer)
		if ok && a.code == control.OK {
			x.c.offsets.Ack(x.index, p.part, offset)
			p.committed = offset
			x.c.seen.Add("offset committed", 1)
			again(3 * time.Second)
			return
		}
		if ok {
			x.heard(coordinator, a.hint)
		}
		x.refresh()
		again(500 * time.Millisecond)
	})
}
