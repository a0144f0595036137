package batch

import "math"

// walk is validateRecords and validateTimestamp's largest for what almost every client sends: an uncompressed batch without
// a fault, whose header has passed checkClient. It reads each byte of a record's frame once and builds no Record. Whatever it
// does not know, or would have to complain about, is not ok, and for the Iterator, which finds the words.
func (b Batch) walk(o *ValidateOptions) (largest int64, ok bool) {
	data := b[HeaderSize:]
	base := b.BaseTimestamp()
	oldest, newest := int64(math.MinInt64), int64(math.MaxInt64)
	if o.OldestTimestamp != 0 {
		oldest = o.OldestTimestamp
	}
	if o.NewestTimestamp != 0 {
		newest = o.NewestTimestamp
	}
	largest = math.MinInt64
	count := b.Count()
	for number := int32(0); number < count; number++ {
		size, i := shortVarint(data)
		if i < 0 || size < minRecordSize-1 || int(size) > len(data)-i {
			return 0, false
		}
		body := data[i : i+int(size)]
		data = data[i+int(size):]

		body = body[1:] // attributes
		delta := int64(0)
		if c := body[0]; c < 0x80 {
			delta, body = int64(small(c)), body[1:]
		} else if delta, i = varlong(body, 0); i >= 0 {
			body = body[i:]
		} else {
			return 0, false
		}
		timestamp := base + delta
		if timestamp != None && (timestamp < oldest || timestamp > newest) {
			return 0, false
		}
		largest = max(largest, timestamp)

		offset, i := shortVarint(body)
		if i < 0 || offset != number {
			return 0, false
		}
		body = body[i:]
		n, i := shortVarint(body)
		if i < 0 || int(n) > len(body)-i || n < 0 && o.KeyRequired {
			return 0, false
		}
		body = body[i+max(int(n), 0):]
		n, i = shortVarint(body)
		if i < 0 || int(n) > len(body)-i {
			return 0, false
		}
		body = body[i+max(int(n), 0):]
		if (len(body) != 1 || body[0] != 0) && !validHeaders(body) {
			return 0, false
		}
	}
	return largest, len(data) == 0 && count > 0
}

// shortVarint is varint at b's beginning, for numbers that mostly have one byte or two.
func shortVarint(b []byte) (int32, int) {
	if len(b) >= 2 {
		if b[0] < 0x80 {
			return small(b[0]), 1
		}
		if b[1] < 0x80 {
			u := uint32(b[0]&0x7f) | uint32(b[1])<<7
			return int32(u>>1) ^ -int32(u&1), 2
		}
	}
	return varint(b, 0)
}

// validHeaders reports that b is a count and that many headers, as Iterator.readHeaders wants them.
func validHeaders(b []byte) bool {
	count, i := varint(b, 0)
	if i < 0 || count < 0 || int(count) > (len(b)-i)/minHeaderSize {
		return false
	}
	for range count {
		var n int32
		if n, i = varint(b, i); i < 0 || n < 0 || int(n) > len(b)-i {
			return false
		}
		i += int(n)
		if n, i = varint(b, i); i < 0 || int(n) > len(b)-i {
			return false
		}
		i += max(int(n), 0)
	}
	return i == len(b)
}
