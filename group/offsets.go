package group

import (
	"slices"

	"github.com/partlog/partlog/partition"
)

// storedOffset is a committed offset as the machine holds it.
type storedOffset struct {
	CommittedOffset
	// at is where its record is in the offsets topic: of two commits of a partition the later record counts, however
	// their transactions end. What was committed in memory for want of space counts as later than all before it.
	at partition.Offset
	// expires is when it is dropped, in milliseconds since 1970, if a client of an old protocol has set a retention
	// of its own; else 0.
	expires int64
}

// offsetRecord is one partition of a commit.
type offsetRecord struct {
	partition.TopicPartition
	storedOffset
}

// put makes an offset the committed one, unless a later record has it already, and reports whether it did.
func (m *machine) put(tp partition.TopicPartition, o storedOffset) bool {
	if have, ok := m.offsets[tp]; ok && have.at > o.at {
		return false
	}
	m.offsets[tp] = o
	return true
}

// drop takes away what was committed of a partition, in transactions that are open too, before the tombstone at this
// place of the log. It reports whether a committed offset was there.
func (m *machine) drop(tp partition.TopicPartition, at partition.Offset) bool {
	for producer, offsets := range m.awaited {
		if old := m.overtaken[producer]; old != nil {
			m.overtaken[producer] = slices.DeleteFunc(old, func(o offsetRecord) bool { return o.TopicPartition == tp && o.at <= at })
		}
		if o, ok := offsets[tp]; ok && o.at <= at {
			delete(offsets, tp)
		}
		m.awaitedBy(producer)
	}
	if o, ok := m.offsets[tp]; !ok || o.at > at {
		return false
	}
	delete(m.offsets, tp)
	delete(m.unwritten, tp)
	return true
}

// await holds an offset back until its transaction ends.
func (m *machine) await(producer int64, o offsetRecord) {
	if m.awaited == nil {
		m.awaited = make(map[int64]map[partition.TopicPartition]storedOffset)
	}
	if m.awaited[producer] == nil {
		m.awaited[producer] = make(map[partition.TopicPartition]storedOffset)
	}
	if before, ok := m.awaited[producer][o.TopicPartition]; ok {
		if m.overtaken == nil {
			m.overtaken = make(map[int64][]offsetRecord)
		}
		m.overtaken[producer] = append(m.overtaken[producer], offsetRecord{o.TopicPartition, before})
	}
	m.awaited[producer][o.TopicPartition] = o.storedOffset
}

// awaitedBy reports whether a producer's transaction still has offsets here, and forgets it if not.
func (m *machine) awaitedBy(producer int64) bool {
	if len(m.overtaken[producer]) == 0 {
		delete(m.overtaken, producer)
	}
	if len(m.awaited[producer]) > 0 {
		return true
	}
	delete(m.awaited, producer)
	return false
}

// stepMarker ends a producer's transaction: its offsets before the marker count from here on, or never did. A marker may
// come more than once.
func (m *machine) stepMarker(e markerEvent) {
	var later []offsetRecord
	for _, o := range m.overtaken[e.producer] {
		switch {
		case o.at > e.at:
			later = append(later, o)
		case e.commit && m.put(o.TopicPartition, o.storedOffset):
			delete(m.unwritten, o.TopicPartition)
		}
	}
	if m.overtaken[e.producer] != nil {
		m.overtaken[e.producer] = later
	}
	for tp, o := range m.awaited[e.producer] {
		if o.at > e.at {
			continue // of the producer's next transaction
		}
		delete(m.awaited[e.producer], tp)
		if e.commit && m.put(tp, o) {
			delete(m.unwritten, tp)
		}
	}
	m.awaitedBy(e.producer)
	m.lastAt = max(m.lastAt, e.at)
}

// unstable reports whether an open transaction has an offset of the partition, or is being given one: whoever takes the partition
// over now would begin before it.
func (m *machine) unstable(tp partition.TopicPartition) bool {
	for _, p := range m.appends {
		if p.txn != nil && slices.ContainsFunc(p.offsets, func(o offsetRecord) bool { return o.TopicPartition == tp }) {
			return true
		}
	}
	for _, offsets := range m.awaited {
		if _, ok := offsets[tp]; ok {
			return true
		}
	}
	return false
}

// allUnstable is unstable for these partitions, or for all if none is named, as the errors of an answer.
func (m *machine) allUnstable(tps []partition.TopicPartition) map[partition.TopicPartition]error {
	if len(m.awaited) == 0 && len(m.appends) == 0 {
		return nil
	}
	if tps == nil {
		tps = m.known()
	}
	out := make(map[partition.TopicPartition]error)
	for _, tp := range tps {
		if m.unstable(tp) {
			out[tp] = ErrUnstableOffsetCommit
		}
	}
	return out
}
