package replicationtest

import (
	"fmt"
	"time"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/replica"
	"github.com/partlog/partlog/internal/simulate"
	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
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
	near      near
	far       time.Duration // until when it stays with the leader
	loading   bool          // it asks for what is committed, and begins there
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

// group is the one that it commits for, as whoever is alone may, and takes no part in.
func (x *consumer) group() string { return fmt.Sprintf("reader-%d", x.index) }

// commitOf is a request to commit offsets of partitions of the topic of data.
func commitOf(m group.Membership, offsets map[int]int64) groupRequest {
	r := group.CommitRequest{Membership: m, Offsets: map[partition.TopicPartition]group.CommittedOffset{}}
	for part, offset := range offsets {
		r.Offsets[partition.TopicPartition{Topic: "data", Partition: int32(part)}] = group.CommittedOffset{
			Offset: partition.Offset(offset), LeaderEpoch: partition.LeaderEpochUnknown, TopicID: partition.TopicID(dataTopic),
		}
	}
	return groupRequest{m.Group, r}
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
	coordinator := x.c.partitions
	to, known := x.leader(coordinator)
	if !known {
		again()
		return
	}
	before := x.c.offsets.Acked(x.index, p.part)
	x.call(to, laneClient, committedRequest{group: x.group(), part: p.part}, 2*time.Second, func(answer any) {
		a, ok := answer.(groupAnswer)
		if !ok || a.err != nil {
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
	to, isNear, known := x.source(p.part, p.near)
	if !known {
		again(300 * time.Millisecond)
		return
	}
	r := consumeRequest{part: p.part, offset: p.next, epoch: x.leaders[p.part].epoch, near: isNear}
	if x.c.near && !isNear && x.clock.Elapsed() >= p.far {
		r.rack = rackOf(x.index)
	}
	x.call(to, laneClient, r, 2*time.Second, func(answer any) {
		a, ok := answer.(consumeAnswer)
		if isNear && x.strayed(a, ok) {
			p.near, p.far = near{}, x.clock.Elapsed()+time.Second
			if ok {
				x.heard(p.part, a.hint)
			}
			again(100 * time.Millisecond)
			return
		}
		switch {
		case ok && a.moved:
			p.near = near{a.near, x.clock.Elapsed() + nearFor}
			p.poll()
			return
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
				p.next = x.outOfRange(p.part, p.next, a)
			}
			again(200 * time.Millisecond)
			return
		}
		some := false
		if p.next, some = x.read(x.index, p.part, p.next, a); some {
			again(20 * time.Millisecond)
			return
		}
		again(500 * time.Millisecond)
	})
}

// read gives the records of an answer to the checkers, and returns where the reader is then.
func (x *client) read(reader, part int, next int64, a consumeAnswer) (to int64, some bool) {
	step := func(offset int64) {
		if offset > next { // nothing is left out
			x.c.findings.Report(simulate.Skipped, "%s: partition %d: offset %d after %d", x.name, part, offset, next)
		}
	}
	err := eachCommitted(a.records, a.aborted, func(r *batch.Record) {
		if r.Offset < next {
			return
		}
		step(r.Offset)
		x.c.history.Read(reader, part, r.Offset, r.Value)
		next = r.Offset + 1
	}, func(b batch.Batch) {
		if b.LastOffset() >= next {
			step(max(b.BaseOffset(), next))
			next = b.NextOffset()
		}
	})
	if err != nil {
		x.c.findings.Report(simulate.Phantom, "%s: partition %d: %v", x.name, part, err)
	}
	return next, len(a.records) > 0
}

// eachCommitted calls record for each record that a reader of committed records is given, and skipped for each batch that it is not.
func eachCommitted(records []byte, aborted []log.AbortedTxn, record func(*batch.Record), skipped func(batch.Batch)) error {
	open := map[int64]bool{}
	for len(records) > 0 {
		b, err := batch.Peek(records)
		if err != nil {
			return err
		}
		records = records[len(b):]
		for len(aborted) > 0 && int64(aborted[0].First) <= b.LastOffset() {
			open[aborted[0].ProducerID] = true
			aborted = aborted[1:]
		}
		var it batch.Iterator
		b.Iterate(&it, 1<<20)
		if b.IsControl() {
			if it.Next() {
				if c, err := batch.ParseControl(it.Record()); err == nil && c.Type == batch.ControlAbort {
					delete(open, b.ProducerID())
				}
			}
			skipped(b)
			continue
		}
		if b.IsTransactional() && open[b.ProducerID()] {
			skipped(b)
			continue
		}
		for it.Next() {
			record(it.Record())
		}
		if err := it.Err(); err != nil {
			return err
		}
	}
	return nil
}

// commit commits how far the consumer has come, every few seconds.
func (p *position) commit() {
	x := p.x
	again := func(d time.Duration) { x.clock.AfterFunc(d, p.commit) }
	coordinator := x.c.partitions
	to, known := x.leader(coordinator)
	offset := p.next
	if !known || offset == p.committed {
		again(2 * time.Second)
		return
	}
	answered := x.c.offsets.Sent(x.index, p.part, offset, 0)
	x.call(to, laneClient, commitOf(group.Membership{Group: x.group(), Generation: group.NoGeneration}, map[int]int64{p.part: offset}), 3*time.Second, func(answer any) {
		a, ok := answer.(groupAnswer)
		if ok {
			answered()
		}
		if ok && a.err == nil {
			x.c.offsets.Ack(x.index, p.part, offset, 0)
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
