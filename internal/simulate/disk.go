package simulate

import (
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
)

// Disk is the disk of one node: a file system in memory that remembers what has not been synced, and makes trouble.
type Disk struct {
	profile vfs.Profile
	process *Process
	counts  *Counts
	rng     *rand.Rand
	clock   clock.Clock
	mem     *vfs.Mem
	fault   *vfs.Fault
	rules   []rule
	slow    [2]time.Duration // each sync stalls the process by so much; 0: none
	full    bool
}

// rule is trouble that has been made: it counts when an operation has hit it.
type rule struct {
	armed *vfs.Armed
	name  string
}

// NewDisk returns an empty disk of a process. Its random choices are drawn from rng.
func NewDisk(p *Process, profile vfs.Profile, c clock.Clock, rng *rand.Rand, counts *Counts) *Disk {
	d := &Disk{profile: profile, process: p, counts: counts, rng: rng, clock: c}
	d.Lose()
	return d
}

// FS returns the file system of the present life: what an earlier one had open goes on in memory that nobody sees.
func (d *Disk) FS() vfs.FS { return d.fault }

func (d *Disk) mount(m *vfs.Mem) {
	d.account()
	d.rules = nil
	m.SetClock(d.clock)
	d.mem, d.fault = m, vfs.NewFault(m)
	d.fault.OnOp(d.before)
}

func (d *Disk) before(op vfs.Op) {
	if d.slow[1] > 0 && op.Kind&(vfs.OpSync|vfs.OpSyncDir) != 0 {
		d.counts.Add("slow sync", 1)
		d.process.Stall(between(d.rng, d.slow[0], d.slow[1]))
	}
}

// Kill is what the disk has after the process was killed: all that was written.
func (d *Disk) Kill() { d.mount(d.mem.KillClone()) }

// PowerLoss is what may be found after power was lost: one of the legal images.
func (d *Disk) PowerLoss() { d.mount(d.mem.CrashClone(d.rng)) }

// Lose replaces the disk by an empty one.
func (d *Disk) Lose() {
	d.slow, d.full = [2]time.Duration{}, false
	d.mount(vfs.NewCrashMem(d.profile))
}

// FailSync makes the next sync of a file whose name matches glob fail; what it was to write never reaches the disk although it
// shows (as ext4 and XFS have it), or stays to be written, by a throw of the dice.
func (d *Disk) FailSync(glob string) {
	r := vfs.Rule{Op: vfs.OpSync, Path: glob, Lose: d.rng.IntN(2) == 0}
	d.rules = append(d.rules, rule{armed: d.fault.Add(r), name: "failed sync"})
}

// FailWrite makes the next write to a file whose name matches glob fail, after some of its bytes.
func (d *Disk) FailWrite(glob string) {
	r := vfs.Rule{Op: vfs.OpWrite, Path: glob, Err: syscall.EIO, Short: d.rng.IntN(256)}
	d.rules = append(d.rules, rule{armed: d.fault.Add(r), name: "failed write"})
}

// Fill leaves room for so many bytes; Empty makes room again.
func (d *Disk) Fill(left int64) {
	d.full = true
	d.mem.SetFree(left)
	r := vfs.Rule{Op: vfs.OpWrite, AfterBytes: max(left, 1), Forever: true, Err: syscall.ENOSPC}
	d.rules = append(d.rules, rule{armed: d.fault.Add(r), name: "full disk"})
}

// Empty ends Fill.
func (d *Disk) Empty() {
	if d.full {
		d.full = false
		d.mem.SetFree(-1)
		d.lift("full disk")
	}
}

// Troubled reports whether writes or syncs may fail: a FailSync or FailWrite has hit nothing yet, or the disk is full.
func (d *Disk) Troubled() bool {
	return d.full || slices.ContainsFunc(d.rules, func(r rule) bool { return r.armed.Hits() == 0 })
}

// Slow makes every sync take between low and high; Slow(0, 0) ends it.
func (d *Disk) Slow(low, high time.Duration) { d.slow = [2]time.Duration{low, high} }

// Heal ends all trouble.
func (d *Disk) Heal() {
	d.Empty()
	d.Slow(0, 0)
	d.account()
	d.rules = nil
	d.fault.Clear()
}

// Mend takes back every FailSync and FailWrite that has not hit anything yet.
func (d *Disk) Mend() {
	d.lift("failed sync")
	d.lift("failed write")
}

func (d *Disk) lift(name string) {
	kept := d.rules[:0]
	for _, r := range d.rules {
		if r.name == name {
			r.armed.Lift()
			d.counts.Add(r.name, int64(min(r.armed.Hits(), 1)))
			continue
		}
		kept = append(kept, r)
	}
	d.rules = kept
}

// account counts the trouble that has hit something.
func (d *Disk) account() {
	for i := range d.rules {
		if d.rules[i].armed.Hits() > 0 {
			d.counts.Add(d.rules[i].name, 1)
		}
	}
}

// Corrupt changes one 512-byte sector of a file whose base name matches glob, somewhere below dir, as rot does; it reports the file and the position
// or "" if there was none. Only a disk whose process is down can be changed so: what it holds is durable then.
func (d *Disk) Corrupt(dir, glob string) (name string, position int64) {
	if d.process.Up() {
		panic("BUG: corrupting the disk of a process that lives")
	}
	var files []string
	d.walk(dir, func(name string, size int64) {
		if ok, _ := path.Match(glob, path.Base(name)); ok && size > 0 {
			files = append(files, name)
		}
	})
	if len(files) == 0 {
		return "", 0
	}
	name = files[d.rng.IntN(len(files))]
	file, err := d.mem.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return "", 0
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return "", 0
	}
	const sector = 512
	position = d.rng.Int64N((size+sector-1)/sector) * sector
	b := make([]byte, min(sector, size-position))
	if _, err := file.ReadAt(b, position); err != nil || strings.Trim(string(b), "\x00") == "" {
		return "", 0 // zero-filled room ahead: nothing is there yet
	}
	for i := range b {
		b[i] ^= byte(1 + d.rng.IntN(255))
	}
	if _, err := file.WriteAt(b, position); err != nil || file.Sync() != nil {
		return "", 0
	}
	d.counts.Add("corrupt sector", 1)
	return name, position
}

func (d *Disk) walk(dir string, visit func(name string, size int64)) {
	list, err := d.mem.ReadDir(dir)
	if err != nil {
		return
	}
	for _, entry := range list {
		name := dir + "/" + entry.Name()
		if entry.IsDir() {
			d.walk(name, visit)
			continue
		}
		if info, err := entry.Info(); err == nil {
			visit(name, info.Size())
		}
	}
}
