package group

import (
	"slices"

	"github.com/partlog/partlog/partition"
)

// stepDeleteGroup removes the group with all its offsets (DeleteGroups): only while it has no members.
func (m *machine) stepDeleteGroup(call callID) {
	switch {
	case m.state == Dead:
		m.answer(call, ErrCoordinatorNotAvailable)
	case m.blank():
		m.answer(call, ErrGroupIDNotFound)
	case m.state != Empty:
		m.answer(call, ErrGroupNotEmpty)
	default:
		m.delete(&pendingAppend{call: call, group: true}, m.known())
	}
}

// stepDeleteOffsets removes committed offsets (OffsetDelete), but not of topics that the members are subscribed to.
func (m *machine) stepDeleteOffsets(e deleteOffsetsEvent) {
	switch {
	case m.state == Dead || m.blank():
		m.answer(e.call, ErrGroupIDNotFound)
		return
	case m.next == nil && m.state != Empty && m.protocolType != ProtocolTypeConsumer:
		m.answer(e.call, ErrGroupNotEmpty)
		return
	}
	p := &pendingAppend{call: e.call, deleted: true}
	var tps []partition.TopicPartition
	subscribed, known := m.subscribed(), m.known()
	for _, tp := range e.partitions {
		switch {
		case subscribed[tp.Topic]:
			if p.refused == nil {
				p.refused = make(map[partition.TopicPartition]error)
			}
			p.refused[tp] = ErrGroupSubscribedToTopic
		case slices.Contains(known, tp):
			tps = append(tps, tp)
		}
	}
	if len(tps) == 0 {
		m.answer(e.call, p.err())
		return
	}
	m.delete(p, tps)
}

// known are the partitions with an offset, committed or in an open transaction.
func (m *machine) known() []partition.TopicPartition {
	tps := sortedKeys(m.offsets)
	for _, offsets := range m.awaited {
		for tp := range offsets {
			if _, ok := m.offsets[tp]; !ok {
				tps = append(tps, tp)
			}
		}
	}
	slices.SortFunc(tps, compareTopicPartitions)
	return slices.Compact(tps)
}

// delete writes tombstones; what they delete is gone when they are in the log. Those of many offsets go there in parts, that
// of the group with the last one: whoever is cut off in between deletes the rest by asking again.
func (m *machine) delete(last *pendingAppend, tps []partition.TopicPartition) {
	last.deleted, last.failed = true, new(error)
	var records []record
	for _, tp := range tps {
		last.offsets = append(last.offsets, offsetRecord{TopicPartition: tp})
		records = append(records, offsetCommitRecord(m.id, tp, nil))
	}
	begin := 0 // of the last part
	for from, to := range parts(records) {
		if begin = from; to < len(records) {
			m.append(&pendingAppend{deleted: true, expired: last.expired, failed: last.failed, offsets: last.offsets[from:to]}, records[from:to])
		}
	}
	records, last.offsets = records[begin:], last.offsets[begin:]
	switch {
	case last.group && m.next != nil:
		for _, c := range m.next.live.tombstones() {
			records = append(records, c.record(m.id))
		}
	case last.group:
		records = append(records, groupTombstone(m.id))
	}
	m.append(last, records)
}

// forgotten takes away what the tombstones from base on have deleted. Whoever joined or committed meanwhile has later
// records, and stays.
func (m *machine) forgotten(p *pendingAppend, base partition.Offset) {
	offsets := 0
	for i, o := range p.offsets {
		at := base + partition.Offset(i)
		m.lastAt = max(m.lastAt, at)
		if m.drop(o.TopicPartition, at) {
			offsets++
		}
	}
	gone := p.group && m.state == Empty
	if gone {
		m.generation, m.protocolType, m.metadataUnwritten, m.next = 0, "", false, nil
		m.made = len(m.offsets)+len(m.awaited)+len(m.appends) > 0
	}
	if gone || offsets > 0 {
		m.emit(infoEffect{OffsetsDeletedInfo{Group: m.id, Partitions: offsets, WholeGroup: gone, Expired: p.expired}})
	}
}

// subscribed are the topics that the members of a consumer group read; nil where that is not known
// (ClassicGroup.computeSubscribedTopics).
func (m *machine) subscribed() map[string]bool {
	if m.next != nil {
		return m.next.live.subscribed()
	}
	if m.protocolType != ProtocolTypeConsumer || m.protocol == "" {
		return nil
	}
	topics := make(map[string]bool)
	for _, member := range m.members {
		s, err := DecodeSubscription(member.metadata(m.protocol))
		if err != nil {
			return nil
		}
		for _, t := range s.Topics {
			topics[t] = true
		}
	}
	return topics
}
