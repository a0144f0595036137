package producer

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
