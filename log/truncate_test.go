package log

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

// Tail truncation breaks sealed-segment invariants [raft-wal #31; redpanda PR #10492; KAFKA-10706]: for every offset, in every mode,
// what is left is the log up to there, with its epochs, producers, indexes and timestamps, and it goes on.
func TestTruncationLeavesTheLogUpToThere(t *testing.T) {
	for _, mode := range []SyncMode{SyncAlways, SyncNever} {
		for to := range Offset(21) {
			m := vfs.NewCrashMem(vfs.Strict)
			require.NoError(t, m.MkdirAll("/data", 0o700))
			require.NoError(t, m.SyncDir("/"))
			c := testConfig(m)
			c.Settings = Settings{Sync: mode, SegmentBytes: 700, IndexInterval: 100}
			l := open(t, c)
			for i := range 20 {
				if i == 7 || i == 15 {
					l.SetEpoch(LeaderEpoch(i))
				}
				r, err := l.Append(makeIdempotentAt(4, 0, int32(i), int64(1000+i), valueOf(i)), AppendOptions{Durable: true})
				require.NoError(t, err)
				require.Equal(t, Offset(i), r.Base)
				if i%6 == 0 {
					_, err := l.Seal()
					require.NoError(t, err)
				}
			}
			require.NoError(t, l.TruncateTo(to))
			check := func(l *Log, n Offset) {
				requireDense(t, l, int(n))
				require.Equal(t, n, l.End())
				epoch, err := l.LastEpoch()
				require.NoError(t, err)
				want := LeaderEpoch(-1)
				switch {
				case n > 15:
					want = 15
				case n > 7:
					want = 7
				case n > 0:
					want = 1
				}
				require.Equal(t, want, epoch)
				ps, err := l.Producers()
				require.NoError(t, err)
				if n > 0 {
					require.Equal(t, int32(n-1), ps[0].LastSequence)
				} else {
					require.Empty(t, ps)
				}
				for i := range n {
					o, ts, err := l.OffsetForTimestamp(int64(1000 + i))
					require.NoError(t, err)
					require.Equal(t, []int64{int64(i), int64(1000 + i)}, []int64{int64(o), ts})
				}
				report, err := l.Verify(t.Context())
				require.NoError(t, err)
				require.Empty(t, report.Findings)
			}
			check(l, to)
			m.EachCrash(10, func(after *vfs.Mem, label string) bool {
				c := c
				c.FS = after
				l := open(t, c)
				if mode == SyncAlways {
					check(l, to)
				}
				l.Abandon()
				return true
			})
			for i := int(to); i < int(to)+3; i++ {
				_, err := l.Append(makeIdempotentAt(4, 0, int32(i), int64(1000+i), valueOf(i)), AppendOptions{Durable: true})
				require.NoError(t, err, fmt.Sprint(to, i))
			}
			requireDense(t, l, int(to)+3)
			require.NoError(t, l.Close())
			c.Clean, c.CleanEnd = true, to+3
			l = open(t, c)
			requireDense(t, l, int(to)+3)
			require.Empty(t, l.Report().Findings)
			l.Abandon()
		}
	}
}

func TestEpochEndAnswersAsKafka(t *testing.T) {
	m := vfs.NewMem()
	require.NoError(t, m.MkdirAll("/data", 0o700))
	l := open(t, testConfig(m))
	for _, e := range []LeaderEpoch{2, 2, 5, 5, 5, 9} {
		l.SetEpoch(e)
		_, err := l.Append(make1(1, 1, "x"), AppendOptions{})
		require.NoError(t, err)
	}
	for _, tc := range []struct {
		ask, epoch LeaderEpoch
		end        Offset
	}{{1, 1, 0}, {2, 2, 2}, {3, 2, 2}, {5, 5, 5}, {8, 5, 5}, {9, 9, 6}, {10, -1, -1}, {-1, -1, -1}} {
		epoch, end, err := l.EpochEnd(tc.ask)
		require.NoError(t, err)
		require.Equal(t, tc.epoch, epoch, "epoch %d", tc.ask)
		require.Equal(t, tc.end, end, "epoch %d", tc.ask)
	}
}

// A leader of an epoch in which it appended nothing follows again: its epoch goes although no record does, or its leader would ask it to
// truncate for ever (Apache Kafka cuts its epoch cache whether or not there is anything to cut off the log).
func TestTruncationToTheEndForgetsAnEpochWithoutRecords(t *testing.T) {
	m := vfs.NewMem()
	require.NoError(t, m.MkdirAll("/data", 0o700))
	c := testConfig(m)
	c.Replicated = true
	l := open(t, c)
	require.NoError(t, l.Lead(1))
	_, err := l.Append(make1(1000, 1, "x"), AppendOptions{Durable: true})
	require.NoError(t, err)
	require.NoError(t, l.Lead(3))
	epoch, err := l.LastEpoch()
	require.NoError(t, err)
	require.EqualValues(t, 3, epoch)
	l.Follow()
	require.NoError(t, l.TruncateTo(l.End()))
	epoch, err = l.LastEpoch()
	require.NoError(t, err)
	require.EqualValues(t, 1, epoch)
	require.EqualValues(t, 1, l.End())
}
