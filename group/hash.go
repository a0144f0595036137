package group

import "unicode/utf16"

// OffsetsTopic is the internal topic that holds committed offsets and group metadata.
const OffsetsTopic = "__consumer_offsets"

// OffsetsPartitions is the number of partitions of OffsetsTopic (offsets.topic.num.partitions).
const OffsetsPartitions = 50

// PartitionFor returns the partition of OffsetsTopic that holds a group, out of n: Kafka's
// Utils.abs(groupId.hashCode()) % n.
func PartitionFor(group string, n int32) int32 {
	h := javaHash(group)
	// Kafka's Utils.abs: the smallest int has no positive counterpart and counts as 0.
	if h == -1<<31 {
		return 0
	}
	return max(h, -h) % n
}

// javaHash is Java's String.hashCode, over UTF-16 units.
func javaHash(s string) (h int32) {
	for _, r := range s {
		if hi, lo := utf16.EncodeRune(r); hi != '\uFFFD' {
			h = 31*h + int32(hi)
			r = lo
		}
		h = 31*h + int32(r)
	}
	return h
}
