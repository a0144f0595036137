package log

import (
	"cmp"
	"slices"

	"github.com/partlog/partlog/internal/batch"
)

// cleanTxns follows the transactions of the batches that compaction walks through, in order (Apache Kafka's CleanedTransactionMetadata).
// Only batches below the last stable offset come here, so each transaction is either among the aborted or was, or will be, committed.
type cleanTxns struct {
	aborted   []AbortedTxn // not begun yet, by first offset
	ongoing   map[int64]*cleanTxn
	committed map[int64]bool // producers of whose committed transaction some batch is still there
}

// cleanTxn is an aborted transaction that has begun.
type cleanTxn struct {
	AbortedTxn
	seen bool // some batch of it is still there
}

// newCleanTxns begins a walk. aborted are the aborted transactions with anything in it.
func newCleanTxns(aborted []AbortedTxn) *cleanTxns {
	aborted = slices.Clone(aborted)
	slices.SortStableFunc(aborted, func(a, b AbortedTxn) int { return cmp.Compare(a.First, b.First) })
	return &cleanTxns{aborted: aborted, ongoing: map[int64]*cleanTxn{}, committed: map[int64]bool{}}
}

func (t *cleanTxns) begin(upTo Offset) {
	for len(t.aborted) > 0 && t.aborted[0].First <= upTo {
		if a := t.aborted[0]; t.ongoing[a.ProducerID] == nil {
			t.ongoing[a.ProducerID] = &cleanTxn{AbortedTxn: a}
		}
		t.aborted = t.aborted[1:]
	}
}

// data reports whether the records of b, a data batch, belong to an aborted transaction.
func (t *cleanTxns) data(b batch.Batch) (aborted bool) {
	if !b.IsTransactional() {
		return false
	}
	t.begin(Offset(b.LastOffset()))
	if a := t.ongoing[b.ProducerID()]; a != nil {
		a.seen = true
		return true
	}
	t.committed[b.ProducerID()] = true
	return false
}

// control reports whether b, a control batch, may go because its transaction has no batch left. If it stays and ends an aborted
// transaction, that one is returned: readers still have to know of it.
func (t *cleanTxns) control(b batch.Batch) (spent bool, aborted *AbortedTxn) {
	t.begin(Offset(b.LastOffset()))
	if b.Count() == 0 {
		return true, nil
	}
	c, ok := marker(b)
	id := b.ProducerID()
	switch {
	case !ok:
		return false, nil
	case c.Type == batch.ControlCommit:
		spent = !t.committed[id]
		delete(t.committed, id)
		return spent, nil
	}
	a := t.ongoing[id]
	delete(t.ongoing, id)
	if a == nil || !a.seen {
		return true, nil
	}
	return false, &a.AbortedTxn
}
