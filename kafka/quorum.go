package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// handleDescribeQuorum describes the quorum of controllers as it looks from outside: one voter, which has everything, the
// catalogue (KIP-642, KIP-836, KIP-853).
func handleDescribeQuorum(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.DescribeQuorumRequest)
	resp := req.ResponseKind().(*kmsg.DescribeQuorumResponse)
	if c.version >= 2 {
		resp.ErrorMessage = kmsg.StringPtr("")
	}
	if !s.authorizeCluster(opDescribe) {
		resp.ErrorCode = codeClusterAuthorizationFailed
		if c.version >= 2 {
			resp.ErrorMessage = kmsg.StringPtr(textClusterDenied)
		}
		return resp, nil
	}
	// Kafka describes the metadata's partition when it is the only one that is asked for.
	known := len(req.Topics) == 1 && req.Topics[0].Topic == metadataTopic && len(req.Topics[0].Partitions) == 1 && req.Topics[0].Partitions[0].Partition == 0
	for _, t := range req.Topics {
		out := kmsg.NewDescribeQuorumResponseTopic()
		out.Topic = t.Topic
		for _, p := range t.Partitions {
			r := kmsg.NewDescribeQuorumResponseTopicPartition()
			r.Partition = p.Partition
			if c.version >= 2 {
				r.ErrorMessage = kmsg.StringPtr("")
			}
			if !known {
				r.ErrorCode = codeUnknownTopicOrPartition
				if c.version >= 2 {
					r.ErrorMessage = kmsg.StringPtr(standardTexts[codeUnknownTopicOrPartition])
				}
			} else {
				if err := s.describeQuorum(c.ctx, &r); err != nil {
					r.ErrorCode = errorCode(err, c.key, c.version)
				}
			}
			out.Partitions = append(out.Partitions, r)
		}
		resp.Topics = append(resp.Topics, out)
	}
	if b := s.server.brokerByID(s.server.controller()); known && b != nil && c.version >= 2 {
		n := kmsg.NewDescribeQuorumResponseNode()
		n.NodeID = b.id
		for _, l := range b.listeners {
			at := kmsg.NewDescribeQuorumResponseNodeListener()
			at.Name, at.Host, at.Port = l.name, l.host, uint16(l.port)
			n.Listeners = append(n.Listeners, at)
		}
		resp.Nodes = append(resp.Nodes, n)
	}
	return resp, nil
}

func (s *session) describeQuorum(ctx context.Context, r *kmsg.DescribeQuorumResponseTopicPartition) error {
	if s.server.node != nil {
		return s.server.node.describeQuorum(ctx, r)
	}
	now := s.server.clock.Now().UnixMilli()
	end := s.server.store.Stats().JournalAppends
	r.LeaderID, r.LeaderEpoch, r.HighWatermark = s.server.controller(), int32(s.server.store.Incarnation()), end
	v := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
	v.ReplicaID, v.LogEndOffset, v.LastFetchTimestamp, v.LastCaughtUpTimestamp = r.LeaderID, end, now, now
	r.CurrentVoters = append(r.CurrentVoters, v)
	for _, b := range s.server.alive() { // that follow it
		if b.id == r.LeaderID {
			continue
		}
		o := v
		o.ReplicaID, o.ReplicaDirectoryID = b.id, partition.TopicID{}
		r.Observers = append(r.Observers, o)
	}
	return nil
}
