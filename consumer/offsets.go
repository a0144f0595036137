package consumer

import (
	"context"
	"fmt"
	"time"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// Position returns the offset behind the last record that the loop has finished, or where reading began; false for a
// partition that is not assigned.
func (c *Consumer) Position(tp partition.TopicPartition) (partition.Offset, bool) {
	c.sweepWork()
	k := c.cursorOf(tp)
	if k == nil {
		return 0, false
	}
	return k.place(), true
}

// Lag returns how many offsets lie between the position and the end as of the last fetch of the partition (currentLag):
// the high watermark, with ReadCommitted the last stable offset. False for a partition that is not assigned or has not
// been fetched yet.
func (c *Consumer) Lag(tp partition.TopicPartition) (int64, bool) {
	k := c.cursorOf(tp)
	if k == nil || k.highWatermark.Load() < 0 {
		return 0, false
	}
	return k.lag(c.config.Isolation), true
}

func (c *Consumer) cursorOf(tp partition.TopicPartition) *cursor {
	c.mu.Lock()
	defer c.mu.Unlock()
	return findCursor(c.assigned, tp)
}

// Committed returns what the group has committed of these partitions, assigned or not, or of all if none is named.
// Partitions without a committed offset are not in the map. Errors: partition.ErrClosed, ctx's, an error for consumers
// without a group.
func (c *Consumer) Committed(ctx context.Context, tps ...partition.TopicPartition) (map[partition.TopicPartition]group.CommittedOffset, error) {
	if c.member == nil {
		return nil, fmt.Errorf("committed offsets: %w", errNoGroup)
	}
	return c.member.group.Committed(ctx, tps...)
}

// OffsetsForTimes returns, for each partition, the offset of the first record whose timestamp is not before the time.
// Partitions without such a record are not in the map. Errors: partition.ErrUnknownTopicOrPartition,
// partition.ErrClosed, ctx's.
func (c *Consumer) OffsetsForTimes(ctx context.Context, times map[partition.TopicPartition]time.Time) (map[partition.TopicPartition]partition.Offset, error) {
	offsets := make(map[partition.TopicPartition]partition.Offset, len(times))
	for tp, at := range times {
		o, err := c.source.ListOffsets(ctx, tp, max(at.UnixMilli(), 0))
		if err != nil {
			return nil, fmt.Errorf("offset of %s: %w", tp, err)
		}
		if o != partition.OffsetUnknown {
			offsets[tp] = o
		}
	}
	return offsets, nil
}

// BeginningOffsets returns the offset of the oldest record of each partition, the end if there is none. Errors as for
// OffsetsForTimes.
func (c *Consumer) BeginningOffsets(ctx context.Context, tps ...partition.TopicPartition) (map[partition.TopicPartition]partition.Offset, error) {
	return c.listOffsets(ctx, tps, partition.TimestampEarliest)
}

// EndOffsets returns the offset of the next record of each partition: its high watermark, with ReadCommitted its last
// stable offset. Errors as for OffsetsForTimes.
func (c *Consumer) EndOffsets(ctx context.Context, tps ...partition.TopicPartition) (map[partition.TopicPartition]partition.Offset, error) {
	return c.listOffsets(ctx, tps, c.config.Isolation.end())
}

func (c *Consumer) listOffsets(ctx context.Context, tps []partition.TopicPartition, timestamp int64) (map[partition.TopicPartition]partition.Offset, error) {
	offsets := make(map[partition.TopicPartition]partition.Offset, len(tps))
	for _, tp := range tps {
		o, err := c.source.ListOffsets(ctx, tp, timestamp)
		if err != nil {
			return nil, fmt.Errorf("offset of %s: %w", tp, err)
		}
		offsets[tp] = o
	}
	return offsets, nil
}
