package kafka

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// handleDescribeTopicPartitions describes topics in pages (KIP-966): by name, the names that fit none first, from the cursor on.
func handleDescribeTopicPartitions(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.DescribeTopicPartitionsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeTopicPartitionsResponse)
	var names []string
	all := len(req.Topics) == 0
	for _, t := range req.Topics {
		names = append(names, t.Topic)
	}
	if all {
		names = s.server.store.TopicNames()
	}
	slices.Sort(names)
	names = slices.Compact(names)
	from := int32(0)
	if cur := req.Cursor; cur != nil {
		bad := cur.Partition < 0
		if !all && !slices.Contains(names, cur.Topic) {
			bad = true
		}
		if bad {
			for _, name := range names {
				resp.Topics = append(resp.Topics, describedTopic(name, codeInvalidRequest))
			}
			return resp, nil
		}
		from = cur.Partition
		names = slices.DeleteFunc(names, func(n string) bool { return strings.Compare(n, cur.Topic) < 0 })
		if len(names) == 0 || names[0] != cur.Topic {
			from = 0 // the topic has been deleted meanwhile
		}
	}
	left := min(max(req.ResponsePartitionLimit, 1), s.settings().maxRequestPartitions)
	var failed []kmsg.DescribeTopicPartitionsResponseTopic
	for _, name := range names {
		if !s.authorize(opDescribe, resourceTopic, name) {
			if !all {
				failed = append(failed, describedTopic(name, codeTopicAuthorizationFailed))
			}
			continue
		}
		if left == 0 {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name}
			break
		}
		out, next := s.describePartitions(name, from, &left)
		from = 0
		if out.ErrorCode != codeNone {
			failed = append(failed, out)
			continue
		}
		resp.Topics = append(resp.Topics, out)
		if next >= 0 {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name, Partition: next}
			break
		}
	}
	resp.Topics = append(failed, resp.Topics...)
	return resp, nil
}

func describedTopic(name string, code int16) kmsg.DescribeTopicPartitionsResponseTopic {
	t := kmsg.NewDescribeTopicPartitionsResponseTopic()
	t.Topic, t.ErrorCode = &name, code
	return t
}

// describePartitions describes at most left partitions of a topic, and returns where to go on, −1 at its end.
func (s *session) describePartitions(name string, from int32, left *int32) (kmsg.DescribeTopicPartitionsResponseTopic, int32) {
	t, err := s.server.store.FindTopic(name, partition.TopicID{})
	if err != nil || name == "" {
		code := codeUnknownTopicOrPartition
		if checkTopicName(name) != nil {
			code = codeInvalidTopic
		}
		out := describedTopic(name, code)
		out.AuthorizedOperations = s.authorizedOperations(resourceTopic, name)
		return out, -1
	}
	out := describedTopic(name, codeNone)
	out.TopicID, out.IsInternal = t.ID(), t.Info().Internal
	out.AuthorizedOperations = s.authorizedOperations(resourceTopic, name)
	next := s.describePlaced(&out, &t, s.server.layout.of(&t), from, left)
	return out, next
}

// describePlaced describes the partitions that have a place, and returns where to go on: of a topic that has grown meanwhile these
// may be fewer than there are now, and the rest is for who asks again.
func (s *session) describePlaced(out *kmsg.DescribeTopicPartitionsResponseTopic, t *partition.Topic, places *placement, from int32, left *int32) int32 {
	for i := from; int(i) < len(places.partitions); i++ {
		if *left == 0 {
			return i
		}
		*left--
		at := places.partitions[i]
		p := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
		p.Partition, p.LeaderEpoch = i, s.server.leaderEpoch(t, i, at)
		p.Replicas, p.ISR, p.OfflineReplicas = at.replicas, at.isr, s.server.offline(at.replicas, s.listener.name)
		p.ErrorCode, p.LeaderID = s.server.availability(at, s.listener.name, true)
		p.EligibleLeaderReplicas, p.LastKnownELR = append([]int32{}, at.elr...), append([]int32{}, at.lastKnownELR...)
		out.Partitions = append(out.Partitions, p)
	}
	return -1
}
