package partition

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/txn"
	"github.com/partlog/partlog/internal/vfs"
)

// A program that only consumes must see the end of what its predecessor left: Open starts the coordinator by itself.
func TestOpenEndsTransactionsForWhoOnlyReads(t *testing.T) {
	mem := vfs.NewCrashMem(vfs.Strict)
	disk := vfs.NewFault(mem)
	s := openTxnStore(t, disk, Config{}, "t")
	a, b := newTxnClient(t, s, "a"), newTxnClient(t, s, "b")
	a.send(t0, "1")
	b.send(t1, "2")
	rule := disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: "/s/data/t-0/*.log"}) // the marker's
	a.end(true)
	waitFor(t, s.txns.Load(), func() bool { return rule.Hits() == 1 })
	killed := mem.KillClone()
	require.NoError(t, s.Close())

	s = openTxnStore(t, killed, Config{})
	defer s.Close()
	for _, tp := range []TopicPartition{t0, t1} {
		var next Offset
		for next < 2 { // data and marker
			rs, err := s.Fetch(t.Context(), FetchRequest{Partitions: []FetchPosition{{TopicPartition: tp, Offset: next, LeaderEpoch: -1}}, ReadCommitted: true, MaxWait: time.Hour})
			require.NoError(t, err)
			require.NoError(t, rs[0].Err)
			_, next = visibleValues(t, &rs[0], next)
			releaseAll(rs)
		}
		require.EqualValues(t, 2, next)
	}
	requireCommitted(t, s, t0, "1")
	requireCommitted(t, s, t1)
}

// Close waits for markers that are being written, and not for those that cannot be written now.
func TestCloseFinishesMarkersAndLeavesTheRest(t *testing.T) {
	disk := vfs.NewMem()
	s := openTxnStore(t, disk, Config{}, "t")
	a, b := newTxnClient(t, s, "a"), newTxnClient(t, s, "b")
	for i := range 50 {
		a.send(t0, fmt.Sprint(i))
		a.send(t1, fmt.Sprint(i))
		a.end(true)
	}
	b.send(t1, "open")
	require.NoError(t, s.Close())
	s, err := OpenReadOnly("/s", Config{FS: disk})
	require.NoError(t, err)
	require.Equal(t, TransactionCompleteCommit, stateOf(t, s, "a").State)
	require.Equal(t, TransactionOngoing, stateOf(t, s, "b").State)
	values, _ := committed(t, s, t0)
	require.Len(t, values, 50)
	require.NoError(t, s.Close())
	s = openTxnStore(t, disk, Config{})
	defer s.Close()
	settled(t, s)
	values, _ = committed(t, s, t1)
	require.Len(t, values, 50)
	require.Equal(t, TransactionCompleteAbort, stateOf(t, s, "b").State)
}

func TestCloseEndsRequestsThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewFault(vfs.NewMem())
		s := openTxnStore(t, disk, Config{}, "t")
		a := newTxnClient(t, s, "a")
		a.send(t0, "1")
		full := disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: "/s/data/t-0/*.log", Err: syscall.ENOSPC, Forever: true}) // for the marker
		a.end(true)
		errs := make(chan error, 3)
		go func() {
			_, err := s.InitProducerID(context.Background(), "a", time.Minute, NoProducerID)
			errs <- err
		}()
		go func() { errs <- a.s.AbortTransaction(context.Background(), "a") }()
		go func() { errs <- s.AddPartitionsToTxn(context.Background(), "a", a.pid, []TopicPartition{t1}) }()
		synctest.Wait()
		require.Empty(t, errs)
		full.Lift()
		require.NoError(t, s.Close())
		for range 3 {
			require.ErrorIs(t, <-errs, ErrClosed)
		}
	})
}

// Many instances of few ids, all at once, while somebody reads: every transaction that was answered as committed is there once,
// and every other is not. Run with -race.
func TestInstancesThatFenceEachOtherKeepTransactionsWhole(t *testing.T) {
	s := openTxnStore(t, vfs.NewMem(), Config{Sync: SyncNever}, "t")
	defer s.Close()
	var mu sync.Mutex
	promised := map[string]bool{}
	doubtful := map[string]bool{}
	var number, fenced atomic.Int64
	var wg sync.WaitGroup
	each := 200
	if testing.Short() {
		each = 50
	}
	for w := range 8 {
		wg.Go(func() {
			id := []string{"a", "b", "c"}[w%3]
			var c *txnClient
			for i := range each {
				if c == nil {
					pid, err := s.InitProducerID(context.Background(), id, time.Minute, NoProducerID)
					if err != nil {
						t.Error(err)
						return
					}
					c = &txnClient{t: t, s: s, id: id, pid: pid, seq: map[TopicPartition]int32{}}
				}
				v := fmt.Sprint(number.Add(1))
				if c.trySend(t0, v) != nil || c.trySend(t1, v) != nil {
					c = nil
					fenced.Add(1)
					continue
				}
				commit := i%3 != 0
				mu.Lock()
				doubtful[v] = commit
				mu.Unlock()
				if err := c.tryEnd(commit); err != nil {
					c = nil
					fenced.Add(1)
					continue
				}
				mu.Lock()
				promised[v] = commit
				delete(doubtful, v)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for _, id := range []string{"a", "b", "c"} {
		newTxnClient(t, s, id)
	}
	settled(t, s)
	require.NotZero(t, fenced.Load())
	v0, _ := committed(t, s, t0)
	v1, _ := committed(t, s, t1)
	require.ElementsMatch(t, v0, v1)
	seen := map[string]bool{}
	for _, v := range v0 {
		require.False(t, seen[v], "%s twice", v)
		seen[v] = true
		require.True(t, promised[v] || doubtful[v], "%s", v)
	}
	for v, commit := range promised {
		require.Equal(t, commit, seen[v], "%s", v)
	}
}

// After 32767 transactions the epochs of a producer id are used up, and its producer goes on with another.
func TestProducerOutlivesItsProducerID(t *testing.T) {
	if testing.Short() {
		t.Skip("33,000 transactions")
	}
	s := openTxnStore(t, vfs.NewMem(), Config{Sync: SyncNever}, "t")
	defer s.Close()
	a := newTxnClient(t, s, "a")
	first := a.pid
	for range 33_000 {
		a.end(false)
	}
	require.Greater(t, a.pid.ID, first.ID)
	a.send(t0, "1")
	a.end(true)
	settled(t, s)
	requireCommitted(t, s, t0, "1")
}

func TestStrangersTransactionalBatchesAreRefused(t *testing.T) {
	s := openTxnStore(t, vfs.NewMem(), Config{}, "t")
	defer s.Close()
	a := newTxnClient(t, s, "a")
	b := a.batch(t0, "1")
	_, err := s.Append(t.Context(), AppendRequest{TopicPartition: t0, Batch: b})
	require.ErrorIs(t, err, ErrInvalidTxnState, "without its id")
	_, err = s.Append(t.Context(), AppendRequest{TopicPartition: t0, Batch: b, TransactionalID: "b"})
	require.ErrorIs(t, err, ErrInvalidProducerIDMapping)
	stranger := &txnClient{t: t, s: s, id: "a", pid: ProducerID{a.pid.ID + 1, 0}, seq: map[TopicPartition]int32{}}
	require.ErrorIs(t, stranger.trySend(t0, "1"), ErrInvalidProducerIDMapping)
	a.send(t0, "1")
	var w batch.Builder
	w.Reset(nil, batch.Options{Idempotent: true, ProducerID: a.pid.ID, Epoch: a.pid.Epoch, BaseSequence: 1})
	w.Append(time.Now().UnixMilli(), nil, []byte("plain"), nil)
	plain, err := w.Finish()
	require.NoError(t, err)
	_, err = s.Append(t.Context(), AppendRequest{TopicPartition: t0, Batch: plain})
	require.ErrorIs(t, err, ErrInvalidTxnState, "outside of the transaction that is open")
	_, err = s.InitProducerID(t.Context(), "a", 0, NoProducerID)
	require.ErrorIs(t, err, ErrInvalidTransactionTimeout)
	_, err = s.InitProducerID(t.Context(), "a", time.Hour, NoProducerID)
	require.ErrorIs(t, err, ErrInvalidTransactionTimeout)
	_, err = s.InitProducerID(t.Context(), string(make([]byte, 1<<15)), time.Minute, NoProducerID)
	require.ErrorIs(t, err, ErrInvalidConfig)
	require.ErrorIs(t, s.AddPartitionsToTxn(t.Context(), "a", a.pid, []TopicPartition{t1, {"x", 0}}), ErrUnknownTopicOrPartition)
	require.Equal(t, []TopicPartition{t0}, stateOf(t, s, "a").Partitions, "none was added")
	require.NoError(t, s.AddPartitionsToTxn(t.Context(), "a", a.pid, []TopicPartition{t1}))
	require.Equal(t, []TopicPartition{t0, t1}, stateOf(t, s, "a").Partitions)
	a.end(true)
	settled(t, s)
	requireCommitted(t, s, t0, "1")
	requireCommitted(t, s, t1)
}

// A fence that is decided while the store is being closed, and whose marker cannot be written, does not keep Close waiting.
func TestCloseEndsAFenceWhoseMarkersWaitForTheNextOpen(t *testing.T) {
	disk := vfs.NewFault(vfs.NewMem())
	now := clock.NewManual(time.UnixMilli(1_700_000_000_000)) // nothing times out
	s := openTxnStore(t, disk, Config{Clock: now}, "t")
	c := newTxnClient(t, s, "a")
	c.send(TopicPartition{"t", 0}, "x")
	coordinator := s.txns.Load()
	closing := make(chan struct{})
	var once sync.Once
	disk.OnOp(func(op vfs.Op) {
		if op.Kind == vfs.OpSync && strings.Contains(op.Path, txn.Topic) { // the fence's record
			once.Do(func() {
				go func() { _ = s.Close(); close(closing) }()
				for {
					coordinator.mu.Lock()
					begun := coordinator.closing
					coordinator.mu.Unlock()
					if begun {
						return
					}
					runtime.Gosched()
				}
			})
		}
	})
	disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: "/s/data/t-0/*.log", Forever: true})
	_, err := s.InitProducerID(context.Background(), "a", time.Minute, NoProducerID)
	require.ErrorIs(t, err, ErrClosed)
	<-closing
}
