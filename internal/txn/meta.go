package txn

import (
	"cmp"
	"slices"
	"strings"
)

// None is the producer id, epoch or time that is not there.
const None = -1

// maxEpoch is the last epoch a client may have: one more is kept to fence it with.
const maxEpoch int16 = 1<<15 - 2

// Partition names one partition of one topic.
type Partition struct {
	Topic string
	Index int32
}

// Meta is what is known of a transactional id: TransactionMetadata of Kafka, and what a record holds. Times are milliseconds
// since 1970. A Meta is a value; Partitions is sorted, and never changed in place.
type Meta struct {
	ID         string
	ProducerID int64
	// Previous is the producer id before an exhausted one was exchanged, Next the one that the client has already been
	// told while its last transaction under the exhausted one is being completed; else None.
	Previous, Next int64
	Epoch          int16
	// LastEpoch is the epoch before a bump that the client asked for with its own (KIP-360), by which a repeated request
	// is known; else None. It is not in the record.
	LastEpoch  int16
	Timeout    int32 // milliseconds; the largest means never (KIP-939)
	State      State
	Partitions []Partition
	Start      int64 // of the open transaction, None
	Updated    int64
	Version    int16 // transaction.version of the client of the last transition: 0, 1 or 2
}

// exhausted reports whether the epoch has reached the last one that a client may have.
func (m *Meta) exhausted() bool { return m.Epoch >= maxEpoch }

// bumps reports whether each transaction has an epoch of its own (transaction.version 2).
func (m *Meta) bumps() bool { return m.Version >= 2 }

func comparePartitions(a, b Partition) int {
	if c := strings.Compare(a.Topic, b.Topic); c != 0 {
		return c
	}
	return int(a.Index) - int(b.Index)
}

// has reports whether p is one of the transaction's partitions.
func (m *Meta) has(p Partition) bool {
	_, ok := slices.BinarySearchFunc(m.Partitions, p, comparePartitions)
	return ok
}

// with returns the transaction's partitions and these, sorted, in a slice of its own.
func (m *Meta) with(ps []Partition) []Partition {
	out := make([]Partition, 0, len(m.Partitions)+len(ps))
	out = append(append(out, m.Partitions...), ps...)
	slices.SortFunc(out, comparePartitions)
	return slices.Compact(out)
}

// NewerThan reports whether m is of a later producer, or a later time of the same one, than o of the same id.
func (m *Meta) NewerThan(o *Meta) bool {
	return cmp.Or(cmp.Compare(m.ProducerID, o.ProducerID), cmp.Compare(m.Epoch, o.Epoch), cmp.Compare(m.Updated, o.Updated)) > 0
}
