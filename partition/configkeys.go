package partition

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The topic settings by Kafka's key.
const (
	keyCleanupPolicy      = "cleanup.policy"
	keyCompressionType    = "compression.type"
	keyGzipLevel          = "compression.gzip.level"
	keyLZ4Level           = "compression.lz4.level"
	keyZstdLevel          = "compression.zstd.level"
	keyDeleteRetentionMs  = "delete.retention.ms"
	keyFileDeleteDelayMs  = "file.delete.delay.ms"
	keyFlushMessages      = "flush.messages"
	keyFlushMs            = "flush.ms"
	keyIndexIntervalBytes = "index.interval.bytes"
	keyInternalSegment    = "internal.segment.bytes"
	keyKeyIndex           = "partlog.key.index" // ours: Apache Kafka has no key index
	keyMaxCompactionLag   = "max.compaction.lag.ms"
	keyMaxMessageBytes    = "max.message.bytes"
	keyTimestampAfter     = "message.timestamp.after.max.ms"
	keyTimestampBefore    = "message.timestamp.before.max.ms"
	keyTimestampType      = "message.timestamp.type"
	keyMinCleanableRatio  = "min.cleanable.dirty.ratio"
	keyMinCompactionLag   = "min.compaction.lag.ms"
	keyMinInsyncReplicas  = "min.insync.replicas"
	keyPreallocate        = "preallocate"
	keyRetentionBytes     = "retention.bytes"
	keyRetentionMs        = "retention.ms"
	keySegmentBytes       = "segment.bytes"
	keySegmentIndexBytes  = "segment.index.bytes"
	keySegmentJitterMs    = "segment.jitter.ms"
	keySegmentMs          = "segment.ms"
)

const maxLong = "9223372036854775807" // Kafka's way to say "never" and "no bound" in milliseconds

// configKey says what one key may be. Numbers are within [min, max]; words are one of words; list allows several.
type configKey struct {
	name     string
	value    string // our default
	kafka    string // Kafka's, where it differs from ours
	min, max int64
	double   bool
	list     bool
	words    []string
}

// configKeys are all topic settings of Apache Kafka 4.1, in its order. What an embedded store has no use for
// (tiered storage, throttled replicas) may only have its default, so that nothing is silently ignored.
var configKeys = func() map[string]configKey {
	boolean := []string{"false", "true"}
	m := map[string]configKey{}
	for _, k := range []configKey{
		{name: keyCleanupPolicy, value: "delete", list: true, words: []string{"delete", "compact", "none"}}, // none: Kafka's empty list, records are kept for ever
		{name: keyGzipLevel, value: "-1", min: -1, max: 9},
		{name: keyLZ4Level, value: "9", min: 1, max: 17},
		{name: keyCompressionType, value: "producer", words: []string{"uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"}},
		{name: keyZstdLevel, value: "3", min: -131072, max: 22},
		{name: keyDeleteRetentionMs, value: "86400000", max: math.MaxInt64},
		{name: keyFileDeleteDelayMs, value: "60000", max: math.MaxInt64},
		{name: keyFlushMessages, value: "", kafka: maxLong, words: []string{"1", maxLong}},
		{name: keyFlushMs, value: "", kafka: maxLong, min: 1, max: math.MaxInt64},
		{name: "follower.replication.throttled.replicas", words: []string{""}},
		{name: keyIndexIntervalBytes, value: "4096", max: math.MaxInt32},
		{name: keyInternalSegment, value: "", min: 1024, max: math.MaxInt32},
		{name: keyKeyIndex, value: "false", words: boolean},
		{name: "leader.replication.throttled.replicas", words: []string{""}},
		{name: "local.retention.bytes", value: "-2", min: -2, max: -2},
		{name: "local.retention.ms", value: "-2", min: -2, max: -2},
		{name: keyMaxCompactionLag, value: maxLong, min: 1, max: math.MaxInt64},
		{name: keyMaxMessageBytes, value: "1048588", max: math.MaxInt32 / 2},
		{name: keyTimestampAfter, value: "3600000", max: math.MaxInt64},
		{name: keyTimestampBefore, value: maxLong, max: math.MaxInt64},
		{name: keyTimestampType, value: "CreateTime", words: []string{"CreateTime", "LogAppendTime"}},
		{name: keyMinCleanableRatio, value: "0.5", double: true, min: 0, max: 1},
		{name: keyMinCompactionLag, value: "0", max: math.MaxInt64},
		{name: keyMinInsyncReplicas, value: "1", min: 1, max: math.MaxInt32},
		{name: keyPreallocate, value: "false", words: boolean},
		{name: "remote.log.copy.disable", value: "false", words: boolean[:1]},
		{name: "remote.log.delete.on.disable", value: "false", words: boolean[:1]},
		{name: "remote.storage.enable", value: "false", words: boolean[:1]},
		{name: keyRetentionBytes, value: "-1", min: -1, max: math.MaxInt64},
		{name: keyRetentionMs, value: "-1", kafka: "604800000", min: -1, max: math.MaxInt64},
		{name: keySegmentBytes, value: "1073741824", min: 1 << 20, max: math.MaxInt32},
		{name: keySegmentIndexBytes, value: "10485760", min: 4, max: math.MaxInt32},
		{name: keySegmentJitterMs, value: "0", max: math.MaxInt64},
		{name: keySegmentMs, value: "604800000", min: 1, max: math.MaxInt64},
		{name: "unclean.leader.election.enable", value: "false", words: boolean}, // of the controller, in a cluster; alone, a store has one copy,
	} {
		m[k.name] = k
	}
	return m
}()

// check returns a *ConfigError if v is not a value of k.
func (k configKey) check(v string) error {
	bad := func(want string) error { return &ConfigError{Key: k.name, Value: v, Range: want} }
	switch {
	case k.list:
		for w := range strings.SplitSeq(v, ",") {
			if !slices.Contains(k.words, strings.TrimSpace(w)) {
				return bad("a list of " + strings.Join(k.words, ", "))
			}
		}
	case k.words != nil:
		if !slices.Contains(k.words, v) {
			return bad("one of " + strconv.Quote(strings.Join(k.words, ", ")))
		}
	case k.double:
		f, err := strconv.ParseFloat(v, 64)
		if err != nil || !(f >= float64(k.min) && f <= float64(k.max)) {
			return bad(fmt.Sprintf("a number from %d to %d", k.min, k.max))
		}
	default:
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < k.min || n > k.max || (k.name == keyGzipLevel && n == 0) {
			return bad(fmt.Sprintf("an integer from %d to %d", k.min, k.max))
		}
	}
	return nil
}

// validateOverrides checks every key, and the rules between keys; the first wrong one in alphabetical order is named.
func validateOverrides(m map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		k, ok := configKeys[name]
		if !ok {
			return &ConfigError{Key: name, Value: m[name]}
		}
		if err := k.check(m[name]); err != nil {
			return err
		}
	}
	lo, hi := settingInt(m, keyMinCompactionLag), settingInt(m, keyMaxCompactionLag)
	if lo > hi {
		return &ConfigError{Key: keyMaxCompactionLag, Value: strconv.FormatInt(hi, 10), Range: fmt.Sprintf("at least %s=%d", keyMinCompactionLag, lo)}
	}
	return nil
}

// settingText returns the override or else the default of a key.
func settingText(m map[string]string, key string) string {
	if v, ok := m[key]; ok {
		return v
	}
	return configKeys[key].value
}

// settingInt is settingText for a validated number; a key without a value gives 0.
func settingInt(m map[string]string, key string) int64 {
	n, _ := strconv.ParseInt(settingText(m, key), 10, 64)
	return n
}

// settingFloat is settingInt for a number with a fraction.
func settingFloat(m map[string]string, key string) float64 {
	f, _ := strconv.ParseFloat(settingText(m, key), 64)
	return f
}
