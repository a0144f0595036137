package group

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// SubscriptionVersion is the version in which Subscription.Append writes; every version is read.
const SubscriptionVersion = 3

// Subscription is what a consumer tells the leader of its group: the metadata of Kafka's embedded "consumer"
// protocol, ConsumerProtocolSubscription.
type Subscription struct {
	Topics   []string // written sorted
	UserData []byte   // the assignor's; nil is null
	// Owned are the partitions that the member has at this moment, as of Generation (v1 and v2).
	Owned      []partition.TopicPartition
	Generation Generation // NoGeneration if unknown
	RackID     string     // empty is null (v3)
}

// Append appends the encoded subscription to dst.
func (s *Subscription) Append(dst []byte) []byte { return s.appendVersion(dst, SubscriptionVersion) }

func (s *Subscription) appendVersion(dst []byte, version int16) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics, m.UserData, m.Generation = version, slices.Sorted(slices.Values(s.Topics)), s.UserData, int32(s.Generation)
	for _, t := range byTopic(s.Owned) {
		m.OwnedPartitions = append(m.OwnedPartitions, kmsg.ConsumerMemberMetadataOwnedPartition{Topic: t.topic, Partitions: t.partitions})
	}
	if s.RackID != "" {
		m.Rack = &s.RackID
	}
	return m.AppendTo(dst)
}

// DecodeSubscription reads a subscription of any version; a newer one than is known is read as the newest known. The
// result shares nothing with b. The error is ErrCorruptRecord.
func DecodeSubscription(b []byte) (Subscription, error) {
	b, version, err := knownVersion(b, SubscriptionVersion)
	if err != nil {
		return Subscription{}, fmt.Errorf("subscription: %w", err)
	}
	var m kmsg.ConsumerMemberMetadata
	if err := m.ReadFrom(b); err != nil {
		return Subscription{}, fmt.Errorf("subscription of version %d: %w: %w", version, ErrCorruptRecord, err)
	}
	s := Subscription{Topics: m.Topics, UserData: slices.Clone(m.UserData), Generation: Generation(m.Generation)}
	for _, t := range m.OwnedPartitions {
		for _, p := range t.Partitions {
			s.Owned = append(s.Owned, partition.TopicPartition{Topic: t.Topic, Partition: p})
		}
	}
	if m.Rack != nil {
		s.RackID = *m.Rack
	}
	return s, nil
}

// Assignment is what the leader gives one consumer: ConsumerProtocolAssignment.
type Assignment struct {
	Partitions []partition.TopicPartition // written by topic, then by number
	UserData   []byte                     // nil is null
}

// Append appends the encoded assignment to dst.
func (a *Assignment) Append(dst []byte) []byte {
	m := kmsg.NewConsumerMemberAssignment()
	m.UserData = a.UserData
	for _, t := range byTopic(a.Partitions) {
		m.Topics = append(m.Topics, kmsg.ConsumerMemberAssignmentTopic{Topic: t.topic, Partitions: t.partitions})
	}
	return m.AppendTo(dst)
}

// DecodeAssignment reads an assignment of any version. No bytes at all are the assignment of nothing, which is what a
// member gets whom the leader left out. The error is ErrCorruptRecord.
func DecodeAssignment(b []byte) (Assignment, error) {
	if len(b) == 0 {
		return Assignment{}, nil
	}
	b, version, err := knownVersion(b, SubscriptionVersion)
	if err != nil {
		return Assignment{}, fmt.Errorf("assignment: %w", err)
	}
	var m kmsg.ConsumerMemberAssignment
	if err := m.ReadFrom(b); err != nil {
		return Assignment{}, fmt.Errorf("assignment of version %d: %w: %w", version, ErrCorruptRecord, err)
	}
	a := Assignment{UserData: slices.Clone(m.UserData)}
	for _, t := range m.Topics {
		for _, p := range t.Partitions {
			a.Partitions = append(a.Partitions, partition.TopicPartition{Topic: t.Topic, Partition: p})
		}
	}
	return a, nil
}

// knownVersion returns b with its version lowered to the newest known one.
func knownVersion(b []byte, newest int16) ([]byte, int16, error) {
	if len(b) < 2 {
		return nil, 0, fmt.Errorf("%w: %d bytes", ErrCorruptRecord, len(b))
	}
	version := int16(binary.BigEndian.Uint16(b))
	if version < 0 {
		return nil, version, fmt.Errorf("%w: version %d", ErrCorruptRecord, version)
	}
	if version > newest {
		b = append([]byte{byte(newest >> 8), byte(newest)}, b[2:]...)
	}
	return b, version, nil
}

type topicPartitions struct {
	topic      string
	partitions []int32
}

// byTopic groups partitions by topic, both sorted.
func byTopic(tps []partition.TopicPartition) []topicPartitions {
	var out []topicPartitions
	for _, tp := range slices.SortedFunc(slices.Values(tps), compareTopicPartitions) {
		if n := len(out); n == 0 || out[n-1].topic != tp.Topic {
			out = append(out, topicPartitions{topic: tp.Topic})
		}
		last := &out[len(out)-1]
		last.partitions = append(last.partitions, tp.Partition)
	}
	return out
}
