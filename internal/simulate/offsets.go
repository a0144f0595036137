package simulate

// Offsets is what groups have committed: it never goes back. What a member was told to be committed is at least what was acknowledged before it
// asked.
type Offsets struct {
	findings *Findings
	acked    map[offsetKey]int64
}

type offsetKey struct {
	group     int
	partition int
}

// NewOffsets returns none.
func NewOffsets(f *Findings) *Offsets { return &Offsets{findings: f, acked: map[offsetKey]int64{}} }

// Acked returns the largest offset that was acknowledged, -1 if none was.
func (o *Offsets) Acked(group, partition int) int64 {
	if offset, ok := o.acked[offsetKey{group, partition}]; ok {
		return offset
	}
	return -1
}

// Ack notes that a commit was acknowledged.
func (o *Offsets) Ack(group, partition int, offset int64) {
	o.acked[offsetKey{group, partition}] = max(offset, o.Acked(group, partition))
}

// Fetched notes what somebody was told to be committed (-1: nothing), and what Acked was when it was asked for.
func (o *Offsets) Fetched(group, partition int, offset, before int64) {
	if offset < before {
		o.findings.Report(OffsetLost, "group %d, partition %d: committed is %d, %d was acknowledged", group, partition, offset, before)
	}
}
