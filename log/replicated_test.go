package log

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/vfs"
)

// replicatedConfig is that of a follower; openLeader begins epoch 1.
func replicatedConfig(fs vfs.FS, mode SyncMode) Config {
	c := testConfig(fs)
	c.Replicated = true
	c.Settings = Settings{Sync: mode, SegmentBytes: 700, IndexInterval: 100}
	return c
}

func memory(t testing.TB) *vfs.Mem {
	m := vfs.NewMem()
	require.NoError(t, m.MkdirAll("/data", 0o700))
	return m
}

func openLeader(t testing.TB, c Config) *Log {
	l := open(t, c)
	require.NoError(t, l.Lead(1))
	return l
}

var replicatedModes = []SyncMode{SyncAlways, SyncNever, SyncInterval(time.Second)}

func TestHighWatermarkOfAReplicatedLogIsWhatItsOwnerSays(t *testing.T) {
	for _, mode := range replicatedModes {
		l := openLeader(t, replicatedConfig(memory(t), mode))
		appendN(t, l, 0, 20)
		require.Equal(t, Offset(20), l.Written())
		require.Zero(t, l.Visible(), "neither writes nor syncs move it")
		v, err := l.Read(0, 100, 1<<20)
		require.NoError(t, err)
		require.Empty(t, v.Bytes)
		require.True(t, l.SetHighWatermark(7))
		require.False(t, l.SetHighWatermark(5), "it never falls")
		require.False(t, l.SetHighWatermark(7))
		require.Equal(t, Offset(7), l.Visible())
		require.Equal(t, Offset(7), l.LastStable())
		got, _ := values(t, l, 0, 200, false)
		require.Len(t, got, 7)
		require.True(t, l.SetHighWatermark(1000), "no further than what is written")
		require.Equal(t, Offset(20), l.Visible())
		requireDense(t, l, 20)
	}
}

func TestReplicasReadWhatIsWritten(t *testing.T) {
	for _, mode := range replicatedModes {
		l := openLeader(t, replicatedConfig(memory(t), mode))
		for i := range 20 {
			_, err := l.Append(make1(int64(1000+i), 1, valueOf(i)), AppendOptions{Lazy: true})
			require.NoError(t, err)
		}
		next := Offset(0)
		for next < 20 {
			v, err := l.ReadReplica(next, 300)
			require.NoError(t, err)
			require.Greater(t, v.Next, next)
			eachRecord(t, v.Bytes, func(r *batch.Record) {
				require.Equal(t, next, Offset(r.Offset))
				require.Equal(t, valueOf(int(next)), string(r.Value))
				next++
			})
			v.Release()
		}
		v, err := l.ReadReplica(20, 300)
		require.NoError(t, err)
		require.Empty(t, v.Bytes)
		_, err = l.ReadReplica(21, 300)
		require.ErrorIs(t, err, ErrOffsetOutOfRange)
	}
}

func TestLookupsByTimeEndAtTheHighWatermark(t *testing.T) {
	l := openLeader(t, replicatedConfig(memory(t), SyncNever))
	appendN(t, l, 0, 30)
	for high := range Offset(31) {
		l.SetHighWatermark(high)
		o, ts, err := l.OffsetForMaxTimestamp()
		require.NoError(t, err)
		if high == 0 {
			require.Equal(t, int64(-1), ts)
		} else {
			require.Equal(t, []int64{int64(high - 1), int64(999 + high)}, []int64{int64(o), ts})
		}
		_, ts, err = l.OffsetForTimestamp(1000 + int64(high))
		require.NoError(t, err)
		require.Equal(t, int64(-1), ts, "the record at the high watermark is not seen")
	}
}

// KIP-101: an epoch begins with its leader, not with its first batch.
func TestLeadershipBeginsItsEpochAtTheEnd(t *testing.T) {
	m := memory(t)
	c := replicatedConfig(m, SyncNever)
	l := openLeader(t, c)
	appendN(t, l, 0, 3)
	require.NoError(t, l.Lead(4))
	last, err := l.LastEpoch()
	require.NoError(t, err)
	require.Equal(t, LeaderEpoch(4), last)
	for ask, want := range map[LeaderEpoch]struct {
		epoch LeaderEpoch
		end   Offset
	}{1: {1, 3}, 3: {1, 3}, 4: {4, 3}, 5: {-1, -1}} {
		epoch, end, err := l.EpochEnd(ask)
		require.NoError(t, err)
		require.Equal(t, want.epoch, epoch, ask)
		require.Equal(t, want.end, end, ask)
	}
	require.NoError(t, l.Lead(4), "again")
	appendN(t, l, 3, 2)
	require.NoError(t, l.Lead(6))
	require.NoError(t, l.Close())
	c.Clean, c.CleanEnd = true, 5
	l = open(t, c)
	last, err = l.LastEpoch()
	require.NoError(t, err)
	require.Equal(t, LeaderEpoch(6), last, "also across a clean close")
	e, err := l.EpochAt(4)
	require.NoError(t, err)
	require.Equal(t, LeaderEpoch(4), e)
	_, err = l.Append(make1(1, 1, "x"), AppendOptions{})
	require.ErrorIs(t, err, ErrNotLeaderOrFollower, "nobody leads after an open")
}

func TestAppendsAreTheLeadersAndCopiesTheFollowers(t *testing.T) {
	l := openLeader(t, replicatedConfig(memory(t), SyncNever))
	appendN(t, l, 0, 2)
	v, err := l.ReadReplica(0, 1<<20)
	require.NoError(t, err)
	data := append([]byte{}, v.Bytes...)
	v.Release()
	_, err = l.AppendReplica(data)
	require.ErrorIs(t, err, ErrNotLeaderOrFollower)
	_, err = l.Append(data[:len(data)/2], AppendOptions{Origin: OriginReplica})
	require.ErrorIs(t, err, ErrNotLeaderOrFollower)
	l.Follow()
	_, err = l.Append(make1(1, 1, "x"), AppendOptions{})
	require.ErrorIs(t, err, ErrNotLeaderOrFollower)
	_, err = l.Append(make1(1, 1, "x"), AppendOptions{Origin: OriginCoordinator})
	require.ErrorIs(t, err, ErrNotLeaderOrFollower)
	end, err := l.AppendReplica(data)
	require.NoError(t, err, "what is there already is left out")
	require.Equal(t, Offset(2), end)
	alone := open(t, testConfig(memory(t)))
	_, err = alone.AppendReplica(data)
	require.ErrorIs(t, err, ErrNotLeaderOrFollower)
}

// In SyncAlways followers copy what the leader has not synced yet, and the leader's owner hears of the sync too.
func TestNotifyTellsOfWritesAndOfSyncs(t *testing.T) {
	for mode, want := range map[SyncMode]string{SyncAlways: "[1 0] [1 1] ", SyncNever: "[1 0] "} {
		var l *Log
		told := ""
		c := replicatedConfig(memory(t), mode)
		c.Notify = func() { told += fmt.Sprint([]Offset{l.Written(), l.Durable()}, " ") }
		l = openLeader(t, c)
		appendN(t, l, 0, 1)
		require.Equal(t, want, told, mode)
	}
}

// A transaction whose marker is above the high watermark is not decided for anybody, whatever has been loaded from where meanwhile.
func TestTransactionsAreStableWhenTheHighWatermarkHasPassedTheirMarkers(t *testing.T) {
	for _, mode := range replicatedModes {
		for _, how := range []string{"live", "clean", "crash"} {
			for high := range Offset(13) {
				m := memory(t)
				c := replicatedConfig(m, mode)
				l := openLeader(t, c)
				appendN(t, l, 0, 2)
				appendTransactional(t, l, 7, 0, 2, "a") // 2, 3
				appendN(t, l, 4, 1)
				_, err := l.Append(batch.BuildControl(nil, batch.ControlAbort, 7, 0, 0, 1000), AppendOptions{Origin: OriginCoordinator}) // 5
				require.NoError(t, err)
				appendN(t, l, 6, 1)
				appendTransactional(t, l, 8, 0, 1, "b") // 7
				appendN(t, l, 8, 3)
				_, err = l.Append(batch.BuildControl(nil, batch.ControlCommit, 8, 0, 0, 1000), AppendOptions{Origin: OriginCoordinator}) // 11
				require.NoError(t, err)
				if how == "live" {
					l.SetHighWatermark(high)
				} else {
					c.HighWatermark = high
					if how == "clean" {
						require.NoError(t, l.Close())
						c.Clean, c.CleanEnd = true, 12
					} else {
						l.Abandon()
					}
					l = open(t, c)
				}
				require.Equal(t, min(high, 12), l.Visible(), "%v %s", mode, how)
				want := func(high Offset) Offset {
					switch {
					case high > 2 && high <= 5:
						return 2
					case high > 7 && high <= 11:
						return 7
					}
					return min(high, 12)
				}
				require.Equal(t, want(high), l.LastStable(), "%v %s, high watermark %d", mode, how, high)
				for next := high; next < 13; next++ {
					l.SetHighWatermark(next)
					require.Equal(t, want(next), l.LastStable(), "%v %s, high watermark %d and then %d", mode, how, high, next)
				}
				v, aborted, err := l.ReadCommitted(nil, 0, 100, 1<<20)
				require.NoError(t, err)
				v.Release()
				require.Equal(t, []AbortedTxn{{ProducerID: 7, First: 2, Last: 5, LastStable: 6}}, aborted[:1])
				l.Abandon()
			}
		}
	}
}

func appendTransactional(t testing.TB, l *Log, id int64, epoch int16, n int, value string) {
	t.Helper()
	g, _, err := l.TxnGuard(id, epoch, 0)
	require.NoError(t, err)
	_, err = l.Append(makeTxn(id, epoch, 0, n, value), AppendOptions{Guard: g})
	require.NoError(t, err)
}

func TestRetentionAndDeletionStayBelowTheHighWatermark(t *testing.T) {
	l := openLeader(t, replicatedConfig(memory(t), SyncNever))
	appendN(t, l, 0, 40)
	s := l.Settings()
	s.RetentionBytes = RetainNothing
	require.NoError(t, l.SetSettings(s))
	r, err := l.Retain(time.UnixMilli(1 << 40))
	require.NoError(t, err)
	require.Zero(t, r.Segments)
	_, err = l.DeleteRecords(10)
	require.ErrorIs(t, err, ErrOffsetOutOfRange)
	l.SetHighWatermark(25)
	_, err = l.Retain(time.UnixMilli(1 << 40))
	require.NoError(t, err)
	require.Greater(t, l.Start(), Offset(0))
	require.LessOrEqual(t, l.Start(), Offset(25))
	start, err := l.DeleteRecords(-1)
	require.NoError(t, err)
	require.Equal(t, Offset(25), start)
}

// After a loss of power a follower tells its leader the epoch of its last batch: the recovery point, below which batches are not read again, does
// not pass an epoch that the checkpoint does not have.
func TestTheRecoveryPointWaitsForTheEpochCheckpoint(t *testing.T) {
	l := openLeader(t, replicatedConfig(memory(t), SyncAlways))
	appendN(t, l, 0, 3)
	_, err := l.Seal()
	require.NoError(t, err)
	require.Equal(t, Offset(3), l.RecoveryPoint())
	require.NoError(t, l.Lead(2))
	appendN(t, l, 3, 1)
	require.NoError(t, l.Lead(3))
	appendN(t, l, 4, 1)
	require.Equal(t, Offset(3), l.RecoveryPoint())
	l.Follow()
	require.NoError(t, l.TruncateTo(2))
	require.LessOrEqual(t, l.RecoveryPoint(), Offset(2))
	require.NoError(t, l.Lead(4))
	appendN(t, l, 2, 4)
	require.LessOrEqual(t, l.RecoveryPoint(), Offset(2))
	for done := false; !done; {
		done, err = l.Seal()
		require.NoError(t, err)
	}
	require.Equal(t, Offset(6), l.RecoveryPoint())
}
