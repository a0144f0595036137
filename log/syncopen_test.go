package log

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

// Of two syncs of one file at once, one can get the error of the disk and the other, later, a false success.
func TestOneFileIsSyncedOnceAtATimeAndNeverAgainAfterAFailure(t *testing.T) {
	fault := vfs.NewFault(vfs.NewMem())
	c := testConfig(fault)
	c.Settings.Sync = SyncInterval(time.Second)
	l := open(t, c)
	appendN(t, l, 0, 1)

	var under, syncs atomic.Int64
	fault.OnOp(func(op vfs.Op) {
		if op.Kind != vfs.OpSync {
			return
		}
		syncs.Add(1)
		if under.Add(1) > 1 {
			t.Errorf("a second sync while one was going on: %s", op)
		}
		for range 20 {
			runtime.Gosched()
		}
		under.Add(-1)
	})
	failing := fault.Add(vfs.Rule{Op: vfs.OpSync, Nth: 100, Lose: true})
	var failed sync.WaitGroup
	for range 8 {
		failed.Go(func() {
			for {
				if _, err := l.Append(make1(1, 1, "x"), AppendOptions{Durable: true}); err != nil {
					require.ErrorIs(t, err, ErrPoisoned)
				}
				if err := l.Sync(); err != nil {
					require.ErrorIs(t, err, ErrPoisoned)
					return
				}
			}
		})
	}
	failed.Wait()
	require.Equal(t, 1, failing.Hits())
	require.EqualValues(t, 100, syncs.Load(), "none follows the one that failed")
	before := l.Durable()
	require.ErrorIs(t, l.Sync(), ErrPoisoned)
	require.EqualValues(t, 100, syncs.Load())
	require.Equal(t, before, l.Durable())
}
