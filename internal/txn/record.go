package txn

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Key and value of a record of Topic: Kafka's TransactionLogKey version 0 and TransactionLogValue versions 0 and 1, the
// latter flexible. A nil value is a tombstone: the id is forgotten.
//
//	key      | 0 (2) | length 2 | transactional id |
//	value 0  | 0 (2) | producer id 8 | epoch 2 | timeout 4 | state 1 | count 4, -1 null | topic... | updated 8 | start 8 |
//	         topic: | length 2 | name | count 4 | index 4 ... |
//	value 1  | 1 (2) | producer id 8 | epoch 2 | timeout 4 | state 1 | uvarint count+1, 0 null | topic... | updated 8 | start 8 | tags |
//	         topic: | uvarint length+1 | name | uvarint count+1 | index 4 ... | 0 |
//	         tags:  | uvarint count | uvarint tag | uvarint size | ... |
//	         0 previous producer id 8, 1 next producer id 8, 2 version of the client 2, 3 next epoch 2
const (
	keyVersion   = 0
	valueVersion = 1

	tagPrevious  = 0
	tagNext      = 1
	tagVersion   = 2
	tagNextEpoch = 3
)

// AppendKey appends the key of an id's records to dst.
func AppendKey(dst []byte, id string) []byte {
	dst = binary.BigEndian.AppendUint16(dst, keyVersion)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(id)))
	return append(dst, id...)
}

// ParseKey returns the transactional id of a key. ok is false for a key of a version that this package does not know,
// which is to be skipped; the error is ErrCorruptRecord.
func ParseKey(key []byte) (id string, ok bool, err error) {
	r := reader{b: key}
	if v := r.int16(); r.failed || v > keyVersion {
		return "", false, r.errOpen("key")
	} else if v < keyVersion {
		return "", false, fmt.Errorf("key: version %d: %w", v, ErrCorruptRecord)
	}
	id = string(r.bytes(int(r.int16())))
	return id, true, r.err("key")
}

// AppendValue appends the value of m's record to dst, in version 1. Tags that hold the default are left out, as
// Kafka does.
func AppendValue(dst []byte, m *Meta) []byte {
	be := binary.BigEndian
	dst = be.AppendUint16(dst, valueVersion)
	dst = appendHead(dst, m)
	if m.State == Empty {
		dst = append(dst, 0) // null
	} else {
		dst = binary.AppendUvarint(dst, uint64(topics(m.Partitions))+1)
		eachTopic(m.Partitions, func(name string, ps []Partition) {
			dst = binary.AppendUvarint(dst, uint64(len(name))+1)
			dst = append(dst, name...)
			dst = binary.AppendUvarint(dst, uint64(len(ps))+1)
			for _, p := range ps {
				dst = be.AppendUint32(dst, uint32(p.Index))
			}
			dst = append(dst, 0)
		})
	}
	dst = be.AppendUint64(dst, uint64(m.Updated))
	dst = be.AppendUint64(dst, uint64(m.Start))

	previous, next, version := m.Previous != None && m.Previous != m.ProducerID, m.Next != None, m.Version != 0
	n := byte(0)
	for _, set := range []bool{previous, next, version} {
		if set {
			n++
		}
	}
	dst = append(dst, n)
	if previous {
		dst = be.AppendUint64(append(dst, tagPrevious, 8), uint64(m.Previous))
	}
	if next {
		dst = be.AppendUint64(append(dst, tagNext, 8), uint64(m.Next))
	}
	if version {
		dst = be.AppendUint16(append(dst, tagVersion, 2), uint16(m.Version))
	}
	return dst
}

// appendValue0 appends m's record in version 0, which brokers below transaction.version 1 write.
func appendValue0(dst []byte, m *Meta) []byte {
	be := binary.BigEndian
	dst = be.AppendUint16(dst, 0)
	dst = appendHead(dst, m)
	if m.State == Empty {
		dst = be.AppendUint32(dst, math.MaxUint32)
	} else {
		dst = be.AppendUint32(dst, uint32(topics(m.Partitions)))
		eachTopic(m.Partitions, func(name string, ps []Partition) {
			dst = append(be.AppendUint16(dst, uint16(len(name))), name...)
			dst = be.AppendUint32(dst, uint32(len(ps)))
			for _, p := range ps {
				dst = be.AppendUint32(dst, uint32(p.Index))
			}
		})
	}
	dst = be.AppendUint64(dst, uint64(m.Updated))
	return be.AppendUint64(dst, uint64(m.Start))
}

func appendHead(dst []byte, m *Meta) []byte {
	be := binary.BigEndian
	dst = be.AppendUint64(dst, uint64(m.ProducerID))
	dst = be.AppendUint16(dst, uint16(m.Epoch))
	dst = be.AppendUint32(dst, uint32(m.Timeout))
	return append(dst, byte(m.State))
}

func topics(ps []Partition) (n int) {
	eachTopic(ps, func(string, []Partition) { n++ })
	return n
}

// eachTopic calls f for each topic of sorted partitions.
func eachTopic(ps []Partition, f func(name string, ps []Partition)) {
	for len(ps) > 0 {
		n := 1
		for n < len(ps) && ps[n].Topic == ps[0].Topic {
			n++
		}
		f(ps[0].Topic, ps[:n])
		ps = ps[n:]
	}
}

// ParseValue reads the value of id's record. ok is false for a version that this package does not know, which is to be
// skipped; the error is ErrCorruptRecord. A tombstone has no value to parse.
func ParseValue(id string, value []byte) (m Meta, ok bool, err error) {
	r := reader{b: value}
	version := r.int16()
	if r.failed || version < 0 || version > valueVersion {
		if version < 0 {
			r.failed = true
		}
		return m, false, r.errOpen("value")
	}
	r.flexible = version >= 1
	m = Meta{ID: id, Previous: None, Next: None, LastEpoch: None}
	m.ProducerID, m.Epoch, m.Timeout, m.State = r.int64(), r.int16(), r.int32(), State(r.int8())
	for range r.count(1) {
		topic := r.string()
		for range r.count(4) {
			m.Partitions = append(m.Partitions, Partition{topic, r.int32()})
		}
		r.skipTags()
	}
	m.Updated, m.Start = r.int64(), r.int64()
	if r.flexible {
		r.tags(func(tag uint64, f *reader) {
			switch tag {
			case tagPrevious:
				m.Previous = f.int64()
			case tagNext:
				m.Next = f.int64()
			case tagVersion:
				m.Version = f.int16()
			case tagNextEpoch:
				f.int16() // of two-phase commits (KIP-939)
			default:
				f.b = nil
				return
			}
			f.failed = f.failed || len(f.b) > 0
		})
	}
	m.Partitions = (&Meta{}).with(m.Partitions)
	if len(m.Partitions) == 0 {
		m.Partitions = nil
	}
	if err := r.err("value"); err != nil {
		return Meta{}, false, err
	}
	if m.State < Empty || m.State > Dead || m.ProducerID < 0 || m.Epoch < 0 {
		return Meta{}, false, fmt.Errorf("value: state %d, producer id %d, epoch %d: %w", m.State, m.ProducerID, m.Epoch, ErrCorruptRecord)
	}
	return m, true, nil
}
