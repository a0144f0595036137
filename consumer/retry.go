package consumer

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/partlog/partlog/partition"
)

// Retry is how often a record is tried, and when. First it is tried in place: its key waits, and its partition is not
// committed past it, but other keys go on. Then it moves through the retry topics, where it holds nobody up and its
// order among the records of its key is lost. Then it is a dead letter. The zero Retry tries once.
type Retry struct {
	// Attempts is how often a record is tried in place, the first time included, and again each time it comes from a
	// retry topic. Default 1.
	Attempts int

	// Backoff is the wait after the first failure. Default 100 ms.
	Backoff time.Duration

	// MaxBackoff bounds the wait. Default 10 s.
	MaxBackoff time.Duration

	// Factor is what each further failure multiplies the wait by. Default 2; 1 keeps it.
	Factor float64

	// Jitter is by what part of itself a wait is longer or shorter, at random. Default 0.2; NoJitter for none.
	Jitter float64

	// Retriable reports whether an error may pass by itself. Nil means every error. It is not asked about a *DecodeError
	// or a Permanent error, which are never tried again. Workers call it at the same time.
	Retriable func(error) bool

	// Topics are where a record goes, one after the other, when its attempts in place are used up. The consumer of the
	// work has to read them too (Config.Topics), or another's work with the same Retry.
	Topics []RetryTopic
}

// NoJitter as Retry.Jitter: waits are exact.
const NoJitter = -1

// RetryTopic is a topic in which records wait to be tried again.
type RetryTopic struct {
	// Topic is its name. Empty means "<topic>-retry-<n>", after the topic that the record was first read from, n counting
	// from 1.
	Topic string
	// Delay is how long a record waits in it. The partitions of a retry topic whose next record is not due are not read
	// until it is.
	Delay time.Duration
}

// name returns the topic's name for records of a source, if it is the nth of its Retry.
func (t RetryTopic) name(n int, source string) string {
	if t.Topic != "" {
		return t.Topic
	}
	return source + "-retry-" + strconv.Itoa(n+1)
}

// Permanent marks an error as one that does not pass by itself: the record goes to the dead letters at once. Nil for nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

func (r Retry) withDefaults() Retry {
	r.Attempts = orDefault(r.Attempts, 1)
	r.Backoff = orDefault(r.Backoff, 100*time.Millisecond)
	r.MaxBackoff = orDefault(r.MaxBackoff, max(10*time.Second, r.Backoff))
	r.Factor = orDefault(r.Factor, 2)
	r.Jitter = orDefault(r.Jitter, 0.2)
	return r
}

// validate is called after withDefaults.
func (r Retry) validate() error {
	switch {
	case r.Attempts < 1:
		return &partition.ConfigError{Key: "Retry.Attempts", Value: strconv.Itoa(r.Attempts), Range: "1 or more"}
	case r.Backoff < 0 || r.Backoff > r.MaxBackoff:
		return &partition.ConfigError{Key: "Retry.Backoff", Value: r.Backoff.String(), Range: "0 to MaxBackoff, " + r.MaxBackoff.String()}
	case !(r.Factor >= 1): // also not a number
		return &partition.ConfigError{Key: "Retry.Factor", Value: fmt.Sprint(r.Factor), Range: "1 or more"}
	case !(r.Jitter >= 0 && r.Jitter <= 1) && r.Jitter != NoJitter:
		return &partition.ConfigError{Key: "Retry.Jitter", Value: fmt.Sprint(r.Jitter), Range: "0 to 1, or NoJitter"}
	}
	for i, t := range r.Topics {
		if t.Delay < 0 {
			return &partition.ConfigError{Key: "Retry.Topics", Value: fmt.Sprintf("a delay of %v at %d", t.Delay, i), Range: "0 or more"}
		}
		for _, other := range r.Topics[:i] {
			if t.Topic != "" && t.Topic == other.Topic {
				return &partition.ConfigError{Key: "Retry.Topics", Value: t.Topic, Range: "each topic once"}
			}
		}
	}
	return nil
}

// retriable reports whether err may pass by itself.
func (r *Retry) retriable(err error) bool {
	if _, ok := errors.AsType[*DecodeError](err); ok {
		return false
	}
	if _, ok := errors.AsType[permanent](err); ok {
		return false
	}
	return r.Retriable == nil || r.Retriable(err)
}

// wait returns how long to wait after so many failures in a row.
func (r *Retry) wait(failures int) time.Duration {
	d, most := float64(r.Backoff), float64(r.MaxBackoff)
	for range failures - 1 {
		if d *= r.Factor; d >= most || r.Factor == 1 {
			break
		}
	}
	if r.Jitter > 0 {
		d *= 1 + r.Jitter*(2*rand.Float64()-1)
	}
	return time.Duration(min(d, most))
}
