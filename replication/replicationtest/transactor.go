package replicationtest

import (
	"fmt"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/simulate"
)

// transactor is a transactional producer: it writes some batches to some partitions, and commits or aborts.
type transactor struct {
	*client
	index    int
	id       string
	waiting  []uint64 // transactions to be made, each with what is left to chance
	busy     bool
	known    bool // producer id and epoch are
	pid      int64
	epoch    int16
	txn      uint64   // number of the transaction, for its payloads
	payloads []uint64 // next sequence of payloads, by partition
	sequence []int32  // of batches in this transaction, by partition
	last     string
	late     bool // the request that ends the next transaction is to arrive a second time, when the one behind it is going on
	again    *endRequest
}

func newTransactor(c *cluster, i int) *transactor {
	return &transactor{client: newClient(c, clientName("transactor", i)), index: i, id: fmt.Sprintf("txn-%d", i), payloads: make([]uint64, c.partitions)}
}

// number is the client in its payloads.
func (x *transactor) number() uint32 { return uint32(500 + x.index) }

func (x *transactor) unwell() string {
	if x.busy || len(x.waiting) > 0 {
		return fmt.Sprintf("%s: %d transactions wait behind %d: %s", x.name, len(x.waiting), x.txn, x.last)
	}
	return ""
}

// add has one more transaction made.
func (x *transactor) add(draw uint64) {
	x.waiting = append(x.waiting, draw)
	if !x.busy {
		x.begin()
	}
}

// coordinator asks the coordinator until it answers for good.
func (x *transactor) coordinator(body any, done func(txnAnswer)) {
	part := x.c.partitions + 1
	again := func() {
		x.clock.AfterFunc(time.Duration(100+x.rng.IntN(200))*time.Millisecond, func() { x.coordinator(body, done) })
	}
	to, known := x.leader(part)
	if !known {
		again()
		return
	}
	x.call(to, laneClient, body, 4*time.Second, func(answer any) {
		a, ok := answer.(txnAnswer)
		switch {
		case !ok:
			x.last = fmt.Sprintf("%T: no answer", body)
			x.refresh()
			again()
		case a.code == control.OK, a.code == producerFenced, a.code == invalidTxnState:
			x.last = fmt.Sprintf("%T: %s", body, a.code)
			done(a)
		default:
			x.last = fmt.Sprintf("%T: %s", body, a.code)
			x.heard(part, a.hint)
			if moved(a.code) {
				x.refresh()
			}
			again()
		}
	})
}

func (x *transactor) begin() {
	x.busy = len(x.waiting) > 0
	if !x.busy {
		return
	}
	if !x.known {
		x.coordinator(initRequest{x.id}, func(a txnAnswer) {
			if a.code == control.OK {
				x.known, x.pid, x.epoch = true, a.producerID, a.epoch
			}
			x.begin()
		})
		return
	}
	draw := x.waiting[0]
	x.waiting = x.waiting[1:]
	x.txn++
	x.sequence = make([]int32, x.c.partitions)
	x.write(draw, 1+int(draw>>8%4))
}

// write writes so many batches, one after the other, and then ends the transaction.
func (x *transactor) write(draw uint64, left int) {
	if left == 0 {
		x.finish(draw>>16%3 > 0)
		return
	}
	part := int(draw >> (20 + 3*left) % uint64(x.c.partitions))
	var w batch.Builder
	w.Reset(nil, batch.Options{Transactional: true, ProducerID: x.pid, Epoch: x.epoch, BaseSequence: x.sequence[part]})
	var payloads []simulate.Payload
	for range 1 + int(draw>>(40+2*left)%3) {
		p := simulate.Payload{Producer: x.number(), Sequence: x.payloads[part], Partition: uint32(part), Txn: x.txn}
		x.payloads[part]++
		x.sequence[part]++
		x.c.history.Send(p, false)
		payloads = append(payloads, p)
		w.Append(x.clock.Now().UnixMilli(), nil, p.Append(nil), nil)
	}
	built, err := w.Finish()
	if err != nil {
		panic("BUG: " + err.Error())
	}
	x.produce(part, built, 0, func(base int64, ok bool) {
		if !ok { // it can only be aborted, which whoever begins anew does
			x.c.seen.Add("transaction given up", 1)
			x.c.history.End(x.number(), x.txn, simulate.Aborted)
			x.known = false
			x.begin()
			return
		}
		for i, p := range payloads {
			x.c.history.Ack(p, base+int64(i))
		}
		x.endAgain()
		x.write(draw, left-1)
	})
}

// endAgain has the request that ended the transaction before arrive, over a connection that was slower than the one over which it was repeated.
func (x *transactor) endAgain() {
	to, known := x.leader(x.c.partitions + 1)
	if x.again == nil || !known {
		return
	}
	x.c.net.Dial(x.station, to).Send(x.station, request{body: *x.again})
	x.again = nil
	x.c.counts.Add("late-end", 1)
}

// produce sends a batch until it is acknowledged, or refused for good.
func (x *transactor) produce(part int, built []byte, blamed int, done func(base int64, ok bool)) {
	again := func() {
		x.clock.AfterFunc(time.Duration(100+x.rng.IntN(200))*time.Millisecond, func() { x.produce(part, built, blamed, done) })
	}
	to, known := x.leader(part)
	if !known {
		again()
		return
	}
	x.call(to, laneClient, produceRequest{part: part, all: true, batch: built, txnID: x.id}, 6*time.Second, func(answer any) {
		a, ok := answer.(produceAnswer)
		if ok {
			x.heard(part, a.hint)
			x.last = "produce: " + a.code.String()
		}
		switch {
		case !ok:
			x.last = "produce: no answer"
			x.refresh()
			again()
		case a.code == control.OK:
			done(a.base, true)
		case a.code == invalidProducerEpoch, a.code == producerFenced, a.code == invalidTxnState:
			done(-1, false)
		case a.code == outOfOrderSequence:
			if blamed++; blamed == 8 {
				done(-1, false)
				return
			}
			again()
		default:
			if moved(a.code) {
				x.refresh()
			}
			again()
		}
	})
}

// finish ends the transaction.
func (x *transactor) finish(commit bool) {
	if !commit {
		x.c.history.End(x.number(), x.txn, simulate.Aborted)
	}
	end := endRequest{id: x.id, producerID: x.pid, epoch: x.epoch, commit: commit}
	if x.late {
		x.late, x.again = false, &end
	}
	x.coordinator(end, func(a txnAnswer) {
		if a.code != control.OK { // its timeout has aborted it, or it was committed and another came in between: Unknown
			x.known = false
			x.begin()
			return
		}
		if commit {
			x.c.history.End(x.number(), x.txn, simulate.Committed)
		}
		x.pid, x.epoch = a.producerID, a.epoch
		x.begin()
	})
}
