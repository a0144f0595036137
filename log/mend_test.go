package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// mendRig is a leader and a copy of its log, the disk of which loses some bytes.
type mendRig struct {
	t      *testing.T
	rng    *rand.Rand
	mode   SyncMode
	leader *Log
	mem    *vfs.Mem
	fs     vfs.FS
	point  Offset // the copy's recovery point, as its owner has persisted it
	log    *Log
}

// newMendRig has the leader write under three epochs: plain batches, those of an idempotent producer, transactions that commit, abort and stay open.
func newMendRig(t *testing.T, seed uint64, mode SyncMode) *mendRig {
	r := &mendRig{t: t, rng: rand.New(rand.NewPCG(seed, 3)), mode: mode, leader: openLeader(t, replicatedConfig(memory(t), SyncNever)), mem: memory(t)}
	r.fs = r.mem
	sequence, epochs, open := int32(0), map[int64]int16{}, map[int64]bool{}
	for epoch := LeaderEpoch(1); epoch <= 3; epoch++ {
		require.NoError(t, r.leader.Lead(epoch))
		for i := range 8 {
			n := 1 + r.rng.IntN(3)
			switch id := int64(100 + i%3); r.rng.IntN(4) {
			case 0:
				_, err := r.leader.Append(makeIdempotent(7, 0, sequence, n, valueOf(i)), AppendOptions{})
				require.NoError(t, err)
				sequence += int32(n)
			case 1:
				if open[id] {
					_, err := r.leader.Append(makeMarker(id, epochs[id], r.rng.IntN(2) == 0), AppendOptions{Origin: OriginCoordinator})
					require.NoError(t, err)
				} else {
					epochs[id]++
					appendTransactional(t, r.leader, id, epochs[id], n, valueOf(i))
				}
				open[id] = !open[id]
			default:
				_, err := r.leader.Append(make1(int64(1000+i), n, valueOf(i)), AppendOptions{})
				require.NoError(t, err)
			}
		}
	}
	r.open(true)
	r.follow()
	r.log.SetHighWatermark(r.log.End())
	require.NoError(t, r.log.Close())
	r.point = r.log.End()
	return r
}

func (r *mendRig) config(fs vfs.FS) Config {
	c := replicatedConfig(fs, r.mode)
	c.RecoveryPoint, c.HighWatermark = r.point, r.leader.End()
	return c
}

func (r *mendRig) open(clean bool) {
	c := r.config(r.fs)
	c.Clean, c.CleanEnd = clean, r.point
	l, _, err := Open(c)
	require.NoError(r.t, err)
	r.log = l
}

// follow has the copy get what it lacks at its end.
func (r *mendRig) follow() {
	for r.log.End() < r.leader.End() {
		v, err := r.leader.ReadReplica(r.log.End(), 1+r.rng.IntN(1500))
		require.NoError(r.t, err)
		_, err = r.log.AppendReplica(bytes.Clone(v.Bytes))
		v.Release()
		require.NoError(r.t, err)
	}
}

// read looks at everything, so that all damage is known, and returns what can be read.
func (r *mendRig) read(l *Log) (all []byte, damaged bool) {
	for at := l.Start(); at < l.Written(); {
		v, err := l.ReadReplica(at, 1<<20)
		if bad, ok := errors.AsType[*CorruptionError](err); ok {
			require.Greater(r.t, bad.NextOffset, at)
			at, damaged = bad.NextOffset, true
			continue
		}
		require.NoError(r.t, err)
		all = append(all, v.Bytes...)
		at = v.Next
		v.Release()
	}
	return all, damaged
}

// mend mends all that is known to be damaged with what the leader has.
func (r *mendRig) mend() error {
	for {
		m, err := r.log.BeginMending()
		if errors.Is(err, ErrUndamaged) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := r.feed(m); err != nil {
			m.Close()
			return err
		}
		r.point = min(r.point, m.Base())
		if err := m.Commit(); err != nil {
			m.Close()
			return err
		}
		r.open(false)
	}
}

func (r *mendRig) feed(m *Mending) error {
	for from, more := m.Need(); more; from, more = m.Need() {
		v, err := r.leader.ReadReplica(from, 1+r.rng.IntN(400))
		require.NoError(r.t, err)
		b := bytes.Clone(v.Bytes)
		v.Release()
		if len(b) == 0 {
			return errors.New("the leader has no more")
		}
		if err := m.Feed(b); err != nil {
			return err
		}
	}
	return nil
}

// same requires that the copy is the leader's log: its bytes, and all that is derived of them.
func (r *mendRig) same(why string) {
	t := r.t
	r.follow()
	want, _ := r.read(r.leader)
	have, damaged := r.read(r.log)
	require.False(t, damaged, why)
	require.True(t, bytes.Equal(want, have), "%s: %d bytes, want %d", why, len(have), len(want))
	wantProducers, err := r.leader.Producers()
	require.NoError(t, err)
	producers, err := r.log.Producers()
	require.NoError(t, err)
	require.ElementsMatch(t, wantProducers, producers, why)
	r.log.SetHighWatermark(r.log.End())
	r.leader.SetHighWatermark(r.leader.End())
	require.Equal(t, r.leader.LastStable(), r.log.LastStable(), why)
	wantAborted, err := r.leader.Aborted(nil, 0, r.leader.End())
	require.NoError(t, err)
	aborted, err := r.log.Aborted(nil, 0, r.log.End())
	require.NoError(t, err)
	require.Equal(t, wantAborted, aborted, why)
	for e := LeaderEpoch(1); e <= 3; e++ {
		_, wantEnd, err := r.leader.EpochEnd(e)
		require.NoError(t, err)
		_, end, err := r.log.EpochEnd(e)
		require.NoError(t, err)
		require.Equal(t, wantEnd, end, why)
	}
	report, err := r.log.Verify(context.Background())
	require.NoError(t, err)
	require.False(t, report.Damaged, "%s: %+v", why, report)
}

// segments are the bases of the copy's segments.
func (r *mendRig) segments() (bases []int64) {
	entries, err := r.mem.ReadDir(r.config(nil).Dir)
	require.NoError(r.t, err)
	for _, e := range entries {
		if n := segment.ParseName(e.Name()); n.Kind == segment.KindLog {
			bases = append(bases, n.Base)
		}
	}
	return bases
}

func (r *mendRig) change(base int64, f func(b []byte) []byte) {
	path := r.config(nil).Dir + "/" + segment.LogName(base)
	file, err := r.mem.OpenFile(path, os.O_RDWR, 0)
	require.NoError(r.t, err)
	size, err := file.Size()
	require.NoError(r.t, err)
	b := make([]byte, size)
	if _, err := file.ReadAt(b, 0); !errors.Is(err, io.EOF) {
		require.NoError(r.t, err)
	}
	b = f(b)
	require.NoError(r.t, file.Truncate(int64(len(b))))
	_, err = file.WriteAt(b, 0)
	require.NoError(r.t, err)
	require.NoError(r.t, file.Sync())
	require.NoError(r.t, file.Close())
}

// damage changes bytes of a segment, and says how.
func (r *mendRig) damage(base int64) (what string) {
	r.change(base, func(b []byte) []byte {
		at := r.rng.IntN(len(b))
		switch r.rng.IntN(4) {
		case 0:
			n := min(1+r.rng.IntN(300), len(b)-at)
			clear(b[at : at+n])
			what = fmt.Sprintf("%d bytes of %d from %d on are zero", n, base, at)
		case 1:
			what = fmt.Sprintf("%d ends at %d", base, at)
			return b[:at]
		default:
			b[at] ^= 1 << r.rng.IntN(8)
			what = fmt.Sprintf("byte %d of %d is wrong", at, base)
		}
		return b
	})
	return what
}

// TestADamagedRangeIsMendedFromTheLeader: whatever bytes are damaged, in one segment or in two, known from a recovery or from a read, what was there is put
// back, and with it what is derived of it: producers, transactions, epochs.
func TestADamagedRangeIsMendedFromTheLeader(t *testing.T) {
	mended := 0
	for seed := range uint64(120) {
		r := newMendRig(t, seed, replicatedModes[seed%3])
		bases := r.segments()
		require.Greater(t, len(bases), 3)
		what := r.damage(bases[r.rng.IntN(len(bases)-1)])
		if seed%4 == 0 {
			what += ", " + r.damage(bases[r.rng.IntN(len(bases)-1)])
		}
		what = fmt.Sprintf("seed %d: %s", seed, what)
		r.open(seed%2 == 0)
		_, damaged := r.read(r.log)
		known := r.log.Damage()
		require.Equal(t, damaged, len(known) > 0, what)
		if err := r.mend(); err != nil {
			require.ErrorIs(t, err, ErrUnproven, what)
			t.Logf("%s: %v", what, err)
			r.log.Abandon()
			continue
		}
		if !damaged { // nothing that anybody could see
			r.log.Abandon()
			continue
		}
		mended++
		r.same(what)
		require.NoError(t, r.log.Close())
		r.point = r.log.End()
		r.open(true)
		r.same(what + ", opened again")
		require.NoError(t, r.log.Close())
		require.NoError(t, r.leader.Close())
	}
	require.Greater(t, mended, 90, "of 120, some of which are not damaged: zeros and sums")
}

// One good batch is all that is between two damaged ranges: it is behind the one and in front of the other, in what the leader has answered once.
func TestTwoDamagedRangesWithOneBatchBetweenAreMended(t *testing.T) {
	for _, answer := range []int{1, 1 << 20} { // a batch at a time, all at once
		r := newMendRig(t, 1, SyncAlways)
		found := false
		for _, base := range r.segments() {
			r.change(base, func(b []byte) []byte {
				var at []int
				for p := 0; p < len(b); {
					next, err := batch.Peek(b[p:])
					require.NoError(t, err)
					at = append(at, p)
					p += len(next)
				}
				if found = len(at) >= 5 && !found; found {
					b[at[1]+batch.HeaderSize] ^= 1
					b[at[3]+batch.HeaderSize] ^= 1
				}
				return b
			})
			if found {
				break
			}
		}
		require.True(t, found, "a segment has five batches")
		r.open(true)
		_, damaged := r.read(r.log)
		require.True(t, damaged)
		m, err := r.log.BeginMending()
		require.NoError(t, err)
		require.Len(t, m.holes, 2)
		rounds := 0
		for from, more := m.Need(); more; from, more = m.Need() {
			v, err := r.leader.ReadReplica(from, answer)
			require.NoError(t, err)
			require.NoError(t, m.Feed(bytes.Clone(v.Bytes)))
			v.Release()
			rounds++
		}
		require.Equal(t, answer > 1, rounds == 1)
		r.point = min(r.point, m.Base())
		require.NoError(t, m.Commit())
		r.open(false)
		r.same(fmt.Sprint(answer))
		r.log.Abandon()
	}
}

// TestACrashWhileMendingLeavesTheOldSegmentOrTheNew: power is lost before every operation of the disk. What can be read then is what the leader has, nothing in
// front of the damage is missing, and the copy, mended or cut off and copied again, becomes the leader's log.
func TestACrashWhileMendingLeavesTheOldSegmentOrTheNew(t *testing.T) {
	states := 0
	for seed := range uint64(8) {
		r := newMendRig(t, seed, replicatedModes[seed%3])
		bases := r.segments()
		what := r.damage(bases[seed%uint64(len(bases)-1)])
		what = fmt.Sprintf("seed %d: %s", seed, what)
		crash := vfs.NewCrashMem([]vfs.Profile{vfs.Strict, vfs.Ext4Like}[seed%2])
		copyFiles(t, crash, r.mem, r.config(nil).Dir)
		fault := vfs.NewFault(crash)
		r.mem, r.fs = crash, fault
		r.open(false)
		if _, damaged := r.read(r.log); !damaged {
			continue
		}
		hole := r.log.Damage()[0].Offset
		want, _ := r.read(r.leader)
		seen := map[uint64]bool{}
		fault.OnOp(func(op vfs.Op) {
			crash.EachCrash(12, func(after *vfs.Mem, label string) bool {
				hash := after.Hash() ^ uint64(r.point)<<40
				if seen[hash] {
					return true
				}
				seen[hash] = true
				states++
				where := fmt.Sprintf("%s, before %v, kept %s", what, op, label)
				l, _, err := Open(r.config(after))
				require.NoError(t, err, where)
				have, damaged := r.read(l)
				if damaged || len(have) < len(want) {
					require.GreaterOrEqual(t, l.End(), hole, where)
				}
				if !damaged {
					require.True(t, bytes.HasPrefix(want, have), where)
				}
				again := &mendRig{t: t, rng: r.rng, mode: r.mode, leader: r.leader, mem: after, fs: after, point: r.point, log: l}
				require.NoError(t, again.mend(), where)
				again.same(where)
				again.log.Abandon()
				return true
			})
		})
		require.NoError(t, r.mend(), what)
		fault.OnOp(nil)
		r.same(what)
		r.log.Abandon()
	}
	require.Greater(t, states, 300)
}

func copyFiles(t *testing.T, to, from *vfs.Mem, dir string) {
	require.NoError(t, to.MkdirAll(dir, 0o700))
	entries, err := from.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		b, err := vfs.ReadFile(from, dir+"/"+e.Name(), 1<<20)
		require.NoError(t, err)
		f, err := to.OpenFile(dir+"/"+e.Name(), os.O_RDWR|os.O_CREATE, 0o600)
		require.NoError(t, err)
		_, err = f.WriteAt(b, 0)
		require.NoError(t, err)
		require.NoError(t, f.Sync())
		require.NoError(t, f.Close())
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		require.NoError(t, to.SyncDir(dir))
	}
	require.NoError(t, to.SyncDir(dir))
}

// TestWhatCannotBeProvedIsNotMended: another history, a leader that lacks the range, bytes that are damaged on their way; the log stays as it was.
func TestWhatCannotBeProvedIsNotMended(t *testing.T) {
	for name, wrong := range map[string]func(r *mendRig, b []byte) []byte{
		"the batch before it differs": func(r *mendRig, b []byte) []byte {
			other := batch.Batch(b)
			other.SetBaseOffset(other.BaseOffset()) // as it is, but for an epoch that is in no checksum
			other.SetLeaderEpoch(other.LeaderEpoch() + 1)
			return b
		},
		"another batch is in the range": func(r *mendRig, b []byte) []byte {
			first, err := batch.Peek(b)
			require.NoError(r.t, err)
			second, err := batch.Peek(b[len(first):])
			require.NoError(r.t, err)
			other := batch.Batch(make1(1, int(second.Count()), "another"))
			other.SetBaseOffset(second.BaseOffset())
			other.SetLeaderEpoch(second.LeaderEpoch() + 1) // that leader had not been elected yet
			return append(bytes.Clone(first), other...)
		},
		"it does not reach the end of the range": func(r *mendRig, b []byte) []byte {
			first, err := batch.Peek(b)
			require.NoError(r.t, err)
			second, err := batch.Peek(b[len(first):])
			require.NoError(r.t, err)
			other := batch.Batch(make1(1, 100, "too many"))
			other.SetBaseOffset(second.BaseOffset())
			other.SetLeaderEpoch(second.LeaderEpoch())
			return append(bytes.Clone(first), other...)
		},
		"bytes are damaged": func(r *mendRig, b []byte) []byte {
			first, err := batch.Peek(b)
			require.NoError(r.t, err)
			b[len(first)+batch.HeaderSize] ^= 1
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newMendRig(t, 1, SyncAlways)
			base := r.segments()[1]
			r.change(base, func(b []byte) []byte {
				first, err := batch.Peek(b)
				require.NoError(t, err)
				b[len(first)+batch.HeaderSize] ^= 1
				return b
			})
			r.open(true)
			before, damaged := r.read(r.log)
			require.True(t, damaged)
			m, err := r.log.BeginMending()
			require.NoError(t, err)
			_, err = r.log.BeginClean(CleanOptions{})
			require.ErrorIs(t, err, ErrCleaningAborted)
			_, err = r.log.BeginMending()
			require.ErrorIs(t, err, ErrUnproven)
			from, more := m.Need()
			require.True(t, more)
			require.Equal(t, Offset(base), from, "the batch before it is compared")
			v, err := r.leader.ReadReplica(from, 700)
			require.NoError(t, err)
			b := wrong(r, bytes.Clone(v.Bytes))
			v.Release()
			require.ErrorIs(t, m.Feed(b), ErrUnproven)
			require.ErrorIs(t, m.Commit(), ErrUnproven)
			m.Close()
			after, damaged := r.read(r.log)
			require.True(t, damaged)
			require.Equal(t, before, after)
			d, err := r.log.list()
			require.NoError(t, err)
			require.Empty(t, d.cleaned)
			require.NoError(t, r.mend(), "with the right ones it is")
			r.same(name)
		})
	}
}

// The leader's compaction has removed what is damaged here. What it removed may have hidden older records (a tombstone, an abort), which this copy still
// has unless its own compaction has come as far.
func TestAGapOfTheLeaderProvesNothingAboveWhatWasCleanedHere(t *testing.T) {
	for _, cleaned := range []bool{false, true} {
		r := newMendRig(t, 1, SyncAlways)
		base := r.segments()[1]
		r.change(base, func(b []byte) []byte {
			first, err := batch.Peek(b)
			require.NoError(t, err)
			b[len(first)+batch.HeaderSize] ^= 1
			return b
		})
		r.open(true)
		_, damaged := r.read(r.log)
		require.True(t, damaged)
		settings := *r.log.settings.Load()
		settings.Compacted = true
		r.log.settings.Store(&settings)
		if cleaned {
			r.log.cleaner.cleaned.Store(int64(r.log.End()))
		}
		m, err := r.log.BeginMending()
		require.NoError(t, err)
		from, _ := m.Need()
		v, err := r.leader.ReadReplica(from, 1<<20)
		require.NoError(t, err)
		first, err := batch.Peek(v.Bytes)
		require.NoError(t, err)
		second, err := batch.Peek(v.Bytes[len(first):])
		require.NoError(t, err)
		third, err := batch.Peek(v.Bytes[len(first)+len(second):])
		require.NoError(t, err)
		err = m.Feed(append(bytes.Clone(first), third...))
		v.Release()
		if cleaned {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, ErrUnproven)
		}
		m.Close()
	}
}

func TestALogWithoutDamageHasNothingToMend(t *testing.T) {
	r := newMendRig(t, 1, SyncNever)
	r.open(true)
	_, err := r.log.BeginMending()
	require.ErrorIs(t, err, ErrUndamaged)
	require.Empty(t, r.log.Damage())
}
