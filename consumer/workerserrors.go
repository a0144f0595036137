package consumer

import (
	"errors"
	"fmt"

	"github.com/partlog/partlog/partition"
)

// HandlerError ends work at a record that could not be handled and has nowhere to go: there is no dead-letter topic. The
// group has not committed past it.
type HandlerError struct {
	partition.TopicPartition
	Offset   partition.Offset
	Attempts int   // in all, those before it came from a retry topic included
	Err      error // the handler's last: also *DecodeError, *PanicError
}

// Error names the record.
func (e *HandlerError) Error() string {
	return fmt.Sprintf("handle %s at offset %d: attempt %d: %v", e.TopicPartition, e.Offset, e.Attempts, e.Err)
}

// Unwrap returns the handler's error.
func (e *HandlerError) Unwrap() error { return e.Err }

// ForwardError ends work at a record that could not be handled and could not be written to a retry or dead-letter topic
// either: the topic is missing, or full, or refuses the record. The group has not committed past it.
type ForwardError struct {
	partition.TopicPartition // where it was read
	Offset                   partition.Offset
	To                       string // the topic
	Cause                    error  // why the record could not be handled
	Err                      error  // the forwarder's
}

// Error names the record and the topic.
func (e *ForwardError) Error() string {
	return fmt.Sprintf("forward %s at offset %d to topic %q: %v (it failed with: %v)", e.TopicPartition, e.Offset, e.To, e.Err, e.Cause)
}

// Unwrap returns the forwarder's error.
func (e *ForwardError) Unwrap() error { return e.Err }

// PanicError is a panic of a handler: an error of the record, which Retry and dead letters treat as any other.
type PanicError struct {
	Value any    // what the handler panicked with
	Stack []byte // where, as debug.Stack prints it
}

// Error has the value, not the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("handler panicked: %v", e.Value) }

// Unwrap returns Value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// errGoexit is a handler that ended its goroutine, as testing.T.FailNow does.
var errGoexit = errors.New("the handler ended its goroutine (runtime.Goexit)")
