package partitiontest

import (
	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// TransactionalBatch builds a batch of a transaction: p is what InitProducerID or EndTxn has returned, sequence counts the records
// that p has sent to the partition before.
func TransactionalBatch(p partition.ProducerID, sequence int32, records ...Record) []byte {
	var w batch.Builder
	w.Reset(nil, batch.Options{Transactional: true, ProducerID: p.ID, Epoch: p.Epoch, BaseSequence: sequence})
	for _, r := range records {
		w.Append(r.Timestamp, r.Key, r.Value, r.Headers)
	}
	b, err := w.Finish()
	if err != nil {
		panic("BUG: " + err.Error()) // no records
	}
	return b
}
