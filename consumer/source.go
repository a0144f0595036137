package consumer

import (
	"context"

	"github.com/partlog/partlog/partition"
)

// Source is where records come from; met by *partition.Store. Its methods are the store's, with the store's
// contracts.
type Source interface {
	Metadata(ctx context.Context, topics []string) ([]partition.Metadata, error)
	Fetch(ctx context.Context, r partition.FetchRequest) ([]partition.FetchResult, error)
	ListOffsets(ctx context.Context, tp partition.TopicPartition, timestamp int64) (partition.Offset, error)
	EpochEnd(ctx context.Context, tp partition.TopicPartition, epoch partition.LeaderEpoch) (partition.LeaderEpoch, partition.Offset, error)
}
