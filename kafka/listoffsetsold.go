package kafka

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// listOffsetsBefore answers ListOffsets 0, which asks for several offsets below a time: where segments begin (before KIP-79).
func (s *session) listOffsetsBefore(c *call, req *kmsg.ListOffsetsRequest) (kmsg.Response, error) {
	resp := kmsg.NewPtrListOffsetsResponse()
	for i := range req.Topics {
		t := &req.Topics[i]
		allowed := s.authorize(opDescribe, resourceTopic, t.Topic)
		rt := kmsg.NewListOffsetsResponseTopic()
		rt.Topic = t.Topic
		for j := range t.Partitions {
			p := &t.Partitions[j]
			rp := kmsg.NewListOffsetsResponseTopicPartition()
			rp.Partition = p.Partition
			if !allowed {
				rp.ErrorCode = codeTopicAuthorizationFailed
				rt.Partitions = append(rt.Partitions, rp)
				continue
			}
			err := s.lookUpOffsetsBefore(c, req, t.Topic, p, &rp)
			if errors.Is(err, partition.ErrClosed) {
				return nil, err
			}
			switch rp.ErrorCode = errorCode(err, c.key, c.version); rp.ErrorCode {
			case codeNone, codeUnknownTopicOrPartition, codeNotLeaderOrFollower, codeKafkaStorageError:
			default: // clients of this version know no other
				rp.ErrorCode = codeUnknownServerError
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil
}

func (s *session) lookUpOffsetsBefore(c *call, req *kmsg.ListOffsetsRequest, name string, p *kmsg.ListOffsetsRequestTopicPartition, out *kmsg.ListOffsetsResponseTopicPartition) error {
	if name == "" {
		return partition.ErrUnknownTopicOrPartition
	}
	topic, err := s.server.store.FindTopic(name, partition.TopicID{})
	if err != nil {
		return err
	}
	if err := s.serves(&topic, p.Partition, -1, req.ReplicaID == debuggingReplica); err != nil {
		return err
	}
	found, err := s.server.store.OffsetsBefore(c.ctx, partition.TopicPartition{Topic: name, Partition: p.Partition}, p.Timestamp, int(p.MaxNumOffsets))
	for _, o := range found {
		out.OldStyleOffsets = append(out.OldStyleOffsets, int64(o))
	}
	return err
}
