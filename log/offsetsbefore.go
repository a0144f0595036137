package log

import "slices"

// OffsetsBefore returns where the segments begin of which the newest was last written at ts or before, in milliseconds: at most
// n offsets, the largest first, the log's start for the first segment. When a segment was written is taken from the largest
// timestamp of its records. That is how offsets were looked up before KIP-79.
func (l *Log) OffsetsBefore(ts int64, n int) (offsets []Offset, err error) {
	err = errReplaced
	for err == errReplaced { // there is a new list of segments
		offsets, err = l.offsetsBefore(ts, n)
	}
	return offsets, err
}

func (l *Log) offsetsBefore(ts int64, n int) (offsets []Offset, err error) {
	if l.closed.Load() {
		return nil, ErrClosed
	}
	for _, s := range slices.Backward(l.segmentList()) {
		if len(offsets) >= n {
			break
		}
		if len(offsets) == 0 {
			written, err := l.largestTimestamp(s)
			if err != nil && s.removed.Load() {
				return nil, errReplaced
			}
			if err != nil {
				return nil, err
			}
			if written > ts {
				continue
			}
		}
		offsets = append(offsets, max(s.base, l.Start()))
	}
	return offsets, nil
}
