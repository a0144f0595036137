package partition

import (
	"sync"
	"sync/atomic"
)

// RoundRobin returns the partitioner that ignores keys and deals a topic's records to its partitions in turn, as
// Kafka's RoundRobinPartitioner does.
func RoundRobin() Partitioner { return &roundRobin{} }

type roundRobin struct{ topics sync.Map } // topic name → *atomic.Uint32

func (r *roundRobin) Partition(topic string, _, _ []byte, n int32) int32 {
	v, ok := r.topics.Load(topic)
	if !ok {
		v, _ = r.topics.LoadOrStore(topic, new(atomic.Uint32))
	}
	next := v.(*atomic.Uint32).Add(1) - 1
	return int32(next & 0x7fffffff % uint32(n))
}
