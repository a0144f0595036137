package compress

import (
	"errors"
	"fmt"
)

// ErrCorrupt says that bytes are not a valid stream of their codec. It comes
// wrapped, with the codec's name and the reason.
var ErrCorrupt = errors.New("corrupt compressed data")

// TooLargeError says that a stream holds more than the caller allows. The
// stream may be valid.
type TooLargeError struct {
	Codec    Codec
	Max      int   // bytes the caller allowed
	Declared int64 // bytes the stream says it holds; -1 when it does not say
	Window   bool  // it is not the contents but the zstd frame's window that is too large
}

// Error implements error.
func (e *TooLargeError) Error() string {
	if e.Window {
		return fmt.Sprintf("%s frame needs a window of %d bytes, more than %d", e.Codec, e.Declared, e.Max)
	}
	if e.Declared < 0 {
		return fmt.Sprintf("%s data decompresses to more than %d bytes", e.Codec, e.Max)
	}
	return fmt.Sprintf("%s data decompresses to %d bytes, more than %d", e.Codec, e.Declared, e.Max)
}

// UnknownCodecError names a codec that does not exist: by Name from
// ParseCodec, by Codec from Compress and Decompress.
type UnknownCodecError struct {
	Name  string
	Codec Codec
}

// Error implements error.
func (e *UnknownCodecError) Error() string {
	if e.Name != "" {
		return fmt.Sprintf("unknown compression %q: want none, gzip, snappy, lz4 or zstd", e.Name)
	}
	return fmt.Sprintf("unknown compression codec %d", int8(e.Codec))
}

// LevelError names a level that is outside Kafka's range for the codec.
type LevelError struct {
	Codec     Codec
	Level     int
	Low, High int
}

// Error implements error.
func (e *LevelError) Error() string {
	if e.Codec == Gzip {
		return fmt.Sprintf("gzip level %d: want 1 to 9, or -1", e.Level)
	}
	return fmt.Sprintf("%s level %d: want %d to %d", e.Codec, e.Level, e.Low, e.High)
}

// corrupt wraps ErrCorrupt with the codec and a reason.
func corrupt(c Codec, reason string) error {
	return fmt.Errorf("%s: %w: %s", c, ErrCorrupt, reason)
}
