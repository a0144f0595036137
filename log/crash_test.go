package log

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
)

// The crash loop: short scripts run on a file system that remembers what has not been synced. Before every operation that changes
// something, power is lost: the log is opened on what a disk may hold then, and must have every record that was acknowledged as
// durable, once and in order, and none that was never appended; its indexes must find each; it must go on from there. Recovery is
// itself interrupted in the same way.

// crashRun is one script and what its owner, a store, knows.
type crashRun struct {
	t     *testing.T
	mem   *vfs.Mem
	fault *vfs.Fault
	clock *clock.Manual
	mode  SyncMode
	rng   *rand.Rand

	log      *Log
	appended map[Offset]map[string]bool // all values that were ever appended at an offset
	end      Offset                     // next value's number
	acked    Offset                     // below: acknowledged as durable
	rp       Offset                     // recovery point as persisted
	start    Offset                     // log start as persisted
	deleting Offset                     // log start that a DeleteRecords in progress asks for
	sequence int32
	script   []string
	states   *crashStates
	depth    int
}

type crashStates struct {
	seen    map[uint64]struct{}
	checked int
	perOp   int
}

func (r *crashRun) config(fs vfs.FS) Config {
	c := testConfig(fs)
	c.Clock = r.clock
	c.Settings = Settings{Sync: r.mode, SegmentBytes: 1500, IndexInterval: 200, MaxMessageBytes: 1200}
	c.RecoveryPoint, c.LogStart = r.rp, r.start
	return c
}

// abandon closes l, but not after a failure: that may have come in the middle of one of its calls.
func (r *crashRun) abandon(l *Log) {
	if !r.t.Failed() {
		l.Abandon()
	}
}

func (r *crashRun) failf(format string, args ...any) {
	r.t.Helper()
	r.t.Errorf("mode %v, script %q: %s", r.mode, r.script, fmt.Sprintf(format, args...))
	r.t.FailNow()
}

// hook takes crash clones before the operation and checks them.
func (r *crashRun) hook(op vfs.Op) {
	r.mem.EachCrash(r.states.perOp, func(after *vfs.Mem, label string) bool {
		r.check(after, fmt.Sprintf("before %v, kept %s", op, label))
		return true
	})
}

func (r *crashRun) check(after *vfs.Mem, where string) {
	hash := after.Hash() ^ uint64(r.acked)*0x9E3779B97F4A7C15 ^ uint64(r.rp)<<40 ^ uint64(r.mode)<<60
	if _, seen := r.states.seen[hash]; seen {
		return
	}
	r.states.seen[hash] = struct{}{}
	r.states.checked++
	c := r.config(after)
	interrupted := r.depth < 2 && r.rng.IntN(8) == 0
	if interrupted {
		// Recovery is interrupted too: what is left then must lead to the same.
		fault := vfs.NewFault(after)
		c.FS = fault
		r.depth++
		at := r.rng.IntN(6)
		fault.OnOp(func(op vfs.Op) {
			if at--; at == 0 {
				clone := after.CrashClone(r.rng)
				r.check(clone, where+fmt.Sprintf(", then recovery interrupted before %v", op))
			}
		})
		defer func() { r.depth-- }()
	}
	l, report, err := Open(c)
	if fault, ok := c.FS.(*vfs.Fault); ok {
		fault.OnOp(nil)
	}
	if err != nil {
		r.failf("%s: open: %v", where, err)
	}
	defer r.abandon(l)
	start := max(l.Start(), 0)
	if start > max(r.start, r.deleting, 0) && r.mode == SyncAlways {
		r.failf("%s: log starts at %d, not %d: %+v", where, start, r.start, report)
	}
	if l.End() < r.acked {
		r.failf("%s: ends at %d, %d is acknowledged: %+v", where, l.End(), r.acked, report)
	}
	next := start
	for next < l.End() {
		b, n, err := l.ReadInto(nil, next, l.End(), 700)
		if err != nil {
			r.failf("%s: read at %d: %v: %+v", where, next, err, report)
		}
		if len(b) == 0 {
			r.failf("%s: nothing to read at %d below the end %d: %+v", where, next, l.End(), report)
		}
		eachRecord(r.t, b, func(rec *batch.Record) {
			o := Offset(rec.Offset)
			if o < start {
				return // the first batch may begin before the log start
			}
			if o != next {
				r.failf("%s: offset %d where %d was expected", where, o, next)
			}
			if !r.appended[o][string(rec.Value)] {
				r.failf("%s: record %d has a value that was never appended there: %q", where, o, rec.Value)
			}
			next++
		})
		if n != next {
			r.failf("%s: next is %d, not %d", where, n, next)
		}
	}
	r.probe(l, start, where)
	// It goes on, and closes cleanly, so that another loss of power takes nothing.
	if r.rng.IntN(3) != 0 {
		result, err := l.Append(make1(5000, 1, "after"), AppendOptions{Durable: true})
		if err != nil || result.Base != next {
			r.failf("%s: append after recovery: %+v %v", where, result, err)
		}
		next++
	}
	if r.rng.IntN(4) != 0 {
		return
	}
	if err := l.Close(); err != nil {
		r.failf("%s: close after recovery: %v", where, err)
	}
	c.FS, c.Clean, c.CleanEnd, c.LogStart = after.CrashClone(r.rng), true, next, l.Start()
	l, _, err = Open(c)
	if err != nil {
		r.failf("%s: open after clean close: %v", where, err)
	}
	defer r.abandon(l)
	r.probe(l, start, where+", reopened")
	if findings := l.Report().Findings; len(findings) > 0 {
		r.failf("%s: findings after a clean close: %+v", where, findings)
	}
}

// probe looks some offsets and timestamps up.
func (r *crashRun) probe(l *Log, start Offset, where string) {
	end := l.End()
	for range 4 {
		if end == start {
			return
		}
		o := start + Offset(r.rng.Int64N(int64(end-start)))
		b, _, err := l.ReadInto(nil, o, end, 1)
		if err != nil {
			r.failf("%s: read at %d: %v", where, o, err)
		}
		if first := batch.Batch(b); Offset(first.BaseOffset()) > o || Offset(first.LastOffset()) < o {
			r.failf("%s: read at %d finds [%d, %d]", where, o, first.BaseOffset(), first.LastOffset())
		}
		// Timestamps are 1000 + offset, see append.
		if got, ts, err := l.OffsetForTimestamp(1000 + int64(o)); err != nil || got != o && ts != 5000 {
			r.failf("%s: offset for timestamp %d is %d (%d), not %d: %v", where, 1000+int64(o), got, ts, o, err)
		}
	}
}

func (r *crashRun) step(op string) {
	r.script = append(r.script, op)
	var err error
	switch op {
	case "append1", "append3", "append9", "acks1", "idempotent":
		err = r.append(op)
	case "sync":
		if err = r.log.Sync(); err == nil {
			r.acked = max(r.acked, r.log.Durable())
		}
	case "roll":
		err = r.log.Roll()
	case "seal":
		_, err = r.log.Seal()
	case "point":
		r.rp = r.log.RecoveryPoint()
	case "delete":
		r.deleting = r.start + (r.log.Visible()-r.start)/2
		r.start, err = r.log.DeleteRecords(r.deleting)
	case "reopen":
		if err = r.log.Close(); err == nil {
			end := r.log.End()
			r.start = r.log.Start()
			r.acked, r.rp = end, end
			c := r.config(r.fault)
			c.Clean, c.CleanEnd = true, end
			r.log, _, err = Open(c)
		}
	case "crash": // of the process: the page cache stays
		r.log.Abandon()
		r.log, _, err = Open(r.config(r.fault))
		if err == nil {
			r.end = r.log.End()
		}
	case "park":
		err = r.log.Park()
	}
	if err != nil {
		r.failf("%s: %v", op, err)
	}
}

func (r *crashRun) append(op string) error {
	n := map[string]int{"append1": 1, "append3": 3, "append9": 9, "acks1": 2, "idempotent": 1}[op]
	base := r.end
	value := fmt.Sprintf("%s-%d-%d-%s", op, base, len(r.script), string(make([]byte, r.rng.IntN(90))))
	for i := range n {
		o := base + Offset(i)
		if r.appended[o] == nil {
			r.appended[o] = map[string]bool{}
		}
		r.appended[o][value] = true
	}
	b := make1(1000+int64(base), n, value)
	if op == "idempotent" {
		b = makeIdempotentAt(7, 0, r.sequence, 1000+int64(base), value)
	}
	r.end += Offset(n)
	result, err := r.log.Append(b, AppendOptions{Durable: op != "acks1"})
	if err != nil {
		return err
	}
	if result.Base != base {
		return fmt.Errorf("appended at %d, not %d", result.Base, base)
	}
	if op == "idempotent" {
		r.sequence++
	}
	if r.mode == SyncAlways && op != "acks1" {
		r.acked = r.end
	}
	return nil
}

func makeIdempotentAt(id int64, epoch int16, sequence int32, ts int64, value string) []byte {
	var b batch.Builder
	b.Reset(nil, batch.Options{Idempotent: true, ProducerID: id, Epoch: epoch, BaseSequence: sequence})
	b.Append(ts, nil, []byte(value), nil)
	out, err := b.Finish()
	if err != nil {
		panic(err)
	}
	return out
}

var crashOps = []string{"append1", "append3", "append9", "acks1", "idempotent", "sync", "roll", "seal", "point", "delete", "reopen", "park", "crash"}

func runCrash(t *testing.T, profile vfs.Profile, mode SyncMode, seed uint64, script []string, states *crashStates) {
	mem := vfs.NewCrashMem(profile)
	require.NoError(t, mem.MkdirAll("/data", 0o700))
	require.NoError(t, mem.SyncDir("/"))
	r := &crashRun{t: t, mem: mem, fault: vfs.NewFault(mem), clock: clock.NewManual(time.UnixMilli(10_000)), mode: mode,
		rng: rand.New(rand.NewPCG(seed, 1)), appended: map[Offset]map[string]bool{}, states: states}
	r.fault.OnOp(r.hook)
	var err error
	r.log, _, err = Open(r.config(r.fault))
	require.NoError(t, err)
	defer func() { r.abandon(r.log) }()
	for _, op := range script {
		r.step(op)
	}
	r.hook(vfs.Op{})
	if err := r.log.failureError(); err != nil && !errors.Is(err, ErrClosed) {
		r.failf("%v", err)
	}
}

var crashModes = []SyncMode{SyncAlways, SyncNever, SyncInterval(time.Second)}

func TestEveryCrashStateOfShortScriptsRecovers(t *testing.T) {
	states := &crashStates{seen: map[uint64]struct{}{}, perOp: 12}
	scripts := [][]string{}
	for _, a := range crashOps {
		scripts = append(scripts, []string{a})
		for _, b := range crashOps {
			scripts = append(scripts, []string{"append3", a, b})
		}
	}
	for i, script := range scripts {
		for m, mode := range crashModes {
			runCrash(t, vfs.Profile((i+m)%2), mode, uint64(i), script, states)
		}
	}
	t.Logf("crash states: %d distinct, 0 lost", states.checked)
}

// Random scripts. PARTLOG_SOAK=<duration> runs them for so long.
func TestCrashStatesOfRandomScriptsRecover(t *testing.T) {
	states := &crashStates{seen: map[uint64]struct{}{}, perOp: 6}
	limit := 3 * time.Second
	if s := os.Getenv("PARTLOG_SOAK"); s != "" {
		var err error
		limit, err = time.ParseDuration(s)
		require.NoError(t, err)
	}
	begun := time.Now()
	seed := uint64(1)
	for ; time.Since(begun) < limit; seed++ {
		rng := rand.New(rand.NewPCG(seed, 2))
		var script []string
		for range 4 + rng.IntN(14) {
			script = append(script, crashOps[rng.IntN(len(crashOps))])
		}
		runCrash(t, vfs.Profile(seed%2), crashModes[rng.IntN(len(crashModes))], seed, script, states)
		if len(states.seen) > 1<<20 {
			clear(states.seen)
		}
	}
	t.Logf("crash states: %d distinct, 0 lost (%d scripts)", states.checked, seed-1)
}
