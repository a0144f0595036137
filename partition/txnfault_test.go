package partition

import (
	"context"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/txn"
	"github.com/partlog/partlog/internal/vfs"
)

// requireCommitted waits until readers of committed records have these, and nothing is open behind them.
func requireCommitted(t testing.TB, s *Store, tp TopicPartition, want ...string) {
	t.Helper()
	values, next := committed(t, s, tp)
	require.Equal(t, want, values)
	hw, err := s.ListOffsets(context.Background(), tp, TimestampLatest)
	require.NoError(t, err)
	require.Equal(t, hw, next)
}

func stateOf(t testing.TB, s *Store, id string) TransactionDescription {
	t.Helper()
	ds, err := s.DescribeTransactions(context.Background(), []string{id})
	require.NoError(t, err)
	require.NoError(t, ds[0].Err)
	return ds[0]
}

var (
	t0 = TopicPartition{"t", 0}
	t1 = TopicPartition{"t", 1}
	u0 = TopicPartition{"u", 0}
)

func TestMarkersSkipDeletedTopics(t *testing.T) {
	s := openTxnStore(t, vfs.NewMem(), Config{}, "t", "u")
	defer s.Close()
	a := newTxnClient(t, s, "a")
	a.send(t0, "1")
	a.send(u0, "2")
	require.NoError(t, s.DeleteTopic(t.Context(), "u"))
	a.end(true)
	settled(t, s)
	requireCommitted(t, s, t0, "1")
	require.Equal(t, TransactionCompleteCommit, stateOf(t, s, "a").State)
}

// A partition whose sync failed takes nothing any more until the next open. The transaction is decided all the same, the
// other partitions have it, and that open writes the missing marker.
func TestPoisonedPartitionGetsItsMarkerFromTheNextOpen(t *testing.T) {
	disk := vfs.NewFault(vfs.NewMem())
	now := clock.NewManual(time.UnixMilli(1_700_000_000_000))
	s := openTxnStore(t, disk, Config{Clock: now}, "t")
	a := newTxnClient(t, s, "a")
	a.send(t0, "1")
	a.send(t1, "2")
	rule := disk.Add(vfs.Rule{Op: vfs.OpSync, Path: "/s/data/t-0/*.log", Nth: 2}) // the data's is the first
	a.end(true)
	c := s.txns.Load()
	waitFor(t, c, func() bool { return rule.Hits() == 1 && c.stats.FailedMarkers > 0 })
	require.Equal(t, TransactionPrepareCommit, stateOf(t, s, "a").State)
	waitStable(t, s, t1, 2) // its marker is written beside the one that fails
	requireCommitted(t, s, t1, "2")
	now.Advance(time.Hour)
	require.Equal(t, TransactionPrepareCommit, stateOf(t, s, "a").State)
	require.ErrorIs(t, a.trySend(t1, "3"), ErrStorage, "nobody waits for the next open")
	_, err := s.InitProducerID(t.Context(), "a", time.Minute, NoProducerID)
	require.ErrorIs(t, err, ErrStorage)
	require.Error(t, s.Close())

	s = openTxnStore(t, disk, Config{Clock: now})
	defer s.Close()
	settled(t, s)
	requireCommitted(t, s, t0, "1")
	requireCommitted(t, s, t1, "2")
}

// waitFor waits for a condition under the coordinator's lock which something that is under way will make true.
func waitFor(t testing.TB, c *txnCoordinator, ready func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; {
		c.mu.Lock()
		ok := ready()
		c.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
		runtime.Gosched()
	}
}

// waitStable waits until the last stable offset of a partition is where a marker, which is under way, will bring it.
func waitStable(t testing.TB, s *Store, tp TopicPartition, want Offset) {
	t.Helper()
	for {
		stable, err := s.ListOffsets(t.Context(), tp, TimestampLastStable)
		require.NoError(t, err)
		if stable >= want {
			return
		}
		runtime.Gosched()
	}
}

func TestFullDiskDelaysMarkersAndLosesNone(t *testing.T) {
	disk := vfs.NewFault(vfs.NewMem())
	now := clock.NewManual(time.UnixMilli(1_700_000_000_000))
	s := openTxnStore(t, disk, Config{Clock: now}, "t")
	defer s.Close()
	a := newTxnClient(t, s, "a")
	a.send(t0, "1")
	a.send(t1, "2")
	rule := disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: "/s/data/t-0/*.log", Err: syscall.ENOSPC, Forever: true})
	a.end(true)
	c := s.txns.Load()
	waitFor(t, c, func() bool {
		if c.stats.FailedMarkers >= 4 {
			return true
		}
		c.mu.Unlock()
		now.Advance(time.Minute) // attempts are at most 10 s apart
		c.mu.Lock()
		return false
	})
	values, _ := committed(t, s, t0)
	require.Empty(t, values)
	rule.Lift()
	waitFor(t, c, func() bool {
		m, _ := c.m.Describe("a")
		c.mu.Unlock()
		now.Advance(time.Minute)
		c.mu.Lock()
		return m.State == txn.CompleteCommit
	})
	requireCommitted(t, s, t0, "1")
	requireCommitted(t, s, t1, "2")
	require.Equal(t, TransactionCompleteCommit, stateOf(t, s, "a").State)
}

func TestPrepareWithoutSpaceDecidesNothing(t *testing.T) {
	disk := vfs.NewFault(vfs.NewMem())
	s := openTxnStore(t, disk, Config{}, "t")
	defer s.Close()
	a := newTxnClient(t, s, "a")
	a.send(t0, "1")
	rule := disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: "/s/data/__transaction_state-47/*.log", Err: syscall.ENOSPC, Forever: true})
	require.ErrorIs(t, a.tryEnd(true), ErrNoSpace)
	require.Equal(t, TransactionOngoing, stateOf(t, s, "a").State)
	require.ErrorIs(t, a.tryEnd(false), ErrNoSpace)
	rule.Lift()
	a.end(false)
	settled(t, s)
	requireCommitted(t, s, t0)
	a.send(t0, "2")
	a.end(true)
	settled(t, s)
	requireCommitted(t, s, t0, "2")
}

// A Prepare record whose sync failed may be on the disk or not: nobody is told an outcome, no marker is written, and
// the next open decides by what it finds, for all partitions alike.
func TestPrepareInDoubtIsDecidedByTheNextOpen(t *testing.T) {
	for _, lose := range []bool{false, true} {
		mem := vfs.NewCrashMem(vfs.Strict)
		disk := vfs.NewFault(mem)
		s := openTxnStore(t, disk, Config{}, "t")
		a := newTxnClient(t, s, "a")
		a.send(t0, "1")
		a.send(t1, "2")
		disk.Add(vfs.Rule{Op: vfs.OpSync, Path: "/s/data/__transaction_state-47/*.log", Lose: lose})
		require.ErrorIs(t, a.tryEnd(true), ErrStorage)
		require.ErrorIs(t, a.tryEnd(false), ErrStorage, "nor can it be aborted now")
		v0, _ := committed(t, s, t0)
		require.Empty(t, v0)
		require.Error(t, s.Close())
		s = openTxnStore(t, disk, Config{})
		settled(t, s)
		v0, _ = committed(t, s, t0)
		v1, _ := committed(t, s, t1)
		if lose {
			require.Empty(t, v0)
			require.Empty(t, v1)
		} else {
			require.Equal(t, []string{"1"}, v0)
			require.Equal(t, []string{"2"}, v1)
		}
		require.NoError(t, s.Close())
	}
}

func TestDataThatCannotBeSyncedIsNotCommitted(t *testing.T) {
	disk := vfs.NewFault(vfs.NewMem())
	s := openTxnStore(t, disk, Config{}, "t")
	defer s.Close()
	a := newTxnClient(t, s, "a")
	a.send(t0, "1")
	a.send(t1, "2")
	disk.Add(vfs.Rule{Op: vfs.OpSync, Path: "/s/data/t-0/*.log"})
	require.ErrorIs(t, a.tryEnd(true), ErrStorage)
	require.Equal(t, TransactionOngoing, stateOf(t, s, "a").State)
	a.end(false)
	waitFor(t, s.txns.Load(), func() bool { return s.txns.Load().stats.FailedMarkers > 0 })
	waitStable(t, s, t1, 2)
	requireCommitted(t, s, t1)
}

func TestTransactionTimesOut(t *testing.T) {
	now := clock.NewManual(time.UnixMilli(1_700_000_000_000))
	ended := make(chan TransactionEnded, 4)
	s := openTxnStore(t, vfs.NewMem(), Config{Clock: now, Events: Events{TransactionEnded: func(e TransactionEnded) { ended <- e }}}, "t")
	defer s.Close()
	a := newTxnClient(t, s, "a") // timeout 1 min
	a.send(t0, "1")
	now.Advance(59 * time.Second)
	a.send(t0, "2")
	now.Advance(11 * time.Second)
	settled(t, s)
	requireCommitted(t, s, t0)
	for _, tp := range []TopicPartition{t0, t1} { // in the transaction or not
		err := a.trySend(tp, "3")
		require.ErrorIs(t, err, ErrInvalidProducerEpoch)
		require.NotErrorIs(t, err, ErrProducerFenced)
	}
	require.ErrorIs(t, a.tryEnd(true), ErrInvalidTxnState)
	st := s.Stats().Transactions
	require.EqualValues(t, 1, st.TimedOut)
	require.NotZero(t, st.Fenced)
	e := <-ended
	require.Equal(t, "timeout", e.Cause)
	require.Equal(t, "a", e.TransactionalID)
	require.False(t, e.Committed)
	require.GreaterOrEqual(t, e.Took, time.Minute)
	// The same producer goes on: nobody else has come.
	pid, err := s.InitProducerID(t.Context(), "a", time.Minute, a.pid)
	require.NoError(t, err)
	require.Equal(t, a.pid.ID, pid.ID)
	require.Greater(t, pid.Epoch, a.pid.Epoch)
	a.pid, a.seq = pid, map[TopicPartition]int32{}
	a.send(t0, "4")
	a.end(true)
	settled(t, s)
	requireCommitted(t, s, t0, "4")
}

func TestIdleTransactionalIDsExpire(t *testing.T) {
	now := clock.NewManual(time.UnixMilli(1_700_000_000_000))
	disk := vfs.NewMem()
	c := Config{Clock: now, TransactionalIDExpiration: 7 * 24 * time.Hour}
	s := openTxnStore(t, disk, c, "t")
	a := newTxnClient(t, s, "a")
	a.send(t0, "1")
	a.end(true)
	settled(t, s)
	now.Advance(6 * 24 * time.Hour)
	newTxnClient(t, s, "b")
	now.Advance(2 * 24 * time.Hour)
	list, err := s.ListTransactions(t.Context(), TransactionFilter{})
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "b", list[0].TransactionalID)
	ds, err := s.DescribeTransactions(t.Context(), []string{"a"})
	require.NoError(t, err)
	require.ErrorIs(t, ds[0].Err, ErrTransactionalIDNotFound)
	require.NoError(t, s.Close())
	s = openTxnStore(t, disk, c)
	defer s.Close()
	list, err = s.ListTransactions(t.Context(), TransactionFilter{})
	require.NoError(t, err)
	require.Len(t, list, 1)
	b := newTxnClient(t, s, "a")
	require.NotEqual(t, a.pid.ID, b.pid.ID)
}

func TestDamagedRecordOfAnIDIsLeftOutAndNamed(t *testing.T) {
	disk := vfs.NewMem()
	s := openTxnStore(t, disk, Config{}, "t")
	newTxnClient(t, s, "a")
	var w batch.Builder
	w.Reset(nil, batch.Options{})
	w.Append(1, txn.AppendKey(nil, "bad"), []byte{0, 1, 2}, nil)
	w.Append(1, []byte{0}, nil, nil)
	w.Append(1, []byte{0, 9, 9}, nil, nil) // of a version to come
	b, err := w.Finish()
	require.NoError(t, err)
	_, err = s.Append(t.Context(), AppendRequest{TopicPartition: TopicPartition{txn.Topic, 47}, Batch: b, Internal: true})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	var warnings []string
	s = openTxnStore(t, disk, Config{Events: Events{Warning: func(w Warning) { warnings = append(warnings, w.Text) }}})
	defer s.Close()
	list, err := s.ListTransactions(t.Context(), TransactionFilter{})
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Len(t, warnings, 2)
	require.Contains(t, warnings[0], `"\x00\x00\x00\x03bad"`)
}

func TestReadOnlyStoreListsTransactionsAndChangesNothing(t *testing.T) {
	disk := vfs.NewMem()
	s := openTxnStore(t, disk, Config{}, "t")
	a := newTxnClient(t, s, "a")
	a.send(t0, "1")
	require.NoError(t, s.Close())
	before := disk.Hash()
	s, err := OpenReadOnly("/s", Config{FS: disk})
	require.NoError(t, err)
	require.Equal(t, TransactionOngoing, stateOf(t, s, "a").State)
	values, _ := committed(t, s, t0)
	require.Empty(t, values)
	_, err = s.InitProducerID(t.Context(), "a", time.Minute, NoProducerID)
	require.ErrorIs(t, err, ErrReadOnly)
	_, err = s.EndTxn(t.Context(), "a", a.pid, true)
	require.ErrorIs(t, err, ErrReadOnly)
	require.ErrorIs(t, s.AbortTransaction(t.Context(), "a"), ErrReadOnly)
	require.ErrorIs(t, s.AddPartitionsToTxn(t.Context(), "a", a.pid, nil), ErrReadOnly)
	require.NoError(t, s.Close())
	require.Equal(t, before, disk.Hash())
	s = openTxnStore(t, disk, Config{})
	defer s.Close()
	settled(t, s)
	require.Equal(t, TransactionCompleteAbort, stateOf(t, s, "a").State)
	requireCommitted(t, s, t0)
}

// A coordinator that cannot read its topic ends nothing, and is replaced when it can.
func TestCoordinatorThatCouldNotReadItsTopicIsReplaced(t *testing.T) {
	disk := vfs.NewFault(vfs.NewMem())
	now := clock.NewManual(time.UnixMilli(1_700_000_000_000))
	s := openTxnStore(t, disk, Config{Clock: now}, "t")
	a := newTxnClient(t, s, "a")
	a.send(t0, "1")
	require.NoError(t, s.Close())
	rule := disk.Add(vfs.Rule{Op: vfs.OpOpen | vfs.OpCreate | vfs.OpReadDir, Path: "/s/data/__transaction_state-47*", Err: syscall.ENOSPC, Forever: true})
	under := disk.Add(vfs.Rule{Op: vfs.OpOpen | vfs.OpCreate, Path: "/s/data/__transaction_state-47/*", Err: syscall.ENOSPC, Forever: true})
	s = openTxnStore(t, disk, Config{Clock: now})
	defer s.Close()
	_, err := s.ListTransactions(t.Context(), TransactionFilter{})
	require.ErrorIs(t, err, ErrNoSpace)
	values, next := committed(t, s, t0)
	require.Empty(t, values)
	require.Zero(t, next)
	rule.Lift()
	under.Lift()
	now.Advance(time.Minute)
	settled(t, s)
	require.Equal(t, TransactionCompleteAbort, stateOf(t, s, "a").State)
	requireCommitted(t, s, t0)
}
