package partition

import (
	"maps"
	"strconv"
	"time"
)

const (
	// Unlimited is the value of a TopicConfig field that sets no bound. The zero value would mean the default.
	Unlimited = -1
	// Zero is the value of a TopicConfig field that really means 0, where 0 would mean the default.
	Zero = -2
)

// CleanupPolicy says what happens to old records of a topic, in Kafka's words.
type CleanupPolicy string

const (
	// CleanupDelete drops whole old segments by RetentionAge and RetentionBytes. It is the default.
	CleanupDelete CleanupPolicy = "delete"
	// CleanupCompact keeps at least the last record of each key; records need a key, and age and size drop
	// nothing. A record without a value deletes its key. See Store.Compact and Config.CleanerBackoff for when.
	CleanupCompact CleanupPolicy = "compact"
	// CleanupCompactDelete does both.
	CleanupCompactDelete CleanupPolicy = "compact,delete"
	// CleanupNone keeps every record, whatever its age and the size of the log: Kafka's empty list.
	CleanupNone CleanupPolicy = "none"
)

// TimestampType says which time a topic's records carry, in Kafka's words.
type TimestampType string

const (
	// CreateTime keeps the producer's timestamps. It is the default.
	CreateTime TimestampType = "CreateTime"
	// LogAppendTime gives each batch the time at which the store appended it.
	LogAppendTime TimestampType = "LogAppendTime"
)

// Compression is the compression.type of a topic, in Kafka's words.
type Compression string

const (
	// CompressionProducer keeps the codec that the producer chose. It is the default.
	CompressionProducer Compression = "producer"
	// CompressionNone, and the four below, re-encode batches that have another codec.
	CompressionNone   Compression = "uncompressed"
	CompressionGzip   Compression = "gzip"
	CompressionSnappy Compression = "snappy"
	CompressionLZ4    Compression = "lz4"
	CompressionZstd   Compression = "zstd"
)

// TopicConfig holds the settings of a topic. A zero field means the store's default (Config.Topics), and without one
// the default named here. Where 0 means something, say Zero; where there is no bound, say Unlimited.
type TopicConfig struct {
	Partitions int32 // num.partitions; default 1

	Sync SyncMode // flush.messages=1, flush.ms, or neither; default Config.Sync, which is SyncAlways (Kafka: never)

	CleanupPolicy  CleanupPolicy // cleanup.policy; default delete
	RetentionAge   time.Duration // retention.ms, whole ms; default Unlimited (Kafka: 7 days); Zero drops all that may be dropped
	RetentionBytes int64         // retention.bytes of one partition; default Unlimited
	DeleteDelay    time.Duration // file.delete.delay.ms, whole ms; default 1 min; only shown: files go at once, also compacted ones; readers keep what they borrow, and no other process may read a live store

	SegmentBytes       int64         // segment.bytes; default 1 GiB; 1 MiB to 2 GiB − 1
	SegmentAge         time.Duration // segment.ms, whole ms; default 7 days
	SegmentJitter      time.Duration // segment.jitter.ms, whole ms; default 0
	SegmentIndexBytes  int64         // segment.index.bytes; default 10 MiB
	IndexIntervalBytes int64         // index.interval.bytes; default 4096; Zero indexes every batch
	Preallocate        bool          // preallocate; default false; only shown: SyncAlways writes into zero-filled space in any case, the other modes would gain nothing from it

	MaxMessageBytes int64 // max.message.bytes, of one batch as stored; default 1,048,588

	TimestampType   TimestampType // message.timestamp.type; default CreateTime
	TimestampBefore time.Duration // message.timestamp.before.max.ms, whole ms; default Unlimited; Zero allows no older time
	TimestampAfter  time.Duration // message.timestamp.after.max.ms, whole ms; default 1 h; Zero allows no later time

	Compression Compression // compression.type; default producer
	GzipLevel   int         // compression.gzip.level; 1 to 9, −1 for the library's; default −1
	LZ4Level    int         // compression.lz4.level; 1 to 17; default 9
	ZstdLevel   int         // compression.zstd.level; −131072 to 22; default 3

	MinCleanableDirtyRatio float64       // min.cleanable.dirty.ratio; 0 to 1; default 0.5; Zero means 0
	MinCompactionLag       time.Duration // min.compaction.lag.ms, whole ms; default 0
	MaxCompactionLag       time.Duration // max.compaction.lag.ms, whole ms; default Unlimited
	DeleteRetention        time.Duration // delete.retention.ms, of tombstones, whole ms; default 24 h; Zero means 0

	// KeyIndex keeps where each key has records (partlog.key.index, not Kafka's): for Expect and Store.ReadKey. It costs
	// 12 bytes a record in a file beside each sealed segment, in the active segment 8 bytes of memory a record and some
	// 40 a key, and that appends with a key in common wait for each other. Turned on later, it covers the older records too.
	KeyIndex bool

	MinInsyncReplicas int32 // min.insync.replicas; default 1; for front ends that count replicas, the store itself has one copy

	// ReplicationFactor and Assignment are of the topic's creation: how many nodes have a copy of each partition (0: default.replication.factor), or
	// which, the preferred leader first. A store that is alone takes a factor of 0, 1 or -1 and no assignment.
	ReplicationFactor int16
	Assignment        [][]int32

	// Extra holds further settings by Kafka's key and in Kafka's text; a key here wins over its field.
	Extra map[string]string
}

// Overrides returns the fields that are set, by Kafka's key and in Kafka's text: what a topic with c sets itself. The error is
// a *ConfigError.
func (c TopicConfig) Overrides() (map[string]string, error) { return c.overrides() }

// overrides returns the fields that are set, by Kafka's key and in Kafka's text, validated.
func (c TopicConfig) overrides() (map[string]string, error) {
	m := map[string]string{}
	var err error
	fail := func(key, value, want string) {
		if err == nil {
			err = &ConfigError{Key: key, Value: value, Range: want}
		}
	}
	number := func(key string, v int64) {
		switch v {
		case 0:
		case Zero:
			m[key] = "0"
		default:
			m[key] = strconv.FormatInt(v, 10)
		}
	}
	// unlimited is what Kafka writes for "no bound" of this key.
	millis := func(key string, d time.Duration, unlimited string) {
		switch {
		case d == 0:
		case d == Zero:
			m[key] = "0"
		case d == Unlimited && unlimited != "":
			m[key] = unlimited
		case d < 0 || d%time.Millisecond != 0:
			fail(key, d.String(), "whole milliseconds")
		default:
			m[key] = strconv.FormatInt(d.Milliseconds(), 10)
		}
	}
	text := func(key, v string) {
		if v != "" {
			m[key] = v
		}
	}

	switch {
	case c.Sync == SyncAlways:
		m[keyFlushMessages] = "1"
	case c.Sync == SyncNever:
		m[keyFlushMessages] = maxLong
	case c.Sync > 0:
		if time.Duration(c.Sync)%time.Millisecond != 0 {
			fail(keyFlushMs, time.Duration(c.Sync).String(), "whole milliseconds")
		}
		m[keyFlushMs] = strconv.FormatInt(time.Duration(c.Sync).Milliseconds(), 10)
	case c.Sync < 0:
		fail(keyFlushMessages, c.Sync.String(), "SyncAlways, SyncInterval or SyncNever")
	}
	text(keyCleanupPolicy, string(c.CleanupPolicy))
	millis(keyRetentionMs, c.RetentionAge, "-1")
	number(keyRetentionBytes, c.RetentionBytes)
	millis(keyFileDeleteDelayMs, c.DeleteDelay, "")
	number(keySegmentBytes, c.SegmentBytes)
	millis(keySegmentMs, c.SegmentAge, maxLong)
	millis(keySegmentJitterMs, c.SegmentJitter, "")
	number(keySegmentIndexBytes, c.SegmentIndexBytes)
	number(keyIndexIntervalBytes, c.IndexIntervalBytes)
	if c.Preallocate {
		m[keyPreallocate] = "true"
	}
	number(keyMaxMessageBytes, c.MaxMessageBytes)
	text(keyTimestampType, string(c.TimestampType))
	millis(keyTimestampBefore, c.TimestampBefore, maxLong)
	millis(keyTimestampAfter, c.TimestampAfter, maxLong)
	text(keyCompressionType, string(c.Compression))
	for key, level := range map[string]int{keyGzipLevel: c.GzipLevel, keyLZ4Level: c.LZ4Level, keyZstdLevel: c.ZstdLevel} {
		if level != 0 {
			m[key] = strconv.Itoa(level)
		}
	}
	if c.MinCleanableDirtyRatio == Zero {
		m[keyMinCleanableRatio] = "0"
	} else if c.MinCleanableDirtyRatio != 0 {
		m[keyMinCleanableRatio] = strconv.FormatFloat(c.MinCleanableDirtyRatio, 'g', -1, 64)
	}
	millis(keyMinCompactionLag, c.MinCompactionLag, "")
	millis(keyMaxCompactionLag, c.MaxCompactionLag, maxLong)
	millis(keyDeleteRetentionMs, c.DeleteRetention, "")
	number(keyMinInsyncReplicas, int64(c.MinInsyncReplicas))
	if c.KeyIndex {
		m[keyKeyIndex] = "true"
	}
	maps.Copy(m, c.Extra)
	if err != nil {
		return nil, err
	}
	return m, validateOverrides(m)
}
