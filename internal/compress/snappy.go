package compress

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/s2"
)

// Kafka's snappy is the framing of xerial's snappy-java:
//
//	 0  8 bytes  82 'S' 'N' 'A' 'P' 'P' 'Y' 00
//	 8  i32      version, 1
//	12  i32      oldest compatible version, 1
//	16  blocks:  i32 length, then that many bytes of a raw snappy block
//
// The integers are big-endian; there is no end mark.
const (
	xerialBlockSize  = 32 << 10
	xerialHeaderSize = 16
	xerialVersion    = 1
)

var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

func compressSnappy(dst, src []byte) []byte {
	dst = append(dst, xerialMagic...)
	dst = binary.BigEndian.AppendUint32(dst, xerialVersion)
	dst = binary.BigEndian.AppendUint32(dst, xerialVersion)
	for len(src) > 0 {
		block := src[:min(len(src), xerialBlockSize)]
		src = src[len(block):]
		dst = grow(dst, 4+s2.MaxEncodedLen(len(block)))
		at := len(dst)
		encoded := s2.EncodeSnappy(dst[at+4:cap(dst)], block)
		binary.BigEndian.PutUint32(dst[at:at+4], uint32(len(encoded)))
		dst = dst[:at+4+len(encoded)]
	}
	return dst
}

func decompressSnappy(dst, src []byte, limit int) ([]byte, error) {
	if !bytes.HasPrefix(src, xerialMagic) {
		return snappyBlock(dst, src, limit, limit) // some clients send one raw block
	}
	if len(src) < xerialHeaderSize {
		return nil, corrupt(Snappy, "header is cut short")
	}
	if oldest := int32(binary.BigEndian.Uint32(src[12:])); oldest > xerialVersion {
		return nil, corrupt(Snappy, fmt.Sprintf("needs a reader of version %d", oldest))
	}
	start := len(dst)
	for src = src[xerialHeaderSize:]; len(src) > 0; {
		if len(src) < 4 {
			return nil, corrupt(Snappy, "block length is cut short")
		}
		n := binary.BigEndian.Uint32(src)
		if src = src[4:]; uint64(n) > uint64(len(src)) {
			return nil, corrupt(Snappy, "block is cut short")
		}
		var err error
		if dst, err = snappyBlock(dst, src[:n], limit-(len(dst)-start), limit); err != nil {
			return nil, err
		}
		src = src[n:]
	}
	return dst, nil
}

// snappyBlock appends one raw block of at most room bytes; limit is for the
// error.
func snappyBlock(dst, src []byte, room, limit int) ([]byte, error) {
	declared, n := binary.Uvarint(src)
	if n <= 0 || declared > 1<<32-1 {
		return nil, corrupt(Snappy, "bad length")
	}
	if declared > uint64(room) {
		return nil, &TooLargeError{Codec: Snappy, Max: limit, Declared: int64(declared)}
	}
	if produced := snappyLength(src[n:]); produced != int64(declared) {
		return nil, corrupt(Snappy, "length does not match the contents")
	}
	if declared == 0 {
		return dst, nil
	}
	at, end := len(dst), len(dst)+int(declared)
	dst = grow(dst, int(declared))
	if _, err := s2.Decode(dst[at:end:end], src); err != nil {
		return nil, corrupt(Snappy, err.Error())
	}
	return dst[:end], nil
}

// snappyLength adds up what the elements of a block produce, or returns -1 if
// they are not snappy's. It is run before the output is allocated, as a block
// of ten bytes may declare 4 GiB. It also refuses copies of offset zero,
// which the decoder takes for the "repeat" of the S2 format: Kafka's own
// readers would not understand them.
func snappyLength(src []byte) int64 {
	var total int64
	for i := 0; i < len(src); {
		tag := src[i]
		switch tag & 3 {
		case 0: // literal
			n := int(tag >> 2)
			i++
			if n >= 60 {
				extra := n - 59
				if len(src)-i < extra {
					return -1
				}
				n = 0
				for k := extra - 1; k >= 0; k-- {
					n = n<<8 | int(src[i+k])
				}
				i += extra
			}
			n++
			if n <= 0 || n > len(src)-i {
				return -1
			}
			i += n
			total += int64(n)
		case 1: // copy, 11 bits of offset
			if len(src)-i < 2 || tag>>5|src[i+1] == 0 {
				return -1
			}
			total += int64(tag>>2&7) + 4
			i += 2
		case 2: // copy, 16 bits of offset
			if len(src)-i < 3 || src[i+1]|src[i+2] == 0 {
				return -1
			}
			total += int64(tag>>2) + 1
			i += 3
		case 3: // copy, 32 bits of offset
			if len(src)-i < 5 || src[i+1]|src[i+2]|src[i+3]|src[i+4] == 0 {
				return -1
			}
			total += int64(tag>>2) + 1
			i += 5
		}
	}
	return total
}
