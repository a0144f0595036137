package consumer

import (
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// Config configures a consumer. The zero value is valid, but Join needs Topics.
type Config struct {
	// Topics are what a member of a group subscribes to. Topics that do not exist yet are joined when they do. Only
	// for Join.
	Topics []string

	// Pattern subscribes a member to every topic whose whole name matches this regular expression (package regexp),
	// also to those that come later; never to internal topics (exclude.internal.topics). Instead of Topics. Each
	// member looks for topics by itself, every MetadataMaxAge and in each rebalance.
	Pattern string

	// Listener is told which partitions come and go. Only for Join.
	Listener Listener

	// Isolation is what of a transaction is read, and when (isolation.level). Default ReadUncommitted.
	Isolation Isolation

	// Start, if it is not nil, says where reading begins: offsets live with the host, who writes them together with
	// its results, and nothing is committed to the group. It is asked at each assignment, in one call for all partitions
	// that are new to the member, before any of their records are read; what it leaves out begins where Reset says.
	// A position made with Position.Epoch is checked against a lost tail. It runs on the goroutine of Join, later on
	// one of the member's, and must return when ctx is done; an error ends the iteration. Only for Join.
	//
	// Membership is the fence: its Generation only grows, and a partition's next owner is asked with a higher one. So a
	// host that stores it beside the position, here, and lets each later write of the position fail if another is
	// found there, never takes a result of a member that has lost the partition without knowing it.
	Start func(ctx context.Context, of group.Membership, tps []partition.TopicPartition) (map[partition.TopicPartition]Position, error)

	// Until is where a member of a group stops: UntilEnd makes an iteration that finishes when everything that was
	// there at the Join has been read. A member that was told so, by io.EOF, keeps what it has until the group's next
	// rebalance, in which it takes no part: it leaves when what it has read is committed. With CommitManual that is for
	// the host to do, or a rebalance waits for Close, as long as it does for a Poll. So when all members have finished,
	// everything has been read, whoever came and went. Only for Join; an Assignment has its own.
	Until Bound

	// Reset decides where to go when a partition has no committed offset, or an offset is out of range
	// (auto.offset.reset). Default ResetEarliest; Kafka's is latest.
	Reset Reset

	// ResetDuration is how far back ResetByDuration goes.
	ResetDuration time.Duration

	// OnCorruption decides what a damaged range of a partition does. Default Stop.
	OnCorruption OnCorruption

	// Commit decides who commits (enable.auto.commit). Default CommitFinished.
	Commit CommitMode

	// CommitInterval is how often a member of a group commits what its loop has finished
	// (auto.commit.interval.ms). Default 1 s; Kafka's is 5 s. NoInterval commits only at Commit, Close and revoke.
	// Without meaning for CommitManual.
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

	// MetadataMaxAge is how often the leader of a group looks whether the topics' partitions have changed, and members
	// with a Pattern whether there are other topics (metadata.max.age.ms). Default 5 s; Kafka's is 5 min.
	MetadataMaxAge time.Duration

	// HoldRetries makes Records, Poll and the functions over them keep records of retry topics (Retry.Topics) until they are
	// due: their partition is not read meanwhile, others are. Work always does; WorkBatch needs it.
	HoldRetries bool

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

// ResetLatest and ResetByDuration are where a group starts: the place is committed when it is decided, with CommitManual
// too, so that no rebalance decides it again and skips records. A partition or topic that comes to a group that has started
// is read from its first record, whatever Reset is. (A group has started with a topic when it has committed an offset of
// it, or a member of it has been assigned its partitions; one that subscribes by Pattern, with the first offset of any.)
const (
	ResetEarliest   Reset = iota // the oldest record that is there
	ResetLatest                  // only new records
	ResetNone                    // the iteration ends: ErrNoOffset, partition.ErrOffsetOutOfRange or ErrTruncated
	ResetByDuration              // the first record that is not older than Config.ResetDuration (KIP-1106)
)

// Isolation is what of a transaction is read, and when.
type Isolation uint8

const (
	// ReadUncommitted reads every record when it is there, also those of transactions that are open or aborted.
	ReadUncommitted Isolation = iota
	// ReadCommitted reads up to the last stable offset, the first record of the oldest open transaction, and leaves
	// out the records of aborted ones. Latest, UntilEnd, EndOffsets and lag then mean the last stable offset.
	ReadCommitted
)

// CommitMode decides who commits a member's offsets.
type CommitMode uint8

const (
	// CommitFinished commits what loops have finished by itself: every CommitInterval, at Close, and before partitions
	// are given up (enable.auto.commit=true, but only what is finished).
	CommitFinished CommitMode = iota
	// CommitManual commits only what the caller commits, and the place where a group with ResetLatest or
	// ResetByDuration starts (enable.auto.commit=false). Transactions need it.
	CommitManual
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
	if c.Reset > ResetByDuration {
		return &partition.ConfigError{Key: "auto.offset.reset", Value: strconv.Itoa(int(c.Reset)), Range: "ResetEarliest, ResetLatest, ResetNone or ResetByDuration"}
	}
	if c.ResetDuration < 0 || (c.ResetDuration > 0) != (c.Reset == ResetByDuration) {
		return &partition.ConfigError{Key: "ResetDuration", Value: c.ResetDuration.String(), Range: "more than 0 with ResetByDuration, else 0"}
	}
	if c.Isolation > ReadCommitted {
		return &partition.ConfigError{Key: "isolation.level", Value: strconv.Itoa(int(c.Isolation)), Range: "ReadUncommitted or ReadCommitted"}
	}
	if c.Commit > CommitManual {
		return &partition.ConfigError{Key: "enable.auto.commit", Value: strconv.Itoa(int(c.Commit)), Range: "CommitFinished or CommitManual"}
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
	if len(c.Topics) == 0 && c.Pattern == "" {
		return &partition.ConfigError{Key: "Topics", Value: "none", Range: "one topic or more, or a Pattern"}
	}
	if len(c.Topics) > 0 && c.Pattern != "" {
		return &partition.ConfigError{Key: "Pattern", Value: c.Pattern, Range: "none beside Topics"}
	}
	for i, t := range c.Topics {
		if slices.Contains(c.Topics[:i], t) {
			return &partition.ConfigError{Key: "Topics", Value: t, Range: "each topic once"}
		}
	}
	if _, err := compilePattern(c.Pattern); err != nil {
		return errors.Join(&partition.ConfigError{Key: "Pattern", Value: c.Pattern, Range: "a regular expression"}, err)
	}
	return nil
}

// validateAlone is for Assign, which has no group.
func (c Config) validateAlone() error {
	if len(c.Topics) > 0 {
		return &partition.ConfigError{Key: "Topics", Value: strings.Join(c.Topics, ","), Range: "none: Assign is told the partitions"}
	}
	if c.Pattern != "" {
		return &partition.ConfigError{Key: "Pattern", Value: c.Pattern, Range: "none: Assign is told the partitions"}
	}
	if c.Until != (Bound{}) {
		return &partition.ConfigError{Key: "Until", Value: c.Until.String(), Range: "none: each Assignment has its own"}
	}
	if c.Start != nil {
		return &partition.ConfigError{Key: "Start", Value: "a function", Range: "nil: each Assignment has its own From"}
	}
	return nil
}
