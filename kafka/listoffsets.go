package kafka

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// The special timestamps of ListOffsets, and the versions from which they may be used.
const (
	timestampEarliestLocal int64 = -4 // KIP-405: without tiered storage, the log start offset
	timestampLatestTiered  int64 = -5 // KIP-1005: without tiered storage, none
)

var timestampsFrom = map[int64]int16{
	partition.TimestampLatest: 0, partition.TimestampEarliest: 0, partition.TimestampMax: 7, timestampEarliestLocal: 8, timestampLatestTiered: 9,
}

// handleListOffsets looks offsets up by time (KIP-79), below what the isolation level lets the client read.
func handleListOffsets(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.ListOffsetsRequest)
	if c.version == 0 {
		return s.listOffsetsBefore(c, req)
	}
	resp := kmsg.NewPtrListOffsetsResponse()
	named := map[partition.TopicPartition]int{}
	for i := range req.Topics {
		for _, p := range req.Topics[i].Partitions {
			named[partition.TopicPartition{Topic: req.Topics[i].Topic, Partition: p.Partition}]++
		}
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		allowed := s.authorize(opDescribe, resourceTopic, t.Topic)
		rt := kmsg.NewListOffsetsResponseTopic()
		rt.Topic = t.Topic
		for j := range t.Partitions {
			p := &t.Partitions[j]
			tp := partition.TopicPartition{Topic: t.Topic, Partition: p.Partition}
			rp := kmsg.NewListOffsetsResponseTopicPartition()
			rp.Partition = p.Partition
			if named[tp] < 0 {
				continue // of a partition that is named more than once there is one answer
			}
			from, special := timestampsFrom[p.Timestamp]
			switch {
			case !allowed:
				rp.ErrorCode = codeTopicAuthorizationFailed
			case named[tp] > 1:
				rp.ErrorCode = codeInvalidRequest
				named[tp] = -1
			case p.Timestamp < 0 && (!special || c.version < from):
				rp.ErrorCode = codeUnsupportedVersion
			default:
				err := s.lookUpOffset(c, req, tp, p, &rp)
				if rp.ErrorCode = errorCode(err, c.key, c.version); errors.Is(err, partition.ErrClosed) {
					return nil, err
				}
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		if len(rt.Partitions) > 0 || len(t.Partitions) == 0 {
			resp.Topics = append(resp.Topics, rt)
		}
	}
	return resp, nil
}

// debuggingReplica may ask replicas that do not lead; consumerReplica is every client, older ones (epoch requests) included.
const (
	consumerReplica  int32 = -1
	debuggingReplica int32 = -2
)

func (s *session) lookUpOffset(c *call, req *kmsg.ListOffsetsRequest, tp partition.TopicPartition, p *kmsg.ListOffsetsRequestTopicPartition, out *kmsg.ListOffsetsResponseTopicPartition) error {
	topic, err := s.server.store.FindTopic(tp.Topic, partition.TopicID{})
	if tp.Topic == "" {
		err = partition.ErrUnknownTopicOrPartition
	}
	if err != nil {
		return err
	}
	if err := s.serves(&topic, tp.Partition, p.CurrentLeaderEpoch, req.ReplicaID == debuggingReplica); err != nil {
		return err
	}
	timestamp := p.Timestamp
	switch timestamp {
	case timestampEarliestLocal:
		timestamp = partition.TimestampEarliest
	case timestampLatestTiered:
		return nil
	}
	committed := req.IsolationLevel == 1 && req.ReplicaID == consumerReplica
	found, err := s.server.store.LookUpOffset(c.ctx, tp, timestamp, partition.LeaderEpochUnknown, committed)
	if err != nil {
		return err
	}
	out.Timestamp, out.Offset, out.LeaderEpoch = found.Timestamp, int64(found.Offset), int32(found.LeaderEpoch)
	return nil
}

// serves says whether this broker answers for a partition, in Kafka's order: there is one, the client's leader epoch is the
// partition's (KIP-320), and the broker leads it, or has a replica, where that is enough.
func (s *session) serves(t *partition.Topic, i int32, epoch int32, replica bool) error {
	at, ok := s.server.layout.at(t, i)
	if !ok {
		return partition.ErrUnknownTopicOrPartition
	}
	led := at.leader == s.broker.id
	if !led && !contains(at.replicas, s.broker.id) {
		return errNotLeader
	}
	if epoch >= 0 {
		switch now := int32(t.LeaderEpoch(i)); {
		case epoch < now:
			return partition.ErrFencedLeaderEpoch
		case epoch > now:
			return partition.ErrUnknownLeaderEpoch
		}
	}
	if !led && !replica {
		return errNotLeader
	}
	return nil
}

func contains(ids []int32, id int32) bool {
	for _, x := range ids {
		if x == id {
			return true
		}
	}
	return false
}
