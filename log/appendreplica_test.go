package log

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// history has a leader write n batches of every kind: plain and idempotent ones, transactions that end either way, several epochs.
func history(t testing.TB, l *Log, rng *rand.Rand, n int) {
	sequence, epoch := int32(0), int16(0)
	for range n {
		var err error
		switch rng.IntN(6) {
		case 0:
			require.NoError(t, l.Lead(l.Epoch()+1+LeaderEpoch(rng.IntN(2))))
		case 1:
			_, err = l.Append(makeIdempotentAt(5, 0, sequence, 1000+int64(rng.IntN(100)), "idempotent"), AppendOptions{})
			sequence++
		case 2:
			appendTransactional(t, l, 9, epoch, 1+rng.IntN(3), "transactional")
			typ := batch.ControlAbort
			if rng.IntN(2) == 0 {
				typ = batch.ControlCommit
			}
			epoch++
			_, err = l.Append(batch.BuildControl(nil, typ, 9, epoch, 0, 1000), AppendOptions{Origin: OriginCoordinator, TxnVersion: 2})
		default:
			_, err = l.Append(make1(1000+int64(rng.IntN(100)), 1+rng.IntN(4), fmt.Sprint("value", rng.Uint64())), AppendOptions{})
		}
		require.NoError(t, err)
	}
}

// wholeOf returns all bytes of a log's batches.
func wholeOf(t testing.TB, l *Log) (out []byte) {
	for next := l.Start(); next < l.Written(); {
		v, err := l.ReadReplica(next, 1<<20)
		require.NoError(t, err)
		out = append(out, v.Bytes...)
		require.Greater(t, v.Next, next)
		next = v.Next
		v.Release()
	}
	return out
}

// requireSame checks that two logs have the same batches and know the same of them.
func requireSame(t testing.TB, want, got *Log) {
	t.Helper()
	require.Equal(t, want.Written(), got.End())
	require.True(t, bytes.Equal(wholeOf(t, want), wholeOf(t, got)))
	wantProducers, err := want.Producers()
	require.NoError(t, err)
	gotProducers, err := got.Producers()
	require.NoError(t, err)
	require.Equal(t, wantProducers, gotProducers)
	for e := LeaderEpoch(0); e < 30; e++ {
		we, wend, err := want.EpochEnd(e)
		require.NoError(t, err)
		ge, gend, err := got.EpochEnd(e)
		require.NoError(t, err)
		if wend < want.Written() && ge >= 0 {
			require.Equal(t, []any{we, wend}, []any{ge, gend}, "epoch %d", e)
		}
	}
	want.SetHighWatermark(want.Written())
	got.SetHighWatermark(want.Written())
	require.Equal(t, want.LastStable(), got.LastStable())
	wantAborted, err := want.Aborted(nil, want.Start(), want.LastStable())
	require.NoError(t, err)
	gotAborted, err := got.Aborted(nil, want.Start(), want.LastStable())
	require.NoError(t, err)
	require.Equal(t, wantAborted, gotAborted)
	report, err := got.Verify(t.Context())
	require.NoError(t, err)
	require.Empty(t, report.Findings)
}

func TestFollowersHaveWhatTheirLeaderHas(t *testing.T) {
	for seed := range uint64(24) {
		rng := rand.New(rand.NewPCG(seed, 5))
		leader := openLeader(t, replicatedConfig(memory(t), SyncNever))
		history(t, leader, rng, 80)
		m := memory(t)
		mode := replicatedModes[seed%3]
		c := replicatedConfig(m, mode)
		c.Settings.SegmentBytes = 400 + int64(rng.IntN(1000)) // a follower may roll elsewhere
		f := open(t, c)
		for f.End() < leader.Written() {
			v, err := leader.ReadReplica(max(f.End()-Offset(rng.IntN(3)), 0), 1+rng.IntN(3000))
			require.NoError(t, err)
			data := append([]byte{}, v.Bytes...)
			if rng.IntN(3) == 0 { // the end of the answer is not whole
				data = append(data, data[:min(len(data)-1, 40)]...)
			}
			v.Release()
			end, err := f.AppendReplica(data)
			require.NoError(t, err)
			require.Equal(t, f.Written(), end)
			if mode == SyncAlways {
				require.Equal(t, end, f.Durable())
			}
			switch rng.IntN(8) {
			case 0:
				_, err = f.Seal()
			case 1:
				c.RecoveryPoint = f.RecoveryPoint()
				f.Abandon()
				f = open(t, c)
			case 2:
				err = f.Park()
			}
			require.NoError(t, err)
		}
		requireSame(t, leader, f)
		require.NoError(t, f.Close())
		c.Clean, c.CleanEnd, c.HighWatermark = true, leader.Written(), leader.Written()
		f = open(t, c)
		require.True(t, bytes.Equal(wholeOf(t, leader), wholeOf(t, f)))
	}
}

// One write and one sync for all batches of an answer.
func TestBatchesOfOneAnswerAreWrittenTogether(t *testing.T) {
	leader := openLeader(t, replicatedConfig(memory(t), SyncNever))
	s := leader.Settings()
	s.SegmentBytes = 1 << 20
	require.NoError(t, leader.SetSettings(s))
	appendN(t, leader, 0, 200)
	data := wholeOf(t, leader)
	c := replicatedConfig(memory(t), SyncAlways)
	c.Settings.SegmentBytes = 1 << 20
	f := open(t, c)
	_, err := f.AppendReplica(data)
	require.NoError(t, err)
	st := f.Stats()
	require.Equal(t, []int64{200, 1, 1}, []int64{st.Appends, st.Writes, st.Syncs})
}

func TestAnAnswerThatIsNoLeadersLeavesNothingBehind(t *testing.T) {
	leader := openLeader(t, replicatedConfig(memory(t), SyncNever))
	appendN(t, leader, 0, 3)
	require.NoError(t, leader.Lead(3))
	appendN(t, leader, 3, 3)
	good := wholeOf(t, leader)
	one := len(good) / 6
	swap := func(i, j int) []byte {
		b := append([]byte{}, good...)
		copy(b[i*one:(i+1)*one], good[j*one:(j+1)*one])
		copy(b[j*one:(j+1)*one], good[i*one:(i+1)*one])
		return b
	}
	damaged := append([]byte{}, good...)
	damaged[4*one+70] ^= 1
	garbled := append([]byte{}, good...)
	garbled[2*one+16] = 9 // the magic
	older := append([]byte{}, good...)
	batch.Batch(older[4*one:]).SetLeaderEpoch(1)
	for name, tc := range map[string]struct {
		data []byte
		err  error
	}{
		"a flipped bit":             {damaged, ErrCorrupt},
		"no batch":                  {garbled, ErrCorrupt},
		"an offset that goes back":  {swap(3, 4), ErrInvalidRecord},
		"an epoch that goes back":   {older, ErrInvalidRecord},
		"a batch twice":             {append(good[:one:one], good...), ErrInvalidRecord},
		"garbage":                   {bytes.Repeat([]byte{0xff}, 300), ErrCorrupt},
		"a batch that is not whole": {good[:one-1], nil},
		"nothing":                   {nil, nil},
	} {
		f := open(t, replicatedConfig(memory(t), SyncAlways))
		end, err := f.AppendReplica(tc.data)
		require.ErrorIs(t, err, tc.err, name)
		require.Zero(t, end, name)
		require.Zero(t, f.End(), name)
		end, err = f.AppendReplica(good)
		require.NoError(t, err, name)
		require.Equal(t, Offset(6), end, name)
		requireSame(t, leader, f)
	}
}

// A write that fails at any point leaves the log as of a batch's end, with the producers' state of there, and the same answer may be appended again.
func TestAFailedCopyIsMadeAgain(t *testing.T) {
	for _, mode := range []SyncMode{SyncAlways, SyncNever} {
		for at := 1; ; at++ {
			rng := rand.New(rand.NewPCG(uint64(at), 6))
			leader := openLeader(t, replicatedConfig(memory(t), SyncNever))
			history(t, leader, rng, 30)
			data := wholeOf(t, leader)
			fault := vfs.NewFault(memory(t))
			f := open(t, replicatedConfig(fault, mode))
			armed := fault.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Nth: at, Err: syscall.ENOSPC})
			end, err := f.AppendReplica(data)
			fault.Clear()
			if err != nil {
				require.ErrorIs(t, err, ErrNoSpace)
			}
			require.Equal(t, f.Written(), end)
			require.True(t, bytes.HasPrefix(data, wholeOf(t, f)))
			end, err = f.AppendReplica(data)
			require.NoError(t, err)
			require.Equal(t, leader.Written(), end)
			requireSame(t, leader, f)
			leader.Abandon()
			f.Abandon()
			if armed.Hits() == 0 {
				break
			}
		}
	}
}

// A copy knows where each key was written last, also after a cut: conditional appends go on with the next leader.
func TestTheKeyIndexOfACopyFollowsItsCuts(t *testing.T) {
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 11))
		c := replicatedConfig(memory(t), SyncNever)
		c.Settings.KeyIndex = true
		leader, f := openLeader(t, replicatedConfig(memory(t), SyncNever)), open(t, c)
		keys := map[Offset]string{}
		for round := range 12 {
			for range rng.IntN(10) {
				key := fmt.Sprint("key", rng.IntN(6))
				var b batch.Builder
				b.Reset(nil, batch.Options{})
				b.Append(1000, []byte(key), []byte("v"), nil)
				one, err := b.Finish()
				require.NoError(t, err)
				r, err := leader.Append(one, AppendOptions{})
				require.NoError(t, err)
				keys[r.Base] = key
			}
			v, err := leader.ReadReplica(f.End(), 1<<20)
			require.NoError(t, err)
			_, err = f.AppendReplica(v.Bytes)
			v.Release()
			require.NoError(t, err)
			if rng.IntN(2) == 0 {
				to := f.End() - Offset(rng.Int64N(int64(f.End())/2+1))
				leader.Follow()
				require.NoError(t, leader.TruncateTo(to))
				require.NoError(t, leader.Lead(LeaderEpoch(round+2)))
				require.NoError(t, f.TruncateTo(to))
				for o := range keys {
					if o >= to {
						delete(keys, o)
					}
				}
			}
			for k := range 6 {
				key, want := fmt.Sprint("key", k), Offset(-1)
				for o, have := range keys {
					if have == key && o < f.End() {
						want = max(want, o)
					}
				}
				got, err := f.LastOfKey([]byte(key))
				require.NoError(t, err)
				require.Equal(t, want, got)
			}
		}
	}
}

// A former leader has a record that its successor does not have. What the successor wrote in its place is not taken for it.
func TestABatchBelowTheEndIsLeftOutOnlyIfTheLogHasIt(t *testing.T) {
	old, next := openLeader(t, replicatedConfig(memory(t), SyncNever)), open(t, replicatedConfig(memory(t), SyncNever))
	appendN(t, old, 0, 3)
	_, err := next.AppendReplica(wholeOf(t, old))
	require.NoError(t, err)
	appendN(t, old, 3, 1) // nobody has it
	require.NoError(t, next.Lead(2))
	appendN(t, next, 3, 3)
	old.Follow()
	end, err := old.AppendReplica(wholeOf(t, next))
	require.ErrorIs(t, err, ErrOffsetOutOfRange)
	require.Equal(t, Offset(4), end)
	require.NoError(t, old.TruncateTo(3))
	_, err = old.AppendReplica(wholeOf(t, next))
	require.NoError(t, err)
	requireSame(t, next, old)
}

// A compacted log has gaps. A follower that gets the first batch it can of an epoch cannot know where in the gap before it the epoch began: it says that at its
// front, so that who has other records there, of the epoch before, is told to drop them. Also after a crash, and when the checkpoint is lost.
func TestAnEpochBeginsInFrontOfTheGapThatCompactionHasLeft(t *testing.T) {
	m := memory(t)
	c := replicatedConfig(m, SyncAlways)
	c.Settings.Compacted = true
	l := open(t, c)
	for _, b := range []struct {
		base  int64
		epoch int32
	}{{0, 1}, {1, 1}, {2, 1}, {9, 2}, {10, 2}, {15, 2}, {20, 4}} {
		x := batch.Batch(make1(1000+b.base, 1, "value"))
		x.SetBaseOffset(b.base)
		x.SetLeaderEpoch(b.epoch)
		_, err := l.AppendReplica(x)
		require.NoError(t, err)
	}
	check := func(l *Log) {
		t.Helper()
		for ask, want := range map[LeaderEpoch]Offset{1: 3, 2: 16, 4: 21} {
			epoch, end, err := l.EpochEnd(ask)
			require.NoError(t, err)
			require.Equal(t, ask, epoch)
			require.Equal(t, want, end, "epoch %d", ask)
		}
	}
	check(l)
	point := l.RecoveryPoint()
	l.Abandon()
	for _, lose := range []bool{false, true} {
		if c.RecoveryPoint = point; lose {
			_ = m.Remove(l.path(segment.EpochCheckpointName)) // it may not be there
		}
		l = open(t, c)
		check(l)
		l.Abandon()
	}
	l = open(t, c)
	require.NoError(t, l.Close())
	c.Clean, c.CleanEnd = true, 21
	l = open(t, c)
	check(l)
	require.NoError(t, l.Close())
	require.NoError(t, m.Remove(l.path(segment.EpochCheckpointName)))
	l = open(t, c)
	check(l)
	require.NoError(t, l.Close())
}
