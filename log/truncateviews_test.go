package log

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/vfs"
)

// A replica that reads slowly has bytes of records that its source cuts off meanwhile, and writes others in their place.
func TestViewsStayAsTheyAreWhenTheirRecordsAreCutOff(t *testing.T) {
	for _, onDisk := range []bool{false, true} {
		for _, mode := range replicatedModes {
			for to := range Offset(12) {
				if onDisk && to%4 != 1 {
					continue
				}
				var fs vfs.FS = memory(t)
				c := replicatedConfig(fs, mode)
				if onDisk {
					c.FS, c.Dir = vfs.OS, t.TempDir()+"/topic-0"
				}
				l := openLeader(t, c)
				appendN(t, l, 0, 12)
				var views []View
				var copies []string
				for from := range Offset(12) {
					v, err := l.ReadReplica(from, 1<<20)
					require.NoError(t, err)
					views, copies = append(views, v), append(copies, string(v.Bytes))
				}
				l.Follow()
				require.NoError(t, l.TruncateTo(to))
				require.NoError(t, l.Lead(2))
				for i := int(to); i < 12; i++ {
					_, err := l.Append(make1(1, 1, "another"), AppendOptions{Durable: true})
					require.NoError(t, err)
				}
				for i := range views {
					require.Equal(t, copies[i], string(views[i].Bytes), "cut at %d, view %d", to, i)
					views[i].Release()
				}
				require.NoError(t, l.Lead(3))
				require.NoError(t, l.Sync())
				require.Equal(t, Offset(12), l.Durable())
				require.NoError(t, l.Close())
			}
		}
	}
}

// Nobody has a view: nothing is copied.
func TestATruncationThatNobodyWatchesWritesZerosOnly(t *testing.T) {
	for watched := range 2 {
		c := replicatedConfig(memory(t), SyncNever)
		c.Settings.SegmentBytes = 1 << 20
		created := 0
		fault := vfs.NewFault(c.FS)
		c.FS = fault
		l := openLeader(t, c)
		appendN(t, l, 0, 50)
		v, err := l.ReadReplica(0, 1<<20) // reaches to the end
		require.NoError(t, err)
		if watched == 0 {
			v.Release()
		}
		fault.OnOp(func(op vfs.Op) {
			if strings.HasSuffix(op.Path, ".log.tmp") && op.Kind == vfs.OpWrite {
				created++
			}
		})
		l.Follow()
		require.NoError(t, l.TruncateTo(49))
		require.Equal(t, watched, created)
		v.Release()
	}
}

func TestQueuedAppendsOfAFormerLeaderAreNotWrittenBehindACut(t *testing.T) {
	c := replicatedConfig(memory(t), SyncAlways)
	fault := vfs.NewFault(c.FS)
	c.FS = fault
	l := openLeader(t, c)
	appendN(t, l, 0, 5)
	// The writer stands in its sync; three appends queue up, then leadership ends and the log is cut.
	inSync, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	fault.OnOp(func(op vfs.Op) {
		if op.Kind == vfs.OpSync && strings.HasSuffix(op.Path, ".log") {
			once.Do(func() { close(inSync); <-goOn })
		}
	})
	results := make(chan error, 4)
	appendOne := func() {
		_, err := l.Append(make1(1, 1, "x"), AppendOptions{Durable: true})
		results <- err
	}
	go appendOne()
	<-inSync
	for range 3 {
		go appendOne()
	}
	for l.End() < 9 {
		runtime.Gosched()
	}
	cut := make(chan error, 1)
	go func() {
		l.Follow() // waits for those that are queued
		cut <- l.TruncateTo(3)
	}()
	close(goOn)
	require.NoError(t, <-cut)
	for range 4 {
		if err := <-results; err != nil {
			require.ErrorIs(t, err, ErrNotLeaderOrFollower)
		}
	}
	require.Equal(t, Offset(3), l.End())
	require.Equal(t, Offset(3), l.Written())
	require.NoError(t, l.Lead(2))
	appendN(t, l, 3, 2)
	l.SetHighWatermark(5)
	requireDense(t, l, 5)
}

// Readers of every kind go on while a log is cut and goes on with other records: each read is of the log before or after a cut, never of
// zeros, never of a mix, and no damage is found.
func TestReadsBesideTruncationsSeeTheLogBeforeOrAfter(t *testing.T) {
	for _, mode := range []SyncMode{SyncAlways, SyncNever} {
		c := replicatedConfig(memory(t), mode)
		c.Settings.SegmentBytes = 1000
		l := openLeader(t, c)
		var stop atomic.Bool
		var readers sync.WaitGroup
		check := func(b []byte) {
			epoch := int32(-1)
			for len(b) > 0 {
				one, err := batch.Peek(b)
				if err == nil {
					err = one.CheckCRC()
				}
				if err != nil {
					t.Errorf("a read gives bytes that are no batch: %v", err)
					return
				}
				if one.LeaderEpoch() < epoch {
					t.Errorf("epoch %d behind %d", one.LeaderEpoch(), epoch)
				}
				epoch = one.LeaderEpoch()
				var it batch.Iterator
				for one.Iterate(&it, batch.DefaultMaxBytes); it.Next(); {
					r := it.Record()
					if want := fmt.Sprintf("%d/%d", epoch, r.Offset); !strings.HasPrefix(string(r.Value), want+" ") {
						t.Errorf("offset %d of epoch %d has the value %q", r.Offset, epoch, r.Value)
					}
				}
				b = b[len(one):]
			}
		}
		for i := range 3 {
			readers.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(i), 9))
				for ; !stop.Load(); runtime.Gosched() {
					from := Offset(rng.Int64N(int64(l.Written()) + 1))
					switch i {
					case 0:
						v, err := l.ReadReplica(from, 1+rng.IntN(3000))
						if err == nil {
							check(v.Bytes)
							check(v.Bytes) // still
							v.Release()
						} else if !errors.Is(err, ErrOffsetOutOfRange) {
							t.Errorf("read at %d: %v", from, err)
						}
					case 1:
						b, _, err := l.ReadInto(nil, from, 1<<40, 1+rng.IntN(3000))
						if err == nil {
							check(b)
						} else if !errors.Is(err, ErrOffsetOutOfRange) {
							t.Errorf("read at %d: %v", from, err)
						}
					case 2:
						if _, _, err := l.OffsetForTimestamp(int64(from)); err != nil {
							t.Errorf("lookup of %d: %v", from, err)
						}
						if _, _, err := l.EpochEnd(LeaderEpoch(from)); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		rng := rand.New(rand.NewPCG(1, 10))
		epoch := LeaderEpoch(1)
		for range 40 {
			for range rng.IntN(20) {
				value := fmt.Sprintf("%d/%d %s", epoch, l.End(), strings.Repeat("x", rng.IntN(80)))
				_, err := l.Append(make1(int64(l.End()), 1, value), AppendOptions{Durable: true})
				require.NoError(t, err)
				l.SetHighWatermark(l.End() - Offset(rng.IntN(10)))
			}
			if rng.IntN(10) == 0 {
				_, err := l.Seal()
				require.NoError(t, err)
			}
			l.Follow()
			require.NoError(t, l.TruncateTo(max(l.End()-Offset(rng.IntN(25)), 0)))
			require.LessOrEqual(t, l.Visible(), l.End())
			epoch++
			require.NoError(t, l.Lead(epoch))
		}
		stop.Store(true)
		readers.Wait()
		require.Empty(t, l.Report().Findings, strconv.Itoa(int(mode)))
		report, err := l.Verify(t.Context())
		require.NoError(t, err)
		require.Empty(t, report.Findings)
		l.Abandon()
	}
}
