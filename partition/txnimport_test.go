package partition

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/txn"
	"github.com/partlog/partlog/internal/vfs"
)

// TestSnapshotHasEachTransactionWholeOrNotAtAll takes backups while transactions are written, and holds each against what
// can have been there.
func TestSnapshotHasEachTransactionWholeOrNotAtAll(t *testing.T) {
	disk := vfs.NewMem()
	s := openTxnStore(t, disk, Config{Sync: SyncNever}, "t", "u")
	defer s.Close()
	l := newTxnLedger()
	done := make(chan error)
	go func() { done <- txnScript(t, s, l, rand.New(rand.NewPCG(1, 2)), 4000) }()
	whole := 0
	for i := 0; ; i++ {
		promised := l.clone()
		dir := "/backup" + string(rune('a'+i))
		require.NoError(t, s.Snapshot(t.Context(), dir))
		later := l.clone()
		for name, outcome := range later.outcome { // what was decided meanwhile may be in it or not
			if promised.outcome[name] != outcome || outcome == "committing" {
				promised.outcome[name] = "committing"
				promised.values[name] = later.values[name]
			}
		}
		promised.told = later.told
		b, err := Open(dir, Config{FS: disk})
		require.NoError(t, err)
		for id := range promised.told {
			delete(promised.told, id) // those that came meanwhile are not in it
		}
		require.NoError(t, promised.check(t, b, true))
		whole++
		require.NoError(t, b.Close())
		select {
		case err := <-done:
			require.NoError(t, err)
			require.Greater(t, whole, 0)
			return
		default:
		}
	}
}

// An import takes __transaction_state along, and ends what its broker had not; without it, what is open is aborted. Producer
// ids that came along are given to nobody.
func TestImportEndsTransactions(t *testing.T) {
	mem := vfs.NewCrashMem(vfs.Strict)
	disk := vfs.NewFault(mem)
	s := openTxnStore(t, disk, Config{}, "t", "u")
	a, b := newTxnClient(t, s, "a"), newTxnClient(t, s, "b")
	a.send(t0, "1")
	a.send(u0, "2")
	b.send(t0, "3")
	// One partition takes no marker, and the process is killed, with one transaction decided and one open.
	rule := disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: "/s/data/u-0/*.log", Err: syscall.ENOSPC, Forever: true})
	a.end(true)
	waitFor(t, s.txns.Load(), func() bool { return s.txns.Load().stats.FailedMarkers > 0 })
	waitStable(t, s, t0, 1) // it has its marker
	killed := mem.KillClone()
	rule.Lift()
	require.NoError(t, s.Close())

	for name, only := range map[string][]string{"all": nil, "without": {"t", "u"}} {
		target, err := Open("/"+name, Config{FS: killed})
		require.NoError(t, err)
		_, err = target.Import(t.Context(), "/s/data", ImportOptions{Only: only})
		require.NoError(t, err)
		settled(t, target)
		if only == nil {
			requireCommitted(t, target, t0, "1")
			requireCommitted(t, target, u0, "2")
			require.Equal(t, TransactionCompleteAbort, stateOf(t, target, "b").State)
		} else {
			requireCommitted(t, target, t0, "1") // it had its marker
			requireCommitted(t, target, u0)
		}
		for range 3 {
			id, err := target.InitProducerID(t.Context(), "", 0, NoProducerID)
			require.NoError(t, err)
			require.Greater(t, id.ID, max(a.pid.ID, b.pid.ID))
		}
		_, err = target.Import(t.Context(), "/s/data", ImportOptions{Only: []string{txn.Topic}})
		require.ErrorIs(t, err, ErrTopicAlreadyExists)
		require.NoError(t, target.Close())
	}
}

// An import into a store with producers of its own: an id that came along and lies in the block that is being given out is skipped.
func TestImportedProducerIDsAreGivenToNobody(t *testing.T) {
	disk := vfs.NewMem()
	s := openTxnStore(t, disk, Config{}, "t")
	for range 20 {
		_, err := s.InitProducerID(t.Context(), "", 0, NoProducerID)
		require.NoError(t, err)
	}
	a := newTxnClient(t, s, "a")
	a.send(t0, "1")
	a.end(true)
	settled(t, s)
	require.NoError(t, s.Close())
	target, err := Open("/target", Config{FS: disk})
	require.NoError(t, err)
	defer target.Close()
	own, err := target.InitProducerID(t.Context(), "own", time.Minute, NoProducerID)
	require.NoError(t, err)
	require.Less(t, own.ID, a.pid.ID)
	_, err = target.Import(t.Context(), "/s/data", ImportOptions{})
	require.NoError(t, err)
	next, err := target.InitProducerID(t.Context(), "", 0, NoProducerID)
	require.NoError(t, err)
	require.Greater(t, next.ID, a.pid.ID)
}

// What a real broker wrote of its transactions is taken over: the ids, their producers, and nothing that is open.
func TestImportTakesOverARealBrokersTransactions(t *testing.T) {
	s, err := Open(t.TempDir(), Config{})
	require.NoError(t, err)
	defer s.Close()
	_, err = s.Import(t.Context(), "../internal/segment/testdata", ImportOptions{Only: []string{txn.Topic, "golden-txn"}})
	require.NoError(t, err)
	settled(t, s)
	list, err := s.ListTransactions(t.Context(), TransactionFilter{})
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, "golden-a", list[0].TransactionalID)
	require.EqualValues(t, 15, list[0].Producer.ID)
	a := newTxnClient(t, s, "golden-a")
	require.EqualValues(t, 15, a.pid.ID)
	require.Equal(t, list[0].Producer.Epoch+1, a.pid.Epoch)
	id, err := s.InitProducerID(t.Context(), "", 0, NoProducerID)
	require.NoError(t, err)
	require.Greater(t, id.ID, int64(16))
	tp := TopicPartition{"golden-txn", 0}
	before, _ := committed(t, s, tp)
	a.send(tp, "ours")
	a.end(true)
	settled(t, s)
	requireCommitted(t, s, tp, append(before, "ours")...)
}

// An import that had to guess the number of partitions may put an id's next record beside its old one.
func TestNewerRecordOfAnIDInTwoPartitionsCounts(t *testing.T) {
	disk := vfs.NewMem()
	s := openTxnStore(t, disk, Config{}, "t")
	a := newTxnClient(t, s, "a") // in partition 47
	var w batch.Builder
	for i, epoch := range []int16{90, 30} {
		w.Reset(nil, batch.Options{})
		m := txn.Meta{ProducerID: a.pid.ID, Previous: -1, Next: -1, Epoch: epoch, Timeout: 60_000, Start: -1, Updated: 1}
		w.Append(1, txn.AppendKey(nil, "a"), txn.AppendValue(nil, &m), nil)
		b, err := w.Finish()
		require.NoError(t, err)
		_, err = s.Append(t.Context(), AppendRequest{TopicPartition: TopicPartition{txn.Topic, int32(3 + i)}, Batch: b, Internal: true})
		require.NoError(t, err)
	}
	require.NoError(t, s.Close())
	s = openTxnStore(t, disk, Config{})
	defer s.Close()
	require.EqualValues(t, 90, stateOf(t, s, "a").Producer.Epoch)
}

// A partition of a backup with a transaction open in it counts as one after a crash. Its records are there for whoever reads it first, and the
// transaction is found and aborted.
func TestBackupWithAnOpenTransactionIsWholeAtItsFirstRead(t *testing.T) {
	fs := vfs.NewMem()
	s := openTxnStore(t, fs, Config{}, "t")
	defer s.Close()
	c, tp := newTxnClient(t, s, "a"), TopicPartition{"t", 0}
	c.send(tp, "x")
	c.end(true)
	settled(t, s)
	c.send(tp, "y")
	end, err := s.ListOffsets(context.Background(), tp, TimestampLatest)
	require.NoError(t, err)
	require.NoError(t, s.Snapshot(context.Background(), "/b"))
	b, err := Open("/b", Config{FS: fs})
	require.NoError(t, err)
	defer b.Close()
	rs, err := b.Fetch(context.Background(), FetchRequest{Partitions: []FetchPosition{{TopicPartition: tp, LeaderEpoch: -1}}})
	require.NoError(t, err)
	require.GreaterOrEqual(t, rs[0].HighWatermark, end)
	rs[0].Lease.Release()
	settled(t, b)
	values, next := committed(t, b, tp)
	require.Equal(t, []string{"x"}, values)
	require.Greater(t, next, end)
}

// Topics that are made, and written to in transactions, while a backup begins are in it with their transactions, or neither is.
func TestBackupHasNoTransactionWithoutOneOfItsTopics(t *testing.T) {
	disk := vfs.NewFault(vfs.NewMem())
	s := openTxnStore(t, disk, Config{}, "t")
	defer s.Close()
	c, tp := newTxnClient(t, s, "a"), TopicPartition{"t", 0}
	n := 0
	var once sync.Mutex
	disk.OnOp(func(op vfs.Op) {
		if !strings.HasPrefix(op.Path, "/b/") || n >= 60 || !once.TryLock() {
			return
		}
		defer once.Unlock()
		name := fmt.Sprint("n", n)
		n++
		_, err := s.CreateTopic(context.Background(), name, TopicConfig{})
		require.NoError(t, err)
		c.send(tp, name)
		c.send(TopicPartition{name, 0}, name)
		c.end(true)
		settled(t, s)
	})
	require.NoError(t, s.Snapshot(context.Background(), "/b"))
	disk.OnOp(nil)
	require.Positive(t, n)
	b, err := Open("/b", Config{FS: disk})
	require.NoError(t, err)
	defer b.Close()
	settled(t, b)
	values, _ := committed(t, b, tp)
	require.NotEmpty(t, values)
	for _, name := range values {
		also, _ := committed(t, b, TopicPartition{name, 0})
		require.Equal(t, []string{name}, also)
	}
}
