package partition

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

// TestTransactionsSurviveAnyFailingOperation runs the same transactions again and again, and each time another operation of the disk
// fails: once, or from then on, or as a sync that loses what it should have kept. Whatever was answered by then is true
// after the next open, and no transaction is half there.
func TestTransactionsSurviveAnyFailingOperation(t *testing.T) {
	kinds := []vfs.Rule{
		{Op: vfs.Mutations},
		{Op: vfs.Mutations, Forever: true, Err: syscall.ENOSPC},
		{Op: vfs.OpSync, Lose: true},
	}
	if testing.Short() {
		kinds = kinds[2:]
	}
	for _, rule := range kinds {
		runs := 0
		for n := 1; ; n++ {
			mem := vfs.NewCrashMem(vfs.Strict)
			disk := vfs.NewFault(mem)
			s, err := Open("/s", Config{FS: disk})
			require.NoError(t, err)
			for _, name := range []string{"t", "u"} {
				_, err = s.CreateTopic(t.Context(), name, TopicConfig{Partitions: 2})
				require.NoError(t, err)
			}
			rule.Nth = n
			armed := disk.Add(rule)
			l := newTxnLedger()
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = txnScript(t, s, l, rand.New(rand.NewPCG(9, 9)), 25)
			}()
			for over := false; !over; runtime.Gosched() {
				select {
				case <-done:
					over = true
				default:
					over = s.Stats().Transactions.FailedMarkers > 0 // the script may wait for space
				}
			}
			hits := armed.Hits()
			_ = s.Close()
			<-done
			disk.Clear()
			what := fmt.Sprintf("operation %d of %s fails", n, rule.Op)
			s, err = Open("/s", Config{FS: disk})
			require.NoError(t, err, what)
			require.NoError(t, l.check(t, s, true), what)
			require.NoError(t, s.Close(), what)
			if runs++; hits == 0 {
				break // the script has no more operations
			}
		}
		t.Logf("%d runs", runs)
	}
}
