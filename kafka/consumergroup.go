package kafka

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// handleConsumerGroupHeartbeat is all that a member of the new protocol says, and all that it is told (KIP-848).
func handleConsumerGroupHeartbeat(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.ConsumerGroupHeartbeatRequest)
	resp := req.ResponseKind().(*kmsg.ConsumerGroupHeartbeatResponse)
	fail := func(code int16, message string) (kmsg.Response, error) {
		resp.ErrorCode, resp.ErrorMessage = code, nullable(message)
		return resp, nil
	}
	if !s.consumerProtocol() {
		return fail(codeUnsupportedVersion, "The group coordinator is not configured for the consumer group protocol.")
	}
	if !s.authorize(opRead, resourceGroup, req.Group) {
		return fail(codeGroupAuthorizationFailed, "")
	}
	for _, t := range req.SubscribedTopicNames {
		if !s.authorize(opDescribe, resourceTopic, t) {
			return fail(codeTopicAuthorizationFailed, "")
		}
	}
	if what := invalidHeartbeat(req); what != "" {
		return fail(codeInvalidRequest, what)
	}
	r := consumerHeartbeat(req)
	r.ClientID, r.ClientHost = c.clientID, s.clientHost()
	if s.secured() {
		r.Describable = func(topic string) bool { return s.authorize(opDescribe, resourceTopic, topic) }
	}
	g, err := s.groupOf(c.ctx, req.Group)
	var result group.ConsumerHeartbeatResult
	if err == nil {
		result, err = g.ConsumerGroupHeartbeat(c.ctx, r)
	}
	if err != nil {
		return fail(groupCode(err, c.key, c.version), s.heartbeatRefused(req, err))
	}
	resp.MemberID, resp.MemberEpoch = &result.MemberID, int32(result.MemberEpoch)
	resp.HeartbeatIntervalMillis = int32(result.HeartbeatInterval / time.Millisecond)
	if result.Assignment != nil {
		a := kmsg.NewConsumerGroupHeartbeatResponseAssignment()
		for _, t := range result.Assignment {
			one := kmsg.NewConsumerGroupHeartbeatResponseAssignmentTopic()
			one.TopicID, one.Partitions = t.TopicID, t.Partitions
			a.Topics = append(a.Topics, one)
		}
		resp.Assignment = &a
	}
	return resp, nil
}

// heartbeatRefused is what the answer says beside the code, in Apache Kafka's words where they are known.
func (s *session) heartbeatRefused(req *kmsg.ConsumerGroupHeartbeatRequest, err error) string {
	switch {
	case errors.Is(err, group.ErrGroupIDNotFound) && req.MemberEpoch > 0:
		return fmt.Sprintf("Consumer group %s not found.", req.Group)
	case errors.Is(err, group.ErrGroupIDNotFound):
		return fmt.Sprintf("Group %s not found.", req.Group)
	case errors.Is(err, group.ErrUnknownMemberID):
		return fmt.Sprintf("Member %s is not a member of group %s.", req.MemberID, req.Group)
	case errors.Is(err, group.ErrUnsupportedAssignor):
		names := splitList(propertyReader(s.settings().properties).text("group.consumer.assignors"))
		return fmt.Sprintf("ServerAssignor %s is not supported. Supported assignors: %s.", stringOf(req.ServerAssignor), strings.Join(names, ", "))
	}
	if bad, ok := errors.AsType[*syntax.Error](err); ok {
		return fmt.Sprintf("SubscribedTopicRegex `%s` is not a valid regular expression: %s.", stringOf(req.SubscribedTopicRegex), bad.Code)
	}
	return err.Error()
}

// consumerProtocol reports whether groups of the new protocol are served (group.coordinator.rebalance.protocols, and the
// feature group.version).
func (s *session) consumerProtocol() bool {
	if s.server.featureLevel("group.version") < 1 {
		return false
	}
	names := s.settings().groupProtocols
	return len(names) == 0 || slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, "consumer") })
}

// invalidHeartbeat says, in Apache Kafka's words, why a request is no heartbeat; the coordinator looks for the rest.
func invalidHeartbeat(r *kmsg.ConsumerGroupHeartbeatRequest) string {
	empty := func(s *string) bool { return s != nil && strings.TrimSpace(*s) == "" }
	joins := r.MemberEpoch == int32(group.JoinGroupEpoch)
	switch {
	case empty(&r.Group):
		return "GroupId can't be empty."
	case empty(r.InstanceID):
		return "InstanceId can't be empty."
	case empty(r.RackID):
		return "RackId can't be empty."
	case empty(&r.MemberID) && (r.Version >= 1 || !joins):
		return "MemberId can't be empty."
	case joins && r.RebalanceTimeoutMillis == -1:
		return "RebalanceTimeoutMs must be provided in first request."
	case joins && (r.Topics == nil || len(r.Topics) > 0):
		return "TopicPartitions must be empty when (re-)joining."
	case joins && r.SubscribedTopicNames == nil && r.SubscribedTopicRegex == nil:
		return "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining."
	case r.MemberEpoch == int32(group.LeaveGroupStaticEpoch) && r.InstanceID == nil:
		return "InstanceId can't be null."
	case r.MemberEpoch < int32(group.LeaveGroupStaticEpoch):
		return "MemberEpoch is invalid."
	}
	return ""
}

func consumerHeartbeat(req *kmsg.ConsumerGroupHeartbeatRequest) group.ConsumerHeartbeatRequest {
	r := group.ConsumerHeartbeatRequest{
		Group: req.Group, MemberID: req.MemberID, MemberEpoch: group.MemberEpoch(req.MemberEpoch),
		InstanceID: stringOf(req.InstanceID), RackID: stringOf(req.RackID), RebalanceTimeout: millis(req.RebalanceTimeoutMillis),
		Topics: req.SubscribedTopicNames, Regex: req.SubscribedTopicRegex, Assignor: stringOf(req.ServerAssignor),
	}
	if req.Topics != nil {
		r.Owned = make([]group.TopicIDPartitions, len(req.Topics))
		for i, t := range req.Topics {
			r.Owned[i] = group.TopicIDPartitions{TopicID: t.TopicID, Partitions: t.Partitions}
		}
	}
	return r
}

// handleConsumerGroupDescribe describes groups of the new protocol (ConsumerGroupDescribe). A group with a topic that the
// principal may not describe is refused whole.
func handleConsumerGroupDescribe(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.ConsumerGroupDescribeRequest)
	resp := req.ResponseKind().(*kmsg.ConsumerGroupDescribeResponse)
	if !s.consumerProtocol() {
		for _, id := range req.Groups {
			one := kmsg.NewConsumerGroupDescribeResponseGroup()
			one.Group, one.ErrorCode = id, codeUnsupportedVersion
			resp.Groups = append(resp.Groups, one)
		}
		return resp, nil
	}
	allowed, denied := authorized(s, opDescribe, resourceGroup, req.Groups, func(id string) string { return id })
	for _, id := range denied {
		one := kmsg.NewConsumerGroupDescribeResponseGroup()
		one.Group, one.ErrorCode = id, codeGroupAuthorizationFailed
		resp.Groups = append(resp.Groups, one)
	}
	for _, id := range allowed {
		one := s.describeConsumerGroup(c, id)
		if req.IncludeAuthorizedOperations && one.ErrorCode == codeNone {
			one.AuthorizedOperations = s.authorizedOperations(resourceGroup, id)
		}
		resp.Groups = append(resp.Groups, one)
	}
	return resp, nil
}

func (s *session) describeConsumerGroup(c *call, id string) kmsg.ConsumerGroupDescribeResponseGroup {
	one := kmsg.NewConsumerGroupDescribeResponseGroup()
	one.Group = id
	if id == "" {
		one.ErrorCode = codeInvalidGroupID
		return one
	}
	g, err := s.groupOf(c.ctx, id)
	var d group.ConsumerGroupDescription
	if err == nil {
		d, err = g.ConsumerGroupDescribe(c.ctx, id)
	}
	if err != nil {
		one.ErrorCode = groupCode(err, c.key, c.version)
		if one.ErrorCode == codeGroupIDNotFound {
			message := fmt.Sprintf("Group %s not found.", id)
			if classic, cerr := g.Describe(c.ctx, id); cerr == nil && classic.State != group.Dead {
				message = fmt.Sprintf("Group %s is not a consumer group.", id)
			}
			one.ErrorMessage = &message
		}
		return one
	}
	one.State, one.Epoch, one.AssignmentEpoch, one.AssignorName = d.State.String(), int32(d.Epoch), int32(d.AssignmentEpoch), d.Assignor
	names := s.topicNames()
	for i := range d.Members {
		m := &d.Members[i]
		member := kmsg.NewConsumerGroupDescribeResponseGroupMember()
		member.MemberID, member.InstanceID, member.RackID = m.MemberID, nullable(m.InstanceID), nullable(m.RackID)
		member.MemberEpoch, member.ClientID, member.ClientHost = int32(m.Epoch), m.ClientID, m.ClientHost
		member.SubscribedTopics, member.SubscribedTopicRegex = m.Topics, &m.Regex
		member.Assignment.TopicPartitions = names.assignment(m.Assignment)
		member.TargetAssignment.TopicPartitions = names.assignment(m.Target)
		member.MemberType = 1
		if m.Classic {
			member.MemberType = 0
		}
		one.Members = append(one.Members, member)
	}
	for name := range names.seen {
		if !s.authorize(opDescribe, resourceTopic, name) {
			one = kmsg.NewConsumerGroupDescribeResponseGroup()
			message := "The group has described topic(s) that the client is not authorized to describe."
			one.Group, one.ErrorCode, one.ErrorMessage = id, codeTopicAuthorizationFailed, &message
			break
		}
	}
	return one
}

// topicNames finds the names of topic ids, and remembers them.
type topicNames struct {
	store *partition.Store
	seen  map[string]bool
}

func (s *session) topicNames() *topicNames {
	return &topicNames{store: s.server.store, seen: make(map[string]bool)}
}

// assignment converts partitions by topic id; of topics that are gone nothing is left.
func (n *topicNames) assignment(topics []group.TopicIDPartitions) []kmsg.AssignmentTopicPartition {
	out := make([]kmsg.AssignmentTopicPartition, 0, len(topics))
	for _, t := range topics {
		topic, err := n.store.TopicByID(t.TopicID)
		if err != nil {
			continue
		}
		n.seen[topic.Name()] = true
		one := kmsg.NewAssignmentTopicPartition()
		one.TopicID, one.Topic, one.Partitions = t.TopicID, topic.Name(), t.Partitions
		out = append(out, one)
	}
	return out
}
