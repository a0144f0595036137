package kafka

import (
	"net/url"
	"slices"
	"strconv"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// oldOffsets begins the settings that hold what OffsetCommit 0 has committed. Kafka kept that in ZooKeeper, apart from what
// later versions commit: OffsetFetch 0 alone reads it, no coordinator is asked, and it stays when its topic goes.
const oldOffsets = "kafka/offsets/"

func oldOffsetsOf(id string) string { return oldOffsets + url.PathEscape(id) + "/" }

func oldOffsetKey(id, topic string, partition int32) string {
	return oldOffsetsOf(id) + topic + "/" + strconv.Itoa(int(partition))
}

// commitOld is OffsetCommit 0. Metadata is not kept.
func (s *session) commitOld(c *call, o *offsetsToCommit) {
	most := propertyReader(s.settings().properties).number("offset.metadata.max.bytes")
	for _, tp := range o.order {
		offset := o.Offsets[tp]
		code := codeNone
		switch {
		case o.Group == "": // no node of ZooKeeper has an empty name
			code = codeUnknownServerError
		case len(offset.Metadata) > int(most):
			code = codeOffsetMetadataTooLarge
		default:
			err := s.server.store.PutSettings(c.ctx, partition.Setting{
				Key: oldOffsetKey(o.Group, tp.Topic, tp.Partition), Value: strconv.AppendInt(nil, int64(offset.Offset), 10)})
			code = errorCode(err, c.key, c.version)
		}
		o.answers.add(tp.Topic, tp.Partition, code)
	}
}

// fetchOld is OffsetFetch 0. What is not there, or has no offset, is UNKNOWN_TOPIC_OR_PARTITION.
func (s *session) fetchOld(f *fetchedGroup) {
	if !s.authorize(opDescribe, resourceGroup, f.Group) {
		f.code = codeGroupAuthorizationFailed
		return
	}
	allowed, denied := authorized(s, opDescribe, resourceTopic, f.topics, func(t fetchedTopic) string { return t.topic })
	kept := map[string]string{}
	for _, k := range s.server.store.Settings(oldOffsetsOf(f.Group)) {
		kept[k.Key] = string(k.Value)
	}
	for _, t := range allowed {
		topic, err := s.server.store.FindTopic(t.topic, partition.TopicID{})
		for i := range t.partitions {
			p := &t.partitions[i]
			p.code = codeUnknownTopicOrPartition
			if err != nil || t.topic == "" || p.partition < 0 || p.partition >= topic.Partitions() {
				continue
			}
			if f.Group == "" {
				p.code = codeUnknownServerError
				continue
			}
			if n, err := strconv.ParseInt(kept[oldOffsetKey(f.Group, t.topic, p.partition)], 10, 64); err == nil {
				p.offset, p.code = group.CommittedOffset{Offset: partition.Offset(n), LeaderEpoch: -1}, codeNone
			}
		}
	}
	for _, t := range denied {
		for i := range t.partitions {
			t.partitions[i].code = codeTopicAuthorizationFailed
		}
	}
	f.topics = append(slices.Clip(allowed), denied...)
}
