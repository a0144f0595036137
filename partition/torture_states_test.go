package partition_test

import (
	cryptorand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/partition"
)

// states looks at disks as crashes leave them: opens each, holds it against the ledger, and crashes that open too. It
// counts how many different ones it has seen, by their contents.
type states struct {
	t    *testing.T
	deep int // crashes within the recovery of one state, and within those

	ids     seeded
	work    chan crashState
	workers sync.WaitGroup
	failed  atomic.Pointer[string]
	checked atomic.Int64

	mu       sync.Mutex // guards the maps
	distinct map[uint64]struct{}
	seen     map[uint64]struct{} // with what was expected of it
}

// crashState is one disk after a crash.
type crashState struct {
	disk   *vfs.Mem
	hash   uint64
	ledger *ledger
	lost   loss
	mode   partition.SyncMode
	depth  int // crashes of recoveries before this one
	where  func() string
}

func newStates(t *testing.T, deep int) *states {
	s := &states{t: t, deep: deep, work: make(chan crashState, 256), distinct: map[uint64]struct{}{}, seen: map[uint64]struct{}{}}
	s.ids.reseed(0)
	system := cryptorand.Reader
	cryptorand.Reader = &s.ids
	t.Cleanup(func() { cryptorand.Reader = system })
	for range runtime.GOMAXPROCS(0) {
		s.workers.Go(func() {
			var r reader
			for c := range s.work {
				s.look(&r, c)
			}
		})
	}
	return s
}

// finish waits for what is being looked at and reports.
func (s *states) finish() {
	close(s.work)
	s.workers.Wait()
	if f := s.failed.Load(); f != nil {
		s.t.Fatal(*f)
	}
	s.t.Logf("crash states: %d distinct, 0 lost (%d recoveries)", len(s.distinct), s.checked.Load())
	fmt.Printf("crash states: %d distinct, 0 lost\n", len(s.distinct))
}

// isNew enters a state and reports whether it has to be looked at.
func (s *states) isNew(c *crashState) bool {
	c.hash = c.disk.Hash()
	key := c.hash ^ c.ledger.fingerprint(c.lost)*0x9e3779b97f4a7c15
	if c.lost {
		key++
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.distinct[c.hash] = struct{}{}
	if _, ok := s.seen[key]; ok {
		return false
	}
	s.seen[key] = struct{}{}
	return true
}

func (s *states) fail(c *crashState, err error) {
	text := fmt.Sprintf("%v\nafter %s", err, c.where())
	s.failed.CompareAndSwap(nil, &text)
}

// look checks one state.
func (s *states) look(r *reader, c crashState) {
	if s.failed.Load() != nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			stack := make([]byte, 1<<16)
			s.fail(&c, fmt.Errorf("panic: %v\n%s", p, stack[:runtime.Stack(stack, false)]))
		}
	}()
	s.checked.Add(1)
	fault := vfs.NewFault(c.disk)
	inner := func() []crashState { return nil }
	if c.depth < s.deep {
		inner = s.crashes(&c, fault)
	}
	now := clock.NewManual(tortureEpoch)
	store, err := partition.Open("/store", tortureConfig(fault, c.mode, now))
	more := inner()
	if err == nil {
		err = s.compare(r, &c, store, now)
	}
	if err != nil {
		s.fail(&c, err)
		return
	}
	for _, x := range more {
		if s.isNew(&x) {
			s.look(r, x)
		}
	}
}

// crashes takes, while a state is opened, the disk as losses of power may leave it at operations that the hash of the state
// chooses. The function that it returns ends that and returns them.
func (s *states) crashes(c *crashState, fault *vfs.Fault) (end func() []crashState) {
	rng := rand.New(rand.NewPCG(c.hash, uint64(c.depth)))
	var mu sync.Mutex // leftovers are removed in the background
	var inner []crashState
	n, at, wanted := 0, rng.IntN(10), 3
	fault.OnOp(func(op vfs.Op) {
		mu.Lock()
		defer mu.Unlock()
		if n++; n <= at || len(inner) >= wanted {
			return
		}
		at += 1 + rng.IntN(10)
		x := *c
		x.disk, x.depth = c.disk.CrashClone(rng), c.depth+1
		x.where = func() string { return c.where() + fmt.Sprintf("; opened, and power lost in that before %s", op) }
		x.lost = powerLost // a killed process has promised more than is left when power is lost after that
		inner = append(inner, x)
	})
	return func() []crashState {
		mu.Lock()
		defer mu.Unlock()
		wanted = 0
		return inner
	}
}

// compare holds an opened store against the ledger, and sometimes uses it.
func (s *states) compare(r *reader, c *crashState, store *partition.Store, now *clock.Manual) error {
	if report := store.RecoveryReport(); report != nil && len(report.Failed) > 0 {
		return fmt.Errorf("partitions failed to open: %v", report.Failed)
	}
	all, err := r.check(store, c.ledger, c.lost)
	if err != nil {
		return err
	}
	if c.hash%4 == 0 {
		if err := verified(store); err != nil {
			return err
		}
	}
	if c.hash>>8%8 != 0 {
		return nil
	}
	g := newRig(c.disk, c.mode, c.ledger.clone())
	g.n = 1_000_000
	g.fault, g.store, g.clock = vfs.NewFault(c.disk), store, now
	if err := g.ledger.settle(store, all); err != nil {
		return err
	}
	if err := g.use(); err != nil {
		return fmt.Errorf("used after the crash: %w", err)
	}
	return nil
}

// lookUp asks for batches in other ways than by offset.
func (g *rig) lookUp(tp partition.TopicPartition) error {
	p := g.part(tp)
	var last []byte
	var base partition.Offset
	for _, x := range p.batches {
		if x.base < p.start {
			continue
		}
		b := batch.Batch(x.bytes)
		if at, err := g.store.ListOffsets(bg, tp, b.MaxTimestamp()); err != nil || at != x.base {
			return fmt.Errorf("the batch at %d is looked up by its time at %d, %v", x.base, at, err)
		}
		if b.HasProducer() {
			last, base = slices.Clone(x.bytes), x.base
		}
	}
	if last == nil {
		return nil
	}
	r, err := g.store.Append(bg, partition.AppendRequest{TopicPartition: tp, Batch: last})
	if err != nil || !r.Duplicate || r.BaseOffset != base {
		return fmt.Errorf("a batch sent again after the crash: got %+v, %v; want a duplicate at %d", r, err, base)
	}
	b := batch.Batch(last)
	gap := g.makeBatch(1, 10, b.ProducerID(), b.LastSequence()+5)
	if _, err := g.store.Append(bg, partition.AppendRequest{TopicPartition: tp, Batch: gap}); !errors.Is(err, partition.ErrOutOfOrderSequence) {
		return fmt.Errorf("a batch with a gap before it: %w", err)
	}
	return nil
}

func verified(store *partition.Store) error {
	v, err := store.Verify(bg)
	if err == nil && v.Damaged() {
		err = fmt.Errorf("verify finds damage: %+v", *v)
	}
	return err
}

// use finds every batch by its time, sends the last idempotent one again, appends to everything, closes, opens and looks
// again.
func (g *rig) use() error {
	var tps []partition.TopicPartition
	g.eachPart(func(tp partition.TopicPartition, _ *ledgerPart) { tps = append(tps, tp) })
	for _, tp := range tps {
		if err := g.lookUp(tp); err != nil {
			return fmt.Errorf("%s: %w", tp, err)
		}
		if err := g.append(tp, g.makeBatch(1, 50, -1, 0), partition.AcksAll); err != nil {
			return err
		}
	}
	if id, err := g.store.InitProducerID(bg, "", 0, partition.NoProducerID); err != nil || id.ID <= g.ledger.producerID {
		return fmt.Errorf("producer id %d, %v; the last was %d", id.ID, err, g.ledger.producerID)
	}
	if err := g.reopen(); err != nil {
		return err
	}
	if _, err := g.read.check(g.store, g.ledger, powerLost); err != nil {
		return err
	}
	if err := verified(g.store); err != nil {
		return err
	}
	return g.store.Close()
}

// runScript runs a script from a disk on. Before every operation of its last step it hands out the disk as a kill
// leaves it, and as a loss of power may, in up to each ways; if all, before those of the other steps too.
func (s *states) runScript(base *base, sc script, seed uint64, each int, all bool) error {
	s.ids.reseed(seed) // equal scripts shall leave equal disks
	g := newRig(base.disk.KillClone(), base.mode, base.ledger.clone())
	g.n = base.n
	rng := rand.New(rand.NewPCG(seed, uint64(len(sc))))
	step := -1
	var snapshot *ledger
	var before uint64
	g.visit = func(op vfs.Op) {
		if !all && step != len(sc)-1 {
			return
		}
		if now := g.ledger.fingerprint(killed) ^ g.ledger.fingerprint(powerLost)<<1; snapshot == nil || now != before {
			snapshot, before = g.ledger.clone(), now
		}
		at, promises := step, snapshot
		hand := func(disk *vfs.Mem, lost loss, label string) {
			c := crashState{disk: disk, ledger: promises, lost: lost, mode: base.mode, where: func() string {
				how := "killed"
				if lost {
					how = "power lost"
				}
				return fmt.Sprintf("%s, sync %s, script %q from seed %d (%s), step %d: %s before %s %s", base.name, base.mode, string(sc), seed, sc, at+1, how, op, label)
			}}
			if s.isNew(&c) {
				s.work <- c
			}
		}
		hand(g.mem.KillClone(), killed, "")
		if each > 8 {
			g.mem.EachCrash(each, func(m *vfs.Mem, label string) bool { hand(m, powerLost, "keeping "+label); return true })
			return
		}
		for range each {
			hand(g.mem.CrashClone(rng), powerLost, "")
		}
	}
	err := g.open()
	state := newScriptState(seed)
	state.producer, state.sequence = base.producer, base.sequence
	for i := 0; i < len(sc) && err == nil; i++ {
		g.change(func() { step = i })
		err = steps[sc[i]].run(g, state)
		g.change(func() {
			g.markVisibleLocked()
		})
	}
	if err != nil {
		return fmt.Errorf("%s, sync %s, script %q from seed %d (%s), step %d: %w", base.name, base.mode, string(sc), seed, sc, step+1, err)
	}
	g.fault.OnOp(nil)
	return g.store.Close()
}
