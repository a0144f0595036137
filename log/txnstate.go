package log

import (
	"cmp"
	"math"
	"slices"

	"github.com/partlog/partlog/internal/batch"
)

// Transactions of one partition (KIP-98, KIP-890), part of the pure state machine of producers:
//
//	          first batch, with a guard           marker has its place            readers see the marker
//	(none) ───────────────────────────▶ open ───────────────────────▶ ended ───────────────────────────▶ stable
//	   ▲                                  │ the write fails: taken back │ likewise
//	   └──────────────────────────────────┴◀────────────────────────────┘
//
// The first unstable offset is where the oldest transaction begins that is open or ended. Readers of committed records stop there.

// openTxn is a transaction that has begun here and has no marker yet.
type openTxn struct {
	first      Offset
	producerID int64
}

// endedTxn is a transaction whose marker has its place in the log.
type endedTxn struct {
	producerID  int64
	first, last Offset // last is the marker's
	lastStable  Offset // where the oldest transaction began that was open then, or else the offset behind the marker
	aborted     bool
}

// TxnGuard shows that the transaction coordinator knows of a transaction before its first batch is appended (KIP-890's verification
// guard). The zero value is none.
type TxnGuard uint64

// verification is what is remembered of a producer between TxnGuard and the first batch or the marker.
type verification struct {
	guard     TxnGuard
	epoch     int16
	epochBump bool  // transaction.version 2: each transaction has an epoch of its own
	lowest    int32 // sequence number that was verified
	since     int64 // milliseconds; decides expiry
}

// transactions of a partition. Invariant: open is ordered by first, ended by last.
type transactions struct {
	open      []openTxn
	ended     []endedTxn
	guards    map[int64]*verification // by producer id
	lastGuard TxnGuard
}

// noOffset is above all offsets.
const noOffset = Offset(math.MaxInt64)

// firstUnstable returns where the oldest transaction begins that is not stable, noOffset if there is none.
func (t *transactions) firstUnstable() Offset {
	first := t.firstOpen()
	for i := range t.ended {
		first = min(first, t.ended[i].first)
	}
	return first
}

// firstOpen returns where the oldest open transaction begins, noOffset if there is none.
func (t *transactions) firstOpen() Offset {
	if len(t.open) == 0 {
		return noOffset
	}
	return t.open[0].first
}

// nextStable returns the offset of the first marker that readers do not see yet, noOffset if there is none.
func (t *transactions) nextStable() Offset {
	if len(t.ended) == 0 {
		return noOffset
	}
	return t.ended[0].last
}

// begin notes that a transaction of producer id begins with offset first, which is above all others.
func (t *transactions) begin(id int64, first Offset) {
	t.open = append(t.open, openTxn{first, id})
}

// end notes the marker at offset last of the transaction of producer id that began with first.
func (t *transactions) end(id int64, first, last Offset, aborted bool) *endedTxn {
	if i, ok := t.find(first); ok {
		t.open = slices.Delete(t.open, i, i+1)
	}
	e := endedTxn{producerID: id, first: first, last: last, lastStable: min(t.firstOpen(), last+1), aborted: aborted}
	t.ended = append(t.ended, e)
	return &e
}

// reopen takes an end back: the last one.
func (t *transactions) reopen(e *endedTxn) {
	i, _ := t.find(e.first)
	t.open = slices.Insert(t.open, i, openTxn{e.first, e.producerID})
	if n := len(t.ended); n > 0 && t.ended[n-1] == *e {
		t.ended = t.ended[:n-1]
	}
}

// forget takes a begin back.
func (t *transactions) forget(first Offset) {
	if i, ok := t.find(first); ok {
		t.open = slices.Delete(t.open, i, i+1)
	}
}

func (t *transactions) find(first Offset) (int, bool) {
	return slices.BinarySearchFunc(t.open, first, func(o openTxn, first Offset) int { return cmp.Compare(o.first, first) })
}

// settle has readers see everything below visible.
func (t *transactions) settle(visible Offset) {
	n := 0
	for n < len(t.ended) && t.ended[n].last < visible {
		n++
	}
	t.ended = slices.Delete(t.ended, 0, n)
}

// ending says whether a transaction of producer id has ended and is not stable yet.
func (t *transactions) ending(id int64) bool {
	return slices.ContainsFunc(t.ended, func(e endedTxn) bool { return e.producerID == id })
}

// verify returns the guard of producer id, a new one unless one is out. Several batches that are verified at once share it, and the
// lowest of their sequence numbers is the one that has to come first.
func (t *transactions) verify(id int64, epoch int16, sequence int32, epochBump bool, now int64) TxnGuard {
	v := t.guards[id]
	if v == nil {
		t.lastGuard++
		v = &verification{guard: t.lastGuard, epoch: epoch, epochBump: epochBump, lowest: sequence, since: now}
		if t.guards == nil {
			t.guards = make(map[int64]*verification)
		}
		t.guards[id] = v
	}
	switch {
	case epoch > v.epoch:
		v.epoch, v.lowest = epoch, sequence
	case epoch == v.epoch:
		v.lowest = min(v.lowest, sequence)
	}
	return v.guard
}

// dropGuard removes the guard of b's producer: behind b either there is an offset of the transaction or the transaction is over. One
// given out already for the transaction after the one that the marker b ends stays.
func (t *transactions) dropGuard(b batch.Batch) *verification {
	v := t.guards[b.ProducerID()]
	if v == nil || b.IsControl() && v.epochBump && v.epoch == b.ProducerEpoch() {
		return nil
	}
	delete(t.guards, b.ProducerID())
	return v
}

// restoreGuard takes a dropGuard back.
func (t *transactions) restoreGuard(id int64, v *verification) {
	if v == nil || t.guards[id] != nil {
		return
	}
	if t.guards == nil {
		t.guards = make(map[int64]*verification)
	}
	t.guards[id] = v
}

// expireGuards forgets guards that were given out at before or earlier, in milliseconds.
func (t *transactions) expireGuards(before int64) {
	for id, v := range t.guards {
		if v.since <= before {
			delete(t.guards, id)
		}
	}
}

// clone copies what a revert needs.
func (t *transactions) clone() transactions {
	return transactions{open: slices.Clone(t.open), ended: slices.Clone(t.ended)}
}
