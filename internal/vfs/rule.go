package vfs

import (
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
)

// Rule says which operations fail, and how. The zero Rule makes the first operation of any kind fail with syscall.EIO,
// once.
type Rule struct {
	Op   OpKind // the kinds it is about; 0 is any
	Path string // a glob (path.Match) for the whole name if it has a separator, for its last part otherwise; "" is any
	Nth  int    // the matching operation that fails, counted from 1; 0 is the first
	// Forever makes all later matching operations fail too, until the rule is lifted.
	Forever bool
	Err     error // what is returned, inside a *fs.PathError; nil is syscall.EIO

	// AfterBytes, if positive, replaces Nth for writes: that many bytes are written by matching writes, then the one
	// that would pass it is cut short there and fails. With syscall.ENOSPC and Forever it is a disk that has filled up.
	AfterBytes int64
	// Short is how many bytes of the failing write, or read, are transferred before it fails.
	Short int
	// Effect makes the operation happen and its error a lie: a sync or a rename that was done although it failed.
	Effect bool
	// Lose makes a failing Sync clean and lost: what had been written shows in reads and mappings, later Syncs succeed,
	// and yet it never reaches the disk; DropCache shows the truth. Without it what was written stays to be synced.
	// It takes a Mem made by NewCrashMem below, with others it does nothing.
	Lose bool
}

// Armed is a rule at work in a Fault.
type Armed struct {
	rule   Rule
	fault  *Fault
	seen   int64 // matching operations; guarded by Fault.mu
	bytes  int64 // written by them; guarded by Fault.mu
	lifted bool  // guarded by Fault.mu
	hits   atomic.Int64
}

// Hits returns how many operations the rule has made fail.
func (a *Armed) Hits() int { return int(a.hits.Load()) }

// Lift ends the rule.
func (a *Armed) Lift() {
	a.fault.mu.Lock()
	defer a.fault.mu.Unlock()
	a.lifted = true
	a.fault.disarmLocked()
}

// verdict is what happens to an operation.
type verdict struct {
	err    error // nil: nothing
	short  int64
	effect bool
	lose   bool
}

// judgeLocked counts an operation and says whether it fails by this rule.
func (a *Armed) judgeLocked(op Op) (verdict, bool) {
	r := &a.rule
	if a.lifted || r.Op&op.Kind == 0 || !r.matches(op) {
		return verdict{}, false
	}
	v := verdict{err: r.Err, short: int64(r.Short), effect: r.Effect, lose: r.Lose}
	if r.AfterBytes > 0 {
		left := r.AfterBytes - a.bytes
		if op.Kind != OpWrite || op.Len <= left {
			if op.Kind == OpWrite {
				a.bytes += op.Len
			}
			return verdict{}, false
		}
		a.bytes = r.AfterBytes
		v.short = left
	} else {
		a.seen++
		if nth := int64(max(r.Nth, 1)); a.seen < nth || a.seen > nth && !r.Forever {
			return verdict{}, false
		}
	}
	if !r.Forever {
		a.lifted = true
	}
	a.hits.Add(1)
	return v, true
}

func (r *Rule) matches(op Op) bool {
	if r.Path == "" {
		return true
	}
	for _, name := range []string{op.Path, op.To} {
		name = filepath.ToSlash(name)
		if !strings.Contains(r.Path, "/") {
			name = path.Base(name)
		}
		if ok, _ := path.Match(r.Path, name); ok && name != "" { // Add has checked the pattern
			return true
		}
	}
	return false
}

func (r *Rule) withDefaults() Rule {
	out := *r
	out.Path = filepath.ToSlash(out.Path)
	if out.Op == 0 {
		out.Op = AnyOp
	}
	if out.Err == nil {
		out.Err = syscall.EIO
	}
	return out
}
