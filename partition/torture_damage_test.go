package partition_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/journal"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
	"github.com/stretchr/testify/require"
)

// damageBase is a store to be damaged, and what it holds.
type damageBase struct {
	mode   partition.SyncMode
	clean  bool
	disk   *vfs.Mem
	ledger *ledger
	now    time.Time
	files  []string
}

func (b *damageBase) list(dir string) (out []string) {
	entries, err := b.disk.ReadDir(dir)
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if e.IsDir() {
			out = append(out, b.list(name)...)
		} else {
			out = append(out, name)
		}
	}
	return out
}

func (b *damageBase) size(t *testing.T, name string) int64 {
	info, err := b.disk.Stat(name)
	require.NoError(t, err)
	return info.Size()
}

func (b *damageBase) config(m partition.FS) partition.Config {
	return tortureConfig(m, b.mode, clock.NewManual(b.now))
}

func flipText(name string, at int, bits byte) string {
	return fmt.Sprintf("%s: bits %#02x of byte %d flipped", name, bits, at)
}

func cutText(name string, at, n int) string {
	return fmt.Sprintf("%s cut to %d of %d bytes", name, at, n)
}

// damageReader reads a store that may be damaged. What it can read has to be right.
type damageReader struct {
	buf     []byte
	missing int // records of the ledger that were not served
	spoken  int // ranges that were missing with an error that names them
	byPart  map[partition.TopicPartition]int
	late    bool // the file was damaged after a first read: then a batch's own checksum has to tell
}

// read reads all partitions of the ledger.
func (r *damageReader) read(s *partition.Store, l *ledger) error {
	r.missing, r.spoken, r.byPart = 0, 0, map[partition.TopicPartition]int{}
	for name, t := range l.topics {
		for i := range t.parts {
			tp := partition.TopicPartition{Topic: name, Partition: int32(i)}
			before := r.missing
			if err := r.readPart(s, tp, &t.parts[i]); err != nil {
				return fmt.Errorf("%s: %w", tp, err)
			}
			r.byPart[tp] = r.missing - before
		}
	}
	return nil
}

func (r *damageReader) readPart(s *partition.Store, tp partition.TopicPartition, want *ledgerPart) error {
	expected := want.batches
	drop := func(to partition.Offset) { // batches below are not coming any more
		for len(expected) > 0 && expected[0].next <= to {
			r.missing += int(expected[0].next - max(expected[0].base, want.start))
			expected = expected[1:]
		}
	}
	at, end := want.start, want.end()
	for len(expected) > 0 && expected[0].next <= at {
		expected = expected[1:]
	}
	topic, err := s.Topic(tp.Topic)
	if err != nil {
		drop(end)
		return typed(err)
	}
	p, err := topic.Partition(tp.Partition)
	if err != nil {
		drop(end)
		return typed(err)
	}
	for rounds := 0; at < end; rounds++ {
		if rounds > 1000 {
			return fmt.Errorf("reading does not end; now at %d", at)
		}
		chunk, next, err := p.ReadCopy(r.buf[:0], at, 1<<16)
		if c, ok := errors.AsType[*log.CorruptionError](err); ok && c.NextOffset > at {
			r.spoken++
			drop(c.NextOffset)
			at = c.NextOffset
			continue
		}
		if o, ok := errors.AsType[*log.OffsetOutOfRangeError](err); ok && o.Start > at {
			drop(o.Start)
			at = o.Start
			continue
		}
		if err != nil || len(chunk) == 0 {
			if err != nil && !errors.Is(err, partition.ErrOffsetOutOfRange) {
				r.spoken++
			}
			break
		}
		r.buf = chunk
		for len(chunk) > 0 {
			b, err := batch.Peek(chunk)
			if err != nil && r.late {
				r.spoken++
				break
			}
			if err != nil {
				return fmt.Errorf("read from %d: bytes that are no batch: %w", at, err)
			}
			chunk = chunk[len(b):]
			if r.late && b.CheckCRC() != nil {
				r.spoken++
				continue
			}
			drop(partition.Offset(b.BaseOffset()))
			if len(expected) == 0 {
				return fmt.Errorf("read from %d: batch [%d,%d] was invented", at, b.BaseOffset(), b.LastOffset())
			}
			if err := same(b, &expected[0]); err != nil {
				return fmt.Errorf("read from %d: %w", at, err)
			}
			expected = expected[1:]
		}
		if next <= at {
			return fmt.Errorf("a read from %d goes on at %d", at, next)
		}
		at = next
	}
	drop(end)
	return nil
}

// typed returns nil for errors that a caller can tell apart, and others as they are.
func typed(err error) error {
	for _, known := range []error{
		partition.ErrNotStore, partition.ErrNewerFormat, partition.ErrUnknownTopicOrPartition, partition.ErrOffsetOutOfRange,
		log.ErrCorrupt, fs.ErrNotExist,
	} {
		if errors.Is(err, known) {
			return nil
		}
	}
	if _, ok := errors.AsType[*journal.CorruptError](err); ok {
		return nil
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return nil
	}
	return fmt.Errorf("an error without a type: %w", err)
}

// damages tries damages, several at a time.
type damages struct {
	t       *testing.T
	base    *damageBase
	work    chan damage
	workers sync.WaitGroup
	tried   atomic.Int64
	refused atomic.Int64
	lossy   atomic.Int64
	broken  atomic.Int64
}

type damage struct {
	what string
	do   func(vfs.FS) error
}

func newDamages(t *testing.T, b *damageBase) *damages {
	d := &damages{t: t, base: b, work: make(chan damage, 64)}
	for range runtime.GOMAXPROCS(0) {
		d.workers.Go(func() {
			var r damageReader
			for x := range d.work {
				d.look(&r, x)
			}
		})
	}
	return d
}

func (d *damages) try(what string, do func(vfs.FS) error) { d.work <- damage{what, do} }

func (d *damages) finish() {
	close(d.work)
	d.workers.Wait()
	d.t.Logf("clean close %v: %d damages: %d opens refused, %d with records missing, said so; %d wrong",
		d.base.clean, d.tried.Load(), d.refused.Load(), d.lossy.Load(), d.broken.Load())
}

func (d *damages) look(r *damageReader, x damage) {
	d.tried.Add(1)
	before := allocated()
	defer func() {
		if p := recover(); p != nil {
			stack := make([]byte, 1<<14)
			d.fail(x, fmt.Errorf("panic: %v\n%s", p, stack[:runtime.Stack(stack, false)]))
		}
		if n := allocated() - before; n > 256<<20 { // the other workers' are in it
			d.fail(x, fmt.Errorf("%d MiB were allocated", n>>20))
		}
	}()
	disk := d.base.disk.KillClone()
	if err := x.do(disk); err != nil {
		d.fail(x, err)
		return
	}
	if err := d.open(r, disk, 1+int(d.tried.Load()%4)/3); err != nil {
		d.fail(x, err)
	}
}

func (d *damages) fail(x damage, err error) {
	if d.broken.Add(1) <= 20 {
		d.t.Errorf("clean close %v: %s: %v", d.base.clean, x.what, err)
	}
}

// open opens a damaged store once or twice: the first open may repair, the second finds no less.
func (d *damages) open(r *damageReader, disk *vfs.Mem, rounds int) error {
	least := 0
	for round := range rounds {
		var said atomic.Bool
		c := d.base.config(disk)
		c.Events.Recovered = func(partition.TopicPartition, partition.PartitionRecovery) { said.Store(true) }
		c.Events.PartitionFailed = func(partition.TopicPartition, error) { said.Store(true) }
		c.Events.Warning = func(partition.Warning) { said.Store(true) }
		s, err := partition.Open("/store", c)
		if err != nil {
			d.refused.Add(1)
			return typed(err)
		}
		if err := r.read(s, d.base.ledger); err != nil {
			return err
		}
		if round == 0 {
			if report := s.RecoveryReport(); report != nil {
				said.Store(true) // an unclean end may cost what was written last
			}
			if r.missing > 0 {
				d.lossy.Add(1)
				if !said.Load() && r.spoken == 0 && verified(s) == nil {
					return fmt.Errorf("%d records are missing, and nobody says so", r.missing)
				}
			}
			least = r.missing
		} else if r.missing > least {
			return fmt.Errorf("%d records were missing after the first open and %d after the second", least, r.missing)
		}
		_ = s.Close() // a damaged store need not close cleanly
	}
	return nil
}

func allocated() uint64 {
	s := [1]metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s[:])
	return s[0].Value.Uint64()
}
