package log

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/segment"
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

// What Apache Kafka's dump tool says of golden-txn-0, and the last stable offsets that its index has, come out of recovery and of a
// clean open; also without the index, and with a snapshot in which transactions are open.
func TestTransactionsOfABrokersDirectoryAreWhatItsDumpsSay(t *testing.T) {
	want := []AbortedTxn{{16, 1, 10, 11}, {16, 12, 21, 22}, {15, 22, 31, 23}, {16, 34, 43, 44}, {16, 45, 54, 55}, {15, 55, 64, 56}, {15, 66, 67, 68}}
	for _, clean := range []bool{true, false} {
		for _, gone := range []string{"", ".txnindex", ".snapshot", ".index", "index .snapshot"} {
			m, c := golden(t, "golden-txn-0")
			index, err := vfs.ReadFile(m, filepath.Join(c.Dir, segment.TxnIndexName(9)), 1<<20)
			require.NoError(t, err)
			entries, err := m.ReadDir(c.Dir)
			require.NoError(t, err)
			for _, e := range entries {
				for _, suffix := range strings.Fields(gone) {
					if strings.HasSuffix(e.Name(), suffix) {
						require.NoError(t, m.Remove(filepath.Join(c.Dir, e.Name())))
					}
				}
			}
			c.Clean, c.CleanEnd = clean, -1
			l := open(t, c)
			require.Equal(t, Offset(68), l.LastStable())
			got, err := l.Aborted(nil, 0, 68)
			require.NoError(t, err)
			require.Equal(t, want, got)
			states, err := l.Producers()
			require.NoError(t, err)
			require.Len(t, states, 3)
			require.Equal(t, ProducerState{ProducerID: 15, Epoch: 7, CoordinatorEpoch: 0, LastSequence: -1, LastOffset: -1, LastTimestamp: 1795251095496, TxnStart: -1}, states[1])
			requireTxns(t, l)
			report, err := l.Verify(t.Context())
			require.NoError(t, err)
			require.False(t, report.Damaged)
			require.NoError(t, l.Close())
			again, err := vfs.ReadFile(m, filepath.Join(c.Dir, segment.TxnIndexName(9)), 1<<20)
			require.NoError(t, err)
			require.Equal(t, index, again, "%v %q", clean, gone)
		}
	}

	// The broker's snapshot at 9 has both transactions open.
	m, c := golden(t, "golden-txn-0")
	for _, name := range []string{segment.LogName(9), segment.IndexName(9), segment.TimeIndexName(9), segment.TxnIndexName(9), segment.SnapshotName(68)} {
		require.NoError(t, m.Remove(filepath.Join(c.Dir, name)))
	}
	c.Clean, c.CleanEnd = true, 9
	l := open(t, c)
	require.Equal(t, Offset(0), l.LastStable())
	m2 := requireTxns(t, l)
	require.Equal(t, map[int64]Offset{15: 0, 16: 1}, m2.open)
}

func TestVerifyComparesTheTransactionIndexWithTheBatches(t *testing.T) {
	for _, damage := range []func(data []byte) []byte{
		func(data []byte) []byte { return data[:len(data)-segment.TxnEntrySize] },
		func(data []byte) []byte { return data[:len(data)-1] },
		func(data []byte) []byte { data[3]++; return data },
		func(data []byte) []byte { return append(data, data...) },
	} {
		m, c := golden(t, "golden-txn-0")
		path := filepath.Join(c.Dir, segment.TxnIndexName(9))
		data, err := vfs.ReadFile(m, path, 1<<20)
		require.NoError(t, err)
		require.NoError(t, vfs.WriteFileAtomic(m, path, damage(data)))
		report, err := VerifyDir(t.Context(), m, c.Dir, VerifyOptions{Start: -1, End: -1})
		require.NoError(t, err)
		require.False(t, report.Damaged)
		require.Len(t, report.Findings, 1)
		require.Equal(t, WrongIndex, report.Findings[0].Kind)
		require.Equal(t, path, report.Findings[0].Path)
	}
}

// Every byte of a .txnindex flipped, every length it can be cut to, the file of another segment in its place: what is aborted is still
// known, and nothing else is, whether a sum knows the file or not.
func TestDamageToATransactionIndexChangesNothing(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		m, l, c := memLog(t, nil)
		client := &txnClient{log: l}
		for i := range 6 {
			require.NoError(t, client.send(1, 2, "v", true))
			require.NoError(t, client.send(2, 1, "v", true))
			require.NoError(t, client.end(1, i%2 == 0, true))
			require.NoError(t, client.end(2, true, true))
			if i == 2 {
				require.NoError(t, l.Roll())
			}
		}
		end := l.End()
		if sealed {
			require.NoError(t, l.Roll())
			for done := false; !done; {
				var err error
				done, err = l.Seal()
				require.NoError(t, err)
			}
		}
		want, err := l.Aborted(nil, 0, end)
		require.NoError(t, err)
		require.NoError(t, l.Close())
		path := filepath.Join(c.Dir, segment.TxnIndexName(0))
		data, err := vfs.ReadFile(m, path, 1<<20)
		require.NoError(t, err)
		other, err := vfs.ReadFile(m, filepath.Join(c.Dir, segment.TxnIndexName(int64(l.segmentList()[1].base))), 1<<20)
		require.NoError(t, err)
		check := func(label string, damaged []byte) {
			one := m.KillClone()
			if damaged == nil {
				require.NoError(t, one.Remove(path))
			} else {
				require.NoError(t, vfs.WriteFileAtomic(one, path, damaged))
			}
			c := c
			c.FS, c.Clean, c.CleanEnd = one, true, end
			l, _, err := Open(c)
			require.NoError(t, err)
			got, err := l.Aborted(nil, 0, end)
			require.NoError(t, err)
			require.Equal(t, want, got, label)
			require.NoError(t, l.Close())
			again, err := vfs.ReadFile(one, path, 1<<20)
			require.NoError(t, err)
			require.Equal(t, data, again, label)
			report, err := VerifyDir(t.Context(), one, c.Dir, VerifyOptions{TopicID: c.TopicID, Start: 0, End: end})
			require.NoError(t, err)
			require.Empty(t, report.Findings, label)
		}
		check("missing", nil)
		check("another's", other)
		for n := range data {
			check("cut", data[:n])
			flipped := bytes.Clone(data)
			flipped[n] ^= 1 << (n % 8)
			check("flipped", flipped)
		}
	}
}

// The marker's own damage does not bring back what it aborted, as long as the index knows of it.
func TestLostMarkerIsStillInTheTransactionIndex(t *testing.T) {
	m, l, c := memLog(t, nil)
	client := &txnClient{log: l}
	require.NoError(t, client.send(1, 2, "v", true))
	require.NoError(t, client.end(1, true, true))
	appendPlain(t, l)
	_, position := l.segmentList()[0].writtenEnd()
	require.NoError(t, l.Close())
	path := filepath.Join(c.Dir, segment.LogName(0))
	data, err := vfs.ReadFile(m, path, 1<<20)
	require.NoError(t, err)
	plain := int64(len(make1(1000, 1, "plain")))
	data[position-plain-10] ^= 1 // in the marker
	require.NoError(t, vfs.WriteFileAtomic(m, path, data))
	c.Clean, c.CleanEnd = true, l.End()
	l = open(t, c)
	got, err := l.Aborted(nil, 0, l.LastStable())
	require.NoError(t, err)
	require.Equal(t, []AbortedTxn{{1, 0, 2, 3}}, got)
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

// A .txnindex that cannot be written costs nothing but the file: the marker is appended, and Close writes it.
func TestTransactionIndexThatCannotBeWrittenIsWrittenLater(t *testing.T) {
	for _, op := range []vfs.OpKind{vfs.OpCreate, vfs.OpWrite} {
		m, f, c := faulty(t, SyncAlways)
		l := open(t, c)
		client := &txnClient{log: l}
		full := f.Add(vfs.Rule{Op: op, Path: "*.txnindex", Err: syscall.ENOSPC, Forever: true})
		for range 3 {
			require.NoError(t, client.send(1, 1, "v", true))
			require.NoError(t, client.end(1, true, true))
		}
		requireTxns(t, l)
		full.Lift()
		require.NoError(t, l.Close())
		data, err := vfs.ReadFile(m, filepath.Join(c.Dir, segment.TxnIndexName(0)), 1<<20)
		require.NoError(t, err)
		entries, err := segment.ParseTxnIndex(data, 0)
		require.NoError(t, err)
		require.Len(t, entries, 3)
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

func TestFilesOfALogWithoutAbortedTransactionsAreAsBefore(t *testing.T) {
	m, l, c := memLog(t, nil)
	client := &txnClient{log: l}
	for range 3 {
		require.NoError(t, client.send(1, 1, "v", true))
		require.NoError(t, client.end(1, false, true))
		require.NoError(t, l.Roll())
	}
	requireTxns(t, l)
	require.NoError(t, l.Close())
	entries, err := m.ReadDir(c.Dir)
	require.NoError(t, err)
	for _, e := range entries {
		require.NotContains(t, e.Name(), "txnindex")
	}
}

// A copy of the batches, as a follower or a backup has it, has the same transactions; also one that begins in the middle.
func TestCopiedBatchesHaveTheSameTransactions(t *testing.T) {
	for _, from := range []Offset{0, 7} {
		_, l, _ := memLog(t, func(c *Config) { c.Settings.SegmentBytes = 900 })
		client := &txnClient{log: l}
		for i := range 12 {
			require.NoError(t, client.send(int64(i%3), 1+i%2, "v", true))
			require.NoError(t, client.send(int64((i+1)%3), 1, "v", true))
			require.NoError(t, client.end(int64(i%3), i%4 < 2, true))
		}
		_, target, _ := memLog(t, func(c *Config) { c.LogStart, c.Settings.SegmentBytes = from, 600 })
		for next := from; next < l.End(); {
			b, after, err := l.ReadInto(nil, next, noOffset, 1)
			require.NoError(t, err)
			_, err = target.Append(b, AppendOptions{Durable: true, Origin: OriginReplica})
			require.NoError(t, err)
			next = after
		}
		if from == 0 {
			want, err := l.Producers()
			require.NoError(t, err)
			got, err := target.Producers()
			require.NoError(t, err)
			require.Equal(t, want, got)
			requireTxns(t, target)
		}
		require.Equal(t, l.LastStable(), target.LastStable())
		require.Equal(t, readCommitted(t, l, from, 500), readCommitted(t, target, from, 500))
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

// Readers of committed records beside writers of transactions, and beside compaction, which removes aborted records together with what is
// known of them: nobody ever gets a record that was not committed, or misses one. Each record has a key of its own.
func TestReadersOfCommittedRecordsBesideWriters(t *testing.T) {
	for _, compacted := range []bool{false, true} {
		for _, mode := range []SyncMode{SyncAlways, SyncNever} {
			_, l, _ := memLog(t, func(c *Config) {
				c.Settings.SegmentBytes, c.Settings.Sync, c.Settings.Compacted, c.Settings.MinDirtyRatio = 4000, mode, compacted, -1
				c.Settings.DeleteRetention = RetainNothing
			})
			committed := make(chan map[Offset]bool, 1)
			committed <- map[Offset]bool{}
			var writers, others sync.WaitGroup
			for id := range int64(4) {
				writers.Go(func() {
					if err := commitSome(l, id, committed); err != nil {
						t.Error(err)
					}
				})
			}
			done := make(chan struct{})
			for range 2 {
				others.Go(func() {
					for last := Offset(0); !isClosed(done); {
						stable := l.LastStable()
						if stable < last {
							t.Errorf("last stable offset fell from %d to %d", last, stable)
						}
						last = stable
						offsets := readCommitted(t, l, 0, 900)
						known := <-committed
						for _, o := range offsets {
							if !known[o] {
								t.Errorf("record %d was read and is not committed", o)
							}
						}
						committed <- known
					}
				})
			}
			if compacted {
				others.Go(func() {
					for !isClosed(done) {
						if _, err := l.Clean(CleanOptions{MapBytes: 1 << 20}); err != nil {
							t.Error(err)
						}
					}
				})
			}
			writers.Wait()
			close(done)
			others.Wait()
			require.Len(t, readCommitted(t, l, 0, 900), len(<-committed))
			if !compacted {
				requireTxns(t, l)
			}
		}
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// commitSome appends transactions of producer id, half of them aborted, and notes the committed records before they can be read as such.
func commitSome(l *Log, id int64, committed chan map[Offset]bool) error {
	rng := rand.New(rand.NewPCG(uint64(id), 3))
	epoch := int16(0)
	for i := range 60 {
		var own []Offset
		for sequence := range int32(1 + rng.IntN(3)) {
			g, _, err := l.TxnGuard(id, epoch, sequence)
			if err != nil {
				return err
			}
			var b batch.Builder
			b.Reset(nil, batch.Options{Transactional: true, ProducerID: id, Epoch: epoch, BaseSequence: sequence})
			b.Append(1000, fmt.Appendf(nil, "%d-%d-%d", id, i, sequence), []byte("v"), nil)
			built, err := b.Finish()
			if err != nil {
				return err
			}
			r, err := l.Append(built, AppendOptions{Durable: rng.IntN(2) == 0, Guard: g})
			if err != nil {
				return err
			}
			own = append(own, r.Base)
		}
		abort := rng.IntN(2) == 0
		if !abort {
			known := <-committed
			for _, o := range own {
				known[o] = true
			}
			committed <- known
		}
		epoch++
		if _, err := l.Append(makeMarker(id, epoch, abort), AppendOptions{Durable: true, Origin: OriginCoordinator, TxnVersion: 2}); err != nil {
			return err
		}
	}
	return nil
}

func TestReadingCommittedAllocatesNothing(t *testing.T) {
	m, l, c := memLog(t, func(c *Config) { c.Settings.Sync = SyncNever })
	for range 50 {
		appendPlain(t, l)
	}
	for _, reopened := range []bool{false, true} {
		if reopened {
			require.NoError(t, l.Close())
			c.FS, c.Clean, c.CleanEnd = m, true, 50
			l = open(t, c)
		}
		dst := make([]AbortedTxn, 0, 4)
		read := func() {
			v, list, err := l.ReadCommitted(dst, 10, noOffset, 500)
			if err != nil || len(list) != 0 || v.Next == 10 {
				t.Fatal(err, list, v.Next)
			}
			v.Release()
		}
		read()
		require.Zero(t, testing.AllocsPerRun(100, func() {
			if l.LastStable() != 50 {
				t.Fatal(l.LastStable())
			}
			if got, err := l.Aborted(dst, 0, 50); err != nil || len(got) > 0 {
				t.Fatal(got, err)
			}
		}))
		plain := testing.AllocsPerRun(100, func() {
			v, err := l.Read(10, noOffset, 500)
			if err != nil {
				t.Fatal(err)
			}
			v.Release()
		})
		require.Equal(t, plain, testing.AllocsPerRun(100, read))
	}
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

// A crash may bring back the zeros behind a finished segment, and a sum is made of the file as it is: what looks at all of the segment
// later must compare all of it.
func TestZerosBehindAFinishedSegmentAreNoDamage(t *testing.T) {
	m, l, c := memLog(t, nil)
	client := &txnClient{log: l}
	require.NoError(t, client.send(1, 1, "v", true))
	require.NoError(t, client.end(1, true, true))
	require.NoError(t, l.Roll())
	appendPlain(t, l)
	require.NoError(t, l.Close())
	path := filepath.Join(c.Dir, segment.LogName(0))
	data, err := vfs.ReadFile(m, path, 1<<20)
	require.NoError(t, err)
	require.NoError(t, vfs.WriteFileAtomic(m, path, append(data, make([]byte, 100)...)))
	c.Clean, c.CleanEnd = true, 3
	l = open(t, c)
	for done := false; !done; {
		done, err = l.Seal()
		require.NoError(t, err)
	}
	require.NoError(t, l.Close())
	require.NoError(t, m.Remove(filepath.Join(c.Dir, segment.TxnIndexName(0))))
	l = open(t, c)
	requireTxns(t, l)
	s := l.segmentList()[0]
	require.True(t, s.hasSum.Load())
	require.NoError(t, l.examine(s))
	require.False(t, s.damaged.Load())
	requireTxns(t, l)
}
