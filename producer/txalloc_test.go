package producer_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/producer"
)

// A record in a transaction costs what it costs outside: no allocation.
func TestRecordsOfATransactionAllocateNothing(t *testing.T) {
	p, err := producer.New(&sink{}, producer.Config{TransactionalID: "tx"})
	require.NoError(t, err)
	defer p.Close()
	ctx, rec := t.Context(), producer.Record{Topic: "t", Value: make([]byte, 100)}
	transact := func(n int) float64 {
		fill := func(tx *producer.Tx) error {
			for range n {
				tx.SendAsync(ctx, rec, nil)
			}
			return nil
		}
		return testing.AllocsPerRun(10, func() {
			if err := p.Transact(ctx, fill); err != nil {
				t.Fatal(err)
			}
		})
	}
	_ = transact(5000) // buffers grow
	few, many := transact(10), transact(5010)
	// A schedule that makes more batches of the records than another has more of a batch's few allocations.
	require.Less(t, (many-few)/5000, 0.5, "%v and %v", few, many)
	require.Less(t, few, 40.0, "of a transaction")
}
