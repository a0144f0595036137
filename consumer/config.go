package consumer

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/partlog/partlog/partition"
)

// Config configures a consumer. The zero value is valid, but Join needs Topics.
type Config struct {
	// Topics are what a member of a group subscribes to. Topics that do not exist yet are joined when they do. Only
	// for Join.
	Topics []string

	// Until is where a member of a group stops: UntilEnd makes an iteration that finishes when everything that was
	// there at the Join has been read. Only for Join; an Assignment has its own.
	Until Bound

	// Reset decides where to go when a partition has no committed offset, or an offset is out of range
	// (auto.offset.reset). Default ResetEarliest; Kafka's is latest.
	Reset Reset

	// OnCorruption decides what a damaged range of a partition does. Default Stop.
	OnCorruption OnCorruption

	// CommitInterval is how often a member of a group commits what its loop has finished
	// (auto.commit.interval.ms). Default 1 s; Kafka's is 5 s. NoInterval commits only at Commit, Close and revoke.
	CommitInterval time.Duration

	// MaxPollRecords bounds the records of one Poll (max.poll.records). Default 500.
	MaxPollRecords int

	// MinBytes is how much the source should have before it answers a fetch, unless MaxWait is over
	// (fetch.min.bytes). Default 1.
	MinBytes int

	// MaxWait bounds the wait for MinBytes (fetch.max.wait.ms). Default 500 ms. Nothing is polled: with MinBytes 1 a
	// consumer at the end sleeps until the next record is there, whatever MaxWait is.
	MaxWait time.Duration

	// MaxBytes bounds one fetch (fetch.max.bytes). Default 50 MiB.
	MaxBytes int

	// MaxPartitionBytes bounds one partition's part of a fetch (max.partition.fetch.bytes). Default 1 MiB. The first
	// batch is returned even if it is larger, so that reading goes on.
	MaxPartitionBytes int

	// PrefetchBytes bounds what is read ahead in the background while the loop is busy with the fetch before.
	// Default 4 MiB. NoPrefetch reads only when the loop asks. A consumer that has caught up reads nothing ahead.
	PrefetchBytes int

	// MetadataMaxAge is how often the leader of a group looks whether the topics' partitions have changed
	// (metadata.max.age.ms). Default 5 s; Kafka's is 5 min.
	MetadataMaxAge time.Duration

	// Interceptors see, and may change, every record before it is yielded, in this order
	// (interceptor.classes, ConsumerInterceptor.onConsume). They run on the loop's goroutine; the pointer is theirs
	// for the call.
	Interceptors []func(*Record)

	// Events are told what happens. The zero value tells nobody.
	Events Events

	// Clock is the time seam. Nil means the system's clock.
	Clock partition.Clock
}

// Reset decides where to go when there is no valid position.
type Reset uint8

const (
	ResetEarliest Reset = iota // the oldest record that is there
	ResetLatest                // only new records
	ResetNone                  // the iteration ends: ErrNoOffset, or partition.ErrOffsetOutOfRange
)

// OnCorruption decides what a *log.CorruptionError does to an iteration.
type OnCorruption uint8

const (
	Stop OnCorruption = iota // the error is the last pair; the position stays
	Skip                     // the error is yielded once and counted; reading goes on behind the damage
)

const (
	// NoInterval as CommitInterval: no commits by time.
	NoInterval time.Duration = -1
	// NoPrefetch as PrefetchBytes: nothing is read ahead.
	NoPrefetch = -1
)

func (c Config) withDefaults() Config {
	c.CommitInterval = orDefault(c.CommitInterval, time.Second)
	c.MaxPollRecords = orDefault(c.MaxPollRecords, 500)
	c.MinBytes = orDefault(c.MinBytes, 1)
	c.MaxWait = orDefault(c.MaxWait, 500*time.Millisecond)
	c.MaxBytes = orDefault(c.MaxBytes, 50<<20)
	c.MaxPartitionBytes = orDefault(c.MaxPartitionBytes, 1<<20)
	c.PrefetchBytes = orDefault(c.PrefetchBytes, 4<<20)
	c.MetadataMaxAge = orDefault(c.MetadataMaxAge, 5*time.Second)
	return c
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// validate is called after withDefaults.
func (c Config) validate() error {
	for _, n := range []struct {
		key   string
		value int
		least int
	}{
		{"max.poll.records", c.MaxPollRecords, 1},
		{"fetch.min.bytes", c.MinBytes, 1},
		{"fetch.max.bytes", c.MaxBytes, 1},
		{"max.partition.fetch.bytes", c.MaxPartitionBytes, 1},
		{"PrefetchBytes", c.PrefetchBytes, NoPrefetch},
	} {
		if n.value < n.least || n.value > math.MaxInt32 {
			return &partition.ConfigError{Key: n.key, Value: strconv.Itoa(n.value), Range: strconv.Itoa(n.least) + " to 2147483647"}
		}
	}
	if c.CommitInterval < 0 && c.CommitInterval != NoInterval {
		return &partition.ConfigError{Key: "auto.commit.interval.ms", Value: c.CommitInterval.String(), Range: "more than 0, or NoInterval"}
	}
	if c.MaxWait < 0 {
		return &partition.ConfigError{Key: "fetch.max.wait.ms", Value: c.MaxWait.String(), Range: "0 or more"}
	}
	if c.MetadataMaxAge < 0 {
		return &partition.ConfigError{Key: "metadata.max.age.ms", Value: c.MetadataMaxAge.String(), Range: "more than 0"}
	}
	if c.Reset > ResetNone {
		return &partition.ConfigError{Key: "auto.offset.reset", Value: strconv.Itoa(int(c.Reset)), Range: "ResetEarliest, ResetLatest or ResetNone"}
	}
	if c.OnCorruption > Skip {
		return &partition.ConfigError{Key: "OnCorruption", Value: strconv.Itoa(int(c.OnCorruption)), Range: "Stop or Skip"}
	}
	for i, f := range c.Interceptors {
		if f == nil {
			return &partition.ConfigError{Key: "interceptor.classes", Value: "nil at " + strconv.Itoa(i), Range: "functions"}
		}
	}
	return nil
}

// validateTopics is for Join.
func (c Config) validateTopics() error {
	if len(c.Topics) == 0 {
		return &partition.ConfigError{Key: "Topics", Value: "none", Range: "one topic or more"}
	}
	for i, t := range c.Topics {
		if slices.Contains(c.Topics[:i], t) {
			return &partition.ConfigError{Key: "Topics", Value: t, Range: "each topic once"}
		}
	}
	return nil
}

// validateAlone is for Assign, which has no group.
func (c Config) validateAlone() error {
	if len(c.Topics) > 0 {
		return &partition.ConfigError{Key: "Topics", Value: strings.Join(c.Topics, ","), Range: "none: Assign is told the partitions"}
	}
	if c.Until != (Bound{}) {
		return &partition.ConfigError{Key: "Until", Value: c.Until.String(), Range: "none: each Assignment has its own"}
	}
	return nil
}
