package kafka

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// handleOffsetForLeaderEpoch tells where leader epochs end, for readers that look whether a tail was lost (KIP-320).
func handleOffsetForLeaderEpoch(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.OffsetForLeaderEpochRequest)
	resp := kmsg.NewPtrOffsetForLeaderEpochResponse()
	cluster := s.authorizeCluster(opClusterAction)
	for i := range req.Topics {
		t := &req.Topics[i]
		allowed := cluster || s.authorize(opDescribe, resourceTopic, t.Topic)
		rt := kmsg.NewOffsetForLeaderEpochResponseTopic()
		rt.Topic = t.Topic
		for j := range t.Partitions {
			p := &t.Partitions[j]
			rp := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			rp.Partition = p.Partition
			if !allowed {
				rp.ErrorCode = codeTopicAuthorizationFailed
			} else {
				epoch, end, err := s.epochEnd(c, t.Topic, p)
				if errors.Is(err, partition.ErrClosed) {
					return nil, err
				}
				if rp.ErrorCode = errorCode(err, c.key, c.version); err == nil {
					rp.LeaderEpoch, rp.EndOffset = epoch, end
				}
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil
}

func (s *session) epochEnd(c *call, name string, p *kmsg.OffsetForLeaderEpochRequestTopicPartition) (epoch int32, end int64, err error) {
	if name == "" {
		return -1, -1, partition.ErrUnknownTopicOrPartition
	}
	topic, err := s.server.store.FindTopic(name, partition.TopicID{})
	if err != nil {
		return -1, -1, err
	}
	if err := s.serves(&topic, p.Partition, p.CurrentLeaderEpoch, false); err != nil {
		return -1, -1, err
	}
	e, o, err := s.server.store.EpochEnd(c.ctx, partition.TopicPartition{Topic: name, Partition: p.Partition}, partition.LeaderEpoch(p.LeaderEpoch))
	return int32(e), int64(o), err
}
