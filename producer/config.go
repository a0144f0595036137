package producer

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/compress"
	"github.com/partlog/partlog/partition"
)

// Config holds the settings of a producer, with Kafka's names for them. The zero Config is valid and is the safe
// choice: idempotent, acks=all, linger 0. A zero field is its default.
type Config struct {
	// Acks is what a result waits for, where a record does not say (acks); default AcksAll: what the topic's sync
	// mode promises. AcksNone answers when the record is in the producer's memory. Unlike in Kafka, every choice
	// keeps idempotence.
	Acks partition.Acks

	// Compression is the codec of batches (compression.type); default CodecNone. A topic whose compression.type
	// is not "producer" overrides it and TopicCompression.
	Compression partition.Codec

	// TopicCompression has the codecs of topics that differ from Compression; default none.
	TopicCompression map[string]partition.Codec

	// CompressionLevel is the level of every codec that has levels (compression.gzip.level, compression.lz4.level,
	// compression.zstd.level); default 0: Kafka's default of each.
	CompressionLevel int

	// Linger is how long a batch waits for more records (linger.ms); default 0: a batch closes when the append
	// before it has finished, so batches grow exactly as far as the disk is behind. Kafka's default is 5 ms. In a
	// transaction, where no record counts before the commit, a batch that no Send waits for waits 5 ms at least, or
	// until it is full or the function returns.
	Linger time.Duration

	// BatchBytes is the largest batch, before compression, that holds more than one record (batch.size); default
	// 256 KiB. No buffer of that size is reserved: a partition's grow with its traffic. Kafka's default is 16 KiB,
	// because it reserves.
	BatchBytes int

	// BufferMemory is the memory for records that are not yet written (buffer.memory); default 32 MiB. When it is
	// full, Send and SendAsync wait up to MaxBlock and then fail with *BufferExhaustedError; who waits longest is
	// served first.
	BufferMemory int

	// MaxBlock is how long Send and SendAsync wait for memory or for a topic's metadata (max.block.ms); default 60 s.
	MaxBlock time.Duration

	// MaxInFlight is the number of batches per partition that are being appended at the same time
	// (max.in.flight.requests.per.connection); default 1, at most 5 unless DisableIdempotence. In process there is
	// nothing to gain from more, as the log commits in groups and batches grow while they wait; over a network it
	// hides the round trip. Order is kept in any case, except that above 1 without idempotence it is not. Kafka's
	// default is 5.
	MaxInFlight int

	// DisableIdempotence appends without producer id and sequence (enable.idempotence=false): a retry may then
	// append a record twice.
	DisableIdempotence bool

	// TransactionalID makes the producer transactional (transactional.id): records are sent in Transact only, and New
	// fences every earlier producer with the same id, in this process or another. It is to be the same after a
	// restart, so that what a crash left open is ended at once; default "": no transactions. Such a producer is
	// idempotent, and Acks are not looked at: what a transaction wrote is made durable by its commit.
	TransactionalID string

	// TransactionTimeout is how long a transaction may be open before the coordinator aborts it
	// (transaction.timeout.ms), because readers of committed records wait for it; default 60 s. Transact then returns an
	// *AbortedError, and the producer goes on. More than the store's MaxTransactionTimeout is partition.ErrInvalidTransactionTimeout at New.
	TransactionTimeout time.Duration

	// DeliveryTimeout bounds the time from accepting a record to its result, retries included, and the time that
	// Close takes (delivery.timeout.ms); default 120 s. At least Linger.
	DeliveryTimeout time.Duration

	// RetryBackoff is the pause before the first retry (retry.backoff.ms); default 100 ms. It doubles with each
	// attempt, up to RetryBackoffMax, and varies by 20 % at random.
	RetryBackoff time.Duration

	// RetryBackoffMax bounds RetryBackoff (retry.backoff.max.ms); default 1 s.
	RetryBackoffMax time.Duration

	// MetadataMaxIdle is how long a topic is remembered to which nothing is sent (metadata.max.idle.ms); default
	// 5 min. What is forgotten is asked for again.
	MetadataMaxIdle time.Duration

	// MetadataMaxAge is after what time a topic's number of partitions is asked for again (metadata.max.age.ms);
	// default 5 min. A topic that was deleted or created again is noticed at once, by its id.
	MetadataMaxAge time.Duration

	// Senders is the number of goroutines that append at the same time; default 64. They exist only while there
	// is something to append.
	Senders int

	// Partitioner chooses partitions for records that name none (partitioner.class); default
	// partition.Murmur2(): Kafka's own, by key, sticky for null keys.
	Partitioner partition.Partitioner

	// Interceptors see every record before it is accepted, first to last, and every result (interceptor.classes);
	// default none.
	Interceptors []Interceptor

	// Events are functions called when something happens that no call returns; default none.
	Events Events

	// Clock is where all time comes from; default the system's.
	Clock partition.Clock
}

// maxInFlightIdempotent is how many batches per producer and partition a broker remembers (KIP-98).
const maxInFlightIdempotent = 5

// withDefaults returns c with every zero field set to its default, sharing nothing with the caller.
func (c Config) withDefaults() Config {
	set := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	wait := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	set(&c.BatchBytes, 256<<10)
	set(&c.BufferMemory, 32<<20)
	set(&c.MaxInFlight, 1)
	set(&c.Senders, 64)
	if c.CompressionLevel == 0 {
		c.CompressionLevel = compress.DefaultLevel
	}
	wait(&c.MaxBlock, time.Minute)
	wait(&c.DeliveryTimeout, max(2*time.Minute, c.Linger))
	wait(&c.RetryBackoff, 100*time.Millisecond)
	wait(&c.RetryBackoffMax, max(time.Second, c.RetryBackoff))
	wait(&c.MetadataMaxAge, 5*time.Minute)
	wait(&c.MetadataMaxIdle, 5*time.Minute)
	wait(&c.TransactionTimeout, time.Minute)
	if c.Partitioner == nil {
		c.Partitioner = partition.Murmur2()
	}
	if c.Clock == nil {
		c.Clock = clock.System
	}
	c.TopicCompression = maps.Clone(c.TopicCompression)
	c.Interceptors = slices.Clone(c.Interceptors)
	return c
}

// validate returns a *partition.ConfigError for the first field out of range. c has its defaults.
func (c Config) validate() error {
	bad := func(field string, v any, want string) error {
		return &partition.ConfigError{Key: field, Value: fmt.Sprint(v), Range: want}
	}
	if c.Acks > partition.AcksNone {
		return bad("Acks", c.Acks, "AcksAll, AcksLeader or AcksNone")
	}
	if err := checkCodec("Compression", c.Compression, c.CompressionLevel); err != nil {
		return err
	}
	for _, topic := range slices.Sorted(maps.Keys(c.TopicCompression)) {
		if err := checkCodec("TopicCompression["+topic+"]", c.TopicCompression[topic], c.CompressionLevel); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		field     string
		v         int
		low, high int
	}{
		{"BatchBytes", c.BatchBytes, 1, 1 << 30},
		{"BufferMemory", c.BufferMemory, 1, 1 << 40},
		{"MaxInFlight", c.MaxInFlight, 1, 1 << 20},
		{"Senders", c.Senders, 1, 1 << 20},
	} {
		if f.v < f.low || f.v > f.high {
			return bad(f.field, f.v, fmt.Sprintf("%d to %d", f.low, f.high))
		}
	}
	if c.TransactionalID != "" && c.DisableIdempotence {
		return bad("DisableIdempotence", c.DisableIdempotence, "false with a TransactionalID")
	}
	if c.MaxInFlight > maxInFlightIdempotent && !c.DisableIdempotence {
		return bad("MaxInFlight", c.MaxInFlight, "1 to 5, or DisableIdempotence: a store remembers the last 5 batches of a producer")
	}
	for _, f := range []struct {
		field string
		v     time.Duration
	}{
		{"MaxBlock", c.MaxBlock},
		{"DeliveryTimeout", c.DeliveryTimeout},
		{"RetryBackoff", c.RetryBackoff},
		{"RetryBackoffMax", c.RetryBackoffMax},
		{"MetadataMaxAge", c.MetadataMaxAge},
		{"MetadataMaxIdle", c.MetadataMaxIdle},
		{"TransactionTimeout", c.TransactionTimeout},
	} {
		if f.v < 1 {
			return bad(f.field, f.v, "a positive duration")
		}
	}
	switch {
	case c.Linger < 0:
		return bad("Linger", c.Linger, "0 or a positive duration")
	case c.RetryBackoffMax < c.RetryBackoff:
		return bad("RetryBackoffMax", c.RetryBackoffMax, fmt.Sprintf("at least RetryBackoff=%s", c.RetryBackoff))
	case c.DeliveryTimeout < c.Linger:
		return bad("DeliveryTimeout", c.DeliveryTimeout, fmt.Sprintf("at least Linger=%s", c.Linger))
	}
	return nil
}

func checkCodec(field string, c partition.Codec, level int) error {
	if !c.Valid() {
		return &partition.ConfigError{Key: field, Value: fmt.Sprint(int(c)), Range: "CodecNone, CodecGzip, CodecSnappy, CodecLZ4 or CodecZstd"}
	}
	if low, high, _, ok := c.Levels(); ok && c.CheckLevel(level) != nil {
		return &partition.ConfigError{Key: "CompressionLevel", Value: fmt.Sprint(level), Range: fmt.Sprintf("%d to %d for %s, or 0 for its default", low, high, c)}
	}
	return nil
}
