package kafka

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/partlog/partlog/partition"
)

// fetching is a request to one broker.
type fetching struct {
	key     string
	broker  int32
	indexes []int // of the partitions in the Fetch that has it now
	done    chan struct{}
	results []fetched // beside indexes
	err     error
}

// maxParked and maxParkedBytes bound requests that nobody waits for, and what those have brought.
const (
	maxParked      = 64
	maxParkedBytes = 64 << 20
)

// askedKey is what makes two requests to a broker the same.
func askedKey(r *partition.FetchRequest, broker int32, indexes []int, maxBytes int) string {
	b := binary.AppendVarint(nil, int64(broker))
	b = binary.AppendVarint(b, int64(maxBytes))
	b = binary.AppendVarint(b, int64(r.MinBytes))
	if r.ReadCommitted {
		b = append(b, 1)
	}
	for _, i := range indexes {
		p := &r.Partitions[i]
		b = append(b, p.Topic...)
		b = append(b, 0)
		b = append(b, p.TopicID[:]...)
		b = binary.AppendVarint(b, int64(p.Partition))
		b = binary.AppendVarint(b, int64(p.Offset))
		b = binary.AppendVarint(b, int64(p.LeaderEpoch))
		b = binary.AppendVarint(b, int64(p.MaxBytes))
	}
	return string(b)
}

// ask takes over the request that is parked, or makes one.
func (c *Cluster) ask(r *partition.FetchRequest, broker int32, indexes []int, maxBytes int, wait time.Duration) (*fetching, error) {
	key := askedKey(r, broker, indexes, maxBytes)
	c.fetchesMu.Lock()
	if f := c.parked[key]; f != nil && wait > 0 {
		delete(c.parked, key)
		c.order = slices.DeleteFunc(c.order, func(k string) bool { return k == key })
		c.fetchesMu.Unlock()
		f.indexes = indexes
		return f, nil
	}
	c.fetchesMu.Unlock()
	f := &fetching{key: key, broker: broker, indexes: indexes, done: make(chan struct{})}
	positions := make([]partition.FetchPosition, len(indexes))
	for i, index := range indexes {
		positions[i] = r.Partitions[index]
	}
	minBytes, committed := max(r.MinBytes, 1), r.ReadCommitted
	if !c.background(func() {
		defer close(f.done)
		f.results, f.err = c.fetch(broker, positions, min(minBytes, maxBytes), maxBytes, wait, committed)
	}) {
		return nil, partition.ErrClosed
	}
	return f, nil
}

// park keeps requests that go on for whoever asks the same again. The oldest are forgotten.
func (c *Cluster) park(asked []*fetching) {
	c.fetchesMu.Lock()
	defer c.fetchesMu.Unlock()
	for _, f := range asked {
		if c.parked[f.key] != nil {
			continue
		}
		c.parked[f.key] = f
		c.order = append(c.order, f.key)
	}
	size, kept := 0, 0
	for kept < len(c.order) && kept < maxParked && size <= maxParkedBytes {
		kept++
		size += c.parked[c.order[len(c.order)-kept]].size()
	}
	for _, key := range c.order[:len(c.order)-kept] {
		delete(c.parked, key)
	}
	c.order = slices.Delete(c.order, 0, len(c.order)-kept)
}

// size is how many bytes a request has brought, 0 while it goes on.
func (f *fetching) size() int {
	select {
	case <-f.done:
	default:
		return 0
	}
	n := 0
	for i := range f.results {
		n += len(f.results[i].Batches)
	}
	return n
}
