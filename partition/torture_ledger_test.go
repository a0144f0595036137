package partition_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// A ledger is what a store has promised so far: the checker's side of every torture test. It is told of each step
// before it begins (what may be there from now on) and when it has been acknowledged (what must be).

// loss is what a crash takes away.
type loss bool

const (
	killed    loss = false // the process: the page cache stays
	powerLost loss = true  // and what was not synced
)

// ledgerBatch is one batch that was appended, byte for byte.
type ledgerBatch struct {
	base, next partition.Offset
	bytes      []byte
}

// ledgerPart is one partition.
// Invariant: durable ≤ written ≤ the end of the last of batches.
type ledgerPart struct {
	start, maybeStart partition.Offset // the log start offset is neither below the one nor above the other
	batches           []ledgerBatch    // in order; the slice only grows, so that copies share it
	doubtStart        partition.Offset // of a DeleteRecords that failed
	pending           []ledgerBatch    // being appended, or failed: one of them is there as a whole, or none
	written           partition.Offset // batches below survive a kill
	durable           partition.Offset // and these a power loss
}

// end is the offset that the next batch gets.
func (p *ledgerPart) end() partition.Offset {
	if n := len(p.batches); n > 0 {
		return max(p.batches[n-1].next, p.start)
	}
	return p.start
}

func (p *ledgerPart) promised(l loss) partition.Offset {
	if l == powerLost {
		return p.durable
	}
	return p.written
}

type ledgerTopic struct {
	id    partition.TopicID
	parts []ledgerPart
	doubt bool // is being created, deleted or grown: it need not be there, or with fewer partitions
	least int  // partitions that it has at least
}

type ledger struct {
	topics     map[string]*ledgerTopic
	producerID int64 // the last that was given away; −1: none
}

func newLedger() *ledger { return &ledger{topics: map[string]*ledgerTopic{}, producerID: -1} }

// clone returns a copy that later changes of l do not reach.
func (l *ledger) clone() *ledger {
	c := &ledger{topics: maps.Clone(l.topics), producerID: l.producerID}
	for name, t := range c.topics {
		copied := *t
		copied.parts = slices.Clone(t.parts)
		for i := range copied.parts {
			copied.parts[i].batches = slices.Clip(copied.parts[i].batches)
		}
		c.topics[name] = &copied
	}
	return c
}

// fingerprint changes with every promise, so that one disk is looked at again when more is expected of it.
func (l *ledger) fingerprint(lost loss) uint64 {
	h := uint64(1469598103934665603)
	mix := func(n int64) { h = (h ^ uint64(n)) * 1099511628211 }
	for _, name := range slices.Sorted(maps.Keys(l.topics)) {
		t := l.topics[name]
		for _, c := range []byte(name) {
			mix(int64(c))
		}
		for _, c := range t.id {
			mix(int64(c))
		}
		mix(int64(len(t.parts)))
		if t.doubt {
			mix(int64(t.least))
		}
		for i := range t.parts {
			p := &t.parts[i]
			for _, n := range []partition.Offset{p.start, p.maybeStart, p.end(), p.promised(lost)} {
				mix(int64(n))
			}
			mix(-int64(len(p.pending)))
		}
	}
	mix(l.producerID)
	return h
}

// found is what a reopened store had, partition by partition.
type found struct {
	start, end partition.Offset
	batches    int // of the ledger's, and the pending one
	pending    int // which of them; −1: none
}

// reader reads partitions into one buffer.
type reader struct{ buf []byte }

// check compares an opened store with the promises, and returns what each partition had. The first broken promise is
// the error.
func (r *reader) check(s *partition.Store, l *ledger, lost loss) (map[partition.TopicPartition]found, error) {
	all := map[partition.TopicPartition]found{}
	topics, err := s.ListTopics(bg)
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, d := range topics {
		want := l.topics[d.Name]
		if want == nil {
			return nil, fmt.Errorf("topic %q is there and should not be", d.Name)
		}
		there[d.Name] = true
		if d.ID != want.id && !want.id.IsZero() {
			return nil, fmt.Errorf("topic %q has the id %s, want %s", d.Name, d.ID, want.id)
		}
		if n := int(d.Partitions); n > len(want.parts) || n < want.least {
			return nil, fmt.Errorf("topic %q has %d partitions, want %d to %d", d.Name, n, want.least, len(want.parts))
		}
		topic, err := s.Topic(d.Name)
		if err != nil {
			return nil, err
		}
		for i := range d.Partitions {
			p, err := topic.Partition(i)
			if err != nil {
				return nil, err
			}
			f, err := r.checkPart(p, &want.parts[i], lost)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.TopicPartition(), err)
			}
			all[p.TopicPartition()] = f
		}
	}
	for name, t := range l.topics {
		if !there[name] && !t.doubt {
			return nil, fmt.Errorf("topic %q is missing", name)
		}
	}
	return all, nil
}

func (r *reader) checkPart(p *partition.Partition, want *ledgerPart, lost loss) (found, error) {
	start, err := p.LogStart()
	if err != nil {
		return found{}, err
	}
	if start < want.start || start > max(want.maybeStart, want.start) {
		return found{}, fmt.Errorf("log start offset is %d, want %d to %d", start, want.start, max(want.maybeStart, want.start))
	}
	hw, err := p.HighWatermark()
	if err != nil {
		return found{}, err
	}
	f := found{start: start, end: start, pending: -1}
	expected := want.batches
	for len(expected) > 0 && expected[0].next <= start {
		expected = expected[1:]
		f.batches++
	}
	pending := want.pending
	for at := start; at < hw; {
		chunk, next, err := p.ReadCopy(r.buf[:0], at, 1<<20)
		if err != nil {
			return found{}, fmt.Errorf("read from %d: %w", at, err)
		}
		if next <= at {
			return found{}, fmt.Errorf("a read from %d, below the high watermark %d, returns nothing", at, hw)
		}
		r.buf = chunk
		for len(chunk) > 0 {
			b, err := batch.Peek(chunk)
			if err != nil {
				return found{}, fmt.Errorf("read from %d: %w", at, err)
			}
			chunk = chunk[len(b):]
			var is *ledgerBatch
			switch {
			case len(expected) > 0:
				is, expected = &expected[0], expected[1:]
			case len(pending) > 0:
				i := max(slices.IndexFunc(pending, func(x ledgerBatch) bool { return same(b, &x) == nil }), 0)
				is, pending = &pending[i], nil
				f.pending = i
			default:
				return found{}, fmt.Errorf("batch [%d,%d] was invented", b.BaseOffset(), b.LastOffset())
			}
			if err := same(b, is); err != nil {
				return found{}, err
			}
			f.batches++
			f.end = is.next
		}
		at = next
	}
	if promised := want.promised(lost); f.end < promised {
		return found{}, fmt.Errorf("records [%d,%d) were acknowledged and are lost; the log starts at %d", f.end, promised, start)
	}
	if hw > f.end {
		return found{}, fmt.Errorf("the high watermark is %d, and the last record %d", hw, f.end-1)
	}
	return f, nil
}

// same compares a stored batch with the one that was appended; base offset and leader epoch are the store's to set.
func same(got batch.Batch, want *ledgerBatch) error {
	if partition.Offset(got.BaseOffset()) != want.base {
		return fmt.Errorf("batch [%d,%d] is where the one with base offset %d should be", got.BaseOffset(), got.LastOffset(), want.base)
	}
	if len(got) != len(want.bytes) || !bytes.Equal(got[8:12], want.bytes[8:12]) || !bytes.Equal(got[16:], want.bytes[16:]) {
		return fmt.Errorf("batch [%d,%d] has other bytes than were appended", got.BaseOffset(), got.LastOffset())
	}
	return nil
}

// settle makes what a reopened store had the truth, where a test goes on from there: with nothing in doubt and, as a
// reader may have seen it all, nothing that may still be lost.
func (l *ledger) settle(s *partition.Store, all map[partition.TopicPartition]found) error {
	topics, err := s.ListTopics(bg)
	if err != nil {
		return err
	}
	old := l.topics
	l.topics = map[string]*ledgerTopic{}
	for _, d := range topics {
		before := old[d.Name]
		if before == nil {
			return errors.New("BUG: settle without check")
		}
		t := &ledgerTopic{id: d.ID, parts: make([]ledgerPart, d.Partitions), least: int(d.Partitions)}
		for i := range t.parts {
			f := all[partition.TopicPartition{Topic: d.Name, Partition: int32(i)}]
			p := before.parts[i]
			batches := p.batches
			if f.pending >= 0 {
				batches = append(slices.Clip(batches), p.pending[f.pending])
			}
			t.parts[i] = ledgerPart{start: f.start, maybeStart: f.start, batches: slices.Clip(batches[:f.batches])}
			t.parts[i].written = t.parts[i].end()
		}
		l.topics[d.Name] = t
	}
	return nil
}
