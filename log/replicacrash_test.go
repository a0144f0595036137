package log

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/vfs"
)

// The crash loop of a follower. A leader, whose disk is never lost, writes under one epoch after the other; its follower copies, is cut off where a new
// leader's history parts from its own, begins anew, and loses its power before every operation of its disk that changes something. What is
// found then is a prefix of a history that the follower has had: with all that it had synced, and with nothing that it had cut off.

type replicaRun struct {
	t      *testing.T
	mem    *vfs.Mem
	fault  *vfs.Fault
	mode   SyncMode
	rng    *rand.Rand
	leader *Log
	log    *Log
	states *crashStates

	may    map[Offset]map[string]bool // values that may be found at an offset
	synced Offset                     // below: durable
	point  Offset                     // as the owner has persisted it
	start  Offset                     // likewise
	high   Offset                     // likewise
	script []string
}

func (r *replicaRun) config(fs vfs.FS) Config {
	c := replicatedConfig(fs, r.mode)
	c.RecoveryPoint, c.LogStart, c.HighWatermark = r.point, r.start, r.high
	return c
}

func (r *replicaRun) failf(format string, args ...any) {
	r.t.Helper()
	r.t.Errorf("mode %v, script %q: %s", r.mode, r.script, fmt.Sprintf(format, args...))
	r.t.FailNow()
}

func (r *replicaRun) hook(op vfs.Op) {
	r.mem.EachCrash(r.states.perOp, func(after *vfs.Mem, label string) bool {
		r.check(after, fmt.Sprintf("before %v, kept %s", op, label))
		return true
	})
}

func (r *replicaRun) check(after *vfs.Mem, where string) {
	hash := after.Hash() ^ uint64(r.synced)*0x9E3779B97F4A7C15 ^ uint64(r.point)<<40 ^ uint64(r.start)<<50 ^ uint64(r.mode)<<60
	if _, seen := r.states.seen[hash]; seen {
		return
	}
	r.states.seen[hash] = struct{}{}
	r.states.checked++
	l, report, err := Open(r.config(after))
	if err != nil {
		r.failf("%s: open: %v", where, err)
	}
	defer func() {
		if !r.t.Failed() {
			l.Abandon()
		}
	}()
	if l.Start() < r.start || l.End() < max(r.synced, r.start) {
		r.failf("%s: has [%d, %d), and [%d, %d) is synced: %+v", where, l.Start(), l.End(), r.start, r.synced, report)
	}
	if want := max(min(r.high, l.End()), l.Start()); l.Visible() != want {
		r.failf("%s: high watermark %d, want %d", where, l.Visible(), want)
	}
	next, epoch := l.Start(), LeaderEpoch(-1)
	for next < l.End() {
		v, err := l.ReadReplica(next, 700)
		if err != nil || len(v.Bytes) == 0 {
			r.failf("%s: read at %d below %d: %v: %+v", where, next, l.End(), err, report)
		}
		eachRecord(r.t, v.Bytes, func(rec *batch.Record) {
			if Offset(rec.Offset) < next {
				return
			}
			if Offset(rec.Offset) != next {
				r.failf("%s: offset %d where %d was expected: %+v", where, rec.Offset, next, report)
			}
			if !r.may[next][string(rec.Value)] {
				r.failf("%s: record %d has the value %q, which it cannot have: %+v", where, next, rec.Value, report)
			}
			epoch = LeaderEpoch(batchEpoch(rec.Value))
			next++
		})
		v.Release()
	}
	if last, err := l.LastEpoch(); err != nil || next > l.Start() && last != epoch {
		r.failf("%s: last epoch %d, the last record's is %d: %v", where, last, epoch, err)
	}
	// It goes on as a follower, and as a leader.
	if r.rng.IntN(4) != 0 {
		return
	}
	var b batch.Builder
	b.Reset(nil, batch.Options{})
	b.Append(1, nil, []byte("after"), nil)
	one, err := b.Finish()
	require.NoError(r.t, err)
	bt := batch.Batch(one)
	bt.SetBaseOffset(int64(next))
	bt.SetLeaderEpoch(50)
	if end, err := l.AppendReplica(one); err != nil || end != next+1 {
		r.failf("%s: append after recovery: %d %v", where, end, err)
	}
	if err := l.Lead(60); err != nil {
		r.failf("%s: %v", where, err)
	}
	if placed, err := l.Append(make1(1, 1, "led"), AppendOptions{Durable: true}); err != nil || placed.Base != next+1 {
		r.failf("%s: append after recovery: %+v %v", where, placed, err)
	}
	if err := l.Close(); err != nil {
		r.failf("%s: close after recovery: %v", where, err)
	}
}

// batchEpoch returns the epoch that lead has written into a value.
func batchEpoch(value []byte) (epoch int) {
	_, _ = fmt.Sscanf(string(value), "%d/", &epoch)
	return epoch
}

// lead has the leader write n batches.
func (r *replicaRun) lead(n int) {
	for range n {
		records := 1 + r.rng.IntN(3)
		base := r.leader.End()
		value := fmt.Sprintf("%d/%d %s", r.leader.Epoch(), base, strings.Repeat("x", r.rng.IntN(120)))
		for i := range records {
			o := base + Offset(i)
			if r.may[o] == nil {
				r.may[o] = map[string]bool{}
			}
			r.may[o][value] = true
		}
		_, err := r.leader.Append(make1(1000+int64(base), records, value), AppendOptions{})
		require.NoError(r.t, err)
	}
}

func (r *replicaRun) step(op string) {
	r.script = append(r.script, op)
	var err error
	switch op {
	case "copy1", "copy":
		r.lead(1 + r.rng.IntN(8))
		var v View
		if v, err = r.leader.ReadReplica(r.log.End(), map[string]int{"copy": 1 << 20, "copy1": 1}[op]); err == nil {
			_, err = r.log.AppendReplica(v.Bytes)
			v.Release()
		}
	case "truncate", "truncate1": // another leader, which does not have all of it
		to := r.log.Start() + Offset(r.rng.Int64N(int64(r.log.End()-r.log.Start())+1))
		if op == "truncate1" {
			to = max(r.log.End()-2, r.log.Start())
		}
		r.leader.Follow()
		if err = r.leader.TruncateTo(max(to, r.leader.Start())); err != nil {
			break
		}
		to = r.leader.End()
		require.NoError(r.t, r.leader.Lead(r.leader.Epoch()+1))
		r.synced, r.point, r.high = min(r.synced, to), min(r.point, to), min(r.high, to)
		if err = r.log.TruncateTo(to); err == nil {
			r.forget(to)
		}
	case "reset": // it was away for so long that its leader's log begins later
		to := r.log.End() + Offset(r.rng.IntN(5))
		if r.rng.IntN(3) == 0 {
			to = r.log.Start() + Offset(r.rng.Int64N(int64(r.log.End()-r.log.Start())+1)) // or is to be copied anew
		}
		r.leader.Follow()
		require.NoError(r.t, r.leader.ResetTo(to))
		require.NoError(r.t, r.leader.Lead(r.leader.Epoch()+1))
		r.synced, r.point, r.start, r.high = to, min(r.point, to), to, to
		if err = r.log.ResetTo(to); err == nil {
			r.forget(to)
		}
	case "high":
		r.log.SetHighWatermark(r.log.End() - Offset(r.rng.IntN(3)))
		r.high = r.log.Visible()
	case "sync":
		err = r.log.Sync()
	case "seal":
		_, err = r.log.Seal()
	case "roll":
		err = r.log.Roll()
	case "point":
		r.point = r.log.RecoveryPoint()
	case "park":
		err = r.log.Park()
	case "crash": // of the process
		r.log.Abandon()
		r.log, _, err = Open(r.config(r.fault))
	case "reopen":
		if err = r.log.Close(); err == nil {
			end := r.log.End()
			r.synced, r.point = end, end
			c := r.config(r.fault)
			c.Clean, c.CleanEnd = true, end
			r.log, _, err = Open(c)
		}
	}
	if err != nil {
		r.failf("%s: %v", op, err)
	}
	r.synced = max(r.synced, min(r.log.Durable(), r.log.End()))
	if r.mode == SyncAlways && r.synced < r.log.End() {
		r.failf("%s: only %d of %d is durable", op, r.synced, r.log.End())
	}
}

// forget has nothing found any more from an offset on.
func (r *replicaRun) forget(from Offset) {
	for o := range r.may {
		if o >= from {
			delete(r.may, o)
		}
	}
}

var replicaOps = []string{"copy", "copy1", "truncate", "truncate1", "reset", "high", "sync", "seal", "roll", "point", "park", "crash", "reopen"}

func runReplica(t *testing.T, profile vfs.Profile, mode SyncMode, seed uint64, script []string, states *crashStates) {
	mem := vfs.NewCrashMem(profile)
	require.NoError(t, mem.MkdirAll("/data", 0o700))
	require.NoError(t, mem.SyncDir("/"))
	r := &replicaRun{t: t, mem: mem, fault: vfs.NewFault(mem), mode: mode, rng: rand.New(rand.NewPCG(seed, 7)),
		may: map[Offset]map[string]bool{}, states: states}
	r.leader = openLeader(t, replicatedConfig(memory(t), SyncNever))
	r.fault.OnOp(r.hook)
	var err error
	r.log, _, err = Open(r.config(r.fault))
	require.NoError(t, err)
	for _, op := range script {
		r.step(op)
	}
	r.hook(vfs.Op{})
	r.leader.Abandon()
	r.log.Abandon()
}

func TestEveryCrashStateOfAFollowerIsAPrefixOfItsHistory(t *testing.T) {
	states := &crashStates{seen: map[uint64]struct{}{}, perOp: 4}
	seed := uint64(0)
	for _, a := range replicaOps {
		for _, b := range replicaOps {
			seed++
			runReplica(t, vfs.Profile(seed%2), replicatedModes[seed%3], seed, []string{"copy", "copy", a, b, "copy1"}, states)
		}
	}
	t.Logf("crash states: %d distinct, 0 lost", states.checked)
}

// Random scripts. PARTLOG_SOAK=<duration> runs them for so long.
func TestCrashStatesOfRandomFollowersArePrefixes(t *testing.T) {
	states := &crashStates{seen: map[uint64]struct{}{}, perOp: 5}
	scripts := 60
	limit := time.Duration(0)
	if s := os.Getenv("PARTLOG_SOAK"); s != "" {
		var err error
		limit, err = time.ParseDuration(s)
		require.NoError(t, err)
	}
	begun := time.Now()
	seed := uint64(1)
	for ; seed <= uint64(scripts) || time.Since(begun) < limit; seed++ {
		rng := rand.New(rand.NewPCG(seed, 8))
		script := []string{"copy"}
		for range 4 + rng.IntN(14) {
			script = append(script, replicaOps[rng.IntN(len(replicaOps))])
		}
		runReplica(t, vfs.Profile(seed%2), replicatedModes[rng.IntN(len(replicatedModes))], seed, script, states)
		if len(states.seen) > 1<<20 {
			clear(states.seen)
		}
	}
	t.Logf("crash states: %d distinct, 0 lost (%d scripts)", states.checked, seed-1)
}
