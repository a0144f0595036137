package consumer

import (
	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// aborted knows, while the batches of one partition are walked in order, which of them are of aborted transactions
// (KIP-98): a transaction is aborted from its first offset in the list that came with them up to its marker. It is used
// again for one answer after another and then allocates nothing.
type aborted struct {
	ahead  []partition.AbortedTxn // that begin behind what has been walked, by FirstOffset
	open   map[int64]struct{}     // producers whose aborted transaction is being walked
	marker batch.Iterator
}

// begin starts with a new answer's list.
func (a *aborted) begin(list []partition.AbortedTxn) {
	a.ahead = list
	clear(a.open)
}

// skips reports whether b is no data for the reader: a control batch, or one of an aborted transaction. b must not be
// damaged mapped memory without a guard around the call.
func (a *aborted) skips(b batch.Batch) bool {
	if len(a.ahead) == 0 && len(a.open) == 0 {
		return b.IsControl()
	}
	for len(a.ahead) > 0 && int64(a.ahead[0].FirstOffset) <= b.LastOffset() {
		if a.open == nil {
			a.open = make(map[int64]struct{})
		}
		a.open[a.ahead[0].ProducerID] = struct{}{}
		a.ahead = a.ahead[1:]
	}
	if b.IsControl() {
		if a.isAbort(b) {
			delete(a.open, b.ProducerID())
		}
		return true
	}
	if !b.IsTransactional() {
		return false
	}
	_, is := a.open[b.ProducerID()]
	return is
}

// isAbort reports whether a control batch is an abort marker. One that cannot be read is none.
func (a *aborted) isAbort(b batch.Batch) bool {
	b.Iterate(&a.marker, 0)
	if !a.marker.Next() {
		return false
	}
	control, err := batch.ParseControl(a.marker.Record())
	return err == nil && control.Type == batch.ControlAbort
}
