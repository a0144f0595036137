package group

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// record is a record of OffsetsTopic in its encoded form. A nil value is a tombstone.
type record struct{ key, value []byte }

// Types of keys in OffsetsTopic, which are the versions of the key schemas. 3 to 8 belong to KIP-848 groups, 10 to 15
// to share groups, 16 and above to regular expressions and streams; they are skipped by whom they do not concern.
const (
	keyOffsetCommitOld int16 = 0
	keyOffsetCommit    int16 = 1
	keyGroupMetadata   int16 = 2
)

// Versions of the values that are written, as Kafka 4.1 and later do.
const (
	offsetCommitVersion = 4
	// The only version with a retention of its own; it knows neither leader epoch nor topic id.
	expiringOffsetCommitVersion = 1
	groupMetadataVersion        = 3
)

// Flexible values end in tagged fields; this one of OffsetCommitValue holds the topic's id.
const tagTopicID = 0

func offsetCommitRecord(group string, tp partition.TopicPartition, c *storedOffset) record {
	k := kmsg.OffsetCommitKey{Version: keyOffsetCommit, Group: group, Topic: tp.Topic, Partition: tp.Partition}
	if c == nil {
		return record{key: k.AppendTo(nil)}
	}
	version := int16(offsetCommitVersion)
	if c.expires != 0 {
		version = expiringOffsetCommitVersion
	}
	// One buffer for both, large enough for what is usual.
	b := k.AppendTo(make([]byte, 0, 64+len(group)+len(tp.Topic)+len(c.Metadata)))
	whole := appendOffsetCommit(b, c, version)
	return record{key: whole[:len(b):len(b)], value: whole[len(b):]}
}

func groupTombstone(group string) record {
	k := kmsg.GroupMetadataKey{Version: keyGroupMetadata, Group: group}
	return record{key: k.AppendTo(nil)}
}

func appendOffsetCommit(dst []byte, c *storedOffset, version int16) []byte {
	v := kmsg.OffsetCommitValue{
		Version: version, Offset: int64(c.Offset), LeaderEpoch: int32(c.LeaderEpoch), Metadata: c.Metadata,
		CommitTimestamp: c.Time.UnixMilli(), TopicID: c.TopicID, ExpireTimestamp: cmp.Or(c.expires, -1),
	}
	return v.AppendTo(dst)
}

// metadataRecord is the group's own record, with these assignments or, if nil, with those that the members have.
func (m *machine) metadataRecord(assignments map[string][]byte) record {
	v := groupMetadata{protocolType: m.protocolType, generation: m.generation, protocol: m.protocol, leader: m.leader, since: m.since}
	for _, member := range m.members {
		assignment := member.assignment
		if assignments != nil {
			assignment = assignments[member.id]
		}
		v.members = append(v.members, groupMember{
			id: member.id, instanceID: member.instanceID, clientID: member.clientID, clientHost: member.clientHost,
			rebalance: member.rebalance, session: member.session,
			subscription: member.metadata(m.protocol), assignment: assignment,
		})
	}
	k := kmsg.GroupMetadataKey{Version: keyGroupMetadata, Group: m.id}
	return record{key: k.AppendTo(nil), value: v.append(nil, groupMetadataVersion)}
}

// groupMetadata is a GroupMetadataValue.
type groupMetadata struct {
	protocolType     string
	generation       Generation
	protocol, leader string // empty is null
	since            time.Time
	members          []groupMember
}

// groupMember is a member in a GroupMetadataValue.
type groupMember struct {
	id                       string
	instanceID               string // empty is null
	clientID, clientHost     string
	rebalance, session       time.Duration
	subscription, assignment []byte
}

func (g *groupMetadata) append(dst []byte, version int16) []byte {
	v := kmsg.GroupMetadataValue{
		Version: version, ProtocolType: g.protocolType, Generation: int32(g.generation),
		Protocol: nullable(g.protocol), Leader: nullable(g.leader), CurrentStateTimestamp: g.since.UnixMilli(),
	}
	for _, m := range g.members {
		v.Members = append(v.Members, kmsg.GroupMetadataValueMember{
			MemberID: m.id, InstanceID: nullable(m.instanceID), ClientID: m.clientID, ClientHost: m.clientHost,
			RebalanceTimeoutMillis: milliseconds(m.rebalance), SessionTimeoutMillis: milliseconds(m.session),
			Subscription: m.subscription, Assignment: m.assignment,
		})
	}
	return v.AppendTo(dst)
}

// groupRecord is what a record of OffsetsTopic says; exactly one of the two kinds is meant.
type groupRecord struct {
	group string
	// Of an offset commit:
	isOffset bool
	tp       partition.TopicPartition
	offset   *storedOffset // nil is a tombstone
	// Of group metadata:
	metadata *groupMetadata // nil is a tombstone
	// Of a consumer group:
	change *change
}

// decodeRecord reads a record of OffsetsTopic. ok is false for types and versions that this package does not know,
// which are to be skipped; the error is ErrCorruptRecord.
func decodeRecord(key, value []byte) (r groupRecord, ok bool, err error) {
	return decodeRecordInto(key, value, nil, nil)
}

// decodeRecordInto is decodeRecord for whoever reads many: the names of keys are looked up among those that are there
// already, and an offset is read into the given place, which the next record may overwrite.
func decodeRecordInto(key, value []byte, names map[string]string, offset *storedOffset) (r groupRecord, ok bool, err error) {
	k := reader{b: key, names: names}
	kind := k.int16()
	if k.failed {
		return r, false, fmt.Errorf("key: %w", ErrCorruptRecord)
	}
	switch kind {
	case keyOffsetCommitOld, keyOffsetCommit:
		r.isOffset = true
		r.group, r.tp.Topic, r.tp.Partition = k.string(), k.string(), k.int32()
	case keyGroupMetadata:
		r.group = k.string()
	default:
		if !isConsumerKey(kind) {
			return r, false, nil
		}
		r.group = k.string()
		c, ok := decodeChange(kind, &k, value)
		if !k.done() {
			return r, false, fmt.Errorf("record of type %d: %w", kind, ErrCorruptRecord)
		}
		r.change = &c
		return r, ok, nil
	}
	if !k.done() {
		return r, false, fmt.Errorf("key of type %d: %w", kind, ErrCorruptRecord)
	}
	if value == nil {
		return r, true, nil
	}
	v := reader{b: value}
	version := v.int16()
	switch {
	case v.failed || version < 0:
		return r, false, fmt.Errorf("value for key of type %d: %w", kind, ErrCorruptRecord)
	case version > 4:
		return r, false, nil
	}
	v.flexible = version >= 4
	if r.isOffset {
		if r.offset = offset; offset == nil {
			r.offset = new(storedOffset)
		}
		v.offsetCommit(version, r.offset)
	} else {
		r.metadata = v.groupMetadata(version)
	}
	if !v.done() {
		return r, false, fmt.Errorf("value of version %d for key of type %d: %w", version, kind, ErrCorruptRecord)
	}
	return r, true, nil
}

func (r *reader) offsetCommit(version int16, c *storedOffset) {
	*c = storedOffset{CommittedOffset: CommittedOffset{Offset: partition.Offset(r.int64()), LeaderEpoch: partition.LeaderEpochUnknown}}
	if version >= 3 {
		c.LeaderEpoch = partition.LeaderEpoch(r.int32())
	}
	c.Metadata = r.string()
	c.Time = time.UnixMilli(r.int64())
	if version == 1 {
		c.expires = max(r.int64(), 0) // −1 is none
	}
	r.tags(func(tag uint64, b []byte) {
		switch {
		case tag != tagTopicID:
		case len(b) == len(c.TopicID):
			c.TopicID = partition.TopicID(b)
		default:
			r.failed = true
		}
	})
}

func (r *reader) groupMetadata(version int16) *groupMetadata {
	g := &groupMetadata{protocolType: r.string(), generation: Generation(r.int32()), protocol: deref(r.nullableString()), leader: deref(r.nullableString())}
	g.since = time.UnixMilli(-1)
	if version >= 2 {
		g.since = time.UnixMilli(r.int64())
	}
	for n := r.arrayLen(); n > 0 && !r.failed; n-- {
		var m groupMember
		m.id = r.string()
		if version >= 3 {
			m.instanceID = deref(r.nullableString())
		}
		m.clientID, m.clientHost = r.string(), r.string()
		m.rebalance = -1
		if version >= 1 {
			m.rebalance = time.Duration(r.int32()) * time.Millisecond
		}
		m.session = time.Duration(r.int32()) * time.Millisecond
		if m.rebalance < 0 {
			m.rebalance = m.session // as for members of JoinGroup v0
		}
		m.subscription, m.assignment = r.bytes(), r.bytes()
		r.tags(nil)
		g.members = append(g.members, m)
	}
	r.tags(nil)
	return g
}

// reader reads the primitive types of Kafka's schemas. The first thing that does not fit makes it fail for good; it
// then returns zeros. It copies what it returns. (kmsg's decoder believes a count of tagged fields without looking
// at how many bytes are left, and with four bytes of bad luck is busy for minutes.)
type reader struct {
	b        []byte
	flexible bool
	failed   bool
	names    map[string]string // if not nil, strings are shared through it
}

func (r *reader) done() bool { return !r.failed && len(r.b) == 0 }

func (r *reader) take(n int) []byte {
	if r.failed || n < 0 || n > len(r.b) {
		r.failed, r.b = true, nil
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) int16() int16 {
	if b := r.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *reader) int32() int32 {
	if b := r.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *reader) int64() int64 {
	if b := r.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > 1<<31 {
		r.take(-1)
		return 0
	}
	r.b = r.b[n:]
	return v
}

// length reads the length of a string, -1 for null.
func (r *reader) length() int {
	if r.flexible {
		return int(r.uvarint()) - 1
	}
	return int(r.int16())
}

func (r *reader) string() string {
	b := r.take(r.length())
	if r.names == nil {
		return string(b)
	}
	s, ok := r.names[string(b)]
	if !ok {
		s = string(b)
		r.names[s] = s
	}
	return s
}

func (r *reader) nullableString() *string {
	n := r.length()
	if n == -1 && !r.failed {
		return nil
	}
	s := string(r.take(n))
	return &s
}

func (r *reader) arrayLen() int {
	n := 0
	if r.flexible {
		n = int(r.uvarint()) - 1
	} else {
		n = int(r.int32())
	}
	if n > len(r.b) { // nothing is smaller than a byte
		r.take(-1)
		return 0
	}
	return n
}

func (r *reader) bytes() []byte {
	n := 0
	if r.flexible {
		n = int(r.uvarint()) - 1
	} else {
		n = int(r.int32())
	}
	return append([]byte(nil), r.take(n)...)
}

// tags reads the tagged fields of a flexible struct.
func (r *reader) tags(f func(tag uint64, b []byte)) {
	if !r.flexible {
		return
	}
	for n := r.uvarint(); n > 0 && !r.failed; n-- {
		tag, b := r.uvarint(), r.take(int(r.uvarint()))
		if f != nil && !r.failed {
			f(tag, b)
		}
	}
}

func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func milliseconds(d time.Duration) int32 {
	return int32(min(d.Milliseconds(), 1<<31-1))
}
