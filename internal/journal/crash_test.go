package journal

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

// crashRig runs a script on a file system that can lose power at every operation, and checks at each what would be found:
// all acknowledged entries, once and in order, and behind them at most the one that was under way.
type crashRig struct {
	t       *testing.T
	seen    map[uint64]bool // hashes of the states that have been checked
	killed  map[string]bool // likewise, of those that a kill leaves
	states  int             // of one operation, at most
	nested  bool            // crash during recovery too
	rng     *rand.Rand
	acked   []string
	pending []string // what acked may be followed by: one entry, or none
}

const crashDir = "/store/journal"

func (r *crashRig) run(profile vfs.Profile, script string) {
	r.t.Helper()
	mem := vfs.NewCrashMem(profile)
	require.NoError(r.t, mem.Mkdir("/store", directoryMode))
	require.NoError(r.t, mem.SyncDir("/"))
	r.acked, r.pending = nil, nil
	fault := r.watch(mem, script)
	h := home{fault, crashDir}
	j, c, _ := h.mustOpen(r.t)
	for i, op := range script {
		label := fmt.Sprintf("%s at %d", script, i)
		switch op {
		case 'a', 'A':
			r.append(j, c, op == 'A', label)
		case 'c':
			require.NoError(r.t, j.Compact(c.encode()), label)
		case 'r':
			require.NoError(r.t, j.Close(), label)
			j, c, _ = h.mustOpen(r.t)
		case 'k':
			mem = mem.KillClone()
			fault = r.watch(mem, script)
			h.fs = fault
			j, c, _ = h.mustOpen(r.t)
			require.Equal(r.t, r.acked, c.lines, label)
		case 'w', 's', 'l', 'd':
			j = r.fail(fault, j, c, op, label)
		}
	}
	require.NoError(r.t, j.Close())
	_, c, _ = h.mustOpen(r.t)
	require.Equal(r.t, r.acked, c.lines, script)
}

// append adds an entry. A large one spans pages and segments.
func (r *crashRig) append(j *Journal, c *catalogue, large bool, label string) {
	e := nextEntry(c)
	if large {
		e.Payload = append(e.Payload, strings.Repeat("large", 1300)...)
	}
	line := fmt.Sprintf("%d:%s", e.Kind, e.Payload)
	r.pending = []string{line}
	_, err := j.Append(e.Kind, e.Payload)
	require.NoError(r.t, err, label)
	require.NoError(r.t, c.apply(e))
	r.acked, r.pending = append(slices.Clip(r.acked), line), nil
}

// fail makes an append or a compaction fail, and reopens the journal.
func (r *crashRig) fail(fault *vfs.Fault, j *Journal, c *catalogue, op rune, label string) *Journal {
	e := nextEntry(c)
	line := fmt.Sprintf("%d:%s", e.Kind, e.Payload)
	rule := map[rune]vfs.Rule{
		'w': {Op: vfs.OpWrite, Path: entriesName, Err: syscall.ENOSPC, Short: 20},
		's': {Op: vfs.OpSync, Path: entriesName},
		'l': {Op: vfs.OpSync, Path: entriesName, Lose: true},
		'd': {Op: vfs.OpSyncDir, Nth: 1 + r.rng.IntN(3), Effect: r.rng.IntN(2) == 0},
	}[op]
	armed := fault.Add(rule)
	defer armed.Lift()
	if op == 'd' {
		err := j.Compact(c.encode())
		armed.Lift()
		if j.Err() == nil {
			return j // the snapshot failed, or nothing did
		}
		require.ErrorIs(r.t, err, ErrFailed, label)
	} else {
		r.pending = []string{line}
		_, err := j.Append(e.Kind, e.Payload)
		require.ErrorIs(r.t, err, ErrFailed, label)
	}
	_, err := j.Append(1, nil)
	require.ErrorIs(r.t, err, ErrFailed, label)
	require.ErrorIs(r.t, j.Compact(nil), ErrFailed, label)
	before := len(c.lines)
	_, err = j.Reopen(c.apply)
	require.NoError(r.t, err, label)
	require.NoError(r.t, j.Err())
	require.LessOrEqual(r.t, len(c.lines), before+1, label)
	if len(c.lines) > before {
		require.Equal(r.t, line, c.lines[before], label)
		require.NotEqual(r.t, 'l', op, "what the disk does not have must not be replayed")
	}
	r.acked, r.pending = slices.Clone(c.lines), nil
	return j
}

// watch checks the states that a crash before each operation would leave.
func (r *crashRig) watch(mem *vfs.Mem, script string) *vfs.Fault {
	fault := vfs.NewFault(mem)
	fault.OnOp(func(op vfs.Op) {
		label := fmt.Sprintf("%s before %v", script, op)
		mem.EachCrash(r.states, func(after *vfs.Mem, kept string) bool {
			r.check(after, label+": "+kept, r.nested)
			return true
		})
		r.checkKilled(mem, label, fmt.Sprint(op.Kind, op.Path, op.To))
	})
	return fault
}

// checkKilled kills the process here, continues with one more entry, and then loses power: what a process has left behind
// without syncing it must not take down what the next one builds on it.
func (r *crashRig) checkKilled(mem *vfs.Mem, label, op string) {
	killed := mem.KillClone()
	key := fmt.Sprint(killed.Hash(), op) // equal contents may be durable in different parts
	if r.killed[key] {
		return
	}
	r.killed[key] = true
	h := home{killed, crashDir}
	j, c, _, err := h.open()
	require.NoError(r.t, err, label)
	e := nextEntry(c)
	_, err = j.Append(e.Kind, e.Payload)
	require.NoError(r.t, err, label)
	require.NoError(r.t, c.apply(e))
	killed.EachCrash(r.states, func(after *vfs.Mem, kept string) bool {
		h := home{after, crashDir}
		j, found, _, err := h.open()
		require.NoError(r.t, err, "%s, killed, then %s", label, kept)
		require.Equal(r.t, c.lines, found.lines, "%s, killed, then %s", label, kept)
		require.NoError(r.t, j.Close())
		return true
	})
	require.NoError(r.t, j.Close())
}

func (r *crashRig) check(after *vfs.Mem, label string, nested bool) {
	hash := after.Hash()
	if r.seen[hash^uint64(len(r.acked))] {
		return
	}
	r.seen[hash^uint64(len(r.acked))] = true
	if nested {
		again := vfs.NewFault(after)
		again.OnOp(func(op vfs.Op) {
			if op.Path != "/store" {
				r.check(after.CrashClone(r.rng), label+", then before "+op.String(), false)
			}
		})
		r.open(again, label, false)
		return
	}
	r.open(after, label, true)
}

func (r *crashRig) open(fsys vfs.FS, label string, write bool) {
	h := home{fsys, crashDir}
	j, c, _, err := h.open()
	require.NoError(r.t, err, label)
	if len(c.lines) > len(r.acked) {
		require.Equal(r.t, r.pending, c.lines[len(r.acked):], label)
	}
	require.GreaterOrEqual(r.t, len(c.lines), len(r.acked), "lost: "+label)
	require.Equal(r.t, r.acked, append([]string(nil), c.lines[:len(r.acked)]...), label)
	if write {
		e := nextEntry(c)
		_, err = j.Append(e.Kind, e.Payload)
		require.NoError(r.t, err, label)
	}
	require.NoError(r.t, j.Close(), label)
}

// Every script of up to three operations, at every operation on files, in every state that a crash may leave (up to a
// bound): nothing acknowledged is lost, nothing is invented, and recovery may be interrupted.
func TestNoCrashLosesAnAcknowledgedEntry(t *testing.T) {
	r := &crashRig{t: t, seen: map[uint64]bool{}, killed: map[string]bool{}, states: 40, nested: true, rng: rand.New(rand.NewPCG(3, 4))}
	const ops = "aAcrkwsld"
	for _, profile := range []vfs.Profile{vfs.Strict, vfs.Ext4Like} {
		for _, x := range ops {
			r.run(profile, string(x))
			for _, y := range ops {
				r.run(profile, string(x)+string(y))
				for _, z := range "aAcrksl" {
					r.run(profile, string(x)+string(y)+string(z))
				}
			}
		}
	}
	// The third snapshot is the first that drops entries and an older snapshot.
	for _, x := range ops {
		for _, y := range ops {
			r.run(vfs.Strict, "acAcac"+string(x)+string(y))
		}
	}
	t.Logf("crash states: %d distinct, 0 lost", len(r.seen))
}

// Longer scripts at random; PARTLOG_SOAK says for how long.
func TestNoCrashLosesAnAcknowledgedEntryInLongScripts(t *testing.T) {
	soak, _ := time.ParseDuration(os.Getenv("PARTLOG_SOAK"))
	r := &crashRig{t: t, states: 12, nested: true}
	const ops = "aaaaaAccrkwsld"
	states := 0
	for seed, started := uint64(0), time.Now(); seed < 12 || time.Since(started) < soak; seed++ {
		r.rng = rand.New(rand.NewPCG(seed, 5))
		r.seen, r.killed = map[uint64]bool{}, map[string]bool{}
		var script strings.Builder
		for range 5 + r.rng.IntN(25) {
			script.WriteByte(ops[r.rng.IntN(len(ops))])
		}
		r.run(vfs.Profile(seed%2), script.String())
		states += len(r.seen)
	}
	t.Logf("crash states: %d distinct, 0 lost", states)
}
