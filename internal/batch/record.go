package batch

import "math/bits"

// Header is one header of a record (KIP-82). A nil Value is null. A key may
// occur any number of times in one record.
type Header struct {
	Key   string
	Value []byte
}

// Record is one record of a batch. A nil Key or Value is null; an empty one
// that is not nil is empty. Timestamp is in milliseconds since 1970, -1 for
// none.
type Record struct {
	Offset    int64
	Timestamp int64
	Key       []byte
	Value     []byte
	Headers   []Header
}

// RecordSize returns how many bytes a record of this key, value and these
// headers takes at most in a batch, without the batch's own HeaderSize bytes
// and before compression.
func RecordSize(key, value []byte, headers []Header) int {
	n := MaxRecordOverhead + len(key) + len(value)
	for i := range headers {
		n += 10 + len(headers[i].Key) + len(headers[i].Value)
	}
	return n
}

// zigzag maps small negative numbers to small positive ones.
func zigzag(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// uvarintSize returns how many bytes u takes: one for each seven bits.
func uvarintSize(u uint64) int { return (bits.Len64(u|1)*9 + 64) >> 6 }

// varintSize returns how many bytes v takes, zigzag first.
func varintSize(v int64) int { return uvarintSize(zigzag(v)) }

// bytesSize returns how many bytes a length and that many bytes take, null
// being the length -1.
func bytesSize(b []byte) int {
	if b == nil {
		return 1
	}
	return uvarintSize(uint64(len(b))<<1) + len(b)
}

// putUvarint writes u at w[i:] and returns the position after it.
func putUvarint(w []byte, i int, u uint64) int {
	for u >= 0x80 {
		w[i] = byte(u) | 0x80
		u >>= 7
		i++
	}
	w[i] = byte(u)
	return i + 1
}

// putBytes writes a length and the bytes, null as the length -1, and returns
// the position after them.
func putBytes(w []byte, i int, b []byte) int {
	if b == nil {
		w[i] = 1
		return i + 1
	}
	if u := uint64(len(b)) << 1; u < 0x80 {
		w[i] = byte(u)
		i++
	} else {
		i = putUvarint(w, i, u)
	}
	return i + copy(w[i:], b)
}

// varint reads a zigzag varint of at most 32 bits at b[i:] and returns it with
// the position after it. That is negative when the bytes end too soon or the
// number has more bits, or when i is negative already.
func varint(b []byte, i int) (int32, int) {
	if uint(i) < uint(len(b)) && b[i] < 0x80 {
		return small(b[i]), i + 1
	}
	return varintSlow(b, i)
}

// small is a varint or varlong of one byte.
func small(c byte) int32 { return int32(c>>1) ^ -int32(c&1) }

func varintSlow(b []byte, i int) (int32, int) {
	if uint(i) < uint(len(b)) && i+1 < len(b) && b[i+1] < 0x80 {
		u := uint32(b[i]&0x7f) | uint32(b[i+1])<<7
		return int32(u>>1) ^ -int32(u&1), i + 2
	}
	u, i := uvarint(b, i, 32)
	return int32(uint32(u)>>1) ^ -int32(u&1), i
}

// varlong is varint for 64 bits.
func varlong(b []byte, i int) (int64, int) {
	if uint(i) < uint(len(b)) && b[i] < 0x80 {
		return int64(small(b[i])), i + 1
	}
	u, i := uvarint(b, i, 64)
	return unzigzag(u), i
}

// uvarint reads seven bits a byte, up to the given number.
func uvarint(b []byte, i int, bits uint) (uint64, int) {
	var u uint64
	for shift := uint(0); shift < bits; shift += 7 {
		if uint(i) >= uint(len(b)) {
			break
		}
		c := b[i]
		i++
		if left := bits - shift; left < 7 && c>>left != 0 {
			break
		}
		if u |= uint64(c&0x7f) << shift; c < 0x80 {
			return u, i
		}
	}
	return 0, -1
}
