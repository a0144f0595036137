package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// UnreachableError says that no broker could be reached, or that one did not answer. What was asked may have happened. It
// passes by itself if the brokers come back (partition.Retriable).
type UnreachableError struct {
	Addresses []string // the bootstrap addresses
	API       string   // what was to be asked
	Err       error    // the last attempt's
}

// Error names the addresses, the last failure, and what to look at.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("no answer to %s from the brokers of %s (look whether they run, whether the addresses that they advertise can be reached from here, and whether security.protocol is theirs): %v",
		e.API, strings.Join(e.Addresses, ", "), e.Err)
}

// Unwrap returns the last attempt's error.
func (e *UnreachableError) Unwrap() error { return e.Err }

// Retriable reports true.
func (e *UnreachableError) Retriable() bool { return true }

// BrokerError is an error code that a broker has answered. errors.Is finds the sentinel of package partition or group that
// means the same, where there is one.
type BrokerError struct {
	API     string // the request's name
	Code    int16  // Kafka's number
	Name    string // Kafka's name of it, as NOT_ENOUGH_REPLICAS
	Message string // what the broker says beside it; may be empty

	sentinel error
	passes   bool
}

// Error names the code, and says what the broker says.
func (e *BrokerError) Error() string {
	text := e.Message
	if text == "" && e.sentinel != nil {
		text = e.sentinel.Error()
	}
	if text == "" {
		text = kerr.ErrorForCode(e.Code).Error()
		text = strings.TrimPrefix(text, e.Name+": ")
	}
	return fmt.Sprintf("%s: %s (%d): %s", e.API, e.Name, e.Code, text)
}

// Unwrap returns the sentinel, nil if there is none.
func (e *BrokerError) Unwrap() error { return e.sentinel }

// Retriable reports whether it passes by itself.
func (e *BrokerError) Retriable() bool { return e.passes }

// Refused reports whether the broker has certainly not done what was asked.
func (e *BrokerError) Refused() bool {
	switch e.Code {
	case codeUnknownServerError, codeRequestTimedOut, codeNetworkException, codeNotEnoughReplicasAfterAppend, codeKafkaStorageError:
		return false
	}
	return true
}

// brokerError makes the error of a code, nil for none.
func brokerError(api string, code int16, message *string) error {
	if code == codeNone {
		return nil
	}
	e := &BrokerError{API: api, Code: code, Name: "UNKNOWN", sentinel: sentinelOf(code)}
	var known *kerr.Error
	if errors.As(kerr.ErrorForCode(code), &known) {
		e.Name, e.passes = known.Message, known.Retriable
	}
	if e.sentinel != nil && !errors.Is(e.sentinel, errNotLeader) && !errors.Is(e.sentinel, errNotEnoughReplicas) {
		e.passes = partition.Retriable(e.sentinel)
	}
	if message != nil {
		e.Message = *message
	}
	return e
}

// sentinelOf returns what a code is called in the floors below: the reverse of errorCodes, but for codes that mean more to a
// client than to a broker.
func sentinelOf(code int16) error {
	switch code {
	case codeInvalidRequest:
		return group.ErrInvalidRequest
	case codeKafkaStorageError, codeNotEnoughReplicasAfterAppend:
		return nil // another leader may take it
	case codeUnknownProducerID:
		return partition.ErrOutOfOrderSequence
	case codeInconsistentTopicID:
		return partition.ErrUnknownTopicID
	case codeCoordinatorLoadInProgress, codeNotCoordinator:
		return group.ErrCoordinatorNotAvailable
	case codeUnsupportedVersion, codeUnsupportedForMessageFormat, codeUnsupportedCompressionType:
		return partition.ErrUnsupported
	case codeInvalidReplicationFactor, codeInvalidReplicaAssignment:
		return partition.ErrInvalidConfig
	case codeRequestTimedOut:
		return partition.ErrTimeout
	}
	for i := range errorCodes {
		e := &errorCodes[i]
		if e.code == code && !errors.Is(e.err, context.Canceled) && !errors.Is(e.err, context.DeadlineExceeded) {
			return e.err
		}
	}
	return nil
}

// codeOf returns the code of an error of franz-go, if a broker has answered one.
func codeOf(err error) (int16, bool) {
	if known, ok := errors.AsType[*kerr.Error](err); ok {
		return known.Code, true
	}
	return 0, false
}

// isTooOld reports whether franz-go has not sent a request because the broker does not know it.
func isTooOld(err error) bool {
	return strings.Contains(err.Error(), "broker is too old") || strings.Contains(err.Error(), "request key is unknown")
}

// moved reports whether a code means that another broker, or fresher metadata, is to be asked.
func moved(code int16) bool {
	switch code {
	case codeNotLeaderOrFollower, codeLeaderNotAvailable, codeReplicaNotAvailable, codeBrokerNotAvailable, codeKafkaStorageError,
		codeUnknownTopicOrPartition, codeUnknownTopicID, codeInconsistentTopicID, codeOffsetNotAvailable, codeListenerNotFound, codeNetworkException:
		return true
	}
	return false
}

// text is what is in a nullable string.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
