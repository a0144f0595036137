package kafka

import (
	"errors"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// fetchedGroup is one group of an OffsetFetch, in any version.
type fetchedGroup struct {
	group.OffsetsRequest
	all    bool // all partitions with an offset
	blank  bool // a member id was given, and is empty
	topics []fetchedTopic

	code int16 // about the whole group; topics is empty then, but in the oldest versions
}

type fetchedTopic struct {
	topic      string
	partitions []fetchedOffset
}

type fetchedOffset struct {
	partition int32
	offset    group.CommittedOffset
	code      int16
}

// noOffset is the answer where nothing is committed.
var noOffset = group.CommittedOffset{Offset: -1, LeaderEpoch: -1}

// handleOffsetFetch returns committed offsets of one group or, since KIP-709, of several (OffsetFetch). What has none is −1
// without an error, as is a group that there is not.
func handleOffsetFetch(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.OffsetFetchRequest)
	resp := req.ResponseKind().(*kmsg.OffsetFetchResponse)
	if c.version >= 8 {
		for i := range req.Groups {
			f := fetchOf(&req.Groups[i])
			f.RequireStable = req.RequireStable
			s.fetchOffsets(c, f)
			resp.Groups = append(resp.Groups, f.response())
		}
		return resp, nil
	}
	f := &fetchedGroup{OffsetsRequest: group.OffsetsRequest{Group: req.Group, RequireStable: req.RequireStable}}
	f.all = c.version >= 2 && req.Topics == nil
	for _, t := range req.Topics {
		f.want(t.Topic, t.Partitions)
	}
	if c.version == 0 {
		s.fetchOld(f)
	} else {
		s.fetchOffsets(c, f)
	}
	if f.code != codeNone && c.version < 2 { // which has no place for it but here
		for _, t := range f.topics {
			for i := range t.partitions {
				t.partitions[i].offset, t.partitions[i].code = noOffset, f.code
			}
		}
		f.code = codeNone
	} else if f.code != codeNone {
		f.topics = nil
	}
	resp.ErrorCode = f.code
	for _, t := range f.topics {
		topic := kmsg.NewOffsetFetchResponseTopic()
		topic.Topic = t.topic
		for i := range t.partitions {
			p := &t.partitions[i]
			one := kmsg.NewOffsetFetchResponseTopicPartition()
			one.Partition, one.Offset, one.LeaderEpoch = p.partition, int64(p.offset.Offset), int32(p.offset.LeaderEpoch)
			one.Metadata, one.ErrorCode = &p.offset.Metadata, p.code
			topic.Partitions = append(topic.Partitions, one)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp, nil
}

func fetchOf(g *kmsg.OffsetFetchRequestGroup) *fetchedGroup {
	f := &fetchedGroup{OffsetsRequest: group.OffsetsRequest{
		Group: g.Group, MemberID: stringOf(g.MemberID), MemberEpoch: group.MemberEpoch(g.MemberEpoch)}}
	f.all, f.blank = g.Topics == nil, g.MemberID != nil && *g.MemberID == ""
	for _, t := range g.Topics {
		f.want(t.Topic, t.Partitions)
	}
	return f
}

func (f *fetchedGroup) want(topic string, partitions []int32) {
	t := fetchedTopic{topic: topic, partitions: make([]fetchedOffset, len(partitions))}
	for i, p := range partitions {
		t.partitions[i] = fetchedOffset{partition: p, offset: noOffset}
	}
	f.topics = append(f.topics, t)
}

func (f *fetchedGroup) response() kmsg.OffsetFetchResponseGroup {
	out := kmsg.NewOffsetFetchResponseGroup()
	out.Group, out.ErrorCode = f.Group, f.code
	if f.code != codeNone {
		return out
	}
	for _, t := range f.topics {
		topic := kmsg.NewOffsetFetchResponseGroupTopic()
		topic.Topic = t.topic
		for i := range t.partitions {
			p := &t.partitions[i]
			one := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			one.Partition, one.Offset, one.LeaderEpoch = p.partition, int64(p.offset.Offset), int32(p.offset.LeaderEpoch)
			one.Metadata, one.ErrorCode = &p.offset.Metadata, p.code
			topic.Partitions = append(topic.Partitions, one)
		}
		out.Topics = append(out.Topics, topic)
	}
	return out
}

// fetchOffsets fills in one group: topics that the principal may not describe are refused, or left out where all are asked
// for. They come last, as with Apache Kafka.
func (s *session) fetchOffsets(c *call, f *fetchedGroup) {
	if !s.authorize(opDescribe, resourceGroup, f.Group) {
		f.code = codeGroupAuthorizationFailed
		return
	}
	allowed, denied := f.topics, []fetchedTopic(nil)
	if !f.all {
		allowed, denied = authorized(s, opDescribe, resourceTopic, f.topics, func(t fetchedTopic) string { return t.topic })
		f.Partitions = []partition.TopicPartition{}
		for _, t := range allowed {
			for _, p := range t.partitions {
				f.Partitions = append(f.Partitions, partition.TopicPartition{Topic: t.topic, Partition: p.partition})
			}
		}
	}
	g, err := s.groupOf(c.ctx, f.Group)
	var found map[partition.TopicPartition]group.CommittedOffset
	if err == nil && f.blank { // nobody's id: in a group of the new protocol that is nobody
		if _, none := g.ConsumerGroupDescribe(c.ctx, f.Group); none == nil {
			err = group.ErrUnknownMemberID
		}
	}
	if err == nil {
		found, err = g.Offsets(c.ctx, f.OffsetsRequest)
	}
	var unstable *group.OffsetsError
	if err != nil && !errors.As(err, &unstable) {
		f.code = fetchCode(err, c.key, c.version)
		return
	}
	of := func(tp partition.TopicPartition) fetchedOffset {
		o := fetchedOffset{partition: tp.Partition, offset: noOffset}
		if unstable != nil && unstable.Partitions[tp] != nil {
			o.code = errorCode(unstable.Partitions[tp], c.key, c.version)
		} else if have, ok := found[tp]; ok {
			o.offset = have
		}
		return o
	}
	if f.all {
		f.topics = nil
		tps := slices.Collect(maps.Keys(found))
		if unstable != nil {
			tps = slices.AppendSeq(tps, maps.Keys(unstable.Partitions))
		}
		slices.SortFunc(tps, compareTopicPartitions)
		for _, tp := range slices.Compact(tps) {
			if n := len(f.topics); n == 0 || f.topics[n-1].topic != tp.Topic {
				f.topics = append(f.topics, fetchedTopic{topic: tp.Topic})
			}
			t := &f.topics[len(f.topics)-1]
			t.partitions = append(t.partitions, of(tp))
		}
		f.topics, _ = authorized(s, opDescribe, resourceTopic, f.topics, func(t fetchedTopic) string { return t.topic })
		return
	}
	for _, t := range allowed {
		for i := range t.partitions {
			t.partitions[i] = of(partition.TopicPartition{Topic: t.topic, Partition: t.partitions[i].partition})
		}
	}
	for _, t := range denied {
		for i := range t.partitions {
			t.partitions[i].code = codeTopicAuthorizationFailed
		}
	}
	f.topics = append(slices.Clip(allowed), denied...)
}

// fetchCode is groupCode for OffsetFetch, whose clients before 3.9 know no COORDINATOR_NOT_AVAILABLE.
func fetchCode(err error, key, version int16) int16 {
	if code := groupCode(err, key, version); code != codeCoordinatorNotAvailable {
		return code
	}
	return codeNotCoordinator
}
