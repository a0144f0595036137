package consumer

import (
	"math"
	"strconv"
	"time"

	"github.com/partlog/partlog/partition"
)

// WorkConfig configures Work and WorkBatch. The zero value is valid: order per key, no retry, and the first record that
// fails stops the work, with nothing lost.
type WorkConfig struct {
	// Workers is how many handlers run at the same time. Default 16.
	Workers int

	// MaxInFlight bounds the records that have been read and are not done: waiting for a worker, being handled, waiting to be
	// tried again. When it is reached nothing more is read. Default 4096.
	MaxInFlight int

	// MaxInFlightBytes bounds their keys, values and headers. One record is read however large it is. Default 64 MiB.
	MaxInFlightBytes int

	// Unordered handles the records of a key in any order too. Otherwise those of one key in one partition are handled one
	// after the other, in offset order, and those with a null key in any order.
	Unordered bool

	// Retry decides how often a record is tried, and when.
	Retry Retry

	// DeadLetter is the topic to which records go that cannot be handled; see DeadLetter the type. Empty stops the work at
	// the first of them.
	DeadLetter string

	// Forwarder writes to Retry.Topics and DeadLetter. It must not answer before the record is as safe as it has to be:
	// then the source is committed. In a transaction it is the *producer.Tx.
	Forwarder Forwarder

	// OnForwardError decides what happens when a record cannot be written to a retry or dead-letter topic. Default
	// StopWork.
	OnForwardError OnForwardError

	// Grace is how long handlers that are running may go on when the work stops, the consumer is closed, or their
	// partition is given up. Then their context is cancelled, and their result does not count. Default 10 s; NoGrace
	// cancels at once. Keep it below group.Config.RebalanceTimeout.
	Grace time.Duration

	// Group is named in dead letters. Default the consumer's group; none for WorkBatch.
	Group string

	// Events are told what happens to records. The zero value tells nobody.
	Events WorkEvents

	// Clock is the time seam of WorkBatch; Work has its consumer's. Nil means the system's clock.
	Clock partition.Clock
}

// OnForwardError decides what happens when a retry or dead-letter topic takes no record: it is missing, full, or refuses
// the record. Either way the source is not committed past it.
type OnForwardError uint8

const (
	StopWork     OnForwardError = iota // the work ends with a *ForwardError
	RetryForward                       // it is tried again, with Retry's backoff, without an end; the handler is not
)

// NoGrace as WorkConfig.Grace: handlers are cancelled at once.
const NoGrace time.Duration = -1

func (c WorkConfig) withDefaults() WorkConfig {
	c.Workers = orDefault(c.Workers, 16)
	c.MaxInFlight = orDefault(c.MaxInFlight, 4096)
	c.MaxInFlightBytes = orDefault(c.MaxInFlightBytes, 64<<20)
	c.Grace = orDefault(c.Grace, 10*time.Second)
	c.Retry = c.Retry.withDefaults()
	return c
}

// validate is called after withDefaults.
func (c WorkConfig) validate() error {
	for _, n := range []struct {
		key   string
		value int
		most  int
	}{
		{"Workers", c.Workers, 1 << 16},
		{"MaxInFlight", c.MaxInFlight, 1 << 24},
		{"MaxInFlightBytes", c.MaxInFlightBytes, math.MaxInt},
	} {
		if n.value < 1 || n.value > n.most {
			return &partition.ConfigError{Key: n.key, Value: strconv.Itoa(n.value), Range: "1 to " + strconv.Itoa(n.most)}
		}
	}
	if c.Grace < 0 && c.Grace != NoGrace {
		return &partition.ConfigError{Key: "Grace", Value: c.Grace.String(), Range: "more than 0, or NoGrace"}
	}
	if c.OnForwardError > RetryForward {
		return &partition.ConfigError{Key: "OnForwardError", Value: strconv.Itoa(int(c.OnForwardError)), Range: "StopWork or RetryForward"}
	}
	if c.Forwarder == nil && (c.DeadLetter != "" || len(c.Retry.Topics) > 0) {
		return &partition.ConfigError{Key: "Forwarder", Value: "nil", Range: "one, for retry topics and dead letters"}
	}
	return c.Retry.validate()
}
