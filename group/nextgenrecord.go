package group

import (
	"encoding/binary"
	"time"

	"github.com/partlog/partlog/partition"
)

// Types of keys of consumer groups (KIP-848) in OffsetsTopic.
const (
	keyConsumerGroup        int16 = 3 // the group's epoch
	keyConsumerTopics       int16 = 4 // topics as of brokers before 4.1, who kept them here; only its tombstone is written
	keyConsumerMember       int16 = 5 // a member's subscription
	keyConsumerTarget       int16 = 6 // the epoch of the target assignment
	keyConsumerTargetMember int16 = 7 // a member's target assignment
	keyConsumerAssignment   int16 = 8 // a member's present assignment
	keyConsumerRegex        int16 = 16
)

// Tagged fields of the values: MetadataHash of type 3, ClassicMemberMetadata of type 5.
const (
	tagMetadataHash  = 0
	tagClassicMember = 0
)

// maxKeyString is what a string of a key may have in bytes.
const maxKeyString = 1<<15 - 1

func isConsumerKey(kind int16) bool {
	return kind >= keyConsumerGroup && kind <= keyConsumerAssignment || kind == keyConsumerRegex
}

// hasMember reports whether a key of this type names a member, or a regular expression, after the group.
func hasMember(kind int16) bool {
	switch kind {
	case keyConsumerMember, keyConsumerTargetMember, keyConsumerAssignment, keyConsumerRegex:
		return true
	}
	return false
}

// record encodes a change; all values are of version 0.
func (c *change) record(group string) record {
	w := writer{}
	w.int16(c.kind)
	w.keyString(group)
	if hasMember(c.kind) {
		w.keyString(c.member)
	}
	r := record{key: w.b}
	if c.gone {
		return r
	}
	w = writer{}
	w.int16(0)
	switch c.kind {
	case keyConsumerGroup:
		w.int32(int32(c.epoch))
		if c.hash != 0 {
			w.uvarint(1)
			w.uvarint(tagMetadataHash)
			w.uvarint(8)
			w.int64(c.hash)
		} else {
			w.uvarint(0)
		}
	case keyConsumerMember:
		w.subscription(c.subscription)
	case keyConsumerTarget:
		w.int32(int32(c.epoch))
		w.uvarint(0)
	case keyConsumerTargetMember:
		w.partitions(c.target)
		w.uvarint(0)
	case keyConsumerAssignment:
		w.int32(int32(c.assignment.epoch))
		w.int32(int32(c.assignment.previous))
		w.b = append(w.b, byte(c.assignment.state))
		w.partitions(c.assignment.assigned)
		w.partitions(c.assignment.revoking)
		w.uvarint(0)
	case keyConsumerRegex:
		w.strings(c.regex.topics)
		w.int64(c.regex.version)
		w.int64(c.regex.time.UnixMilli())
		w.uvarint(0)
	}
	r.value = w.b
	return r
}

func (w *writer) subscription(m *consumerMember) {
	w.nullable(m.instanceID)
	w.nullable(m.rackID)
	w.string(m.clientID)
	w.string(m.clientHost)
	w.strings(m.topics)
	w.string(m.regex)
	w.int32(milliseconds(m.rebalance))
	w.nullable(m.assignor)
	// Without the field Kafka takes a member for a classic one of which nothing is known: null has to be written.
	classic := writer{b: []byte{0}}
	if m.classic != nil {
		classic.b[0] = 1
		classic.int32(milliseconds(m.classic.session))
		classic.uvarint(uint64(len(m.classic.protocols)) + 1)
		for _, p := range m.classic.protocols {
			classic.string(p.Name)
			classic.string(string(p.Metadata))
			classic.uvarint(0)
		}
		classic.uvarint(0)
	}
	w.uvarint(1)
	w.uvarint(tagClassicMember)
	w.uvarint(uint64(len(classic.b)))
	w.b = append(w.b, classic.b...)
}

// decodeChange reads the rest of a record whose key is of one of the types above; the group has been read from the key.
// ok is false for a version of the value that is not known.
func decodeChange(kind int16, k *reader, value []byte) (c change, ok bool) {
	c.kind = kind
	if hasMember(kind) {
		c.member = k.string()
	}
	if value == nil {
		c.gone = true
		return c, true
	}
	v := reader{b: value}
	version := v.int16()
	switch {
	case v.failed || version < 0:
		k.failed = true
		return c, true
	case version > 0:
		return c, false
	}
	v.flexible = true
	switch kind {
	case keyConsumerGroup:
		c.epoch = MemberEpoch(v.int32())
		v.tags(func(tag uint64, b []byte) {
			switch {
			case tag != tagMetadataHash:
			case len(b) == 8:
				c.hash = int64(binary.BigEndian.Uint64(b))
			default:
				v.failed = true
			}
		})
	case keyConsumerTopics:
		return c, true // its content is not needed, and may be anything
	case keyConsumerMember:
		c.subscription = v.subscription()
	case keyConsumerTarget:
		c.epoch = MemberEpoch(v.int32())
		v.tags(nil)
	case keyConsumerTargetMember:
		c.target = v.partitions()
		v.tags(nil)
	case keyConsumerAssignment:
		m := &consumerMember{epoch: MemberEpoch(v.int32()), previous: MemberEpoch(v.int32())}
		if b := v.take(1); b != nil {
			m.state = ReconciliationState(b[0])
		}
		m.assigned, m.revoking = v.partitions(), v.partitions()
		v.tags(nil)
		c.assignment = m
	case keyConsumerRegex:
		c.regex = &resolvedRegex{topics: sortedSet(v.strings()), version: v.int64(), time: time.UnixMilli(v.int64())}
		v.tags(nil)
	}
	if !v.done() {
		k.failed = true
	}
	return c, true
}

func (r *reader) subscription() *consumerMember {
	m := &consumerMember{
		instanceID: deref(r.nullableString()), rackID: deref(r.nullableString()), clientID: r.string(), clientHost: r.string(),
		topics: sortedSet(r.strings()), regex: deref(r.nullableString()), rebalance: time.Duration(r.int32()) * time.Millisecond,
		assignor: deref(r.nullableString()),
	}
	r.tags(func(tag uint64, b []byte) {
		if tag != tagClassicMember {
			return
		}
		c := reader{b: b, flexible: true}
		if c.uvarint() == 0 {
			r.failed = r.failed || !c.done()
			return // null
		}
		m.classic = &classicMember{session: time.Duration(c.int32()) * time.Millisecond}
		for n := c.arrayLen(); n > 0 && !c.failed; n-- {
			m.classic.protocols = append(m.classic.protocols, Protocol{Name: c.string(), Metadata: c.bytes()})
			c.tags(nil)
		}
		c.tags(nil)
		r.failed = r.failed || !c.done()
	})
	return m
}

func (r *reader) partitions() partitionSet {
	byTopic := make(map[partition.TopicID][]int32)
	for n := r.arrayLen(); n > 0 && !r.failed; n-- {
		var id partition.TopicID
		copy(id[:], r.take(len(id)))
		for n := r.arrayLen(); n > 0 && !r.failed; n-- {
			byTopic[id] = append(byTopic[id], r.int32())
		}
		r.tags(nil)
	}
	return partitionSetOf(byTopic)
}

func (r *reader) strings() (all []string) {
	for n := r.arrayLen(); n > 0 && !r.failed; n-- {
		all = append(all, r.string())
	}
	return all
}

// writer writes the primitive types of Kafka's schemas: keys are not flexible, values are.
type writer struct{ b []byte }

func (w *writer) int16(v int16)    { w.b = binary.BigEndian.AppendUint16(w.b, uint16(v)) }
func (w *writer) int32(v int32)    { w.b = binary.BigEndian.AppendUint32(w.b, uint32(v)) }
func (w *writer) int64(v int64)    { w.b = binary.BigEndian.AppendUint64(w.b, uint64(v)) }
func (w *writer) uvarint(v uint64) { w.b = binary.AppendUvarint(w.b, v) }

func (w *writer) keyString(s string) {
	w.int16(int16(len(s)))
	w.b = append(w.b, s...)
}

func (w *writer) string(s string) {
	w.uvarint(uint64(len(s)) + 1)
	w.b = append(w.b, s...)
}

// nullable writes the empty string as null.
func (w *writer) nullable(s string) {
	if s == "" {
		w.uvarint(0)
	} else {
		w.string(s)
	}
}

func (w *writer) strings(all []string) {
	w.uvarint(uint64(len(all)) + 1)
	for _, s := range all {
		w.string(s)
	}
}

func (w *writer) partitions(s partitionSet) {
	w.uvarint(uint64(len(s)) + 1)
	for _, t := range s {
		w.b = append(w.b, t.TopicID[:]...)
		w.uvarint(uint64(len(t.Partitions)) + 1)
		for _, p := range t.Partitions {
			w.int32(p)
		}
		w.uvarint(0)
	}
}
