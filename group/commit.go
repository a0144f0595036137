package group

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/partlog/partlog/internal/mutant"
	"github.com/partlog/partlog/partition"
)

// checkCommit is ClassicGroup.validateOffsetCommit.
func (m *machine) checkCommit(s Membership, transactional bool) error {
	switch {
	case m.state == Dead:
		return ErrCoordinatorNotAvailable
	case m.next != nil:
		return m.next.checkCommit(s, transactional)
	case s.Generation < 0 && m.state == Empty:
		return nil // from outside: a tool, or a consumer that assigns by hand
	case m.blank():
		return errNoSuchGroup
	case s.Generation < 0 && s.MemberID == "" && s.InstanceID == "":
		if transactional {
			return nil // producers before KIP-447 do not say for whom they commit
		}
		return ErrUnknownMemberID // nobody moves offsets from under the members
	}
	if mutant.On(mutant.StaleMemberCommits) && m.byID[s.MemberID] != nil {
		s.Generation = m.generation
	}
	known, err := m.checkMember(s)
	switch {
	case err != nil:
		return err
	case transactional:
		return nil // neither refused while the assignment is awaited, nor a sign of the consumer's life
	case m.state == CompletingRebalance:
		return ErrRebalanceInProgress
	}
	m.alive(known, known.session)
	return nil
}

func (m *machine) stepCommit(e commitEvent) {
	if err := m.checkCommit(e.Membership, e.txn != nil); err != nil {
		m.answer(e.call, err)
		return
	}
	p := &pendingAppend{call: e.call, refused: e.refused, txn: e.txn}
	records := make([]record, 0, len(e.offsets))
	for _, o := range e.offsets {
		var err error
		switch {
		case o.Offset < 0 && !e.negative:
			err = ErrInvalidCommitOffset
		case len(o.Metadata) > m.config.maxMetadata:
			err = fmt.Errorf("%w: %d bytes, at most %d", ErrOffsetMetadataTooLarge, len(o.Metadata), m.config.maxMetadata)
		case e.txn != nil && m.unwritten[o.TopicPartition]:
			// The offset in memory is to be written yet, and would then be later than this one.
			err = partition.ErrNoSpace
		}
		if err != nil {
			if p.refused == nil {
				p.refused = make(map[partition.TopicPartition]error)
			}
			p.refused[o.TopicPartition] = err
			continue
		}
		o.Time = m.now
		if e.retention > 0 {
			o.expires = m.now.Add(e.retention).UnixMilli()
		}
		p.offsets = append(p.offsets, o)
		records = append(records, offsetCommitRecord(m.id, o.TopicPartition, &o.storedOffset))
	}
	if len(records) == 0 {
		m.answer(e.call, p.err())
		return
	}
	m.append(p, records)
}

// err is the answer to a commit that has gone well as far as it was accepted.
func (p *pendingAppend) err() error {
	switch {
	case len(p.refused) == 0:
		return nil
	case p.deleted:
		return &OffsetsError{Partitions: p.refused}
	}
	return &CommitError{Partitions: p.refused}
}

// stepAppended is the log's answer. A full disk is not a failure of the group: it goes on in memory, and what is missing
// in the log is written when there is space. That is not so for what cannot be taken back or repeated: the offsets of a
// transaction, and deletions.
func (m *machine) stepAppended(e appendedEvent) {
	p := m.appends[e.id]
	delete(m.appends, e.id)
	if p == nil {
		return
	}
	if p.changes != nil {
		m.changesAppended(p.changes, e.err)
		return
	}
	err, inMemory := e.err, false
	if e.noSpace && p.txn == nil && !p.deleted {
		err, inMemory = nil, true
	}
	if err == nil {
		m.written(p, e.base, inMemory)
	}
	// A retry that failed comes again, and so does one since whose sending there is more to write.
	if inMemory || p.retry && (len(m.unwritten) > 0 || m.metadataUnwritten) {
		m.setTimer(timerRetry, "", m.config.retry)
	}
	if p.assignments != nil && e.id == m.syncAppend {
		m.assigned(p, err)
	}
	if p.replaced != nil {
		m.replaced(p, err)
	}
	if p.failed != nil {
		*p.failed = cmp.Or(*p.failed, err)
		err = *p.failed
	}
	switch {
	case err == nil:
		err = p.err()
	case len(p.offsets) > 0 && !p.deleted && errors.Is(err, partition.ErrMessageTooLarge):
		err = fmt.Errorf("%w: %d partitions: %w", ErrInvalidCommitOffsetSize, len(p.offsets), err)
	}
	m.answer(p.call, err)
}

// written takes over what the log has from base on, or has not for want of space.
func (m *machine) written(p *pendingAppend, base partition.Offset, inMemory bool) {
	if p.metadata {
		m.metadataUnwritten = inMemory
	}
	if p.deleted {
		m.forgotten(p, base)
		return
	}
	m.made = m.made || len(p.offsets) > 0
	for i, o := range p.offsets {
		o.at = base + partition.Offset(i)
		if inMemory {
			o.at = m.lastAt
		}
		m.lastAt = max(m.lastAt, o.at)
		switch {
		case p.txn != nil:
			m.await(p.txn.Producer.ID, o)
			continue
		case !m.put(o.TopicPartition, o.storedOffset):
			continue
		case inMemory:
			m.unwritten[o.TopicPartition] = true
		default:
			delete(m.unwritten, o.TopicPartition)
		}
	}
	if p.txn != nil {
		m.emit(watchEffect{producer: p.txn.Producer.ID, from: base})
	}
}

// retryWrites writes what there was no space for. Partitions with a commit on its way are left to that: an older
// offset must not follow it into the log.
func (m *machine) retryWrites() {
	busy := make(map[partition.TopicPartition]bool)
	for _, a := range m.appends {
		if a.retry {
			return // its answer sets the timer again
		}
		for _, o := range a.offsets {
			busy[o.TopicPartition] = true
		}
	}
	// In the other states the record is that of a generation on its way out, and the next one writes its own.
	m.metadataUnwritten = m.metadataUnwritten && (m.state == Stable || m.state == Empty)
	if m.metadataUnwritten {
		m.append(&pendingAppend{retry: true, metadata: true}, []record{m.metadataRecord(nil)})
	}
	var offsets []offsetRecord
	var records []record
	for _, tp := range sortedKeys(m.unwritten) {
		if !busy[tp] {
			o := offsetRecord{tp, m.offsets[tp]}
			offsets = append(offsets, o)
			records = append(records, offsetCommitRecord(m.id, tp, &o.storedOffset))
		}
	}
	for from, to := range parts(records) {
		m.append(&pendingAppend{retry: true, offsets: offsets[from:to]}, records[from:to])
	}
	if len(m.unwritten) > 0 && len(records) == 0 && !m.metadataUnwritten {
		m.setTimer(timerRetry, "", m.config.retry)
	}
}

// stepForget drops the offsets of a topic that has been deleted. The tombstones need no answer: offsets that come back
// from the log carry the old topic's id and are dropped again.
func (m *machine) stepForget(tps []partition.TopicPartition) {
	var records []record
	dropped := make(map[string]int)
	for _, tp := range slices.SortedFunc(slices.Values(tps), compareTopicPartitions) {
		if _, ok := m.offsets[tp]; ok {
			delete(m.offsets, tp)
			delete(m.unwritten, tp)
			dropped[tp.Topic]++
			records = append(records, offsetCommitRecord(m.id, tp, nil))
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(dropped)) {
		m.emit(infoEffect{OffsetsDroppedInfo{Group: m.id, Topic: topic, Partitions: dropped[topic]}})
	}
	for from, to := range parts(records) {
		m.append(&pendingAppend{}, records[from:to])
	}
}

// partBytes bounds a part of what may be written in several batches: of what needs not be there as a whole, and must not be
// refused for its size. The writer puts parts together again as far as they fit.
const partBytes = 64 << 10

// parts divides records into runs of at most partBytes, or of a single record.
func parts(records []record) iter.Seq2[int, int] {
	return func(yield func(int, int) bool) {
		from, size := 0, 0
		for i, r := range records {
			n := len(r.key) + len(r.value)
			if i > from && size+n > partBytes {
				if !yield(from, i) {
					return
				}
				from, size = i, 0
			}
			size += n
		}
		if from < len(records) {
			yield(from, len(records))
		}
	}
}

func sortedKeys[V any](m map[partition.TopicPartition]V) []partition.TopicPartition {
	return slices.SortedFunc(maps.Keys(m), compareTopicPartitions)
}
