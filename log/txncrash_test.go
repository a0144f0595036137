package log

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// The crash loop of transactions: short scripts of three producers, power lost before every operation that changes something. Whatever the
// disk has then, open transactions, last stable offset, aborted transactions and what a reader of committed records gets must be what the
// batches that are there say; and whoever ends what is open must end up with a log that is stable to its end. The .txnindex is a
// cache: it is damaged on the way.

type txnRun struct {
	t      *testing.T
	mem    *vfs.Mem
	fault  *vfs.Fault
	clock  *clock.Manual
	mode   SyncMode
	rng    *rand.Rand
	client txnClient
	acked  Offset
	rp     Offset
	script []string
	states *crashStates
	busy   bool
}

func (r *txnRun) config(fs vfs.FS) Config {
	c := testConfig(fs)
	c.Clock = r.clock
	c.Settings = Settings{Sync: r.mode, SegmentBytes: 700, IndexInterval: 100, MaxMessageBytes: 600}
	c.RecoveryPoint = r.rp
	return c
}

// Errorf and FailNow make the run what require wants, so that a failure says which script it was.
func (r *txnRun) Errorf(format string, args ...any) {
	r.t.Errorf("mode %v, script %q: %s", r.mode, r.script, fmt.Sprintf(format, args...))
}

func (r *txnRun) FailNow() { r.t.FailNow() }

// abandon closes l, but not after a failure: that may have come in the middle of one of its calls.
func (r *txnRun) abandon(l *Log) {
	if !r.t.Failed() {
		l.Abandon()
	}
}

func (r *txnRun) hook(op vfs.Op) {
	if r.busy {
		return
	}
	r.busy = true
	defer func() { r.busy = false }()
	r.mem.EachCrash(r.states.perOp, func(after *vfs.Mem, label string) bool {
		hash := after.Hash() ^ uint64(r.rp)<<40 ^ uint64(r.mode)<<60
		if _, seen := r.states.seen[hash]; !seen {
			r.states.seen[hash] = struct{}{}
			r.states.checked++
			r.check(after, fmt.Sprintf("before %v, kept %s", op, label))
		}
		return true
	})
}

func (r *txnRun) check(after *vfs.Mem, where string) {
	r.script = append(r.script, where)
	defer func() { r.script = r.script[:len(r.script)-1] }()
	c := r.config(after)
	l, _, err := Open(c)
	require.NoError(r, err)
	defer r.abandon(l)
	require.GreaterOrEqual(r, l.End(), r.acked)
	requireTxns(r, l)
	if r.rng.IntN(3) != 0 {
		return
	}
	r.endAll(l)
	r.reopenDamaged(l, c, after)
}

// endAll ends the transactions that are open.
func (r *txnRun) endAll(l *Log) {
	states, err := l.Producers()
	require.NoError(r, err)
	for _, p := range states {
		if p.TxnStart >= 0 {
			_, err := l.Append(makeMarker(p.ProducerID, p.Epoch+1, r.rng.IntN(2) == 0), AppendOptions{Durable: true, Origin: OriginCoordinator, TxnVersion: 2})
			require.NoError(r, err)
		}
	}
	m := requireTxns(r, l)
	require.Empty(r, m.open)
	require.Equal(r, l.Visible(), l.LastStable())
}

// reopenDamaged closes the log, damages a .txnindex, and opens it as after a clean close.
func (r *txnRun) reopenDamaged(l *Log, c Config, mem *vfs.Mem) {
	if r.rng.IntN(2) == 0 {
		for done := false; !done; {
			var err error
			done, err = l.Seal()
			require.NoError(r, err)
		}
	}
	require.NoError(r, l.Close())
	damageTxnIndexes(r, mem, c.Dir, r.rng)
	c.Clean, c.CleanEnd = true, l.End()
	l, _, err := Open(c)
	require.NoError(r, err)
	defer r.abandon(l)
	if r.rng.IntN(2) == 0 {
		_, err := l.Append(make1(1000, 1, "plain"), AppendOptions{Durable: true})
		require.NoError(r, err)
	}
	requireTxns(r, l)
}

// damageTxnIndexes does something to some of the .txnindex files of dir.
func damageTxnIndexes(t require.TestingT, mem *vfs.Mem, dir string, rng *rand.Rand) {
	entries, err := mem.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		path := dir + "/" + e.Name()
		if !strings.HasSuffix(path, ".txnindex") {
			continue
		}
		data, err := vfs.ReadFile(mem, path, 1<<20)
		require.NoError(t, err)
		require.NotEmpty(t, data)
		switch rng.IntN(6) {
		case 0:
			require.NoError(t, mem.Remove(path))
			continue
		case 1:
			data = data[:rng.IntN(len(data))]
		case 2:
			data = data[:rng.IntN(len(data)/segment.TxnEntrySize)*segment.TxnEntrySize]
		case 3:
			data[rng.IntN(len(data))] ^= 1 << rng.IntN(8)
		case 4:
			data = append(data, data[len(data)-segment.TxnEntrySize:]...)
		default:
			continue
		}
		require.NoError(t, vfs.WriteFileAtomic(mem, path, data))
	}
}

// step does op. Every append comes with one of the ways to wait for it.
func (r *txnRun) step(op string) {
	r.script = append(r.script, op)
	l := r.client.log
	id := int64(r.rng.IntN(3))
	durable := r.rng.IntN(3) != 0
	r.client.lazy = r.rng.IntN(2) == 0
	var err error
	switch op {
	case "send":
		err = r.client.send(id, 1+r.rng.IntN(3), "txn", durable)
	case "abort", "commit":
		err = r.client.end(id, op == "abort", durable)
	case "plain":
		_, err = l.Append(make1(1000, 1, "plain"), AppendOptions{Durable: durable})
	case "roll":
		err = l.Roll()
	case "seal":
		_, err = l.Seal()
	case "sync":
		err = l.Sync()
	case "point":
		r.rp = l.RecoveryPoint()
	case "park":
		err = l.Park()
	case "read":
		require.LessOrEqual(r, l.LastStable(), l.Visible())
		readCommitted(r, l, 0, 300)
		require.NoError(r, l.Sync())
		requireTxns(r, l)
		return
	case "reopen":
		require.NoError(r, l.Close())
		c := r.config(r.fault)
		r.rp = l.End()
		c.Clean, c.CleanEnd = true, l.End()
		r.client.log, _, err = Open(c)
	case "crash": // of the process: the page cache stays
		l.Abandon()
		r.client.log, _, err = Open(r.config(r.fault))
	}
	require.NoError(r, err)
	if r.mode == SyncAlways && durable {
		switch op {
		case "send", "abort", "commit", "plain":
			r.acked = l.Visible()
		}
	}
}

var txnOps = []string{"send", "abort", "commit", "plain", "roll", "seal", "sync", "point", "park", "read", "reopen", "crash"}

func runTxnCrash(t *testing.T, profile vfs.Profile, mode SyncMode, seed uint64, script []string, states *crashStates) {
	mem := vfs.NewCrashMem(profile)
	require.NoError(t, mem.MkdirAll("/data", 0o700))
	require.NoError(t, mem.SyncDir("/"))
	r := &txnRun{t: t, mem: mem, fault: vfs.NewFault(mem), clock: clock.NewManual(time.UnixMilli(10_000)), mode: mode,
		rng: rand.New(rand.NewPCG(seed, 1)), states: states}
	r.fault.OnOp(r.hook)
	var err error
	r.client.log, _, err = Open(r.config(r.fault))
	require.NoError(t, err)
	defer func() {
		if !t.Failed() {
			r.client.log.Abandon()
		}
	}()
	for _, op := range script {
		r.step(op)
	}
	r.hook(vfs.Op{})
	require.NoError(r, r.client.log.Sync())
	requireTxns(r, r.client.log)
}

func TestEveryCrashStateOfShortTransactionsIsWhatItsBatchesSay(t *testing.T) {
	states := &crashStates{seen: map[uint64]struct{}{}, perOp: 8}
	seed := uint64(0)
	for _, a := range txnOps {
		for _, b := range txnOps {
			for m, mode := range crashModes {
				seed++
				script := []string{"send", "send", a, "abort", "plain", b, "send", "abort", "commit"}
				runTxnCrash(t, vfs.Profile((int(seed)+m)%2), mode, seed, script, states)
			}
		}
		if testing.Short() && seed > 100 {
			break
		}
	}
	t.Logf("crash states: %d distinct, 0 lost", states.checked)
}

// Random scripts. PARTLOG_SOAK=<duration> runs them for so long.
func TestCrashStatesOfRandomTransactionsAreWhatTheirBatchesSay(t *testing.T) {
	states := &crashStates{seen: map[uint64]struct{}{}, perOp: 4}
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
		for range 6 + rng.IntN(25) {
			op := txnOps[rng.IntN(len(txnOps))]
			if rng.IntN(2) == 0 {
				op = txnOps[rng.IntN(4)]
			}
			script = append(script, op)
		}
		runTxnCrash(t, vfs.Profile(seed%2), crashModes[rng.IntN(len(crashModes))], seed, script, states)
		if len(states.seen) > 1<<20 {
			clear(states.seen)
		}
	}
	t.Logf("crash states: %d distinct, 0 lost (%d scripts)", states.checked, seed-1)
}
