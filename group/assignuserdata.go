package group

import (
	"encoding/binary"

	"github.com/partlog/partlog/partition"
)

// appendStickyUserData writes the user data of Kafka's StickyAssignor, version 1: the last assignment by topic, and its
// generation.
func appendStickyUserData(dst []byte, owned []partition.TopicPartition, g Generation) []byte {
	topics := byTopic(owned)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(topics)))
	for _, t := range topics {
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(t.topic)))
		dst = append(dst, t.topic...)
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(t.partitions)))
		for _, p := range t.partitions {
			dst = binary.BigEndian.AppendUint32(dst, uint32(p))
		}
	}
	return binary.BigEndian.AppendUint32(dst, uint32(g))
}

// stickyUserData is user data of the StickyAssignor, checked: the topics, without their number.
type stickyUserData []byte

// readStickyUserData checks b. The generation is NoGeneration in version 0, which has none. What cannot be read is no
// assignment at all, as in Kafka: the member is a new one to the assignor.
func readStickyUserData(b []byte) (topics stickyUserData, g Generation) {
	n, rest, ok := readCount(b, 6)
	if !ok {
		return nil, NoGeneration
	}
	all := rest
	for range n {
		if len(rest) < 2 {
			return nil, NoGeneration
		}
		length := int(int16(binary.BigEndian.Uint16(rest)))
		if length < 0 || length > len(rest)-2 {
			return nil, NoGeneration
		}
		var partitions int
		if partitions, rest, ok = readCount(rest[2+length:], 4); !ok {
			return nil, NoGeneration
		}
		rest = rest[4*partitions:]
	}
	g = NoGeneration
	if len(rest) >= 4 {
		g = Generation(binary.BigEndian.Uint32(rest))
	}
	return stickyUserData(all[:len(all)-len(rest)]), g
}

// all yields every topic with its partitions: four bytes each, big endian.
func (d stickyUserData) all(yield func(topic, partitions []byte) bool) {
	for len(d) > 0 {
		length := 2 + int(binary.BigEndian.Uint16(d))
		n := 4 * int(binary.BigEndian.Uint32(d[length:]))
		if !yield(d[2:length], d[length+4:length+4+n]) {
			return
		}
		d = d[length+4+n:]
	}
}

// readCount reads the length of an array whose elements have at least size bytes.
func readCount(b []byte, size int) (n int, rest []byte, ok bool) {
	if len(b) < 4 {
		return 0, nil, false
	}
	n = int(int32(binary.BigEndian.Uint32(b)))
	return n, b[4:], n >= 0 && n <= len(b[4:])/size
}

// cooperativeGeneration reads the user data of Kafka's CooperativeStickyAssignor, which is the generation of the last
// assignment; NoGeneration if it cannot be read.
func cooperativeGeneration(b []byte) Generation {
	if len(b) < 4 {
		return NoGeneration
	}
	return Generation(binary.BigEndian.Uint32(b))
}
