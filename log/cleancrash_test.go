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
	"github.com/partlog/partlog/internal/compress"
	"github.com/partlog/partlog/internal/vfs"
)

// The crash loop of compaction: scripts with keys, tombstones, producers and cleanings. Before every operation that changes the disk
// power is lost; whatever is left must open to a log in which each record is the one that was appended at its offset, the last
// record of each key is there, or, if it was a tombstone, none of the key, and each producer goes on with its next sequence number.

type cleanRun struct {
	t      *testing.T
	mem    *vfs.Mem
	fault  *vfs.Fault
	clock  *clock.Manual
	mode   SyncMode
	rng    *rand.Rand
	script []string
	states *crashStates
	depth  int

	log       *Log
	history   []keyed // by offset
	sequences map[int64]int32
	acked     Offset
	rp        Offset
	cleaned   Offset
	start     Offset
}

func (r *cleanRun) config(fs vfs.FS) Config {
	c := testConfig(fs)
	c.Clock = r.clock
	c.Settings = Settings{Sync: r.mode, Compacted: true, SegmentBytes: 900, IndexInterval: 200, MaxMessageBytes: 800, DeleteRetention: time.Minute}
	c.RecoveryPoint, c.Cleaned, c.LogStart = r.rp, r.cleaned, r.start
	return c
}

func (r *cleanRun) failf(format string, args ...any) {
	r.t.Helper()
	r.t.Errorf("mode %v, script %q: %s", r.mode, r.script, fmt.Sprintf(format, args...))
	r.t.FailNow()
}

func (r *cleanRun) abandon(l *Log) {
	if !r.t.Failed() {
		l.Abandon()
	}
}

func (r *cleanRun) hook(op vfs.Op) {
	r.mem.EachCrash(r.states.perOp, func(after *vfs.Mem, label string) bool {
		r.check(after, fmt.Sprintf("before %v, kept %s", op, label))
		return true
	})
}

func (r *cleanRun) check(after *vfs.Mem, where string) {
	hash := after.Hash() ^ uint64(r.acked)*0x9E3779B97F4A7C15 ^ uint64(r.rp)<<40 ^ uint64(r.cleaned)<<50
	if _, seen := r.states.seen[hash]; seen {
		return
	}
	r.states.seen[hash] = struct{}{}
	r.states.checked++
	c := r.config(after)
	if r.depth < 2 && r.rng.IntN(4) == 0 {
		fault := vfs.NewFault(after)
		c.FS = fault
		r.depth++
		at := r.rng.IntN(12)
		fault.OnOp(func(op vfs.Op) {
			if at--; at == 0 {
				r.check(after.CrashClone(r.rng), where+fmt.Sprintf(", then recovery interrupted before %v", op))
			}
		})
		defer func() { r.depth-- }()
	}
	if r.rng.IntN(4) == 0 { // somebody only looks, and changes nothing
		look := c
		look.FS, look.ReadOnly = after, true
		l, report, err := Open(look)
		if err != nil {
			r.failf("%s: open for reading: %v", where, err)
		}
		r.compare(l, l.End(), where+", read only", report)
		r.abandon(l)
		if after.Hash()^uint64(r.acked)*0x9E3779B97F4A7C15^uint64(r.rp)<<40^uint64(r.cleaned)<<50 != hash {
			r.failf("%s: reading has changed something", where)
		}
	}
	l, report, err := Open(c)
	if fault, ok := c.FS.(*vfs.Fault); ok {
		fault.OnOp(nil)
	}
	if err != nil {
		r.failf("%s: open: %v", where, err)
	}
	defer r.abandon(l)
	upTo := l.End()
	r.compare(l, upTo, where, report)
	for id, next := range r.sequences {
		// In SyncAlways nothing acknowledged is lost; elsewhere it is the log that says what it has.
		_, err := l.Append(makeKeyedAs(batch.Options{Idempotent: true, ProducerID: id, BaseSequence: next}, 1, keyed{"seq", "x"}), AppendOptions{Durable: true})
		if err != nil && r.mode == SyncAlways {
			if s, ok := errors.AsType[*SequenceError](err); !ok || s.Want != next+1 { // the append in progress may be there
				r.failf("%s: producer %d goes on with %d: %v", where, id, next, err)
			}
		}
	}
	if r.rng.IntN(3) != 0 {
		return
	}
	if err := l.Roll(); err != nil {
		r.failf("%s: roll: %v", where, err)
	}
	end := l.End()
	if _, err := l.Clean(CleanOptions{MapBytes: 24 * 20}); err != nil {
		r.failf("%s: clean after recovery: %v", where, err)
	}
	r.compare(l, upTo, where+", cleaned after recovery", report)
	if err := l.Close(); err != nil {
		r.failf("%s: close after recovery: %v", where, err)
	}
	c.FS, c.Clean, c.CleanEnd, c.Cleaned, c.LogStart = after.CrashClone(r.rng), true, end, l.Cleaned(), l.Start()
	l, report, err = Open(c)
	if err != nil {
		r.failf("%s: open after clean close: %v", where, err)
	}
	defer r.abandon(l)
	r.compare(l, upTo, where+", reopened", report)
	if findings := l.Report().Findings; len(findings) > 0 {
		r.failf("%s: findings after a clean close: %+v", where, findings)
	}
}

// compare holds the log up to end against the history.
func (r *cleanRun) compare(l *Log, end Offset, where string, report *RecoveryReport) {
	if end < r.acked {
		r.failf("%s: ends at %d, %d is acknowledged: %+v", where, end, r.acked, report)
	}
	last, got := map[string]Offset{}, map[string]Offset{}
	for o, k := range r.history[:min(int(end), len(r.history))] {
		if Offset(o) >= l.Start() {
			last[k.key] = Offset(o)
		}
	}
	previous := Offset(-1)
	for next := l.Start(); next < end; {
		b, n, err := l.ReadInto(nil, next, end, 500)
		if err != nil {
			r.failf("%s: read at %d: %v: %+v", where, next, err, report)
		}
		if len(b) == 0 && n == next {
			r.failf("%s: nothing to read at %d below the end %d: %+v", where, next, end, report)
		}
		eachRecord(r.t, b, func(rec *batch.Record) {
			o := Offset(rec.Offset)
			if o <= previous {
				r.failf("%s: offset %d behind %d", where, o, previous)
			}
			previous = o
			if o >= end || o < l.Start() {
				return
			}
			if want := r.history[o]; want.key != string(rec.Key) || want.value != string(rec.Value) {
				r.failf("%s: record %d is %s=%s, not %v", where, o, rec.Key, rec.Value, want)
			}
			got[string(rec.Key)] = o
		})
		next = n
	}
	for key, o := range last {
		at, found := got[key]
		if r.history[o].value == "" && !found {
			continue // deleted, and the tombstone too
		}
		if !found || at != o {
			r.failf("%s: the last record of %s is at %d, and should be at %d: %+v", where, key, at, o, report)
		}
	}
}

var cleanOps = []string{"put1", "put3", "put3", "put9", "idempotent", "delete", "roll", "seal", "clean", "clean", "tick", "point", "start", "crash", "reopen"}

func (r *cleanRun) put(n int, o batch.Options) {
	var records []keyed
	for range n {
		k := keyed{fmt.Sprintf("k%d", r.rng.IntN(6)), fmt.Sprintf("v%d", len(r.history))}
		if r.rng.IntN(4) == 0 {
			k.value = ""
		}
		records, r.history = append(records, k), append(r.history, k)
	}
	o.Codec = []compress.Codec{compress.None, compress.None, compress.LZ4}[r.rng.IntN(3)]
	res, err := r.log.Append(makeKeyedAs(o, r.clock.Now().UnixMilli(), records...), AppendOptions{Durable: true})
	if err != nil || int(res.Last) != len(r.history)-1 {
		r.failf("append: %+v %v", res, err)
	}
	if r.mode == SyncAlways {
		r.acked = res.Last + 1
	}
}

func (r *cleanRun) step(op string) {
	r.script = append(r.script, op)
	var err error
	switch op {
	case "put1":
		r.put(1, batch.Options{})
	case "put3":
		r.put(3, batch.Options{})
	case "put9":
		for range 3 {
			r.put(3, batch.Options{})
		}
	case "idempotent":
		id := int64(7 + r.rng.IntN(2))
		r.put(1, batch.Options{Idempotent: true, ProducerID: id, BaseSequence: r.sequences[id]})
		r.sequences[id]++
	case "delete":
		r.history = append(r.history, keyed{fmt.Sprintf("k%d", r.rng.IntN(6)), ""})
		_, err = r.log.Append(makeKeyed(compress.None, 1, r.history[len(r.history)-1]), AppendOptions{Durable: true})
		if r.mode == SyncAlways {
			r.acked = Offset(len(r.history))
		}
	case "roll":
		err = r.log.Roll()
	case "seal":
		for done := false; !done && err == nil; {
			done, err = r.log.Seal()
		}
	case "clean":
		_, err = r.log.Clean(CleanOptions{MapBytes: []int64{1 << 20, 24 * 12, 24 * 5}[r.rng.IntN(3)]})
		r.cleaned = r.log.Cleaned()
	case "tick":
		r.clock.Advance(time.Minute)
	case "point":
		r.rp = r.log.RecoveryPoint()
	case "start":
		// The owner persists it first.
		r.start = max(r.start, min(r.log.Start()+Offset(r.rng.IntN(4)), r.log.Visible()))
		_, err = r.log.DeleteRecords(r.start)
	case "crash":
		r.log.Abandon()
		r.resume(r.mem.CrashClone(r.rng))
	case "reopen":
		err = r.log.Close()
		r.cleaned, r.rp = r.log.Cleaned(), r.log.RecoveryPoint()
		r.resume(r.mem)
	}
	if err != nil {
		r.failf("%s: %v", op, err)
	}
}

// resume opens what is there, and goes on with that.
func (r *cleanRun) resume(m *vfs.Mem) {
	r.mem, r.fault = m, vfs.NewFault(m)
	r.fault.OnOp(r.hook)
	var err error
	if r.log, _, err = Open(r.config(r.fault)); err != nil {
		r.failf("open: %v", err)
	}
	if end := int(r.log.End()); end < len(r.history) {
		r.history = r.history[:end]
	}
	r.sequences = map[int64]int32{}
	states, err := r.log.Producers()
	if err != nil {
		r.failf("producers: %v", err)
	}
	for _, p := range states {
		r.sequences[p.ProducerID] = p.LastSequence + 1
	}
}

func runCleanCrash(t *testing.T, profile vfs.Profile, mode SyncMode, seed uint64, script []string, states *crashStates) {
	mem := vfs.NewCrashMem(profile)
	require.NoError(t, mem.MkdirAll("/data", 0o700))
	require.NoError(t, mem.SyncDir("/"))
	r := &cleanRun{t: t, clock: clock.NewManual(time.UnixMilli(10_000)), mode: mode, rng: rand.New(rand.NewPCG(seed, 1)), states: states}
	r.resume(mem)
	defer func() { r.abandon(r.log) }()
	for _, op := range script {
		r.step(op)
	}
	r.hook(vfs.Op{})
}

func TestNoCrashOfACleaningLosesALastValueOrBringsAnOlderOneBack(t *testing.T) {
	states := &crashStates{seen: map[uint64]struct{}{}, perOp: 10}
	for i, script := range [][]string{
		{"put9", "roll", "clean"},
		{"put9", "roll", "put9", "seal", "roll", "clean"},
		{"put9", "roll", "put9", "seal", "roll", "clean", "put9", "roll", "clean", "seal"},
		{"put3", "idempotent", "roll", "put9", "delete", "roll", "clean", "tick", "put3", "roll", "clean", "point", "crash"},
		{"put9", "point", "roll", "clean", "reopen", "put9", "clean", "start", "clean", "crash", "clean"},
	} {
		for m, mode := range crashModes {
			runCleanCrash(t, vfs.Profile((i+m)%2), mode, uint64(i), script, states)
		}
	}
	limit := 3 * time.Second
	if s := os.Getenv("PARTLOG_SOAK"); s != "" {
		var err error
		limit, err = time.ParseDuration(s)
		require.NoError(t, err)
	}
	begun := time.Now()
	seed := uint64(1)
	states.perOp = 5
	for ; time.Since(begun) < limit; seed++ {
		rng := rand.New(rand.NewPCG(seed, 2))
		script := []string{"put9", "roll"}
		for range 4 + rng.IntN(14) {
			script = append(script, cleanOps[rng.IntN(len(cleanOps))])
		}
		runCleanCrash(t, vfs.Profile(seed%2), crashModes[rng.IntN(len(crashModes))], seed, script, states)
		if len(states.seen) > 1<<20 {
			clear(states.seen)
		}
	}
	t.Logf("crash states: %d distinct, 0 lost (%d scripts)", states.checked, seed-1)
}
