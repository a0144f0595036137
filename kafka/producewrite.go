package kafka

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// appendProduceResponse encodes an answer to Produce 3 to 13. kmsg does the same, with an allocation for every partition.
func appendProduceResponse(b []byte, r *kmsg.ProduceResponse) []byte {
	v := r.Version
	flex := v >= 9
	b = appendLen(b, len(r.Topics), flex)
	for i := range r.Topics {
		t := &r.Topics[i]
		if v >= 13 {
			b = append(b, t.TopicID[:]...)
		} else {
			b = appendString(b, t.Topic, flex)
		}
		b = appendLen(b, len(t.Partitions), flex)
		for j := range t.Partitions {
			p := &t.Partitions[j]
			b = binary.BigEndian.AppendUint32(b, uint32(p.Partition))
			b = binary.BigEndian.AppendUint16(b, uint16(p.ErrorCode))
			b = binary.BigEndian.AppendUint64(b, uint64(p.BaseOffset))
			b = binary.BigEndian.AppendUint64(b, uint64(p.LogAppendTime))
			if v >= 5 {
				b = binary.BigEndian.AppendUint64(b, uint64(p.LogStartOffset))
			}
			if v >= 8 {
				b = appendLen(b, len(p.ErrorRecords), flex)
				for k := range p.ErrorRecords {
					e := &p.ErrorRecords[k]
					b = binary.BigEndian.AppendUint32(b, uint32(e.RelativeOffset))
					b = appendNullable(b, e.ErrorMessage, flex)
					b = appendTags(b, &e.UnknownTags, 0, flex)
				}
				b = appendNullable(b, p.ErrorMessage, flex)
			}
			if !flex {
				continue
			}
			if l := &p.CurrentLeader; v >= 10 && (l.LeaderID != -1 || l.LeaderEpoch != -1) {
				b = binary.AppendUvarint(b, uint64(1+p.UnknownTags.Len()))
				b = appendLeader(b, 0, l.LeaderID, l.LeaderEpoch)
			} else {
				b = binary.AppendUvarint(b, uint64(p.UnknownTags.Len()))
			}
			b = p.UnknownTags.AppendEach(b)
		}
		b = appendTags(b, &t.UnknownTags, 0, flex)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(r.ThrottleMillis))
	if !flex {
		return b
	}
	if v < 10 || len(r.Brokers) == 0 {
		return appendTags(b, &r.UnknownTags, 0, true)
	}
	b = appendTags(b, nil, 1+r.UnknownTags.Len(), true)
	var nodes []byte
	nodes = appendLen(nodes, len(r.Brokers), true)
	for i := range r.Brokers {
		n := &r.Brokers[i]
		nodes = appendNode(nodes, n.NodeID, n.Host, n.Port, n.Rack)
	}
	b = appendTag(b, 0, nodes)
	return r.UnknownTags.AppendEach(b)
}

// appendLen writes the length of an array that is not null.
func appendLen(b []byte, n int, flex bool) []byte {
	if flex {
		return binary.AppendUvarint(b, uint64(n)+1)
	}
	return binary.BigEndian.AppendUint32(b, uint32(n))
}

func appendString(b []byte, s string, flex bool) []byte {
	if flex {
		b = binary.AppendUvarint(b, uint64(len(s))+1)
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	}
	return append(b, s...)
}

func appendNullable(b []byte, s *string, flex bool) []byte {
	switch {
	case s != nil:
		return appendString(b, *s, flex)
	case flex:
		return append(b, 0)
	}
	return append(b, 0xff, 0xff)
}

// appendTags writes a section of tagged fields: their count, which is n or that of unknown, and unknown ones.
func appendTags(b []byte, unknown *kmsg.Tags, n int, flex bool) []byte {
	if !flex {
		return b
	}
	if unknown == nil {
		return binary.AppendUvarint(b, uint64(n))
	}
	b = binary.AppendUvarint(b, uint64(unknown.Len()))
	return unknown.AppendEach(b)
}

func appendTag(b []byte, tag int, value []byte) []byte {
	b = binary.AppendUvarint(b, uint64(tag))
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}

// appendLeader writes a leader and its epoch as a tagged field.
func appendLeader(b []byte, tag byte, id, epoch int32) []byte {
	b = append(b, tag, 9)
	b = binary.BigEndian.AppendUint32(b, uint32(id))
	b = binary.BigEndian.AppendUint32(b, uint32(epoch))
	return append(b, 0)
}

// appendNode writes an endpoint of a broker.
func appendNode(b []byte, id int32, host string, port int32, rack *string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(id))
	b = appendString(b, host, true)
	b = binary.BigEndian.AppendUint32(b, uint32(port))
	b = appendNullable(b, rack, true)
	return append(b, 0)
}
