package log

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
)

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
