package partition

// Partitioner chooses the partition of a record that does not name one, from 0 to n−1; any other answer refuses the
// record. A nil key is Kafka's null; an empty key is a key. key and value must not be kept. Any number of goroutines may
// call it; it is asked once for each record, before the record joins a batch.
type Partitioner interface {
	Partition(topic string, key, value []byte, n int32) int32
}

// PartitionerFunc makes a function a Partitioner.
type PartitionerFunc func(topic string, key, value []byte, n int32) int32

// Partition calls f.
func (f PartitionerFunc) Partition(topic string, key, value []byte, n int32) int32 {
	return f(topic, key, value, n)
}

// Manual returns the partitioner that chooses nothing: every record has to name its partition.
func Manual() Partitioner {
	return PartitionerFunc(func(string, []byte, []byte, int32) int32 { return -1 })
}

// hashed sends keys to a partition by their hash, and records without a key to where keyless says.
type hashed struct {
	hash    func(key []byte, n int32) int32
	empty   bool // an empty key counts as none
	keyless Partitioner
}

func (h hashed) Partition(topic string, key, value []byte, n int32) int32 {
	if key == nil || h.empty && len(key) == 0 {
		return h.keyless.Partition(topic, key, value, n)
	}
	return h.hash(key, n)
}
