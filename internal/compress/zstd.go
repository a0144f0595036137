package compress

import (
	"math"
	"sync"

	"github.com/klauspost/compress/zstd"
)

const (
	// zstdWindow bounds the history a frame may ask for: the largest window
	// that the format wants every decoder to support, and the largest that
	// zstd's own levels up to 19 use.
	zstdWindow = 8 << 20

	// zstdGuess is how many times its size a stream that does not declare its
	// contents is first given. If that is too little it is decoded once more;
	// not in steady state, as callers come with the buffer of the batch before.
	zstdGuess = 8

	zstdBlock = 128 << 10 // the most that a block can hold
	zstdSlack = 16
)

// One decoder serves everyone: DecodeAll hands each caller one of its block
// decoders. Its output never grows past the capacity it was given, so the
// limit holds whatever a frame says.
var zstdDecoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(0),
		zstd.WithDecoderMaxWindow(zstdWindow),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic("BUG: zstd decoder: " + err.Error())
	}
	return d
})

// zstdEncoders holds an encoder for each of the library's four levels, made
// when first used.
var zstdEncoders = [...]func() *zstd.Encoder{
	zstd.SpeedFastest:           zstdEncoder(zstd.SpeedFastest),
	zstd.SpeedDefault:           zstdEncoder(zstd.SpeedDefault),
	zstd.SpeedBetterCompression: zstdEncoder(zstd.SpeedBetterCompression),
	zstd.SpeedBestCompression:   zstdEncoder(zstd.SpeedBestCompression),
}

func zstdEncoder(level zstd.EncoderLevel) func() *zstd.Encoder {
	return sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil,
			zstd.WithEncoderLevel(level),
			zstd.WithWindowSize(zstdEncoderWindow(level)),
			zstd.WithZeroFrames(true),
			zstd.WithEncoderCRC(false)) // the batch has its own
		if err != nil {
			panic("BUG: zstd encoder: " + err.Error())
		}
		return e
	})
}

// zstdEncoderWindow keeps an encoder's tables and history small: batches are
// seldom larger than a MiB.
func zstdEncoderWindow(level zstd.EncoderLevel) int {
	if level >= zstd.SpeedBetterCompression {
		return zstdWindow / 2
	}
	return zstdWindow / 4
}

func compressZstd(dst, src []byte, level int) []byte {
	return zstdEncoders[zstd.EncoderLevelFromZstd(level)]().EncodeAll(src, dst)
}

// zstdSurvey is what a stream's frame and block headers say without decoding.
type zstdSurvey struct {
	most     int64 // bytes that the stream holds at most
	declared int64 // bytes that it says it holds; -1 if a frame does not say
}

// survey walks the frame and block headers. It is what makes it safe to
// allocate before decoding: a block takes four bytes at least and stands for
// 128 KiB at most, so the sum over blocks is in proportion to the input.
func survey(src []byte) (zstdSurvey, error) {
	var s zstdSurvey
	if len(src) == 0 {
		return s, corrupt(Zstd, "no frame")
	}
	for len(src) > 0 {
		var h zstd.Header
		if err := h.Decode(src); err != nil {
			return s, corrupt(Zstd, err.Error())
		}
		rest := src[h.HeaderSize:]
		if h.Skippable {
			if uint64(h.SkippableSize) > uint64(len(rest)) {
				return s, corrupt(Zstd, "skippable frame is cut short")
			}
			src = rest[h.SkippableSize:]
			continue
		}
		window := h.WindowSize
		if h.SingleSegment {
			window = h.FrameContentSize
		}
		if window > zstdWindow {
			return s, &TooLargeError{Codec: Zstd, Max: zstdWindow, Declared: int64(min(window, math.MaxInt64)), Window: true}
		}
		most, rest, err := surveyBlocks(rest, min(max(int64(window), zstd.MinWindowSize), zstdBlock))
		if err != nil {
			return s, err
		}
		if h.HasCheckSum {
			if len(rest) < 4 {
				return s, corrupt(Zstd, "checksum is cut short")
			}
			rest = rest[4:]
		}
		switch {
		case !h.HasFCS:
			s.declared = -1
		case h.FrameContentSize > uint64(most):
			return s, corrupt(Zstd, "content size that its blocks cannot have")
		default:
			most = int64(h.FrameContentSize)
			if s.declared >= 0 {
				s.declared += most
			}
		}
		s.most += most
		src = rest
	}
	return s, nil
}

// surveyBlocks walks the blocks of one frame, each of which holds at most
// largest bytes, and returns what they hold at most and what follows them.
func surveyBlocks(src []byte, largest int64) (most int64, rest []byte, err error) {
	const raw, repeated, compressed = 0, 1, 2
	for {
		if len(src) < 3 {
			return 0, nil, corrupt(Zstd, "block header is cut short")
		}
		header := uint32(src[0]) | uint32(src[1])<<8 | uint32(src[2])<<16
		last, size, stored := header&1 != 0, int64(header>>3), int(header>>3)
		src = src[3:]
		switch header >> 1 & 3 {
		case raw:
			most += size
		case repeated:
			most += size
			stored = 1
		case compressed:
			most += largest
		default:
			return 0, nil, corrupt(Zstd, "reserved block type")
		}
		if size > largest {
			return 0, nil, corrupt(Zstd, "block is larger than the frame allows")
		}
		if stored > len(src) {
			return 0, nil, corrupt(Zstd, "block is cut short")
		}
		if src = src[stored:]; last {
			return most, src, nil
		}
	}
}

func decompressZstd(dst, src []byte, limit int) ([]byte, error) {
	s, err := survey(src)
	if err != nil {
		return nil, err
	}
	if s.declared > int64(limit) {
		return nil, &TooLargeError{Codec: Zstd, Max: limit, Declared: s.declared}
	}
	at := len(dst)
	most := int(min(s.most, int64(limit)))
	room := most
	if s.declared < 0 {
		room = min(most, max(zstdGuess*len(src)+1024, cap(dst)-at-zstdSlack))
	}
	for {
		// A few bytes more than can be needed spare the decoder some checks.
		dst = grow(dst, room+zstdSlack)
		out, err := zstdDecoder().DecodeAll(src, dst[at:at:at+room+zstdSlack])
		if err == nil && len(out) <= room {
			if len(out) > 0 && &out[0] != &dst[:at+1][at] {
				return append(dst, out...), nil // the decoder took a buffer of its own after all
			}
			return dst[:at+len(out)], nil
		}
		// The decoder has no error of its own for "the block does not fit",
		// so whether the stream is bad is known only with room for all of it.
		switch {
		case room < most:
			room = most
		case s.most > int64(limit):
			return nil, &TooLargeError{Codec: Zstd, Max: limit, Declared: s.declared}
		case err == nil:
			return nil, corrupt(Zstd, "more contents than its blocks can have")
		default:
			return nil, corrupt(Zstd, err.Error())
		}
	}
}
