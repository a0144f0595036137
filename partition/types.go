package partition

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/compress"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/log"
)

type (
	// Offset numbers the records of one partition, from 0. It counts records; a position counts bytes.
	Offset = log.Offset

	// LeaderEpoch counts the leaderships of a partition (KIP-101). An embedded store raises it at every open that
	// may have lost a tail, so that a reader that was ahead of the loss can be told (KIP-320).
	LeaderEpoch = log.LeaderEpoch

	// Header is one header of a record. A nil Value is Kafka's null, which is not the empty value.
	Header = batch.Header

	// SyncMode says when an appended batch is durable: SyncAlways, SyncInterval or SyncNever; 0 inherits.
	SyncMode = log.SyncMode

	// Codec is a compression codec of a record batch, with Kafka's numbers; CodecProducer where a topic keeps
	// whatever the producer chose.
	Codec = compress.Codec

	// FS is the file seam. Nil in a Config means the operating system's files; partitiontest has others.
	FS = vfs.FS

	// Clock is the time seam. Nil in a Config means the system's clock; partitiontest has one that a test advances.
	Clock = clock.Clock
)

const (
	// SyncAlways acknowledges an append after it has been synced to the disk. It is the default.
	SyncAlways = log.SyncAlways
	// SyncNever acknowledges an append when it is in the page cache: it survives a crash of the process, not one
	// of the machine.
	SyncNever = log.SyncNever

	// CodecNone, CodecGzip, CodecSnappy, CodecLZ4 and CodecZstd are Kafka's codecs 0 to 4.
	CodecNone   = compress.None
	CodecGzip   = compress.Gzip
	CodecSnappy = compress.Snappy
	CodecLZ4    = compress.LZ4
	CodecZstd   = compress.Zstd
	// CodecProducer means that the topic keeps the producer's codec (compression.type=producer).
	CodecProducer Codec = -1
)

// The timestamps that ListOffsets understands besides real ones, as in Kafka's protocol.
const (
	// TimestampLatest asks for the high watermark: the offset that the next acknowledged record will have.
	TimestampLatest int64 = -1
	// TimestampEarliest asks for the log start offset.
	TimestampEarliest int64 = -2
	// TimestampMax asks for the record with the largest timestamp (KIP-734).
	TimestampMax int64 = -3
	// TimestampLastStable asks for the last stable offset, which is where a reader of committed records starts at
	// the latest (ListOffsets with isolation level read_committed in Kafka). It is ours; Kafka's protocol has a field.
	TimestampLastStable int64 = -100
)

// OffsetUnknown is the answer of ListOffsets when no record is as young as the timestamp asked for.
const OffsetUnknown Offset = -1

// LeaderEpochUnknown in a FetchPosition means that the caller's leader epoch is not checked.
const LeaderEpochUnknown LeaderEpoch = -1

// SyncInterval acknowledges an append when it is in the page cache and syncs in the background at most d later: a
// crash of the machine loses at most the last d. It is Kafka's flush.ms.
func SyncInterval(d time.Duration) SyncMode { return log.SyncInterval(d) }

// ParseCodec returns the codec of Kafka's name for it: none or uncompressed, gzip, snappy, lz4, zstd. Any other name
// is a *ConfigError.
func ParseCodec(name string) (Codec, error) {
	if name == string(CompressionNone) {
		return CodecNone, nil
	}
	c, err := compress.ParseCodec(name)
	if err != nil {
		return CodecNone, &ConfigError{Key: keyCompressionType, Value: name, Range: "one of none, gzip, snappy, lz4, zstd"}
	}
	return c, nil
}

// TopicPartition names one partition of one topic.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// String returns "topic-partition", which is also the name of the partition's directory.
func (tp TopicPartition) String() string {
	return tp.Topic + "-" + strconv.FormatInt(int64(tp.Partition), 10)
}

// ProducerID is the identity that makes a producer's appends idempotent (KIP-98).
type ProducerID struct {
	ID    int64
	Epoch int16
}

// NoProducerID is the ProducerID of a producer that has none.
var NoProducerID = ProducerID{ID: -1, Epoch: -1}

// Acks says what an append waits for. The zero value is AcksAll.
type Acks uint8

const (
	// AcksAll waits for what the topic's sync mode promises (Kafka's acks=-1).
	AcksAll Acks = iota
	// AcksLeader waits until the batch is in the leader's page cache (Kafka's acks=1).
	AcksLeader
	// AcksNone waits for no promise (Kafka's acks=0). The store still answers with the offsets, because the
	// batch has to be written anyway before its bytes may be reused.
	AcksNone
)

// String returns Kafka's spelling: "all", "1" or "0".
func (a Acks) String() string {
	switch a {
	case AcksAll:
		return "all"
	case AcksLeader:
		return "1"
	case AcksNone:
		return "0"
	}
	return "Acks(" + strconv.Itoa(int(a)) + ")"
}

// TopicID is the identity of a topic (KIP-516). A topic that is deleted and created again gets another one. The
// zero TopicID is unknown and never checked.
type TopicID [16]byte

// String returns Kafka's text of the id: 22 characters of base64url.
func (id TopicID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// IsZero reports whether id is the unknown id.
func (id TopicID) IsZero() bool { return id == TopicID{} }

// MarshalText returns String.
func (id TopicID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText parses what String returned.
func (id *TopicID) UnmarshalText(text []byte) error {
	v, err := ParseTopicID(string(text))
	if err == nil {
		*id = v
	}
	return err
}

// ParseTopicID parses Kafka's text of a topic id.
func ParseTopicID(text string) (TopicID, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != 16 {
		return TopicID{}, fmt.Errorf("topic id %q: %w", text, errors.Join(errBadUUID, err))
	}
	return TopicID(b), nil
}

var errBadUUID = errors.New("want 22 characters of base64url")
