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
		delta, key, size := usualFrame(data, number)
		if size == 0 {
			if delta, key, size = frame(data, number); size == 0 {
				return 0, false
			}
		}
		data = data[size:]
		if key < 0 && o.KeyRequired {
			return 0, false
		}
		timestamp := base + delta
		if timestamp != None && (timestamp < oldest || timestamp > newest) {
			return 0, false
		}
		largest = max(largest, timestamp)
	}
	return largest, len(data) == 0 && count > 0
}

// usualFrame is frame for records without headers whose numbers have one byte or two, that of the offset up to three: size is 0
// for all others, be they right or wrong. It has no loop and hardly a branch that is not the same for all records of a batch,
// and needs a third of the time.
func usualFrame(b []byte, number int32) (delta int64, key int32, size int) {
	if len(b) < frameWindow {
		return 0, 0, 0
	}
	const two, three = 1 << 14, 1 << 21 // what is at or above these goes on in a further byte
	w := (*[frameWindow]byte)(b)
	s, i := uint32(w[0]), uint(1)
	if s >= 0x80 {
		s, i = s&0x7f|uint32(w[1])<<7, 2
	}
	end := i + uint(s>>1)
	i++ // attributes
	d := uint32(w[i&15])
	i++
	if d >= 0x80 {
		d = d&0x7f | uint32(w[i&15])<<7
		i++
	}
	n := uint32(w[i&15])
	i++
	if n >= 0x80 {
		n = n&0x7f | uint32(w[i&15])<<7
		i++
		if n >= two {
			n = n&(two-1) | uint32(w[i&15])<<14
			i++
		}
	}
	k := uint32(w[i&15])
	i++
	if k >= 0x80 {
		k = k&0x7f | uint32(w[i&15])<<7
		i++
	}
	if s >= two || s&1 != 0 || d >= two || n >= three || n != uint32(number)<<1 || k >= two || end > uint(len(b)) {
		return 0, 0, 0
	}
	b = b[:end]
	key = int32(k>>1) ^ -int32(k&1)
	i += uint(max(key, 0))
	if i+1 >= uint(len(b)) {
		return 0, 0, 0
	}
	v := uint32(b[i])
	i++
	if v >= 0x80 {
		v = v&0x7f | uint32(b[i])<<7
		i++
	}
	i += uint(v>>1) * uint(^v&1) // a negative length is that of null
	if v >= two || i != uint(len(b)-1) || b[len(b)-1] != 0 {
		return 0, 0, 0
	}
	return int64(int32(d>>1) ^ -int32(d&1)), key, int(end)
}

// frameWindow is room for all numbers that usualFrame reads before a key, at most ten bytes; a power of two.
const frameWindow = 16

// frame reads the record that b begins with, which has to have that number in its batch: its timestamp against the batch's, the
// length of its key, and its whole size, which is 0 if it is none.
func frame(b []byte, number int32) (delta int64, key int32, size int) {
	s, start := varint(b, 0)
	if start < 0 || s < minRecordSize-1 || int(s) > len(b)-start {
		return 0, 0, 0
	}
	body := b[start : start+int(s)]
	delta, i := varlong(body, 1) // behind the attributes
	offset, i := varint(body, i)
	if i < 0 || offset != number {
		return 0, 0, 0
	}
	key, i = varint(body, i)
	if i < 0 || int(key) > len(body)-i {
		return 0, 0, 0
	}
	i += int(max(key, 0))
	value, i := varint(body, i)
	if i < 0 || int(value) > len(body)-i {
		return 0, 0, 0
	}
	if i += int(max(value, 0)); !validHeaders(body[i:]) {
		return 0, 0, 0
	}
	return delta, key, start + int(s)
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
