package txn

import "unicode/utf16"

// Topic is the internal topic that holds the state of transactional ids.
const Topic = "__transaction_state"

// Partitions is the number of partitions of Topic (transaction.state.log.num.partitions).
const Partitions = 50

// PartitionFor returns the partition of Topic that holds a transactional id, out of n: Kafka's
// Utils.abs(transactionalId.hashCode()) % n.
func PartitionFor(id string, n int32) int32 {
	var h int32 // Java's String.hashCode, over UTF-16 units
	for _, r := range id {
		if hi, lo := utf16.EncodeRune(r); hi != '\uFFFD' {
			h = 31*h + int32(hi)
			r = lo
		}
		h = 31*h + int32(r)
	}
	if h == -1<<31 { // has no positive counterpart, and counts as 0
		return 0
	}
	return max(h, -h) % n
}
