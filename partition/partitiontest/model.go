package partitiontest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
)

// Model is what a store has to hold, in plain slices: the test tells it what it did, and Check compares. It is for one
// goroutine at a time.
type Model struct {
	topics map[string]*modelTopic
	maybe  map[string]*modelTopic // topics of calls that failed: they may be there or not
}

type modelTopic struct {
	id    partition.TopicID // zero: not known
	parts []modelPartition
}

type modelPartition struct {
	start   partition.Offset
	raised  partition.Offset // start may have become as much as this
	next    partition.Offset
	records []Record
	doubt   []Record // of appends that failed or were not acknowledged: may be there, at any offset after those before
}

// Record is one record of a Model.
type Record struct {
	Offset    partition.Offset
	Timestamp int64
	Key       []byte
	Value     []byte
	Headers   []partition.Header
}

// NewModel returns the model of an empty store.
func NewModel() *Model {
	return &Model{topics: map[string]*modelTopic{}, maybe: map[string]*modelTopic{}}
}

// Topics returns the names of the model's topics, sorted.
func (m *Model) Topics() []string { return slices.Sorted(maps.Keys(m.topics)) }

// Partitions returns how many partitions a topic has, 0 if there is none of that name.
func (m *Model) Partitions(topic string) int32 {
	if t := m.topics[topic]; t != nil {
		return int32(len(t.parts))
	}
	return 0
}

// Created tells of a CreateTopic or CreatePartitions that returned nil; partitions is the number now.
func (m *Model) Created(topic string, id partition.TopicID, partitions int32) {
	delete(m.maybe, topic)
	t := m.topics[topic]
	if t == nil {
		t = &modelTopic{id: id}
		m.topics[topic] = t
	}
	t.parts = append(t.parts, make([]modelPartition, int(partitions)-len(t.parts))...)
}

// Deleted tells of a DeleteTopic that returned nil.
func (m *Model) Deleted(topic string) { delete(m.topics, topic) }

// Doubtful tells that a topic may be there or not, with any records, because a call about it failed.
func (m *Model) Doubtful(topic string) {
	t := m.topics[topic]
	if t == nil {
		t = &modelTopic{}
	}
	delete(m.topics, topic)
	m.maybe[topic] = t
}

// Appended tells of an append that returned nil: the batch as it was passed, and the base offset that was returned.
// With acknowledged false, as for AcksLeader before a power loss, the batch may be gone after a crash.
func (m *Model) Appended(tp partition.TopicPartition, b []byte, base partition.Offset, acknowledged bool) error {
	p, err := m.partition(tp)
	if err != nil {
		return err
	}
	records, err := Records(b)
	if err != nil {
		return err
	}
	for i := range records {
		records[i].Offset = base + partition.Offset(i)
	}
	if !acknowledged {
		p.doubt = append(p.doubt, records...)
		return nil
	}
	if base < p.next {
		return fmt.Errorf("%s: append got offset %d, and the next one is %d", tp, base, p.next)
	}
	p.records = append(p.records, records...)
	p.next = base + partition.Offset(len(records))
	return nil
}

// Failed tells of an append that returned an error after which the batch may still be there.
func (m *Model) Failed(tp partition.TopicPartition, b []byte) error {
	p, err := m.partition(tp)
	if err != nil {
		return err
	}
	records, err := Records(b)
	p.doubt = append(p.doubt, records...)
	return err
}

// Clone returns a copy that changes on its own.
func (m *Model) Clone() *Model {
	c := NewModel()
	for from, to := range map[*map[string]*modelTopic]map[string]*modelTopic{&m.topics: c.topics, &m.maybe: c.maybe} {
		for name, t := range *from {
			parts := slices.Clone(t.parts)
			for i := range parts {
				parts[i].records = slices.Clip(parts[i].records) // appending copies
				parts[i].doubt = slices.Clip(parts[i].doubt)
			}
			to[name] = &modelTopic{id: t.id, parts: parts}
		}
	}
	return c
}

// DeletingRecords tells of a DeleteRecords that may or may not have happened.
func (m *Model) DeletingRecords(tp partition.TopicPartition, before partition.Offset) error {
	p, err := m.partition(tp)
	if err != nil {
		return err
	}
	p.raised = max(p.raised, before)
	return nil
}

// RecordsDeleted tells of a DeleteRecords that returned nil.
func (m *Model) RecordsDeleted(tp partition.TopicPartition, before partition.Offset) error {
	p, err := m.partition(tp)
	if err != nil {
		return err
	}
	p.start = max(p.start, before)
	return nil
}

// End returns the offset after the last record that was acknowledged.
func (m *Model) End(tp partition.TopicPartition) partition.Offset {
	if p, err := m.partition(tp); err == nil {
		return p.next
	}
	return 0
}

// Start returns the log start offset.
func (m *Model) Start(tp partition.TopicPartition) partition.Offset {
	if p, err := m.partition(tp); err == nil {
		return p.start
	}
	return 0
}

func (m *Model) partition(tp partition.TopicPartition) (*modelPartition, error) {
	t := m.topics[tp.Topic]
	if t == nil {
		t = m.maybe[tp.Topic]
	}
	if t == nil || int(tp.Partition) >= len(t.parts) {
		return nil, fmt.Errorf("the model has no %s", tp)
	}
	return &t.parts[tp.Partition], nil
}

// Check compares the store with the model: the same topics, and in each partition exactly the acknowledged records, at
// their offsets, with everything readable and nothing else. It returns the first difference.
func (m *Model) Check(s *partition.Store) error { return m.check(s, false) }

// CheckAfterCrash is Check for a store opened after a crash: besides the acknowledged records, which must all be there
// once, in order and at their offsets, there may be some of those that were not acknowledged, but nothing else.
func (m *Model) CheckAfterCrash(s *partition.Store) error { return m.check(s, true) }

func (m *Model) check(s *partition.Store, crashed bool) error {
	ctx := context.Background()
	all, err := s.Metadata(ctx, nil)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, t := range all {
		if t.Internal || m.maybe[t.Topic] != nil {
			continue
		}
		want := m.topics[t.Topic]
		if want == nil {
			return fmt.Errorf("topic %q is there and should not be", t.Topic)
		}
		seen[t.Topic] = true
		if !want.id.IsZero() && t.ID != want.id {
			return fmt.Errorf("topic %q has id %s, want %s", t.Topic, t.ID, want.id)
		}
		if len(t.Partitions) != len(want.parts) {
			return fmt.Errorf("topic %q has %d partitions, want %d", t.Topic, len(t.Partitions), len(want.parts))
		}
		for i := range want.parts {
			tp := partition.TopicPartition{Topic: t.Topic, Partition: int32(i)}
			got, start, err := ReadAll(ctx, s, tp)
			if err != nil {
				return fmt.Errorf("%s: %w", tp, err)
			}
			if err := want.parts[i].compare(got, start, crashed); err != nil {
				return fmt.Errorf("%s: %w", tp, err)
			}
		}
	}
	for name := range m.topics {
		if !seen[name] {
			return fmt.Errorf("topic %q is missing", name)
		}
	}
	return nil
}

// compare walks through what was read: each record is the next acknowledged one, at its offset, or a doubtful one.
func (p *modelPartition) compare(got []Record, start partition.Offset, crashed bool) error {
	if start != p.start && (start < p.start || start > p.raised) {
		return fmt.Errorf("log start offset is %d, want %d", start, p.start)
	}
	want := p.records
	for len(want) > 0 && want[0].Offset < start {
		want = want[1:]
	}
	used := make([]bool, len(p.doubt))
	last := partition.Offset(-1)
	for _, r := range got {
		if r.Offset < start {
			continue // of the batch that holds the first one
		}
		if r.Offset <= last {
			return fmt.Errorf("offset %d comes after %d", r.Offset, last)
		}
		last = r.Offset
		if len(want) > 0 && want[0].Offset == r.Offset {
			if !r.same(want[0]) {
				return fmt.Errorf("record %d is %q, want %q", r.Offset, r.Value, want[0].Value)
			}
			want = want[1:]
			continue
		}
		i := slices.IndexFunc(p.doubt, func(d Record) bool { return r.same(d) })
		if !crashed || i < 0 || used[i] {
			return fmt.Errorf("record %d (%q) was never acknowledged at this offset", r.Offset, r.Value)
		}
		used[i] = true
	}
	if len(want) > 0 {
		return fmt.Errorf("record %d (%q) and %d after it are missing", want[0].Offset, want[0].Value, len(want)-1)
	}
	return nil
}

// Settle makes what a crash has left the truth: after CheckAfterCrash, a test goes on from here.
func (m *Model) Settle(s *partition.Store) error {
	ctx := context.Background()
	all, err := s.Metadata(ctx, nil)
	if err != nil {
		return err
	}
	m.topics, m.maybe = map[string]*modelTopic{}, map[string]*modelTopic{}
	for _, t := range all {
		if t.Internal {
			continue
		}
		mt := &modelTopic{id: t.ID, parts: make([]modelPartition, len(t.Partitions))}
		for i := range mt.parts {
			tp := partition.TopicPartition{Topic: t.Topic, Partition: int32(i)}
			p := &mt.parts[i]
			if p.records, p.start, err = ReadAll(ctx, s, tp); err != nil {
				return err
			}
			if p.next, err = s.ListOffsets(ctx, tp, partition.TimestampLatest); err != nil {
				return err
			}
		}
		m.topics[t.Topic] = mt
	}
	return nil
}

func (r Record) same(o Record) bool {
	same := func(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }
	return r.Timestamp == o.Timestamp && same(r.Key, o.Key) && same(r.Value, o.Value) &&
		slices.EqualFunc(r.Headers, o.Headers, func(a, b partition.Header) bool { return a.Key == b.Key && same(a.Value, b.Value) })
}

// ReadAll returns all records of a partition below its high watermark, as copies, and the log start offset. A corrupt
// range is skipped if it is one (*log.CorruptionError).
func ReadAll(ctx context.Context, s *partition.Store, tp partition.TopicPartition) (all []Record, start partition.Offset, err error) {
	if start, err = s.ListOffsets(ctx, tp, partition.TimestampEarliest); err != nil {
		return nil, 0, err
	}
	for at := start; ; {
		rs, err := s.Fetch(ctx, partition.FetchRequest{Partitions: []partition.FetchPosition{{TopicPartition: tp, Offset: at, LeaderEpoch: partition.LeaderEpochUnknown}}})
		if err != nil {
			return nil, 0, err
		}
		r := &rs[0]
		if _, ok := errors.AsType[*log.CorruptionError](r.Err); ok && r.CorruptNext > at {
			at = r.CorruptNext
			continue
		}
		if r.Err != nil || len(r.Batches) == 0 {
			return all, start, r.Err
		}
		records, err := Records(r.Batches)
		r.Lease.Release()
		if err != nil {
			return nil, 0, err
		}
		if len(records) == 0 || records[len(records)-1].Offset < at {
			return nil, 0, fmt.Errorf("fetch from %d returned nothing at or after it", at)
		}
		all = append(all, records...)
		at = records[len(records)-1].Offset + 1
	}
}

// Records decodes whole batches into copies of their records, after checking their checksums.
func Records(chunk []byte) (out []Record, err error) {
	for len(chunk) > 0 {
		b, err := batch.Peek(chunk)
		if err != nil {
			return nil, err
		}
		if err := b.CheckCRC(); err != nil {
			return nil, err
		}
		var it batch.Iterator
		b.Iterate(&it, 1<<30)
		for it.Next() {
			r := it.Record()
			c := Record{Offset: partition.Offset(r.Offset), Timestamp: r.Timestamp, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value)}
			for _, h := range r.Headers {
				c.Headers = append(c.Headers, partition.Header{Key: h.Key, Value: bytes.Clone(h.Value)})
			}
			out = append(out, c)
		}
		if err := it.Err(); err != nil {
			return nil, err
		}
		chunk = chunk[len(b):]
	}
	return out, nil
}

// Batch builds a batch of records without compression, ready to be appended; offsets in records are ignored.
func Batch(records ...Record) []byte {
	var w batch.Builder
	w.Reset(nil, batch.Options{})
	for _, r := range records {
		w.Append(r.Timestamp, r.Key, r.Value, r.Headers)
	}
	b, err := w.Finish()
	if err != nil {
		panic("BUG: " + err.Error()) // no records
	}
	return b
}
