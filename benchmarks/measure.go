package main

import (
	"math"
	"math/bits"
	"runtime"
	"sync/atomic"
	"time"
)

// sample is what one run of one system gave.
type sample struct {
	records int64
	bytes   int64 // of payload
	elapsed time.Duration
	hist    *histogram // latency of one acknowledgement; nil where the cell has none
	mallocs uint64     // heap allocations of the whole process during the run
	extra   map[string]float64
}

func (s sample) rate() float64 { return float64(s.records) / s.elapsed.Seconds() }

// histogram counts durations in buckets of 1/32 of a power of two: 3 % wide, from 1 ns to minutes. Safe for any
// number of goroutines.
type histogram struct{ buckets [64 * 32]atomic.Uint32 }

func (h *histogram) add(d time.Duration) { h.buckets[bucket(uint64(max(d, 1)))].Add(1) }

func bucket(v uint64) int {
	e := bits.Len64(v) - 1
	if e < 5 {
		return int(v)
	}
	return e<<5 | int(v>>(e-5))&31
}

func value(b int) float64 {
	e := b >> 5
	if e == 0 {
		return float64(b)
	}
	return math.Ldexp(1+float64(b&31)/32, e)
}

// quantile returns the q-quantile in microseconds.
func (h *histogram) quantile(q float64) float64 {
	if h == nil {
		return 0
	}
	var total uint64
	for i := range h.buckets {
		total += uint64(h.buckets[i].Load())
	}
	if total == 0 {
		return 0
	}
	want := uint64(math.Ceil(q * float64(total)))
	var seen uint64
	for i := range h.buckets {
		seen += uint64(h.buckets[i].Load())
		if seen >= want {
			return value(i) / 1000
		}
	}
	return 0
}

func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}
