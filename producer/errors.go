package producer

import (
	"fmt"
	"time"

	"github.com/partlog/partlog/partition"
)

// ErrClosed is what everything returns after Close, or after the store was closed.
var ErrClosed = partition.ErrClosed

// BufferExhaustedError says that Config.BufferMemory was full for Config.MaxBlock: records arrive faster than they are
// written. The record was not accepted. It is partition.ErrTimeout.
type BufferExhaustedError struct {
	partition.TopicPartition
	Size   int           // bytes asked for
	Buffer int           // Config.BufferMemory
	Waited time.Duration // how long
}

// Error names the partition, the sizes and the remedy.
func (e *BufferExhaustedError) Error() string {
	return fmt.Sprintf("send to %s: no %d bytes became free in the buffer of %d bytes within %s: send slower, or raise BufferMemory or MaxBlock",
		e.TopicPartition, e.Size, e.Buffer, e.Waited)
}

// Is reports whether target is partition.ErrTimeout.
func (e *BufferExhaustedError) Is(target error) bool { return target == partition.ErrTimeout }

// RecordTooLargeError says that a record alone is more than its topic or the producer takes. It was not accepted; its
// neighbours are not concerned. It is partition.ErrMessageTooLarge.
type RecordTooLargeError struct {
	Topic string
	Size  int    // of a batch with this record only, uncompressed
	Limit int    // what is allowed
	By    string // the setting that says so: max.message.bytes or BufferMemory
}

// Error names the topic, the size and the setting that limits it.
func (e *RecordTooLargeError) Error() string {
	return fmt.Sprintf("send to %s: record of %d bytes is larger than %s=%d", e.Topic, e.Size, e.By, e.Limit)
}

// Is reports whether target is partition.ErrMessageTooLarge.
func (e *RecordTooLargeError) Is(target error) bool { return target == partition.ErrMessageTooLarge }

// DeliveryTimeoutError says that a record was not acknowledged within Config.DeliveryTimeout, or before Close gave up
// waiting. Inside an *UncertainError it may be in the log nevertheless. It is partition.ErrTimeout.
type DeliveryTimeoutError struct {
	partition.TopicPartition
	Age      time.Duration // since the first record of its batch was accepted
	Attempts int           // appends begun
	Err      error         // of the last attempt, if there was one
}

// Error names the partition, the age and the last attempt's error.
func (e *DeliveryTimeoutError) Error() string {
	s := fmt.Sprintf("send to %s: not acknowledged after %s and %d attempts", e.TopicPartition, e.Age, e.Attempts)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Is reports whether target is partition.ErrTimeout.
func (e *DeliveryTimeoutError) Is(target error) bool { return target == partition.ErrTimeout }

// Unwrap returns the last attempt's error.
func (e *DeliveryTimeoutError) Unwrap() error { return e.Err }

// UncertainError says that a record may be in the log, now or soon, although it was not acknowledged: a Send whose
// context ended when the record could not be withdrawn any more, or an append without an answer.
type UncertainError struct {
	partition.TopicPartition
	Err error // why there is no certainty
}

// Error says that the record may have been appended, and why that is not known.
func (e *UncertainError) Error() string {
	return fmt.Sprintf("send to %s: the record may have been appended: %v", e.TopicPartition, e.Err)
}

// Unwrap returns the reason, such as context.Canceled.
func (e *UncertainError) Unwrap() error { return e.Err }

// EncodeError says that an Encoder failed. The record was not accepted.
type EncodeError struct {
	Topic string
	Part  string // "key" or "value"
	Err   error
}

// Error names the topic and the part.
func (e *EncodeError) Error() string {
	return fmt.Sprintf("encode %s for %s: %v", e.Part, e.Topic, e.Err)
}

// Unwrap returns the Encoder's error.
func (e *EncodeError) Unwrap() error { return e.Err }

// PanicError is a panic of the caller's code, caught: in a callback, an interceptor, a partitioner or an encoder.
type PanicError struct {
	In    string // what panicked, such as "callback"
	Value any    // what it panicked with
	Stack []byte // where
}

// Error names the code and the panic's value; the stack is in the field.
func (e *PanicError) Error() string { return fmt.Sprintf("panic in %s: %v", e.In, e.Value) }
