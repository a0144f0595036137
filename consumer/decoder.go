package consumer

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"

	"github.com/partlog/partlog/partition"
)

// Decoder makes a value of bytes. A null key or value is src == nil, which is not the empty one. src may be kept: it
// is the record's own. Decoders keep nothing of at. Kafka calls them deserializers.
type Decoder[T any] func(src []byte, at *Envelope) (T, error)

// Envelope tells a Decoder where it is. It belongs to the iteration and is used again.
type Envelope struct {
	Topic string
	IsKey bool // the key is decoded, not the value

	// Headers are the record's.
	Headers []partition.Header
}

// Bytes gives the bytes as they are; null is nil.
func Bytes(src []byte, _ *Envelope) ([]byte, error) { return src, nil }

// String gives the bytes as a string; null is "".
func String(src []byte, _ *Envelope) (string, error) { return string(src), nil }

// Int32 reads 4 bytes, big-endian, as Kafka's IntegerDeserializer; null is 0.
func Int32(src []byte, _ *Envelope) (int32, error) {
	v, err := fixed(src, 4, binary.BigEndian.Uint32)
	return int32(v), err
}

// Int64 reads 8 bytes, big-endian, as Kafka's LongDeserializer; null is 0.
func Int64(src []byte, _ *Envelope) (int64, error) {
	v, err := fixed(src, 8, binary.BigEndian.Uint64)
	return int64(v), err
}

// Uint32 reads 4 bytes, big-endian; null is 0.
func Uint32(src []byte, _ *Envelope) (uint32, error) { return fixed(src, 4, binary.BigEndian.Uint32) }

// Uint64 reads 8 bytes, big-endian; null is 0.
func Uint64(src []byte, _ *Envelope) (uint64, error) { return fixed(src, 8, binary.BigEndian.Uint64) }

// Float64 reads 8 bytes, big-endian IEEE 754, as Kafka's DoubleDeserializer; null is 0.
func Float64(src []byte, _ *Envelope) (float64, error) {
	v, err := fixed(src, 8, binary.BigEndian.Uint64)
	return math.Float64frombits(v), err
}

func fixed[T any](src []byte, size int, read func([]byte) T) (v T, err error) {
	if src == nil {
		return v, nil
	}
	if len(src) != size {
		return v, fmt.Errorf("%d bytes, want %d", len(src), size)
	}
	return read(src), nil
}

// JSON reads one JSON text with encoding/json; null is the zero T.
func JSON[T any](src []byte, _ *Envelope) (v T, err error) {
	if src == nil {
		return v, nil
	}
	if err := json.Unmarshal(src, &v); err != nil {
		var zero T
		return zero, err
	}
	return v, nil
}

// Nullable turns a decoder of values into one of pointers: null is nil.
func Nullable[T any](d Decoder[T]) Decoder[*T] {
	return func(src []byte, at *Envelope) (*T, error) {
		if src == nil {
			return nil, nil
		}
		v, err := d(src, at)
		if err != nil {
			return nil, err
		}
		return &v, nil
	}
}
