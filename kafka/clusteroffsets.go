package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// ListOffsets returns the offset at a time: the first record whose timestamp is at or after timestamp, in milliseconds
// since 1970, or partition.OffsetUnknown if there is none; or one of the special timestamps partition.TimestampLatest,
// TimestampLastStable, TimestampEarliest and TimestampMax.
func (c *Cluster) ListOffsets(ctx context.Context, tp partition.TopicPartition, timestamp int64) (partition.Offset, error) {
	isolation := int8(0)
	switch {
	case timestamp == partition.TimestampLastStable:
		isolation, timestamp = 1, partition.TimestampLatest
	case timestamp < partition.TimestampMax:
		return 0, errors.Join(partition.ErrUnsupported, &partition.ConfigError{Key: "timestamp", Value: fmt.Sprint(timestamp), Range: "0 or more, -1, -2, -3 or -100"})
	}
	var found *kmsg.ListOffsetsResponseTopicPartition
	err := c.atLeader(ctx, "ListOffsets", tp, func(of leadership) kmsg.Request {
		req := kmsg.NewPtrListOffsetsRequest()
		req.ReplicaID, req.IsolationLevel = -1, isolation
		t, p := kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp, p.CurrentLeaderEpoch, p.MaxNumOffsets = tp.Partition, timestamp, int32(of.epoch), 1
		t.Topic, t.Partitions = tp.Topic, append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
		return req
	}, func(resp kmsg.Response) int16 {
		for _, t := range resp.(*kmsg.ListOffsetsResponse).Topics {
			for i := range t.Partitions {
				found = &t.Partitions[i]
				return again(found.ErrorCode)
			}
		}
		return codeUnknownServerError
	})
	if err != nil {
		return 0, fmt.Errorf("list offsets of %s: %w", tp, err)
	}
	return partition.Offset(found.Offset), nil
}

// again makes a code of a leader epoch that is not the present one, of which the caller knows nothing, one of a leader that
// has moved.
func again(code int16) int16 {
	if code == codeFencedLeaderEpoch || code == codeUnknownLeaderEpoch {
		return codeNotLeaderOrFollower
	}
	return code
}

// EpochEnd answers OffsetForLeaderEpoch: the largest leader epoch not above epoch that the partition has records of,
// and the offset at which it ends. A reader that was ahead of a lost tail finds with it where to go on (KIP-320).
func (c *Cluster) EpochEnd(ctx context.Context, tp partition.TopicPartition, epoch partition.LeaderEpoch) (partition.LeaderEpoch, partition.Offset, error) {
	var found *kmsg.OffsetForLeaderEpochResponseTopicPartition
	err := c.atLeader(ctx, "OffsetForLeaderEpoch", tp, func(of leadership) kmsg.Request {
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		req.ReplicaID = -1
		t, p := kmsg.NewOffsetForLeaderEpochRequestTopic(), kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		p.Partition, p.CurrentLeaderEpoch, p.LeaderEpoch = tp.Partition, int32(of.epoch), int32(epoch)
		t.Topic, t.Partitions = tp.Topic, append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
		return req
	}, func(resp kmsg.Response) int16 {
		for _, t := range resp.(*kmsg.OffsetForLeaderEpochResponse).Topics {
			for i := range t.Partitions {
				found = &t.Partitions[i]
				return again(found.ErrorCode)
			}
		}
		return codeUnknownServerError
	})
	if err != nil {
		return 0, 0, fmt.Errorf("end of leader epoch %d of %s: %w", epoch, tp, err)
	}
	return partition.LeaderEpoch(found.LeaderEpoch), partition.Offset(found.EndOffset), nil
}
