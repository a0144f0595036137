package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// groupStates are the states of groups by Kafka's names.
var groupStates = func() map[string]group.State {
	states := make(map[string]group.State)
	for s := group.Empty; s <= group.Reconciling; s++ {
		states[s.String()] = s
	}
	return states
}()

// Describe implements group.Coordinator.
func (r *remoteCoordinator) Describe(ctx context.Context, id string) (group.Description, error) {
	d, err := r.describeGroup(ctx, id)
	if err != nil {
		return group.Description{}, fmt.Errorf("describe group %q: %w", id, err)
	}
	return d, nil
}

func (r *remoteCoordinator) describeGroup(ctx context.Context, id string) (group.Description, error) {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{id}
	resp, err := request[*kmsg.DescribeGroupsResponse](ctx, r.Cluster, req)
	if err != nil {
		return group.Description{}, err
	}
	if len(resp.Groups) != 1 {
		return group.Description{}, brokerError("DescribeGroups", codeUnknownServerError, kmsg.StringPtr("another number of groups than one"))
	}
	g := &resp.Groups[0]
	err = brokerError("DescribeGroups", g.ErrorCode, g.ErrorMessage)
	if errors.Is(err, group.ErrGroupIDNotFound) || err == nil && g.State == group.Dead.String() {
		return r.describeConsumerGroup(ctx, id)
	}
	if err != nil {
		return group.Description{}, err
	}
	d := group.Description{Group: id, State: groupStates[g.State], ProtocolType: g.ProtocolType, Protocol: g.Protocol, Generation: group.NoGeneration}
	for _, m := range g.Members {
		d.Members = append(d.Members, group.MemberDescription{
			MemberID: m.MemberID, InstanceID: text(m.InstanceID), ClientID: m.ClientID, ClientHost: m.ClientHost, Metadata: m.ProtocolMetadata, Assignment: m.MemberAssignment,
		})
	}
	d.Offsets, err = r.offsets(ctx, group.OffsetsRequest{Group: id})
	return d, err
}

// describeConsumerGroup describes a group of the new protocol in the words of the old one, Dead if there is none.
func (r *remoteCoordinator) describeConsumerGroup(ctx context.Context, id string) (group.Description, error) {
	c, err := r.ConsumerGroupDescribe(ctx, id)
	switch {
	case errors.Is(err, group.ErrGroupIDNotFound), errors.Is(err, partition.ErrUnsupported):
		return group.Description{Group: id, State: group.Dead}, nil
	case err != nil:
		return group.Description{}, err
	}
	d := group.Description{Group: id, State: c.State, ProtocolType: group.ProtocolTypeConsumer, Protocol: c.Assignor, Generation: group.Generation(c.Epoch)}
	for _, m := range c.Members {
		s, a := group.Subscription{Topics: m.Topics, Generation: group.Generation(m.Epoch), RackID: m.RackID}, group.Assignment{}
		for _, t := range m.Assignment {
			name := r.named(t.TopicID)
			for _, i := range t.Partitions {
				a.Partitions = append(a.Partitions, partition.TopicPartition{Topic: name, Partition: i})
			}
		}
		d.Members = append(d.Members, group.MemberDescription{
			MemberID: m.MemberID, InstanceID: m.InstanceID, ClientID: m.ClientID, ClientHost: m.ClientHost, Metadata: s.Append(nil), Assignment: a.Append(nil),
		})
	}
	d.Offsets, err = r.offsets(ctx, group.OffsetsRequest{Group: id})
	return d, err
}

// ListGroups implements group.Coordinator: the groups of all coordinators.
func (r *remoteCoordinator) ListGroups(ctx context.Context, q group.ListGroupsRequest) ([]group.Listing, error) {
	req := kmsg.NewPtrListGroupsRequest()
	for _, s := range q.States {
		req.StatesFilter = append(req.StatesFilter, s.String())
	}
	for _, t := range q.Types {
		req.TypesFilter = append(req.TypesFilter, string(t))
	}
	resp, err := request[*kmsg.ListGroupsResponse](ctx, r.Cluster, req)
	if err == nil {
		err = brokerError("ListGroups", resp.ErrorCode, nil)
	}
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	var out []group.Listing
	for _, g := range resp.Groups {
		out = append(out, group.Listing{Group: g.Group, State: groupStates[g.GroupState], Type: group.GroupType(cmp.Or(g.GroupType, string(group.ClassicGroup))), ProtocolType: g.ProtocolType})
	}
	slices.SortFunc(out, func(a, b group.Listing) int { return cmp.Compare(a.Group, b.Group) })
	return out, nil
}

// DeleteGroups implements group.Coordinator.
func (r *remoteCoordinator) DeleteGroups(ctx context.Context, groups ...string) error {
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = groups
	resp, err := request[*kmsg.DeleteGroupsResponse](ctx, r.Cluster, req)
	if err != nil {
		return fmt.Errorf("delete groups: %w", err)
	}
	failed := make(map[string]error)
	for _, g := range resp.Groups {
		if err := brokerError("DeleteGroups", g.ErrorCode, nil); err != nil {
			failed[g.Group] = err
		}
	}
	if len(failed) > 0 {
		return &group.DeleteGroupsError{Groups: failed}
	}
	return nil
}

// ConsumerGroupHeartbeat implements group.Coordinator.
func (r *remoteCoordinator) ConsumerGroupHeartbeat(ctx context.Context, q group.ConsumerHeartbeatRequest) (group.ConsumerHeartbeatResult, error) {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.MemberEpoch = q.Group, q.MemberID, int32(q.MemberEpoch)
	req.InstanceID, req.RackID, req.ServerAssignor = optional(q.InstanceID), optional(q.RackID), optional(q.Assignor)
	req.SubscribedTopicNames, req.SubscribedTopicRegex = q.Topics, q.Regex
	req.RebalanceTimeoutMillis = -1
	if q.RebalanceTimeout > 0 {
		req.RebalanceTimeoutMillis = milliseconds32(q.RebalanceTimeout)
	}
	if q.Owned != nil {
		req.Topics = make([]kmsg.ConsumerGroupHeartbeatRequestTopic, 0, len(q.Owned))
	}
	for _, o := range q.Owned {
		t := kmsg.NewConsumerGroupHeartbeatRequestTopic()
		t.TopicID, t.Partitions = o.TopicID, o.Partitions
		req.Topics = append(req.Topics, t)
	}
	resp, err := request[*kmsg.ConsumerGroupHeartbeatResponse](ctx, r.Cluster, req)
	for attempt := 1; err == nil && resp.ErrorCode == codeNotCoordinator && attempt <= maxCoordinatorLooks; attempt++ {
		resp, err = r.heartbeatAtCoordinator(ctx, attempt, req)
	}
	if err == nil {
		err = brokerError("ConsumerGroupHeartbeat", resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil {
		return group.ConsumerHeartbeatResult{}, fmt.Errorf("heartbeat in consumer group %q: %w", q.Group, err)
	}
	out := group.ConsumerHeartbeatResult{
		MemberID: cmp.Or(text(resp.MemberID), q.MemberID), MemberEpoch: group.MemberEpoch(resp.MemberEpoch), HeartbeatInterval: time.Duration(resp.HeartbeatIntervalMillis) * time.Millisecond,
	}
	if resp.Assignment != nil {
		out.Assignment = make([]group.TopicIDPartitions, 0, len(resp.Assignment.Topics))
		for _, t := range resp.Assignment.Topics {
			slices.Sort(t.Partitions)
			out.Assignment = append(out.Assignment, group.TopicIDPartitions{TopicID: t.TopicID, Partitions: t.Partitions})
		}
	}
	return out, nil
}

// maxCoordinatorLooks is how often a heartbeat looks for the coordinator that has moved.
const maxCoordinatorLooks = 5

// heartbeatAtCoordinator asks who coordinates, and then that broker: franz-go, which knows coordinators, does not look again when
// this API answers NOT_COORDINATOR.
func (r *remoteCoordinator) heartbeatAtCoordinator(ctx context.Context, attempt int, req *kmsg.ConsumerGroupHeartbeatRequest) (*kmsg.ConsumerGroupHeartbeatResponse, error) {
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKey, find.CoordinatorKeys = req.Group, []string{req.Group}
	found, err := request[*kmsg.FindCoordinatorResponse](ctx, r.Cluster, find)
	if err != nil {
		return nil, err
	}
	node, code := found.NodeID, found.ErrorCode
	if len(found.Coordinators) == 1 {
		node, code = found.Coordinators[0].NodeID, found.Coordinators[0].ErrorCode
	}
	if err := brokerError("FindCoordinator", code, found.ErrorMessage); err != nil {
		return nil, err
	}
	inner, done := r.with(ctx)
	defer done()
	resp, err := r.main.Broker(int(node)).RetriableRequest(inner, req)
	if err != nil {
		return nil, r.failure(ctx, "ConsumerGroupHeartbeat", err)
	}
	answer := resp.(*kmsg.ConsumerGroupHeartbeatResponse)
	if answer.ErrorCode == codeNotCoordinator { // brokers do not know yet, or no more
		if err := r.pause(ctx, retryPause(attempt)); err != nil {
			return nil, err
		}
	}
	return answer, nil
}

// ConsumerGroupDescribe implements group.Coordinator.
func (r *remoteCoordinator) ConsumerGroupDescribe(ctx context.Context, id string) (group.ConsumerGroupDescription, error) {
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Groups = []string{id}
	resp, err := request[*kmsg.ConsumerGroupDescribeResponse](ctx, r.Cluster, req)
	if err == nil && len(resp.Groups) != 1 {
		err = brokerError("ConsumerGroupDescribe", codeUnknownServerError, kmsg.StringPtr("another number of groups than one"))
	}
	if err == nil {
		err = brokerError("ConsumerGroupDescribe", resp.Groups[0].ErrorCode, resp.Groups[0].ErrorMessage)
	}
	if err != nil {
		return group.ConsumerGroupDescription{}, fmt.Errorf("describe consumer group %q: %w", id, err)
	}
	g := &resp.Groups[0]
	out := group.ConsumerGroupDescription{
		Group: id, State: groupStates[g.State], Epoch: group.MemberEpoch(g.Epoch), AssignmentEpoch: group.MemberEpoch(g.AssignmentEpoch), Assignor: g.AssignorName,
	}
	for _, m := range g.Members {
		d := group.ConsumerMemberDescription{
			MemberID: m.MemberID, InstanceID: text(m.InstanceID), RackID: text(m.RackID), ClientID: m.ClientID, ClientHost: m.ClientHost,
			Epoch: group.MemberEpoch(m.MemberEpoch), Topics: m.SubscribedTopics, Regex: text(m.SubscribedTopicRegex),
			Assignment: idPartitions(m.Assignment), Target: idPartitions(m.TargetAssignment), Classic: m.MemberType == 0,
		}
		switch {
		case m.MemberEpoch < g.AssignmentEpoch:
			d.State = group.MemberUnrevokedPartitions
		case !slices.EqualFunc(d.Assignment, d.Target, func(a, b group.TopicIDPartitions) bool {
			return a.TopicID == b.TopicID && slices.Equal(a.Partitions, b.Partitions)
		}):
			d.State = group.MemberUnreleasedPartitions
		}
		out.Members = append(out.Members, d)
	}
	slices.SortFunc(out.Members, func(a, b group.ConsumerMemberDescription) int { return cmp.Compare(a.MemberID, b.MemberID) })
	return out, nil
}

// idPartitions are the partitions of a described assignment, by topic id.
func idPartitions(a kmsg.Assignment) []group.TopicIDPartitions {
	var out []group.TopicIDPartitions
	for _, t := range a.TopicPartitions {
		slices.Sort(t.Partitions)
		out = append(out, group.TopicIDPartitions{TopicID: t.TopicID, Partitions: t.Partitions})
	}
	slices.SortFunc(out, func(a, b group.TopicIDPartitions) int { return slices.Compare(a.TopicID[:], b.TopicID[:]) })
	return out
}
