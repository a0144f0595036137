package compress

import (
	"errors"
	"math"
	"sync"

	"github.com/klauspost/compress/zstd"
)

const (
	// zstdWindow bounds the history a frame may ask for: the largest window
	// that the format wants every decoder to support, and the largest that
	// zstd's own levels up to 19 use.
	zstdWindow = 8 << 20

	// zstdRetry is by how much the room for a frame that does not declare its
	// size grows when it was too small. Decoding again from the start costs a
	// third of the work in the worst case, and nothing in steady state, as
	// callers come with the buffer of the batch before.
	zstdRetry = 4
	zstdFirst = 1024

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

func decompressZstd(dst, src []byte, limit int) ([]byte, error) {
	var header zstd.Header
	if err := header.Decode(src); err != nil {
		return nil, corrupt(Zstd, err.Error())
	}
	declared, at := int64(-1), len(dst)
	room := min(limit, zstdRetry*len(src)+zstdFirst)
	if header.HasFCS {
		declared = int64(min(header.FrameContentSize, math.MaxInt64))
		if declared > int64(limit) {
			return nil, &TooLargeError{Codec: Zstd, Max: limit, Declared: declared}
		}
		// A block takes four bytes at least and stands for 128 KiB at most.
		if declared > int64(len(src)/4+1)*zstdBlock {
			return nil, corrupt(Zstd, "content size that so few bytes cannot have")
		}
		room = int(declared)
	}
	room = min(limit, max(room, cap(dst)-at-zstdSlack))
	for {
		// A few bytes more than can be needed spare the decoder some checks.
		dst = grow(dst, room+zstdSlack)
		out, err := zstdDecoder().DecodeAll(src, dst[at:at:at+room+zstdSlack])
		switch {
		case err == nil && len(out) <= room:
			if len(out) > 0 && &out[0] != &dst[:at+1][at] {
				return append(dst, out...), nil // the decoder took a buffer of its own after all
			}
			return dst[:at+len(out)], nil
		case errors.Is(err, zstd.ErrWindowSizeExceeded):
			return nil, &TooLargeError{Codec: Zstd, Max: zstdWindow, Declared: int64(min(header.WindowSize, math.MaxInt64)), Window: true}
		case err != nil && !errors.Is(err, zstd.ErrDecoderSizeExceeded):
			return nil, corrupt(Zstd, err.Error())
		case room >= limit:
			return nil, &TooLargeError{Codec: Zstd, Max: limit, Declared: declared}
		}
		room = min(limit, room*zstdRetry)
	}
}
