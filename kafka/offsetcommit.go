package kafka

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// offsetsToCommit is what OffsetCommit and TxnOffsetCommit have in common.
type offsetsToCommit struct {
	group.CommitRequest
	order   []partition.TopicPartition // of the request, without what is refused at the door
	answers answers
}

// allow takes the offsets of topics that the principal may read and that are there; the others get their answers.
func (o *offsetsToCommit) allow(s *session, ctx context.Context, topics []topicToCommit) error {
	names := make([]string, 0, len(topics))
	for i := range topics {
		t := &topics[i]
		if t.denied = !s.authorize(opRead, resourceTopic, t.topic); !t.denied {
			names = append(names, t.topic)
		}
	}
	metadata, err := s.topics(ctx, names)
	if err != nil {
		return err
	}
	o.Offsets = make(map[partition.TopicPartition]group.CommittedOffset)
	for i := range topics {
		t := &topics[i]
		for _, p := range t.partitions {
			switch {
			case t.denied:
				o.answers.add(t.topic, p.partition, codeTopicAuthorizationFailed)
			case !hasPartition(metadata[t.topic], p.partition):
				o.answers.add(t.topic, p.partition, codeUnknownTopicOrPartition)
			default:
				tp := partition.TopicPartition{Topic: t.topic, Partition: p.partition}
				o.order = append(o.order, tp)
				o.Offsets[tp] = p.offset
			}
		}
	}
	return nil
}

type topicToCommit struct {
	topic      string
	denied     bool
	partitions []offsetToCommit
}

type offsetToCommit struct {
	partition int32
	offset    group.CommittedOffset
}

// committed answers all partitions that were not refused at the door with what the coordinator says: err, which may be about
// single ones of them. whole maps an error about all.
func (o *offsetsToCommit) committed(err error, key, version int16, whole func(error) int16) {
	var some *group.CommitError
	if err != nil && !errors.As(err, &some) {
		o.fail(whole(err))
		return
	}
	for _, tp := range o.order {
		code := codeNone
		if some != nil {
			code = errorCode(some.Partitions[tp], key, version)
		}
		o.answers.add(tp.Topic, tp.Partition, code)
	}
}

// fail answers all partitions that were not refused at the door.
func (o *offsetsToCommit) fail(code int16) {
	for _, tp := range o.order {
		o.answers.add(tp.Topic, tp.Partition, code)
	}
}

// handleOffsetCommit stores offsets of a group (OffsetCommit): for a member of it, or from outside if it has none.
func handleOffsetCommit(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.OffsetCommitRequest)
	resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
	o := offsetsToCommit{CommitRequest: group.CommitRequest{Membership: membership(req.Group, req.MemberID, req.Generation, req.InstanceID), Negative: true}}
	if c.version <= 4 && req.RetentionTimeMillis != -1 {
		o.Retention = max(millis(req.RetentionTimeMillis), time.Millisecond) // of 0 and less nothing stays
	}
	topics := make([]topicToCommit, len(req.Topics))
	for i := range req.Topics {
		t := &req.Topics[i]
		topics[i].topic = t.Topic
		for _, p := range t.Partitions {
			topics[i].partitions = append(topics[i].partitions, offsetToCommit{p.Partition, group.CommittedOffset{
				Offset: partition.Offset(p.Offset), LeaderEpoch: partition.LeaderEpoch(p.LeaderEpoch), Metadata: stringOf(p.Metadata)}})
		}
	}
	whole := func(err error) int16 {
		switch {
		case errors.Is(err, group.ErrGroupIDNotFound) && c.version >= 9:
			return codeGroupIDNotFound
		case errors.Is(err, group.ErrStaleMemberEpoch) && c.version < 9:
			return codeUnsupportedVersion // its member is one of the new protocol, whose commits are of version 9
		}
		return groupCode(err, c.key, c.version)
	}
	if !s.authorize(opRead, resourceGroup, req.Group) {
		for _, t := range topics {
			for _, p := range t.partitions {
				o.answers.add(t.topic, p.partition, codeGroupAuthorizationFailed)
			}
		}
	} else if err := o.allow(s, c.ctx, topics); err != nil {
		return nil, err
	} else if c.version == 0 {
		s.commitOld(c, &o)
	} else if len(o.order) > 0 {
		g, err := s.groupOf(c.ctx, req.Group)
		if err == nil {
			err = g.Commit(c.ctx, o.CommitRequest)
		}
		o.committed(err, c.key, c.version, whole)
	}
	for _, t := range o.answers.topics {
		topic := kmsg.NewOffsetCommitResponseTopic()
		topic.Topic = t.topic
		for _, p := range t.partitions {
			one := kmsg.NewOffsetCommitResponseTopicPartition()
			one.Partition, one.ErrorCode = p.partition, p.code
			topic.Partitions = append(topic.Partitions, one)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp, nil
}

// handleOffsetDelete removes committed offsets of topics that no member is subscribed to (OffsetDelete, KIP-496).
func handleOffsetDelete(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.OffsetDeleteRequest)
	resp := req.ResponseKind().(*kmsg.OffsetDeleteResponse)
	if !s.authorize(opDelete, resourceGroup, req.Group) {
		resp.ErrorCode = codeGroupAuthorizationFailed
		return resp, nil
	}
	var o offsetsToCommit
	topics := make([]topicToCommit, len(req.Topics))
	for i := range req.Topics {
		topics[i].topic = req.Topics[i].Topic
		for _, p := range req.Topics[i].Partitions {
			topics[i].partitions = append(topics[i].partitions, offsetToCommit{partition: p.Partition})
		}
	}
	if err := o.allow(s, c.ctx, topics); err != nil {
		return nil, err
	}
	if req.Group == "" {
		resp.ErrorCode = codeInvalidGroupID
		return resp, nil
	}
	g, err := s.groupOf(c.ctx, req.Group)
	if err == nil {
		err = g.DeleteOffsets(c.ctx, req.Group, slices.Clone(o.order)...)
	}
	var some *group.OffsetsError
	if err != nil && !errors.As(err, &some) {
		resp.ErrorCode = groupCode(err, c.key, c.version) // and nothing about partitions
		return resp, nil
	}
	for _, tp := range o.order {
		code := codeNone
		if some != nil {
			code = errorCode(some.Partitions[tp], c.key, c.version)
		}
		o.answers.add(tp.Topic, tp.Partition, code)
	}
	for _, t := range o.answers.topics {
		topic := kmsg.NewOffsetDeleteResponseTopic()
		topic.Topic = t.topic
		for _, p := range t.partitions {
			one := kmsg.NewOffsetDeleteResponseTopicPartition()
			one.Partition, one.ErrorCode = p.partition, p.code
			topic.Partitions = append(topic.Partitions, one)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp, nil
}
