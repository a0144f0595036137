package kafka

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// handleDeleteRecords raises log start offsets (KIP-107).
func handleDeleteRecords(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.DeleteRecordsRequest)
	resp := kmsg.NewPtrDeleteRecordsResponse()
	for i := range req.Topics {
		t := &req.Topics[i]
		allowed := s.authorize(opDelete, resourceTopic, t.Topic)
		rt := kmsg.NewDeleteRecordsResponseTopic()
		rt.Topic = t.Topic
		for j := range t.Partitions {
			p := &t.Partitions[j]
			rp := kmsg.NewDeleteRecordsResponseTopicPartition()
			rp.Partition, rp.LowWatermark = p.Partition, -1
			if !allowed {
				rp.ErrorCode = codeTopicAuthorizationFailed
			} else {
				low, err := s.deleteRecords(c, partition.TopicPartition{Topic: t.Topic, Partition: p.Partition}, p.Offset)
				if errors.Is(err, partition.ErrClosed) {
					return nil, err
				}
				if rp.ErrorCode = errorCode(err, c.key, c.version); err == nil {
					rp.LowWatermark = int64(low)
				}
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil
}

func (s *session) deleteRecords(c *call, tp partition.TopicPartition, before int64) (partition.Offset, error) {
	if tp.Topic == "" {
		return -1, partition.ErrUnknownTopicOrPartition
	}
	topic, err := s.server.store.FindTopic(tp.Topic, partition.TopicID{})
	if err != nil {
		return -1, err
	}
	at, ok := s.server.layout.at(&topic, tp.Partition)
	switch {
	case !ok:
		return -1, partition.ErrUnknownTopicOrPartition
	case topic.Info().Internal:
		return -1, partition.ErrInvalidTopic
	case at.leader != s.broker.id:
		return -1, errNotLeader
	}
	return s.server.store.DeleteRecords(c.ctx, tp, partition.Offset(before))
}
