package consumer

import (
	"errors"
	"fmt"
	"time"

	"github.com/partlog/partlog/partition"
)

// Errors that a caller can act on. Test for them with errors.Is.
var (
	// ErrClosed ends an iteration whose consumer, group or store was closed.
	ErrClosed = partition.ErrClosed

	// ErrConcurrentUse is a second loop over a consumer while another is under way: a consumer is read by one
	// goroutine at a time. Make one consumer for each.
	ErrConcurrentUse = errors.New("consumer is in use by another loop")

	// ErrExpelled ends the iteration of a group's member that held its records too long. See *ExpelledError.
	ErrExpelled = errors.New("expelled from the group")

	// ErrNoOffset ends the iteration where Config.Reset is ResetNone and a partition has no committed offset.
	ErrNoOffset = errors.New("no committed offset")
)

// ExpelledError says that a member kept the same records longer than max.poll.interval (group.Config.RebalanceTimeout),
// so that its partitions went to others. It is ErrExpelled. What it had finished before was committed; join again.
type ExpelledError struct {
	Group    string
	MemberID string
	Held     time.Duration
}

// Error names the group, the member and the time.
func (e *ExpelledError) Error() string {
	return fmt.Sprintf("member %s of group %q held its records for %v, longer than max.poll.interval: expelled", e.MemberID, e.Group, e.Held)
}

// Is reports whether target is ErrExpelled.
func (e *ExpelledError) Is(target error) bool { return target == ErrExpelled }

// DecodeError is a record whose key or value could not be decoded. It is per record: the iteration goes on, and reaching
// its next step acknowledges the record.
type DecodeError struct {
	Raw   Record // the record as it was read
	IsKey bool   // the key, not the value
	Err   error  // the decoder's
}

// Error names the record and what of it.
func (e *DecodeError) Error() string {
	part := "value"
	if e.IsKey {
		part = "key"
	}
	return fmt.Sprintf("decode %s of %s-%d at offset %d: %v", part, e.Raw.Topic, e.Raw.Partition, e.Raw.Offset, e.Err)
}

// Unwrap returns the decoder's error.
func (e *DecodeError) Unwrap() error { return e.Err }
