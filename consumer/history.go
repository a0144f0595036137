package consumer

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/partlog/partlog/partition"
)

// KeySource is where one key's records can be read; met by *partition.Store.
type KeySource interface {
	Metadata(ctx context.Context, topics []string) ([]partition.Metadata, error)
	ReadKey(ctx context.Context, r partition.ReadKeyRequest) iter.Seq2[partition.KeyRecord, error]
}

// HistoryConfig configures History. The zero value is valid.
type HistoryConfig struct {
	// From is the offset of the first record wanted: a reader that has a snapshot begins behind it. Default 0: all.
	From partition.Offset

	// Isolation is what of a transaction is read. Default ReadUncommitted.
	Isolation Isolation

	// Partitioner says which partition has the key: the producers'. Default partition.Murmur2().
	Partitioner partition.Partitioner
}

// History walks the records of one key in their order, and ends at the last one there is: an entity's events. The topic needs a key index
// (partition.TopicConfig.KeyIndex), so that other keys' records are not read. The offset of the last record is what
// producer.Producer.AppendIf expects.
//
// A *DecodeError comes with a zero record, and the walk goes on; any other error is the last pair: partition.ErrPolicyViolation without
// a key index, partition.ErrUnknownTopicOrPartition, *log.CorruptionError, ErrClosed, ctx's.
func History[V any](ctx context.Context, s KeySource, topic string, key []byte, value Decoder[V], c HistoryConfig) iter.Seq2[TypedRecord[[]byte, V], error] {
	return func(yield func(TypedRecord[[]byte, V], error) bool) {
		tp, err := partitionOf(ctx, s, topic, key, c)
		if err != nil {
			yield(TypedRecord[[]byte, V]{}, fmt.Errorf("history of key %q: %w", key, err))
			return
		}
		var at Envelope
		request := partition.ReadKeyRequest{TopicPartition: tp, Key: key, From: c.From, ReadCommitted: c.Isolation == ReadCommitted}
		for k, err := range s.ReadKey(ctx, request) {
			var r TypedRecord[[]byte, V]
			if err == nil {
				r, err = decode(&at, Record{
					Topic: tp.Topic, Partition: tp.Partition, Offset: k.Offset, LeaderEpoch: k.LeaderEpoch,
					Timestamp: time.UnixMilli(k.Timestamp), Key: k.Key, Value: k.Value, Headers: k.Headers,
				}, Bytes, value)
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

func partitionOf(ctx context.Context, s KeySource, topic string, key []byte, c HistoryConfig) (tp partition.TopicPartition, err error) {
	metadata, err := s.Metadata(ctx, []string{topic})
	if err != nil {
		return tp, err
	}
	if metadata[0].Err != nil {
		return tp, metadata[0].Err
	}
	if c.Partitioner == nil {
		c.Partitioner = partition.Murmur2()
	}
	n := c.Partitioner.Partition(topic, key, nil, int32(len(metadata[0].Partitions)))
	if n < 0 || int(n) >= len(metadata[0].Partitions) {
		return tp, fmt.Errorf("%w: the partitioner chose partition %d of topic %q", partition.ErrUnknownTopicOrPartition, n, topic)
	}
	return partition.TopicPartition{Topic: topic, Partition: n}, nil
}
