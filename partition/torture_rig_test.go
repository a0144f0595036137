package partition_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/partition"
)

var bg = context.Background()

// tortureEpoch is when torture tests begin: a fixed time, so that equal scripts leave equal disks.
var tortureEpoch = time.UnixMilli(1_700_000_000_000)

// tortureConfig has segments of a few batches, every batch indexed, and background work on the caller's goroutine.
func tortureConfig(fsys partition.FS, mode partition.SyncMode, c partition.Clock) partition.Config {
	return partition.Config{
		FS: fsys, Clock: c, Sync: mode, OpenConcurrency: 1, SyncConcurrency: 1, LowSpaceBytes: partition.Unlimited,
		Topics: partition.TopicConfig{
			IndexIntervalBytes: partition.Zero, RetentionBytes: 3000,
			Extra: map[string]string{"internal.segment.bytes": "1024"},
		},
	}
}

// rig is a store on a disk that remembers, beside the ledger of its promises.
type rig struct {
	mode  partition.SyncMode
	mem   *vfs.Mem
	fault *vfs.Fault
	clock *clock.Manual
	store *partition.Store
	read  reader
	n     int // batches made so far
	// visit, if set, is called before every operation that changes the disk, with mu held.
	visit func(op vfs.Op)

	mu     sync.Mutex // guards ledger and the taking of clones: some operations come from background goroutines
	ledger *ledger
}

func newRig(mem *vfs.Mem, mode partition.SyncMode, l *ledger) *rig {
	return &rig{mode: mode, mem: mem, clock: clock.NewManual(tortureEpoch), ledger: l}
}

// open opens the store on the rig's disk.
func (g *rig) open() (err error) {
	fault := vfs.NewFault(g.mem)
	g.fault = fault
	fault.OnOp(func(op vfs.Op) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.visit != nil && g.fault == fault {
			g.visit(op)
		}
	})
	g.store, err = partition.Open("/store", tortureConfig(fault, g.mode, g.clock))
	return err
}

// crash goes on with the disk as a crash leaves it.
func (g *rig) crash(after *vfs.Mem, lost loss) error {
	g.fault.OnOp(nil)
	_ = g.store.Close() // what it still does is done to another disk
	g.clock = clock.NewManual(g.clock.Now())
	g.mem = after
	if lost {
		g.change(func() { g.eachPart(func(_ partition.TopicPartition, p *ledgerPart) { p.written = p.durable }) })
	}
	if err := g.open(); err != nil {
		return err
	}
	all, err := g.read.check(g.store, g.ledger, lost)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.ledger.settle(g.store, all); err != nil {
		return err
	}
	g.markVisibleLocked()
	return nil
}

// markVisibleLocked notes that in SyncAlways what readers may have seen must not go away any more.
func (g *rig) markVisibleLocked() {
	if g.mode == partition.SyncAlways && g.fault.Failed(vfs.AnyOp) == 0 {
		g.eachPart(func(tp partition.TopicPartition, p *ledgerPart) { p.durable = p.written })
	}
}

func (g *rig) eachPart(f func(partition.TopicPartition, *ledgerPart)) {
	for name, t := range g.ledger.topics {
		for i := range t.parts {
			f(partition.TopicPartition{Topic: name, Partition: int32(i)}, &t.parts[i])
		}
	}
}

func (g *rig) part(tp partition.TopicPartition) *ledgerPart {
	t := g.ledger.topics[tp.Topic]
	if t == nil || int(tp.Partition) >= len(t.parts) {
		return nil
	}
	return &t.parts[tp.Partition]
}

// change tells the ledger of something, in one piece.
func (g *rig) change(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

// makeBatch builds a batch whose bytes no other has. pid < 0 is no producer.
func (g *rig) makeBatch(records, size int, pid int64, sequence int32) []byte {
	g.n++
	var w batch.Builder
	o := batch.Options{}
	if pid >= 0 {
		o.Idempotent, o.ProducerID, o.BaseSequence = true, pid, sequence
	}
	w.Reset(nil, o)
	for i := range records {
		value := fmt.Appendf(nil, "%d.%d.", g.n, i)
		for len(value) < size {
			value = append(value, byte('a'+(g.n*7+i+len(value)*13)%26))
		}
		w.Append(tortureEpoch.UnixMilli()+int64(g.n), fmt.Appendf(nil, "k%d", g.n%3), value, nil)
	}
	b, err := w.Finish()
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return b
}

// append appends one batch and enters it in the ledger.
func (g *rig) append(tp partition.TopicPartition, b []byte, acks partition.Acks) error {
	p := g.part(tp)
	if p == nil {
		return nil
	}
	sent := ledgerBatch{base: p.end(), bytes: slices.Clone(b)}
	sent.next = sent.base + partition.Offset(batch.Batch(b).Count())
	g.change(func() { p.pending = append(slices.Clip(p.pending), sent) })
	r, err := g.store.Append(bg, partition.AppendRequest{TopicPartition: tp, Batch: b, Acks: acks})
	if err != nil {
		return fmt.Errorf("append to %s: %w", tp, err)
	}
	if r.BaseOffset != sent.base {
		return fmt.Errorf("append to %s got offset %d, want %d", tp, r.BaseOffset, sent.base)
	}
	g.change(func() { g.acknowledgeLocked(p, acks) })
	return nil
}

func (g *rig) acknowledgeLocked(p *ledgerPart, acks partition.Acks) {
	sent := p.pending[len(p.pending)-1]
	p.batches = append(p.batches, sent)
	p.written, p.pending = sent.next, nil
	if g.mode == partition.SyncAlways && acks == partition.AcksAll {
		p.durable = p.written
	}
}

// deleteRecords raises the log start offset.
func (g *rig) deleteRecords(tp partition.TopicPartition, before partition.Offset) error {
	p := g.part(tp)
	if p == nil {
		return nil
	}
	g.change(func() { p.maybeStart = max(p.maybeStart, before) })
	start, err := g.store.DeleteRecords(bg, tp, before)
	if err != nil {
		p.doubtStart = max(p.doubtStart, before)
		return fmt.Errorf("delete records of %s: %w", tp, err)
	}
	g.change(func() { p.start = max(p.start, before); p.maybeStart = max(p.start, start, p.doubtStart) })
	return nil
}

func (g *rig) createTopic(name string, partitions int) error {
	if g.ledger.topics[name] != nil {
		return nil
	}
	g.change(func() {
		g.ledger.topics[name] = &ledgerTopic{parts: make([]ledgerPart, partitions), doubt: true, least: partitions}
	})
	topic, err := g.store.CreateTopic(bg, name, partition.TopicConfig{Partitions: int32(partitions)})
	if err != nil {
		return err
	}
	g.change(func() { t := g.ledger.topics[name]; t.id, t.doubt = topic.ID(), false })
	return nil
}

func (g *rig) deleteTopic(name string) error {
	if g.ledger.topics[name] == nil {
		return nil
	}
	g.change(func() { g.ledger.topics[name].doubt = true })
	if err := g.store.DeleteTopic(bg, name); err != nil {
		return err
	}
	g.change(func() { delete(g.ledger.topics, name) })
	return nil
}

func (g *rig) grow(name string) error {
	t := g.ledger.topics[name]
	if t == nil {
		return nil
	}
	g.change(func() { t.parts = append(slices.Clip(t.parts), ledgerPart{}) })
	if err := g.store.CreatePartitions(bg, name, int32(len(t.parts))); err != nil {
		return err
	}
	g.change(func() { t.least = len(t.parts) })
	return nil
}

// advance lets time pass, and with it the background work that comes due.
func (g *rig) advance(d time.Duration) error {
	g.change(func() { g.eachPart(func(_ partition.TopicPartition, p *ledgerPart) { p.maybeStart = p.end() }) })
	g.clock.Advance(d)
	starts := map[partition.TopicPartition]partition.Offset{}
	var err error
	g.eachPart(func(tp partition.TopicPartition, p *ledgerPart) {
		if t := g.ledger.topics[tp.Topic]; t.doubt || int(tp.Partition) >= t.least {
			starts[tp] = p.maybeStart
			return
		}
		start, e := g.store.ListOffsets(bg, tp, partition.TimestampEarliest)
		starts[tp], err = start, errors.Join(err, e)
	})
	if err != nil {
		return err
	}
	g.change(func() {
		g.eachPart(func(tp partition.TopicPartition, p *ledgerPart) {
			if i := g.mode.Interval(); i > 0 && d >= i && g.fault.Failed(vfs.AnyOp) == 0 {
				p.durable = p.written
			}
			p.maybeStart = max(starts[tp], p.doubtStart) // of retention, a crash may undo some
		})
	})
	return nil
}

func (g *rig) reopen() error {
	if err := g.store.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	g.change(func() { g.eachPart(func(_ partition.TopicPartition, p *ledgerPart) { p.durable = p.written }) })
	if err := g.noLeftovers(); err != nil {
		return err
	}
	if err := g.open(); err != nil {
		return err
	}
	if r := g.store.RecoveryReport(); r != nil {
		return fmt.Errorf("recovery after a clean close: %+v", *r)
	}
	return nil
}

// noLeftovers finds directories of deleted topics in a closed store.
func (g *rig) noLeftovers() error {
	entries, err := g.mem.ReadDir("/store/data")
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), "-delete") {
			return fmt.Errorf("%s is still there after a clean close", e.Name())
		}
	}
	return err
}
