package partitiontest

import (
	"math/rand/v2"
	"time"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/partition"
)

type (
	// Rule says which operation of a disk fails, and how.
	Rule = vfs.Rule
	// Armed is a rule in force: Hits counts, Lift ends it.
	Armed = vfs.Armed
	// Op is one operation of a disk, as a hook sees it.
	Op = vfs.Op
	// OpKind is a set of kinds of operations.
	OpKind = vfs.OpKind
	// Clock is a clock that stands still until a test advances it: Advance calls what comes due, on the caller.
	Clock = clock.Manual
)

// The kinds of operations that a Rule can be about.
const (
	OpOpen    = vfs.OpOpen
	OpWrite   = vfs.OpWrite
	OpRead    = vfs.OpRead
	OpSync    = vfs.OpSync
	OpSyncDir = vfs.OpSyncDir
	OpRename  = vfs.OpRename
	OpRemove  = vfs.OpRemove
)

// NewClock returns a clock that shows t.
func NewClock(t time.Time) *Clock { return clock.NewManual(t) }

// Disk is a file system in memory that fails on command and remembers what has been synced. It is a partition.FS, for
// partition.Config.FS; any path is good.
type Disk struct {
	*vfs.Fault
	mem *vfs.Mem
}

var _ partition.FS = (*Disk)(nil)

// NewDisk returns an empty disk that after a crash is in any state that POSIX allows.
func NewDisk() *Disk { return newDisk(vfs.NewCrashMem(vfs.Strict)) }

// NewExt4 returns an empty disk whose states after a crash are those of a journalling file system with ordered data.
func NewExt4() *Disk { return newDisk(vfs.NewCrashMem(vfs.Ext4Like)) }

func newDisk(m *vfs.Mem) *Disk { return &Disk{Fault: vfs.NewFault(m), mem: m} }

// Fail puts a rule in force until it is lifted, or has been used once.
func (d *Disk) Fail(r Rule) *Armed { return d.Add(r) }

// SetFree sets how many bytes are left on the disk; negative means no limit.
func (d *Disk) SetFree(bytes int64) {
	if bytes < 0 {
		bytes = 1 << 60
	}
	d.mem.SetFree(bytes)
}

// Crash returns the disk as it may be found after power is lost now; the seed chooses one of the possible states. The
// disk itself goes on as if nothing had happened.
func (d *Disk) Crash(seed uint64) *Disk {
	return newDisk(d.mem.CrashClone(rand.New(rand.NewPCG(seed, 1))))
}

// Kill returns the disk as it is found after the process is killed now: all that was written, synced or not.
func (d *Disk) Kill() *Disk { return newDisk(d.mem.KillClone()) }

// EachCrash calls yield with every state in which the disk may be found after power is lost now, or with a sample of
// limit of them if there are more, until yield returns false. It reports whether all have been seen.
func (d *Disk) EachCrash(limit int, yield func(after *Disk, label string) bool) bool {
	return d.mem.EachCrash(limit, func(m *vfs.Mem, label string) bool { return yield(newDisk(m), label) })
}

// Hash identifies the disk's contents: equal hashes, equal contents.
func (d *Disk) Hash() uint64 { return d.mem.Hash() }
