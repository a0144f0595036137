package producer

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Histogram counts values by powers of two. Values are bytes or nanoseconds.
type Histogram struct {
	Count, Sum, Max uint64
	Buckets         [histogramBuckets]uint64 // Buckets[i] counts values below 2^i that are not in Buckets[i-1]
}

const histogramBuckets = 48

// Mean is the average value, 0 without any.
func (h *Histogram) Mean() uint64 {
	if h.Count == 0 {
		return 0
	}
	return h.Sum / h.Count
}

// Quantile returns a bound that the share q of all values (0 to 1) does not exceed; it is less than twice the value.
func (h *Histogram) Quantile(q float64) uint64 {
	rank, seen := uint64(q*float64(h.Count)), uint64(0)
	for i, n := range h.Buckets {
		if seen += n; seen > rank || seen == h.Count && n > 0 {
			return min(uint64(1)<<i-1, h.Max)
		}
	}
	return h.Max
}

// histogram is a Histogram that many goroutines fill.
type histogram struct {
	sum, max atomic.Uint64
	buckets  [histogramBuckets]atomic.Uint64
}

func (h *histogram) observe(d time.Duration) { h.add(uint64(max(d, 0))) }

func (h *histogram) add(v uint64) {
	h.buckets[min(bits.Len64(v), histogramBuckets-1)].Add(1)
	h.sum.Add(v)
	for m := h.max.Load(); v > m && !h.max.CompareAndSwap(m, v); m = h.max.Load() {
	}
}

func (h *histogram) snapshot() Histogram {
	s := Histogram{Sum: h.sum.Load(), Max: h.max.Load()}
	for i := range h.buckets {
		s.Buckets[i] = h.buckets[i].Load()
		s.Count += s.Buckets[i]
	}
	return s
}
