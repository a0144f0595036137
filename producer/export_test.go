package producer

import (
	"context"

	"github.com/partlog/partlog/partition"
)

// Accepted returns how many records have been accepted.
func Accepted(p *Producer) (n uint64) {
	p.eachLane(func(ln *lane) {
		ln.mu.Lock()
		n += ln.accepted
		ln.mu.Unlock()
	})
	return n
}

// SetEpoch makes every lane go on with another epoch of its producer id.
func SetEpoch(p *Producer, epoch int16) {
	p.eachLane(func(ln *lane) {
		ln.mu.Lock()
		ln.id.Epoch = epoch
		ln.next = 0
		ln.mu.Unlock()
	})
}

// InCallback is inCallback.
func InCallback() bool { return inCallback() }

// HistogramOf returns the histogram of some values.
func HistogramOf(values ...uint64) Histogram {
	var h histogram
	for _, v := range values {
		h.add(v)
	}
	return h.snapshot()
}

// Continue makes the lane of a partition go on with a producer id and a sequence.
func Continue(p *Producer, topic string, n int32, id partition.ProducerID, sequence int32) {
	t, err := p.topic(context.Background(), topic)
	if err != nil {
		panic(err)
	}
	ln := p.lane(t, n)
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.id, ln.next, ln.topicID = id, sequence, t.facts.Load().id
}
