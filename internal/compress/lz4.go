package compress

import (
	"encoding/binary"
	"math"
	"sync"

	"github.com/pierrec/lz4/v4"
)

// An lz4 frame, in the subset that Kafka's KafkaLZ4BlockOutputStream writes
// and KafkaLZ4BlockInputStream reads. The integers are little-endian.
//
//	u32  magic 0x184D2204
//	u8   FLG: bits 7-6 version 1, 5 blocks independent (must be), 4 block
//	     checksums, 3 content size, 2 content checksum, 1-0 must be 0
//	u8   BD: bits 6-4 largest block (4: 64 KiB ... 7: 4 MiB), others 0
//	u64  content size, if flagged
//	u8   second byte of the descriptor's xxHash32
//	     blocks: u32 size, highest bit set if stored uncompressed; the bytes;
//	     u32 xxHash32 of them, if flagged
//	u32  0, the end
//	u32  content checksum, if flagged: read, but like Kafka not checked
//
// The writer emits FLG 0x60 and BD 0x40, for which the header checksum is
// always 0x82. Frames are put together here and not by lz4.Writer, whose
// buffers are its own: block by block into the destination nothing is
// allocated and nothing copied twice.
const (
	lz4Magic       = 0x184D2204
	lz4BlockSize   = 64 << 10
	lz4Stored      = 1 << 31
	lz4FLG         = 0x60
	lz4BD          = 0x40
	lz4HC          = 0x82
	lz4Independent = 0x20
	lz4BlockSum    = 0x10
	lz4ContentSize = 0x08
	lz4ContentSum  = 0x04
	lz4Reserved    = 0x03

	// lz4FastLevel is Kafka's default level, which means the fast compressor;
	// every other level is one of the high-compression one.
	lz4FastLevel = 9

	// lz4Expansion is how many times its size a block can at most become.
	lz4Expansion = 255
)

var (
	lz4Fast = sync.Pool{New: func() any { return new(lz4.Compressor) }}
	lz4High = sync.Pool{New: func() any { return new(lz4.CompressorHC) }}
	// Blocks that may not fit what the caller still allows are decoded into
	// one of these, to tell a block that is too large from one that is bad.
	lz4Scratch sync.Pool
)

func compressLZ4(dst, src []byte, level int) ([]byte, error) {
	dst = binary.LittleEndian.AppendUint32(dst, lz4Magic)
	dst = append(dst, lz4FLG, lz4BD, lz4HC)
	var err error
	if level == lz4FastLevel {
		c := lz4Fast.Get().(*lz4.Compressor)
		dst, err = appendLZ4Blocks(dst, src, c)
		lz4Fast.Put(c)
	} else {
		c := lz4High.Get().(*lz4.CompressorHC)
		// Level n of the library searches 2^(8+n) deep and ends at 9; Kafka's
		// 10 to 17 are the same to it.
		c.Level = 1 << (8 + min(level, 9))
		dst, err = appendLZ4Blocks(dst, src, c)
		lz4High.Put(c)
	}
	return binary.LittleEndian.AppendUint32(dst, 0), err
}

func appendLZ4Blocks(dst, src []byte, c interface {
	CompressBlock(src, dst []byte) (int, error)
}) ([]byte, error) {
	for len(src) > 0 {
		block := src[:min(len(src), lz4BlockSize)]
		src = src[len(block):]
		dst = grow(dst, 4+lz4.CompressBlockBound(len(block)))
		at := len(dst)
		n, err := c.CompressBlock(block, dst[at+4:cap(dst)])
		if err != nil {
			return dst, err
		}
		size := uint32(n)
		if n == 0 || n >= len(block) {
			n = copy(dst[at+4:cap(dst)], block)
			size = uint32(n) | lz4Stored
		}
		binary.LittleEndian.PutUint32(dst[at:at+4], size)
		dst = dst[:at+4+n]
	}
	return dst, nil
}

// lz4Frame is what a frame's descriptor says.
type lz4Frame struct {
	blockSize   int
	contentSize int64 // -1 when not given
	blockSums   bool
	contentSum  bool
}

func readLZ4Header(src []byte) (f lz4Frame, rest []byte, err error) {
	if len(src) < 7 {
		return f, nil, corrupt(LZ4, "header is cut short")
	}
	if binary.LittleEndian.Uint32(src) != lz4Magic {
		return f, nil, corrupt(LZ4, "bad magic")
	}
	flg, bd := src[4], src[5]
	switch {
	case flg>>6 != 1:
		return f, nil, corrupt(LZ4, "unknown version")
	case flg&lz4Independent == 0:
		return f, nil, corrupt(LZ4, "blocks depend on each other")
	case flg&lz4Reserved != 0:
		return f, nil, corrupt(LZ4, "dictionary or reserved flag")
	case bd&0x8f != 0 || bd>>4 < 4:
		return f, nil, corrupt(LZ4, "bad block size")
	}
	f = lz4Frame{blockSize: 1 << (8 + 2*(bd>>4)), contentSize: -1,
		blockSums: flg&lz4BlockSum != 0, contentSum: flg&lz4ContentSum != 0}
	end := 6
	if flg&lz4ContentSize != 0 {
		end += 8
		if len(src) <= end {
			return f, nil, corrupt(LZ4, "header is cut short")
		}
		f.contentSize = int64(min(binary.LittleEndian.Uint64(src[6:]), math.MaxInt64))
	}
	if src[end] != byte(xxh32(src[4:end])>>8) {
		return f, nil, corrupt(LZ4, "bad header checksum")
	}
	return f, src[end+1:], nil
}

func decompressLZ4(dst, src []byte, limit int) ([]byte, error) {
	f, src, err := readLZ4Header(src)
	if err != nil {
		return nil, err
	}
	if f.contentSize > int64(limit) {
		return nil, &TooLargeError{Codec: LZ4, Max: limit, Declared: f.contentSize}
	}
	start := len(dst)
	for {
		if len(src) < 4 {
			return nil, corrupt(LZ4, "no end mark")
		}
		size := binary.LittleEndian.Uint32(src)
		src = src[4:]
		if size == 0 {
			break
		}
		n := int(size &^ lz4Stored)
		if n > f.blockSize {
			return nil, corrupt(LZ4, "block is larger than the frame allows")
		}
		if n > len(src) {
			return nil, corrupt(LZ4, "block is cut short")
		}
		block := src[:n]
		src = src[n:]
		if f.blockSums {
			if len(src) < 4 {
				return nil, corrupt(LZ4, "block checksum is cut short")
			}
			if binary.LittleEndian.Uint32(src) != xxh32(block) {
				return nil, corrupt(LZ4, "bad block checksum")
			}
			src = src[4:]
		}
		room := limit - (len(dst) - start)
		if size&lz4Stored == 0 {
			dst, err = lz4Block(dst, block, f.blockSize, room)
		} else if n > room {
			err = errNoRoom
		} else {
			dst = append(dst, block...)
		}
		if err == errNoRoom {
			return nil, &TooLargeError{Codec: LZ4, Max: limit, Declared: f.contentSize}
		} else if err != nil {
			return nil, err
		}
	}
	if f.contentSum {
		if len(src) < 4 {
			return nil, corrupt(LZ4, "content checksum is cut short")
		}
		src = src[4:]
	}
	if len(src) > 0 {
		return nil, corrupt(LZ4, "bytes after the end mark")
	}
	if f.contentSize >= 0 && f.contentSize != int64(len(dst)-start) {
		return nil, corrupt(LZ4, "content size does not match the contents")
	}
	return dst, nil
}

// errNoRoom says that a block holds more than is still allowed.
var errNoRoom = corrupt(LZ4, "no room")

// lz4Block appends one compressed block that becomes at most room bytes.
func lz4Block(dst, block []byte, blockSize, room int) ([]byte, error) {
	largest := min(blockSize, lz4Expansion*len(block))
	at := len(dst)
	if largest <= room {
		dst = grow(dst, largest)
		n, err := lz4.UncompressBlock(block, dst[at:at+largest])
		if err != nil {
			return nil, corrupt(LZ4, err.Error())
		}
		return dst[:at+n], nil
	}
	// The decoder does not say whether the block is bad or its destination
	// too small, so give it all that the frame allows, which is 4 MiB at most.
	s, _ := lz4Scratch.Get().(*[]byte)
	if s == nil || cap(*s) < largest {
		b := make([]byte, largest)
		s = &b
	}
	defer lz4Scratch.Put(s)
	n, err := lz4.UncompressBlock(block, (*s)[:largest])
	if err != nil {
		return nil, corrupt(LZ4, err.Error())
	}
	if n > room {
		return nil, errNoRoom
	}
	return append(dst, (*s)[:n]...), nil
}
