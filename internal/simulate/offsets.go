package simulate

import "slices"

// Offsets is what groups have committed. What somebody is told to be committed is what was acknowledged last before he asked, or more: it never
// goes back (OffsetLost). Last is by the term of who owns a partition (see Ownership), and within one by the order of the acknowledgements.
//
// A commit that nobody has answered may be carried out whenever it arrives, if nobody has been given the partition since; as in Kafka, it may take
// the offset back to what it was. This is not held against the system.
type Offsets struct {
	findings *Findings
	acked    map[offsetKey]commit
	doubts   map[offsetKey][]*commit // sent and not answered
}

type commit struct {
	offset int64
	term   int32
}

type offsetKey struct {
	group     int
	partition int
}

// NewOffsets returns none.
func NewOffsets(f *Findings) *Offsets {
	return &Offsets{findings: f, acked: map[offsetKey]commit{}, doubts: map[offsetKey][]*commit{}}
}

// Acked returns the offset that was acknowledged last, -1 if none was.
func (o *Offsets) Acked(group, partition int) int64 {
	if c, ok := o.acked[offsetKey{group, partition}]; ok {
		return c.offset
	}
	return -1
}

// Ack notes that a commit was acknowledged, and the term of who has sent it.
func (o *Offsets) Ack(group, partition int, offset int64, term int32) {
	k := offsetKey{group, partition}
	if last, some := o.acked[k]; !some || term >= last.term {
		o.acked[k] = commit{offset, term}
	}
}

// Sent notes that a commit is about to be sent. answered is to be called when there is an answer, whatever it says.
func (o *Offsets) Sent(group, partition int, offset int64, term int32) (answered func()) {
	k, c := offsetKey{group, partition}, &commit{offset, term}
	o.doubts[k] = append(o.doubts[k], c)
	return func() { o.doubts[k] = slices.DeleteFunc(o.doubts[k], func(d *commit) bool { return d == c }) }
}

// Fetched notes what somebody was told to be committed (-1: nothing), and what Acked was when he asked.
func (o *Offsets) Fetched(group, partition int, offset, before int64) {
	k := offsetKey{group, partition}
	if offset >= before || slices.ContainsFunc(o.doubts[k], func(d *commit) bool { return d.offset == offset && d.term >= o.acked[k].term }) {
		return
	}
	o.findings.Report(OffsetLost, "group %d, partition %d: committed is %d, %d was acknowledged", group, partition, offset, before)
}
