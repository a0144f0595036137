package producer_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/partlog/partlog/producer"
)

// A synced transaction with all its records waits for two syncs: of what it wrote, and of the decision. With those of
// the markers there are four at most.
func TestSyncedTransactWaitsForTwoSyncs(t *testing.T) {
	disk := partitiontest.NewDisk()
	still := clock.NewManual(time.Unix(1e9, 0)) // a checkpoint syncs too
	store, err := partition.Open("s", partition.Config{FS: disk, Clock: still})
	require.NoError(t, err)
	defer store.Close()
	create(t, store, "t", 1)
	p, err := producer.New(store, producer.Config{TransactionalID: "tx", Clock: still})
	require.NoError(t, err)
	defer p.Close()
	require.NoError(t, p.Transact(t.Context(), send("x"))) // prepares the segments
	settled(t, store)
	var syncs atomic.Int64
	disk.OnOp(func(op partitiontest.Op) {
		if op.Kind == partitiontest.OpSync {
			syncs.Add(1)
		}
	})
	const n = 10
	waited := int64(0)
	for range n {
		before := syncs.Load()
		require.NoError(t, p.Transact(t.Context(), func(tx *producer.Tx) error {
			for range 100 {
				tx.SendAsync(t.Context(), to(0, "y"), nil)
			}
			_, err := tx.Send(t.Context(), to(0, "z"))
			return err
		}))
		waited += syncs.Load() - before
		settled(t, store)
	}
	require.LessOrEqual(t, waited, int64(3*n), "a marker's may have begun")
	require.LessOrEqual(t, syncs.Load(), int64(4*n))
}
