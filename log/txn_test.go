package log

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
)

func memLog(t testing.TB, change func(*Config)) (*vfs.Mem, *Log, Config) {
	t.Helper()
	m := vfs.NewCrashMem(vfs.Strict)
	require.NoError(t, m.MkdirAll("/data", 0o700))
	c := testConfig(m)
	if change != nil {
		change(&c)
	}
	return m, open(t, c), c
}

func appendPlain(t testing.TB, l *Log) {
	t.Helper()
	_, err := l.Append(make1(1000, 1, "plain"), AppendOptions{Durable: true})
	require.NoError(t, err)
}

// An interrupted write takes back what the queue behind it has begun and ended: the state is that of what is in the log.
func TestFailedWriteTakesBackTransactions(t *testing.T) {
	for _, mode := range []SyncMode{SyncAlways, SyncNever} {
		m, f, c := faulty(t, mode)
		c.Settings.NoPreallocation = true
		l := open(t, c)
		client := &txnClient{log: l}
		require.NoError(t, client.send(1, 1, "v", true))
		full := f.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Err: syscall.ENOSPC, Forever: true})
		require.ErrorIs(t, client.end(1, true, true), ErrNoSpace)
		require.ErrorIs(t, client.send(2, 1, "v", true), ErrNoSpace)
		require.Equal(t, Offset(0), l.LastStable())
		states, err := l.Producers()
		require.NoError(t, err)
		require.Len(t, states, 1)
		require.Equal(t, Offset(0), states[0].TxnStart)
		full.Lift()
		require.NoError(t, client.send(1, 1, "v", true))
		require.NoError(t, client.send(2, 1, "v", true))
		require.NoError(t, client.end(1, true, true))
		require.Equal(t, Offset(2), l.LastStable())
		require.NoError(t, client.end(2, false, true))
		requireTxns(t, l)
		require.NoError(t, l.Close())
		c.FS, c.Clean, c.CleanEnd = m, true, l.End()
		requireTxns(t, open(t, c))
	}
}

func TestLastStableFollowsTheMarkerOnceItIsVisible(t *testing.T) {
	notified := make(chan Offset, 100)
	var l *Log
	_, fault, c := faulty(t, SyncAlways)
	c.Notify = func() { notified <- l.LastStable() }
	l = open(t, c)
	client := &txnClient{log: l}
	require.NoError(t, client.send(1, 3, "v", true))
	require.Equal(t, Offset(0), <-notified)
	require.Equal(t, Offset(3), l.Visible())
	appendPlain(t, l)
	require.Equal(t, Offset(0), <-notified)

	// While its sync goes on, nobody sees the marker.
	fault.OnOp(func(op vfs.Op) {
		if op.Kind == vfs.OpSync && strings.HasSuffix(op.Path, ".log") {
			require.Equal(t, Offset(0), l.LastStable())
			require.Equal(t, Offset(4), l.Visible())
			require.Equal(t, Offset(5), l.Written())
		}
	})
	require.NoError(t, client.end(1, true, true))
	fault.OnOp(nil)
	require.Equal(t, Offset(5), <-notified)
}

func TestDeletedBeginningOfATransactionDoesNotHoldTheLastStableOffsetBack(t *testing.T) {
	_, l, c := memLog(t, nil)
	client := &txnClient{log: l}
	require.NoError(t, client.send(1, 5, "v", true))
	appendPlain(t, l)
	require.NoError(t, l.Roll())
	appendPlain(t, l)
	_, err := l.DeleteRecords(6)
	require.NoError(t, err)
	require.Equal(t, Offset(6), l.LastStable())
	require.NoError(t, client.end(1, true, true))
	require.Equal(t, Offset(8), l.LastStable())
	_, err = l.Aborted(nil, 3, 8)
	require.ErrorIs(t, err, ErrOffsetOutOfRange)
	got, err := l.Aborted(nil, 6, 8)
	require.NoError(t, err)
	require.Equal(t, []AbortedTxn{{1, 0, 7, 8}}, got)
	require.NoError(t, l.Close())
	c.Clean, c.CleanEnd, c.LogStart = true, 8, 6
	got, err = open(t, c).Aborted(nil, 6, 8)
	require.NoError(t, err)
	require.Equal(t, []AbortedTxn{{1, 0, 7, 8}}, got)
}

func TestTruncatedMarkerOpensItsTransactionAgain(t *testing.T) {
	for _, roll := range []bool{false, true} {
		m, l, c := memLog(t, nil)
		client := &txnClient{log: l}
		require.NoError(t, client.send(1, 1, "v", true))
		require.NoError(t, client.end(1, true, true))
		require.NoError(t, client.send(1, 1, "v", true))
		if roll {
			require.NoError(t, l.Roll())
		}
		require.NoError(t, client.end(1, true, true)) // offset 3
		requireTxns(t, l)
		require.NoError(t, l.TruncateTo(3))
		require.Equal(t, Offset(2), l.LastStable())
		requireTxns(t, l)
		_, err := l.Append(makeMarker(1, 2, false), AppendOptions{Durable: true, Origin: OriginCoordinator, TxnVersion: 2})
		require.NoError(t, err)
		requireTxns(t, l)
		require.NoError(t, l.TruncateTo(1))
		requireTxns(t, l)
		_, err = l.Append(makeMarker(1, 1, true), AppendOptions{Durable: true, Origin: OriginCoordinator, TxnVersion: 2})
		require.NoError(t, err)
		requireTxns(t, l)
		require.NoError(t, l.Close())
		report, err := VerifyDir(t.Context(), m, c.Dir, VerifyOptions{TopicID: c.TopicID, Start: 0, End: 2})
		require.NoError(t, err)
		require.Empty(t, report.Findings)
		c.Clean, c.CleanEnd = true, 2
		requireTxns(t, open(t, c))
	}
}

func TestGuardsAreForgottenWithTheirProducers(t *testing.T) {
	at := clock.NewManual(time.UnixMilli(1_000_000))
	_, l, _ := memLog(t, func(c *Config) { c.Clock = at; c.Settings.ProducerExpiry = time.Minute })
	g, ongoing, err := l.TxnGuard(1, 0, 0)
	require.NoError(t, err)
	require.False(t, ongoing)
	require.NotZero(t, g)
	at.Advance(time.Minute)
	_, err = l.Retain(at.Now())
	require.NoError(t, err)
	_, err = l.Append(makeTxn(1, 0, 0, 1, "v"), AppendOptions{Guard: g})
	require.ErrorIs(t, err, ErrInvalidTxnState)
}

func TestStaleEpochGetsNoGuard(t *testing.T) {
	_, l, _ := memLog(t, nil)
	client := &txnClient{log: l}
	require.NoError(t, client.send(1, 1, "v", true))
	require.NoError(t, client.end(1, true, true))
	_, _, err := l.TxnGuard(1, 0, 1)
	require.ErrorIs(t, err, ErrInvalidProducerEpoch)
	_, ongoing, err := l.TxnGuard(1, 1, 0)
	require.NoError(t, err)
	require.False(t, ongoing)
}

func TestClosedLogHasNoTransactions(t *testing.T) {
	_, l, _ := memLog(t, nil)
	appendPlain(t, l)
	require.NoError(t, l.Close())
	_, _, err := l.TxnGuard(1, 0, 0)
	require.ErrorIs(t, err, ErrClosed)
	_, err = l.Aborted(nil, 0, 1)
	require.ErrorIs(t, err, ErrClosed)
	_, _, err = l.ReadCommitted(nil, 0, 1, 1)
	require.ErrorIs(t, err, ErrClosed)
}

// A batch within a transaction costs no more allocations than another.
func TestBatchesOfATransactionAllocateNothing(t *testing.T) {
	const runs = 200
	allocs := func(transactional bool) float64 {
		l := benchLogOf(t, SyncNever)
		client := &txnClient{log: l}
		require.NoError(t, client.send(1, 1, "v", true))
		id := int64(2)
		if transactional {
			id = 1
		}
		batches := make([][]byte, 0, runs+1)
		for i := range runs + 1 {
			b := makeIdempotent(id, 0, int32(1+i), 1, "v")
			if transactional {
				b = makeTxn(id, 0, int32(1+i), 1, "v")
			}
			batches = append(batches, b)
		}
		i := 0
		return testing.AllocsPerRun(runs, func() {
			if _, err := l.Append(batches[i], AppendOptions{Durable: true}); err != nil {
				t.Fatal(err)
			}
			i++
		})
	}
	require.LessOrEqual(t, allocs(true), allocs(false))
}
