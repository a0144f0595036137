package compress

import (
	"fmt"
	"math"
	"slices"
)

// Codec is a compression type, numbered as in bits 0 to 2 of a record batch's
// attributes (KIP-98; zstd since KIP-110).
type Codec int8

// The codecs, by Kafka's numbers.
const (
	None   Codec = 0
	Gzip   Codec = 1
	Snappy Codec = 2
	LZ4    Codec = 3
	Zstd   Codec = 4
)

// DefaultLevel asks for the codec's default level, the one that Kafka uses
// when compression.gzip.level, compression.lz4.level or compression.zstd.level
// is not set: -1, 9 and 3. Every codec accepts it.
const DefaultLevel = -1 << 31

// gzip's own name for "default", part of Kafka's range for it.
const gzipDefault = -1

var names = [...]string{None: "none", Gzip: "gzip", Snappy: "snappy", LZ4: "lz4", Zstd: "zstd"}

// String returns Kafka's name for the codec, as in compression.type.
func (c Codec) String() string {
	if !c.Valid() {
		return fmt.Sprintf("codec(%d)", int8(c))
	}
	return names[c]
}

// Valid reports whether c is one of the five codecs.
func (c Codec) Valid() bool { return c >= None && int(c) < len(names) }

// ParseCodec returns the codec with Kafka's name for it: none, gzip, snappy,
// lz4 or zstd. Any other name is an *UnknownCodecError.
func ParseCodec(name string) (Codec, error) {
	if i := slices.Index(names[:], name); i >= 0 {
		return Codec(i), nil
	}
	return None, &UnknownCodecError{Name: name}
}

// Levels returns the lowest, highest and default level that Kafka accepts for
// the codec (KIP-390). ok is false for none and snappy, which have no levels.
func (c Codec) Levels() (low, high, standard int, ok bool) {
	switch c {
	case Gzip:
		return gzipDefault, 9, gzipDefault, true
	case LZ4:
		return 1, 17, 9, true
	case Zstd:
		return -131072, 22, 3, true
	}
	return 0, 0, 0, false
}

// CheckLevel returns a *LevelError unless Kafka accepts the level for the
// codec: gzip 1 to 9 or -1, lz4 1 to 17, zstd -131072 to 22. DefaultLevel is
// always accepted, and none and snappy accept everything, as they have no
// levels.
func (c Codec) CheckLevel(level int) error {
	low, high, _, ok := c.Levels()
	if !ok || level == DefaultLevel {
		return nil
	}
	if level < low || level > high || c == Gzip && level == 0 {
		return &LevelError{Codec: c, Level: level, Low: low, High: high}
	}
	return nil
}

// resolve turns DefaultLevel into the codec's own number.
func (c Codec) resolve(level int) int {
	if _, _, standard, ok := c.Levels(); ok && level == DefaultLevel {
		return standard
	}
	return level
}

// Compress appends src, compressed with c at the given level, to dst and
// returns the longer slice. None copies. The output is one complete stream,
// also for an empty src. The level is one that CheckLevel accepts, or
// DefaultLevel; otherwise a *LevelError is returned, and an
// *UnknownCodecError for a codec that does not exist. dst and src must not
// overlap. On an error the returned slice is dst as it was.
func Compress(dst, src []byte, c Codec, level int) ([]byte, error) {
	if err := c.CheckLevel(level); err != nil {
		return dst, err
	}
	var (
		out []byte
		err error
	)
	switch level = c.resolve(level); c {
	case None:
		return append(dst, src...), nil
	case Gzip:
		out, err = compressGzip(dst, src, level)
	case Snappy:
		out = compressSnappy(dst, src)
	case LZ4:
		out, err = compressLZ4(dst, src, level)
	case Zstd:
		out = compressZstd(dst, src, level)
	default:
		return dst, &UnknownCodecError{Codec: c}
	}
	if err != nil {
		return dst, fmt.Errorf("compress with %s: %w", c, err)
	}
	return out, nil
}

// largestLimit is more than a batch of Kafka's can be, and leaves room to
// count one byte further.
const largestLimit = math.MaxInt32 - 1<<10

// Decompress appends the decompressed src to dst and returns the longer
// slice. limit bounds the number of bytes appended; when the stream holds more,
// the error is a *TooLargeError, and at no time is more than a small multiple
// of limit bytes of memory in use. Anything that is not exactly one valid
// stream of the codec is an error for which errors.Is(err, ErrCorrupt) holds.
// On an error the returned slice is dst as it was; bytes between its length
// and its capacity may have been overwritten. dst and src must not overlap.
func Decompress(dst, src []byte, c Codec, limit int) ([]byte, error) {
	limit = min(max(limit, 0), largestLimit)
	n := len(dst)
	var (
		out []byte
		err error
	)
	switch c {
	case None:
		if len(src) > limit {
			return dst, &TooLargeError{Codec: c, Max: limit, Declared: int64(len(src))}
		}
		return append(dst, src...), nil
	case Gzip:
		out, err = decompressGzip(dst, src, limit)
	case Snappy:
		out, err = decompressSnappy(dst, src, limit)
	case LZ4:
		out, err = decompressLZ4(dst, src, limit)
	case Zstd:
		out, err = decompressZstd(dst, src, limit)
	default:
		return dst, &UnknownCodecError{Codec: c}
	}
	if err != nil {
		return dst, err
	}
	if len(out)-n > limit {
		panic("BUG: decompressed past the limit")
	}
	return out, nil
}

// grow returns dst with room for n more bytes.
func grow(dst []byte, n int) []byte { return slices.Grow(dst, n) }
