package replicationtest

import (
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/replica"
	"github.com/partlog/partlog/internal/simulate"
)

// tenant writes to the topics that are made during a run, and reads them: an idempotent producer with acks=all.
type tenant struct {
	*producer
	byPart  map[int]*outbox
	readers map[int]*tenantReader
}

// tenantReader reads one partition from its beginning on.
type tenantReader struct {
	x    *tenant
	p    *part
	next int64
}

// tenantIndex is the tenant among producers and readers.
const tenantIndex = 7

func newTenant(c *cluster) *tenant {
	p := &producer{client: newClient(c, "tenant"), index: tenantIndex}
	return &tenant{producer: p, byPart: map[int]*outbox{}, readers: map[int]*tenantReader{}}
}

// write writes to one of the partitions that there are.
func (x *tenant) write(draw uint64) {
	var live []*part
	for _, p := range x.c.parts {
		if p.guest && !p.deleted {
			live = append(live, p)
		}
	}
	if len(live) == 0 {
		return
	}
	p := live[draw>>8%uint64(len(live))]
	o := x.byPart[p.index]
	if o == nil {
		o = &outbox{p: x.producer, part: p.index}
		x.byPart[p.index], x.lanes = o, append(x.lanes, o)
		r := &tenantReader{x: x, p: p}
		x.readers[p.index] = r
		r.poll()
	}
	o.add(1 + int(draw%4))
}

// deleted takes back what was to be written to a partition.
func (x *tenant) deleted(p *part) {
	if o := x.byPart[p.index]; o != nil {
		o.queue = nil
		o.attempt++
	}
}

// poll reads what there is, until the partition is deleted.
func (r *tenantReader) poll() {
	x := r.x
	again := func(d time.Duration) { x.clock.AfterFunc(d, r.poll) }
	if r.p.deleted {
		return
	}
	to, known := x.leader(r.p.index)
	if !known {
		again(500 * time.Millisecond)
		return
	}
	x.call(to, laneClient, consumeRequest{part: r.p.index, offset: r.next, epoch: x.leaders[r.p.index].epoch}, 2*time.Second, func(answer any) {
		a, ok := answer.(consumeAnswer)
		switch {
		case !ok:
			x.refresh()
			again(500 * time.Millisecond)
			return
		case a.code == control.OK:
		default:
			x.heard(r.p.index, a.hint)
			if moved(a.code) {
				x.refresh()
			}
			if a.code == replica.OffsetOutOfRange && r.p.lossy {
				x.c.history.Rewind(x.index, r.p.index)
				r.next = 0
			}
			again(500 * time.Millisecond)
			return
		}
		err := eachCommitted(a.records, a.aborted, func(b *batch.Record) {
			if b.Offset >= r.next {
				x.c.history.Read(x.index, r.p.index, b.Offset, b.Value)
				r.next = b.Offset + 1
			}
		}, func(batch.Batch) {})
		if err != nil {
			x.c.findings.Report(simulate.Phantom, "%s: %s: %v", x.name, r.p.name, err)
		}
		again(700 * time.Millisecond)
	})
}
