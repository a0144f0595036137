package consumer_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
)

// Leaving out aborted transactions allocates nothing for a batch or a record.
func TestReadingCommittedRecordsAllocatesNothingForEach(t *testing.T) {
	store := newStore(t, "t", 1)
	x := newTxn(t, store, "x")
	const transactions, each = 200, 10
	for i := range transactions {
		x.write(t, 0, texts(i*each, each)...)
		x.end(t, i%2 == 0)
	}
	for name, isolation := range map[string]consumer.Isolation{"committed": consumer.ReadCommitted, "uncommitted": consumer.ReadUncommitted} {
		c := assign(t, store, consumer.Config{Isolation: isolation, PrefetchBytes: consumer.NoPrefetch}, consumer.Assignment{TopicPartition: at("t", 0)})
		read := func() {
			require.NoError(t, c.Seek(at("t", 0), consumer.Earliest()))
			for r, err := range c.Records(t.Context()) {
				if err != nil || string(r.Value) >= "1980" && r.Offset > 2100 {
					break
				}
			}
		}
		read()
		perRun := testing.AllocsPerRun(20, read)
		require.Less(t, perRun, 200.0, "%s: %d batches, %d records", name, 2*transactions, transactions*each)
	}
}
