package producer

import (
	"encoding/binary"
	"encoding/json"
	"math"

	"github.com/partlog/partlog/partition"
)

// Encoder appends the bytes of v to dst and returns the longer slice. It may set at.Null to send null, which is not
// the empty result, and may append to at.Headers. It keeps neither dst nor at. Encoders are called from any number of
// goroutines; Kafka calls them serializers.
type Encoder[T any] func(dst []byte, v T, at *Envelope) ([]byte, error)

// Envelope tells an Encoder where it is. It belongs to the producer and is used again.
type Envelope struct {
	Topic string
	IsKey bool // the key is encoded, not the value

	// Null is false before each call; an encoder sets it to send null, whatever bytes it returns.
	Null bool

	// Headers are the record's. The key's encoder runs before the value's.
	Headers []partition.Header
}

// Bytes sends the bytes as they are; nil is null.
func Bytes(dst []byte, v []byte, at *Envelope) ([]byte, error) {
	at.Null = v == nil
	return append(dst, v...), nil
}

// String sends the bytes of the string; "" is empty, never null.
func String(dst []byte, v string, _ *Envelope) ([]byte, error) { return append(dst, v...), nil }

// Int32 sends 4 bytes, big-endian, as Kafka's IntegerSerializer.
func Int32(dst []byte, v int32, _ *Envelope) ([]byte, error) {
	return binary.BigEndian.AppendUint32(dst, uint32(v)), nil
}

// Int64 sends 8 bytes, big-endian, as Kafka's LongSerializer.
func Int64(dst []byte, v int64, _ *Envelope) ([]byte, error) {
	return binary.BigEndian.AppendUint64(dst, uint64(v)), nil
}

// Uint32 sends 4 bytes, big-endian.
func Uint32(dst []byte, v uint32, _ *Envelope) ([]byte, error) {
	return binary.BigEndian.AppendUint32(dst, v), nil
}

// Uint64 sends 8 bytes, big-endian.
func Uint64(dst []byte, v uint64, _ *Envelope) ([]byte, error) {
	return binary.BigEndian.AppendUint64(dst, v), nil
}

// Float64 sends 8 bytes, big-endian IEEE 754, as Kafka's DoubleSerializer.
func Float64(dst []byte, v float64, _ *Envelope) ([]byte, error) {
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(v)), nil
}

// JSON sends what encoding/json makes of v. A nil pointer is the JSON text null, not Kafka's null: use Nullable or
// View.Delete for that.
func JSON[T any](dst []byte, v T, _ *Envelope) ([]byte, error) {
	b, err := json.Marshal(v)
	return append(dst, b...), err
}

// Null always sends null, for topics without keys or without values; v is ignored.
func Null[T any](dst []byte, _ T, at *Envelope) ([]byte, error) {
	at.Null = true
	return dst, nil
}

// Nullable turns an encoder of values into one of pointers, whose nil is null.
func Nullable[T any](e Encoder[T]) Encoder[*T] {
	return func(dst []byte, v *T, at *Envelope) ([]byte, error) {
		if v == nil {
			at.Null = true
			return dst, nil
		}
		return e(dst, *v, at)
	}
}
