package partition

import (
	"path"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
)

// Each way in which a transaction ends is counted as that, and as no other.
func TestEndsOfTransactionsAreCountedByTheirCause(t *testing.T) {
	for _, v := range []struct {
		name string
		end  func(t *testing.T, a *txnClient, now *clock.Manual, reopen func() *Store)
		want TransactionStats
	}{
		{"commit", func(_ *testing.T, a *txnClient, _ *clock.Manual, _ func() *Store) { a.end(true) }, TransactionStats{Committed: 1}},
		{"abort", func(_ *testing.T, a *txnClient, _ *clock.Manual, _ func() *Store) { a.end(false) }, TransactionStats{Aborted: 1}},
		{"fence", func(t *testing.T, a *txnClient, _ *clock.Manual, _ func() *Store) { newTxnClient(t, a.s, "a") }, TransactionStats{Aborted: 1, ByFence: 1}},
		{"timeout", func(_ *testing.T, _ *txnClient, now *clock.Manual, _ func() *Store) { now.Advance(70 * time.Second) }, TransactionStats{Aborted: 1, TimedOut: 1}},
		{"admin", func(t *testing.T, a *txnClient, _ *clock.Manual, _ func() *Store) {
			require.NoError(t, a.s.AbortTransaction(t.Context(), "a"))
		}, TransactionStats{Aborted: 1, ByAdmin: 1}},
		{"restart", func(_ *testing.T, a *txnClient, _ *clock.Manual, reopen func() *Store) { a.s = reopen() }, TransactionStats{Aborted: 1, ByRestart: 1}},
	} {
		t.Run(v.name, func(t *testing.T) {
			now, mem := clock.NewManual(time.UnixMilli(1_700_000_000_000)), vfs.NewMem()
			s := openTxnStore(t, mem, Config{Clock: now}, "t")
			a := newTxnClient(t, s, "a")
			a.send(t0, "1")
			require.Equal(t, TransactionStats{IDs: 1, Ongoing: 1}, s.Stats().Transactions)
			v.end(t, a, now, func() *Store {
				require.NoError(t, s.Close())
				return openTxnStore(t, mem, Config{Clock: now})
			})
			settled(t, a.s)
			v.want.IDs = 1
			require.Equal(t, v.want, a.s.Stats().Transactions)
			require.NoError(t, a.s.Close())
		})
	}
}

// MarkerTime is what readers of committed records wait for after the outcome is decided.
func TestMarkerTimeIsFromTheDecisionToTheLastMarker(t *testing.T) {
	now, disk := clock.NewManual(time.UnixMilli(1_700_000_000_000)), vfs.NewFault(vfs.NewMem())
	s := openTxnStore(t, disk, Config{Clock: now}, "t")
	defer s.Close()
	a := newTxnClient(t, s, "a")
	for i, d := range []time.Duration{time.Millisecond, 3 * time.Millisecond, 2 * time.Millisecond} {
		a.send(t0, "1")
		now.Advance(time.Second) // of the transaction, not of its end
		var marked atomic.Bool
		disk.OnOp(func(op vfs.Op) {
			if found, _ := path.Match("/s/data/t-0/*.log", op.Path); found && op.Kind == vfs.OpWrite && !marked.Swap(true) {
				now.Advance(d)
			}
		})
		a.end(i%2 == 0)
		settled(t, s)
		disk.OnOp(nil)
		require.True(t, marked.Load())
	}
	require.Equal(t, TransactionStats{
		IDs: 1, Committed: 2, Aborted: 1, MarkerTime: 6 * time.Millisecond, MaxMarkerTime: 3 * time.Millisecond,
	}, s.Stats().Transactions)
}
