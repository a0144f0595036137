package log

import (
	"time"
)

// Offset counts the records of one partition from 0. (A position counts bytes.)
type Offset int64

// LeaderEpoch counts the leaders of a partition; records carry the epoch they were written under (KIP-101).
type LeaderEpoch int32

// SyncMode says what an acknowledged write has survived. The zero value asks for the default, SyncAlways.
type SyncMode int64

const (
	// SyncAlways syncs before it acknowledges: an acknowledged record survives the loss of power. Apache Kafka's flush.messages=1.
	SyncAlways SyncMode = -1
	// SyncNever leaves syncing to the operating system: an acknowledged record survives the process, not the machine.
	SyncNever SyncMode = -2
)

// SyncInterval is the mode that syncs at least every d (Apache Kafka's flush.ms): a loss of power takes the last d of records
// with it. Somebody has to call Log.Sync that often.
func SyncInterval(d time.Duration) SyncMode { return SyncMode(max(d, 1)) }

// Interval returns the d of SyncInterval(d), 0 for the other modes.
func (m SyncMode) Interval() time.Duration { return time.Duration(max(m, 0)) }

// String returns "always", "never" or the interval.
func (m SyncMode) String() string {
	switch {
	case m == SyncAlways || m == 0:
		return "always"
	case m == SyncNever:
		return "never"
	case m > 0:
		return time.Duration(m).String()
	}
	return "invalid"
}

// Unlimited is the value of a setting that has no limit.
const Unlimited = -1

// Settings are what can be changed while a log is open. Zero fields take the default given with each.
type Settings struct {
	Sync            SyncMode      // SyncAlways
	SegmentBytes    int64         // segment.bytes: 1 GiB; at most MaxSegmentBytes
	SegmentAge      time.Duration // segment.ms: 7 days; Unlimited
	SegmentJitter   time.Duration // segment.jitter.ms: 0
	IndexBytes      int           // segment.index.bytes: 10 MiB
	IndexInterval   int           // index.interval.bytes: 4096
	MaxMessageBytes int           // max.message.bytes: 1 MiB + 12
	LogAppendTime   bool          // message.timestamp.type=LogAppendTime: false
	TimestampBefore time.Duration // message.timestamp.before.max.ms: Unlimited
	TimestampAfter  time.Duration // message.timestamp.after.max.ms: 1 hour; Unlimited
	RetentionAge    time.Duration // retention.ms: Unlimited (Apache Kafka: 7 days); RetainNothing
	RetentionBytes  int64         // retention.bytes: Unlimited; RetainNothing
	ProducerExpiry  time.Duration // producer.id.expiration.ms: 24 hours
	Compacted       bool          // cleanup.policy has compact: gaps between offsets are lawful

	MinDirtyRatio    float64       // min.cleanable.dirty.ratio: 0.5; below 0: none
	MinCompactionLag time.Duration // min.compaction.lag.ms: 0
	MaxCompactionLag time.Duration // max.compaction.lag.ms: Unlimited
	DeleteRetention  time.Duration // delete.retention.ms of tombstones and transaction markers: 24 hours; RetainNothing

	KeyIndex        bool // keeps where each key has records: KeyOffsets
	NoPreallocation bool // SyncAlways writes into zero-filled space (see ARCHITECTURE); true: the file grows by each write
}

// RetainNothing is the meaningful zero of RetentionAge, RetentionBytes and DeleteRetention: what they guard may go at once.
const RetainNothing = -2

// MaxSegmentBytes is the largest segment: positions in Apache Kafka's indexes are 31 bits.
const MaxSegmentBytes = 1<<31 - 1

func (s Settings) withDefaults() Settings {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	if s.Sync == 0 {
		s.Sync = SyncAlways
	}
	if s.SegmentBytes <= 0 {
		s.SegmentBytes = 1 << 30
	}
	s.SegmentBytes = min(s.SegmentBytes, MaxSegmentBytes)
	def(&s.SegmentAge, 7*24*time.Hour)
	if s.IndexBytes <= 0 {
		s.IndexBytes = 10 << 20
	}
	if s.IndexInterval <= 0 {
		s.IndexInterval = 4096
	}
	if s.MaxMessageBytes <= 0 {
		s.MaxMessageBytes = 1<<20 + 12
	}
	def(&s.TimestampBefore, Unlimited)
	def(&s.TimestampAfter, time.Hour)
	def(&s.RetentionAge, Unlimited)
	if s.RetentionBytes == 0 {
		s.RetentionBytes = Unlimited
	}
	def(&s.ProducerExpiry, 24*time.Hour)
	if s.MinDirtyRatio == 0 {
		s.MinDirtyRatio = 0.5
	}
	def(&s.MaxCompactionLag, Unlimited)
	def(&s.DeleteRetention, 24*time.Hour)
	return s
}
