package partition_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/partition"
)

// faultRun is one script on a disk of which something fails.
type faultRun struct {
	*rig
	state    *scriptState
	cause    error // what the disk says
	failures []error
	poisoned map[partition.TopicPartition]bool
	broken   map[partition.TopicPartition]bool // could not even be looked at: out of order until the store is opened again
	blind    bool                              // the fault is one of looking
}

// run goes through a whole script, failures or not.
func (f *faultRun) run(sc script) error {
	for i := range len(sc) {
		if f.inDoubt(sc[i]) {
			continue
		}
		err := steps[sc[i]].run(f.rig, f.state)
		if err == nil {
			f.markVisibleLocked()
			continue
		}
		f.failures = append(f.failures, err)
		if err := f.judge(err); err != nil {
			return fmt.Errorf("step %d (%s): %w", i+1, steps[sc[i]].name, err)
		}
	}
	return nil
}

// inDoubt says that a step is about a topic of which a failed call has left unknown whether it is there.
func (f *faultRun) inDoubt(step byte) bool {
	doubt := func(topic string) bool {
		t := f.ledger.topics[topic]
		return t != nil && (t.doubt || t.least != len(t.parts))
	}
	switch step {
	case 'b', 'o':
		return doubt("b")
	case 'p', 'i', 'l', 'L', 'd', 'a', 'g':
		return doubt("a")
	}
	return false
}

// judge says whether an error tells its caller enough.
func (f *faultRun) judge(err error) error {
	switch {
	case errors.Is(err, partition.ErrStorage):
		return nil
	case errors.Is(f.cause, syscall.ENOSPC):
		if !errors.Is(err, partition.ErrNoSpace) {
			return fmt.Errorf("want ErrNoSpace: %w", err)
		}
		return nil
	case !errors.Is(err, f.cause):
		return fmt.Errorf("the error does not say what the disk said (%v): %w", f.cause, err)
	}
	return nil
}

// readable finds out that everything acknowledged can be read while the store is open.
func (f *faultRun) readable() error {
	for name, t := range f.ledger.topics {
		if t.doubt {
			continue
		}
		for i := range t.least {
			topic, err := f.store.Topic(name)
			if err != nil {
				return err
			}
			p, err := topic.Partition(int32(i))
			if err != nil {
				return err
			}
			if f.broken[p.TopicPartition()] {
				continue
			}
			want := t.parts[i]
			if !f.poisoned[p.TopicPartition()] && f.mode == partition.SyncAlways {
				want.pending = nil // nothing that has failed is shown
			}
			if _, err := f.read.checkPart(p, &want, f.visibleLoss()); err != nil {
				return fmt.Errorf("%s, of a store that goes on: %w", p.TopicPartition(), err)
			}
		}
	}
	return nil
}

// visibleLoss is what may be hidden from readers: in SyncAlways, with a sync that has failed, what was acknowledged by acks=1.
func (f *faultRun) visibleLoss() loss { return loss(f.mode == partition.SyncAlways) }

// recovers appends to every partition once nothing fails any more: those whose sync has failed refuse, the others work.
func (f *faultRun) recovers() error {
	for name, t := range f.ledger.topics {
		if t.doubt {
			continue
		}
		for i := range t.least {
			tp := partition.TopicPartition{Topic: name, Partition: int32(i)}
			err := f.append(tp, f.makeBatch(1, 30, -1, 0), partition.AcksAll)
			if errors.Is(err, partition.ErrStorage) {
				f.poisoned[tp] = true
				if again := f.append(tp, f.makeBatch(1, 30, -1, 0), partition.AcksAll); !errors.Is(again, partition.ErrStorage) {
					return fmt.Errorf("%s was poisoned, and then %v", tp, again)
				}
				continue
			}
			if f.blind && errors.Is(err, f.cause) {
				f.broken[tp] = true
				continue
			}
			if err != nil {
				return fmt.Errorf("nothing fails any more: %w", err)
			}
		}
	}
	return nil
}

// reopens opens the store as it would be found in several ways, and holds each against the ledger.
func (f *faultRun) reopens(rng *rand.Rand) error {
	lossOf := map[string]loss{"killed": killed, "power lost": powerLost, "closed": killed}
	disks := map[string]*vfs.Mem{"killed": f.mem.KillClone(), "power lost": f.mem.CrashClone(rng)}
	if f.fault.Failed(vfs.OpSync|vfs.OpSyncDir) > 0 {
		lossOf["killed"], lossOf["closed"] = powerLost, powerLost // what a failed sync took with it is gone in any case
	}
	closed := f.store.Close()
	disks["closed"] = f.mem
	for how, disk := range disks {
		g := newRig(disk, f.mode, f.ledger.clone())
		g.n = 1_000_000
		if err := g.open(); err != nil {
			return fmt.Errorf("%s and opened: %w", how, err)
		}
		report := g.store.RecoveryReport()
		switch {
		case report != nil && len(report.Failed) > 0:
			return fmt.Errorf("%s and opened: %v", how, report.Failed)
		case how == "closed" && report == nil && (closed != nil || len(f.poisoned) > 0):
			return fmt.Errorf("after a close with the error %v the open believes in a clean one", closed)
		case how == "closed" && report != nil && closed == nil:
			return errors.New("recovery after a close that returned nil")
		}
		all, err := g.read.check(g.store, g.ledger, lossOf[how])
		if err == nil {
			err = verified(g.store)
		}
		if err == nil {
			err = g.ledger.settle(g.store, all)
		}
		if err == nil {
			err = g.use()
		}
		if err != nil {
			return fmt.Errorf("%s and opened: %w", how, err)
		}
	}
	return nil
}

// faultCase is one fault of the matrix.
type faultCase struct {
	name string
	rule vfs.Rule
	free int64 // −1: use the rule; otherwise bytes left on the disk
}

func (c faultCase) String() string {
	if c.free >= 0 {
		return fmt.Sprintf("%s, %d bytes free", c.name, c.free)
	}
	often := "once"
	if c.rule.Forever {
		often = "for ever"
	}
	return fmt.Sprintf("%s number %d, %s", c.name, c.rule.Nth, often)
}

// try runs the script with one fault, and reports whether the fault has struck.
func (c faultCase) try(b *base, sc script) (struck bool, err error) {
	g := newRig(b.disk.KillClone(), b.mode, b.ledger.clone())
	g.n = b.n
	if err := g.open(); err != nil {
		return false, err
	}
	f := &faultRun{rig: g, state: newScriptState(1), cause: c.rule.Err, poisoned: map[partition.TopicPartition]bool{}, broken: map[partition.TopicPartition]bool{}}
	f.blind = c.rule.Op&(vfs.OpStat|vfs.OpReadDir|vfs.OpSize) != 0
	f.state.producer, f.state.sequence = b.producer, b.sequence
	var armed *vfs.Armed
	if c.free >= 0 {
		f.cause = syscall.ENOSPC
		g.mem.SetFree(c.free)
	} else {
		armed = g.fault.Add(c.rule)
	}
	if err := f.run(sc); err != nil {
		return true, err
	}
	reads := c.free >= 0 || c.rule.Op&(vfs.OpRead|vfs.OpMap|vfs.OpOpen|vfs.OpSize|vfs.OpStat|vfs.OpReadDir) == 0
	if reads {
		if err := f.readable(); err != nil {
			return true, err
		}
	}
	if armed != nil {
		struck = armed.Hits() > 0
		g.fault.Clear()
	} else {
		struck = len(f.failures) > 0
		g.mem.SetFree(-1)
	}
	if !struck {
		return false, g.store.Close()
	}
	if err := f.recovers(); err != nil {
		return true, err
	}
	if c.free >= 0 && len(f.poisoned) > 0 {
		return true, fmt.Errorf("a full disk has poisoned %v", f.poisoned)
	}
	if err := f.readable(); err != nil {
		return true, err
	}
	return true, f.reopens(rand.New(rand.NewPCG(uint64(c.rule.Nth), 5)))
}

// faultMatrix tries each fault at its first, second, ... operation until it strikes no more.
func faultMatrix(t *testing.T, b *base, sc script, cases []faultCase, stride int) {
	var wg sync.WaitGroup
	var next, runs, wrong atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(cases); i = int(next.Add(1)) - 1 {
				c := cases[i]
				for n := 1 + i%stride; ; n += stride {
					if c.free >= 0 {
						c.free = int64(n-1) * 4096
					} else {
						c.rule.Nth = n
					}
					struck, err := protect(func() (bool, error) { return c.try(b, sc) })
					runs.Add(1)
					if err != nil && wrong.Add(1) <= 20 {
						t.Errorf("%s, sync %s: %s: %v", b.name, b.mode, c, err)
					}
					if !struck || n > 5000 {
						break
					}
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%s, sync %s: %d faults, %d wrong", b.name, b.mode, runs.Load(), wrong.Load())
}

// protect turns a panic into an error.
func protect(f func() (bool, error)) (ok bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			stack := make([]byte, 1<<14)
			err = fmt.Errorf("panic: %v\n%s", p, stack[:runtime.Stack(stack, false)])
		}
	}()
	return f()
}
