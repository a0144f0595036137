package consumer

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/partlog/partlog/partition"
)

// Forwarder writes records to retry and dead-letter topics, and dead letters back to their source; met by
// *producer.Producer and, for transactions, *producer.Tx. A nil error says that the record will not be lost. Workers call
// it at the same time.
type Forwarder interface {
	Forward(ctx context.Context, topic string, key, value []byte, headers []partition.Header) error
}

// DeadLetter is a record that could not be handled, as it was, with where it came from and why. In the dead-letter topic it
// has the key, the value and the headers that it had, and behind those the headers Header... of this package; numbers
// and times are decimal text.
type DeadLetter struct {
	partition.TopicPartition                  // where it was read first: not a retry topic
	Offset                   partition.Offset // there
	Timestamp                time.Time        // there; zero if it had none
	Key, Value               []byte
	Headers                  []partition.Header // those that it came with

	Failed   time.Time // when it was buried
	Error    string    // of the last attempt
	Kind     FailureKind
	Stack    string // where the handler panicked, at most 4 KiB
	Attempts int    // in all
	Group    string // whose work it was

	Record Record // the dead letter itself, in its topic
}

// The headers of a dead letter, and of a record in a retry topic.
const (
	HeaderTopic     = "partlog.source.topic"
	HeaderPartition = "partlog.source.partition"
	HeaderOffset    = "partlog.source.offset"
	HeaderTimestamp = "partlog.source.timestamp" // milliseconds; absent if the record has none
	HeaderAttempts  = "partlog.attempts"
	HeaderFailed    = "partlog.failed" // milliseconds
	HeaderError     = "partlog.error"
	HeaderErrorKind = "partlog.error.kind" // FailureKind's String
	HeaderStack     = "partlog.error.stack"
	HeaderGroup     = "partlog.group"
	// The rest is of retry topics only. A record counts as one that is to be tried again only in the topic that is named.
	HeaderRetryTopic = "partlog.retry.topic"
	HeaderRetryLevel = "partlog.retry.level" // of Retry.Topics, from 1
	HeaderRetryDue   = "partlog.retry.due"   // milliseconds
	HeaderRetryDelay = "partlog.retry.delay" // milliseconds
)

// FailureKind is what went wrong with a record.
type FailureKind uint8

const (
	HandlerFailed FailureKind = iota // the handler returned an error
	DecodeFailed
	HandlerPanicked
)

var failureKinds = [...]string{"handler", "decode", "panic"}

// String is the header's text.
func (k FailureKind) String() string { return failureKinds[k] }

func kindOf(err error) FailureKind {
	if _, ok := errors.AsType[*PanicError](err); ok {
		return HandlerPanicked
	}
	if _, ok := errors.AsType[*DecodeError](err); ok {
		return DecodeFailed
	}
	return HandlerFailed
}

// Bounds of what a dead letter says of its error.
const (
	maxErrorText = 1 << 10
	maxStack     = 4 << 10
)

// headers returns the letter's headers as they are written, those of a record that is to be tried again behind them.
func (l *DeadLetter) headers(err error, more ...partition.Header) []partition.Header {
	h := make([]partition.Header, 0, len(l.Headers)+10+len(more))
	add := func(key, value string) { h = append(h, partition.Header{Key: key, Value: []byte(value)}) }
	h = append(h, l.Headers...)
	add(HeaderTopic, l.Topic)
	add(HeaderPartition, strconv.Itoa(int(l.Partition)))
	add(HeaderOffset, strconv.FormatInt(int64(l.Offset), 10))
	if !l.Timestamp.IsZero() {
		add(HeaderTimestamp, milliseconds(l.Timestamp))
	}
	add(HeaderAttempts, strconv.Itoa(l.Attempts))
	add(HeaderFailed, milliseconds(l.Failed))
	add(HeaderError, cutText(err.Error(), maxErrorText))
	add(HeaderErrorKind, kindOf(err).String())
	if p, ok := errors.AsType[*PanicError](err); ok {
		add(HeaderStack, cutText(string(p.Stack), maxStack))
	}
	if l.Group != "" {
		add(HeaderGroup, l.Group)
	}
	return append(h, more...)
}

func milliseconds(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

// cutText cuts a text to at most n bytes, not within a rune.
func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// letterOf reads the headers that headers wrote. It returns false if the record has none of them, or they make no sense.
func letterOf(r *Record) (l DeadLetter, retry retryHeaders, ok bool) {
	l.Key, l.Value, l.Record = r.Key, r.Value, *r
	l.Partition, l.Offset = -1, -1
	for _, h := range r.Headers {
		text := string(h.Value)
		switch h.Key {
		case HeaderTopic:
			l.Topic = text
		case HeaderPartition:
			l.Partition = smallNumber(text)
		case HeaderOffset:
			l.Offset = partition.Offset(number(text))
		case HeaderTimestamp:
			l.Timestamp = moment(text)
		case HeaderAttempts:
			l.Attempts = int(max(smallNumber(text), 0))
		case HeaderFailed:
			l.Failed = moment(text)
		case HeaderError:
			l.Error = text
		case HeaderErrorKind:
			for k, name := range failureKinds {
				if name == text {
					l.Kind = FailureKind(k)
				}
			}
		case HeaderStack:
			l.Stack = text
		case HeaderGroup:
			l.Group = text
		case HeaderRetryTopic:
			retry.topic = text
		case HeaderRetryLevel:
			retry.level = int(max(smallNumber(text), 0)) // one that nobody wrote begins at the first topic
		case HeaderRetryDue:
			retry.due = moment(text)
		case HeaderRetryDelay:
			if ms := number(text); ms > 0 && ms < math.MaxInt64/int64(time.Millisecond) {
				retry.delay = time.Duration(ms) * time.Millisecond
			}
		default:
			l.Headers = append(l.Headers, h)
		}
	}
	return l, retry, l.Topic != "" && l.Partition >= 0 && l.Offset >= 0
}

// number is a decimal number that is not negative, −1 if the text is none.
func number(text string) int64 {
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return -1
	}
	return int64(n)
}

// smallNumber is number for what has 31 bits.
func smallNumber(text string) int32 {
	if n := number(text); n <= math.MaxInt32 {
		return int32(n)
	}
	return -1
}

func moment(text string) time.Time {
	if n := number(text); n >= 0 {
		return time.UnixMilli(n)
	}
	return time.Time{}
}
