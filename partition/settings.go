package partition

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/partlog/partlog/internal/compress"
	"github.com/partlog/partlog/log"
)

// settings are a topic's settings as the hot path wants them. They are never changed, only replaced.
type settings struct {
	log       log.Settings
	codec     Codec // CodecProducer: whatever the producer's
	level     int
	minISR    int32
	compacted bool
	deletes   bool // cleanup.policy has delete
	inspects  bool // appends need more than a look at the header
	expires   bool // retention has something to do
	pending   bool // SyncAlways is being introduced: what is written is not all synced yet
}

// resolve computes a topic's settings from its overrides over the store's defaults; both are validated.
func (s *Store) resolve(overrides map[string]string) *settings {
	m := merge(*s.defaults.Load(), overrides)
	policy := strings.Split(settingText(m, keyCleanupPolicy), ",")
	for i := range policy {
		policy[i] = strings.TrimSpace(policy[i])
	}
	st := &settings{
		codec:     CodecProducer,
		compacted: slices.Contains(policy, "compact"),
		deletes:   slices.Contains(policy, "delete"),
	}
	st.log = log.Settings{
		Sync:            s.syncMode(m),
		SegmentBytes:    settingInt(m, keySegmentBytes),
		SegmentAge:      millisSetting(m, keySegmentMs, true),
		SegmentJitter:   millisSetting(m, keySegmentJitterMs, false),
		IndexBytes:      int(settingInt(m, keySegmentIndexBytes)),
		IndexInterval:   int(settingInt(m, keyIndexIntervalBytes)),
		MaxMessageBytes: int(settingInt(m, keyMaxMessageBytes)),
		LogAppendTime:   settingText(m, keyTimestampType) == string(LogAppendTime),
		TimestampBefore: millisSetting(m, keyTimestampBefore, true),
		TimestampAfter:  millisSetting(m, keyTimestampAfter, true),
		RetentionAge:    log.Unlimited,
		RetentionBytes:  log.Unlimited,
		ProducerExpiry:  s.config.ProducerIDExpiration,
		Compacted:       st.compacted,
		KeyIndex:        settingText(m, keyKeyIndex) == "true",

		MinDirtyRatio:    -1,
		MinCompactionLag: millisSetting(m, keyMinCompactionLag, false),
		MaxCompactionLag: millisSetting(m, keyMaxCompactionLag, true),
		DeleteRetention:  millisSetting(m, keyDeleteRetentionMs, false),
	}
	st.minISR = int32(settingInt(m, keyMinInsyncReplicas))
	if ratio := settingFloat(m, keyMinCleanableRatio); ratio > 0 {
		st.log.MinDirtyRatio = ratio
	}
	if st.log.DeleteRetention == 0 {
		st.log.DeleteRetention = log.RetainNothing
	}
	if lag := st.log.MaxCompactionLag; st.compacted && lag != log.Unlimited && (st.log.SegmentAge == log.Unlimited || lag < st.log.SegmentAge) {
		st.log.SegmentAge = lag // what must be compacted by then must not be in the active segment
	}
	// Where the log reads 0 as its default, the smallest value means the same as Kafka's 0.
	st.log.IndexInterval = max(st.log.IndexInterval, 1)
	st.log.MaxMessageBytes = max(st.log.MaxMessageBytes, 1)
	for _, d := range []*time.Duration{&st.log.TimestampBefore, &st.log.TimestampAfter} {
		if *d == 0 {
			*d = 1 // nanosecond: no whole millisecond
		}
	}
	if v := settingInt(m, keyInternalSegment); v != 0 {
		st.log.SegmentBytes = v
	}
	if st.deletes {
		st.log.RetentionAge = millisSetting(m, keyRetentionMs, true)
		if st.log.RetentionAge == 0 {
			st.log.RetentionAge = log.RetainNothing
		}
		if st.log.RetentionBytes = settingInt(m, keyRetentionBytes); st.log.RetentionBytes == 0 {
			st.log.RetentionBytes = log.RetainNothing
		}
		st.expires = st.log.RetentionAge != log.Unlimited || st.log.RetentionBytes != log.Unlimited
	}
	switch c := settingText(m, keyCompressionType); c {
	case string(CompressionProducer):
	case string(CompressionNone):
		st.codec = CodecNone
	default:
		st.codec, _ = compress.ParseCodec(c) // validated
		st.level = compress.DefaultLevel
	}
	for codec, key := range map[Codec]string{CodecGzip: keyGzipLevel, CodecLZ4: keyLZ4Level, CodecZstd: keyZstdLevel} {
		if codec == st.codec {
			st.level = int(settingInt(m, key))
		}
	}
	st.inspects = st.compacted || st.codec != CodecProducer || st.boundsPast()
	return st
}

// boundsPast says whether records may be too old (message.timestamp.before.max.ms).
func (st *settings) boundsPast() bool {
	return !st.log.LogAppendTime && st.log.TimestampBefore != log.Unlimited
}

// syncMode reads Kafka's two keys: flush.messages=1 syncs each append, flush.ms=d in the background, and either of
// them at its maximum alone means never.
func (s *Store) syncMode(m map[string]string) SyncMode {
	if m[keyFlushMessages] == "1" {
		return SyncAlways
	}
	if v, ok := m[keyFlushMs]; ok && v != maxLong {
		return SyncInterval(millisSetting(m, keyFlushMs, false))
	}
	if m[keyFlushMessages] != "" || m[keyFlushMs] != "" {
		return SyncNever
	}
	return s.config.Sync
}

// millisSetting returns a setting in milliseconds; −1 and what a Duration cannot hold are no bound at all.
func millisSetting(m map[string]string, key string, unlimited bool) time.Duration {
	v := settingInt(m, key)
	if v < 0 || v > math.MaxInt64/int64(time.Millisecond) {
		if unlimited {
			return log.Unlimited
		}
		return math.MaxInt64
	}
	return time.Duration(v) * time.Millisecond
}

// merge returns defaults with overrides over them. A mode of syncing is one decision in two keys.
func merge(defaults, overrides map[string]string) map[string]string {
	m := maps.Clone(defaults)
	if m == nil {
		m = map[string]string{}
	}
	if overrides[keyFlushMessages] != "" || overrides[keyFlushMs] != "" {
		delete(m, keyFlushMessages)
		delete(m, keyFlushMs)
	}
	maps.Copy(m, overrides)
	return m
}

// effective returns every setting by Kafka's key, as DescribeTopic shows it.
func (s *Store) effective(overrides map[string]string) map[string]string {
	merged := merge(*s.defaults.Load(), overrides)
	m := map[string]string{}
	for name := range configKeys {
		if name != keyInternalSegment && name != keyKeyIndex || merged[name] != "" {
			m[name] = settingText(merged, name)
		}
	}
	switch mode := s.syncMode(merged); {
	case mode == SyncAlways:
		m[keyFlushMessages], m[keyFlushMs] = "1", maxLong
	case mode > 0:
		m[keyFlushMessages], m[keyFlushMs] = maxLong, formatInt(mode.Interval().Milliseconds())
	default:
		m[keyFlushMessages], m[keyFlushMs] = maxLong, maxLong
	}
	return m
}
