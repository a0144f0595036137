package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// remoteCoordinators are the coordinators of a cluster's groups: group.Coordinators over the wire.
type remoteCoordinators struct{ *Cluster }

var _ group.Coordinators = (*remoteCoordinators)(nil)

// Close does nothing: the coordinators are the brokers'.
func (r *remoteCoordinators) Close() error { return nil }

// Find returns the coordinator of a group. Which broker it is, is looked up with each request, and again when it has moved.
func (r *remoteCoordinators) Find(ctx context.Context, _ string) (group.Coordinator, error) {
	if err := r.alive(ctx); err != nil {
		return nil, err
	}
	return &remoteCoordinator{r.Cluster}, nil
}

// Configure changes the settings of one group of the new protocol (the resource GROUP). Unlike a store's, they are kept.
func (r *remoteCoordinators) Configure(id string, o group.ConsumerGroupOverrides) error {
	changes := make(map[string]string)
	for key, d := range map[string]time.Duration{
		"consumer.session.timeout.ms": o.SessionTimeout, "consumer.heartbeat.interval.ms": o.HeartbeatInterval, "consumer.assignment.interval.ms": o.AssignmentInterval,
	} {
		changes[key] = ""
		if d != 0 {
			changes[key] = fmt.Sprint(d.Milliseconds())
		}
	}
	if o.AssignmentInterval == 0 {
		delete(changes, "consumer.assignment.interval.ms") // from Kafka 4.2 on
	}
	if err := r.alterConfig(r.life, kmsg.ConfigResourceTypeGroupConfig, id, changes); err != nil {
		return fmt.Errorf("configure group %q: %w", id, err)
	}
	return nil
}

// Stats returns nothing: what a coordinator counts is in its broker's metrics.
func (r *remoteCoordinators) Stats() group.Stats { return group.Stats{} }

// remoteCoordinator speaks for the coordinators of all groups.
type remoteCoordinator struct{ *Cluster }

var _ group.Coordinator = (*remoteCoordinator)(nil)

// defaultSession is Kafka's session.timeout.ms.
const defaultSession = 45 * time.Second

// Join implements group.Coordinator. It goes on while the coordinator cannot be reached, until ctx ends.
func (r *remoteCoordinator) Join(ctx context.Context, j group.JoinRequest) (group.JoinResult, error) {
	result, err := r.join(ctx, j)
	if err != nil {
		return result, fmt.Errorf("join group %q: %w", j.Group, err)
	}
	return result, nil
}

func (r *remoteCoordinator) join(ctx context.Context, j group.JoinRequest) (group.JoinResult, error) {
	session := j.SessionTimeout
	if session == 0 {
		session = defaultSession
	}
	rebalance := j.RebalanceTimeout
	if rebalance == 0 {
		rebalance = session
	}
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.InstanceID, req.ProtocolType = j.Group, j.MemberID, optional(j.InstanceID), j.ProtocolType
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis, req.Reason = milliseconds32(session), milliseconds32(rebalance), optional(j.Reason)
	for _, p := range j.Protocols {
		protocol := kmsg.NewJoinGroupRequestProtocol()
		protocol.Name, protocol.Metadata = p.Name, p.Metadata
		req.Protocols = append(req.Protocols, protocol)
	}
	resp, err := patient[*kmsg.JoinGroupResponse](ctx, r.Cluster, req, func(resp *kmsg.JoinGroupResponse) int16 { return resp.ErrorCode })
	if err != nil {
		if errors.Is(err, group.ErrMemberIDRequired) {
			return group.JoinResult{Membership: group.Membership{Group: j.Group, MemberID: resp.MemberID, Generation: group.NoGeneration, InstanceID: j.InstanceID}}, err
		}
		return group.JoinResult{}, err
	}
	result := group.JoinResult{
		Membership:   group.Membership{Group: j.Group, MemberID: resp.MemberID, Generation: group.Generation(resp.Generation), InstanceID: j.InstanceID},
		ProtocolType: j.ProtocolType, Protocol: text(resp.Protocol), LeaderID: resp.LeaderID, SkipAssignment: resp.SkipAssignment,
		HeartbeatInterval: max(min(r.config.HeartbeatInterval, session/3), time.Millisecond),
	}
	for _, m := range resp.Members {
		result.Members = append(result.Members, group.MemberMetadata{MemberID: m.MemberID, InstanceID: text(m.InstanceID), Metadata: m.ProtocolMetadata})
	}
	return result, nil
}

// patient makes a request that waits for other members, on a connection of its own, again while the coordinator is not there.
func patient[R kmsg.Response](ctx context.Context, c *Cluster, req kmsg.Request, code func(R) int16) (R, error) {
	for attempt := 1; ; attempt++ {
		client, err := c.lanes.take()
		if err != nil {
			var none R
			return none, err
		}
		resp, err := requestBy[R](ctx, c, client, req)
		c.lanes.give(client, err == nil)
		if err == nil {
			err = brokerError(kmsg.NameForKey(req.Key()), code(resp), nil)
		}
		if !absent(err) {
			return resp, err
		}
		if err := c.pause(ctx, retryPause(attempt)); err != nil {
			return resp, err
		}
	}
}

// absent reports whether an error means that a coordinator cannot be reached just now.
func absent(err error) bool {
	_, unreachable := errors.AsType[*UnreachableError](err)
	return unreachable || errors.Is(err, group.ErrCoordinatorNotAvailable)
}

// Sync implements group.Coordinator.
func (r *remoteCoordinator) Sync(ctx context.Context, s group.SyncRequest) (group.SyncResult, error) {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.Generation, req.MemberID, req.InstanceID = s.Group, int32(s.Generation), s.MemberID, optional(s.InstanceID)
	req.ProtocolType, req.Protocol = optional(s.ProtocolType), optional(s.Protocol)
	for id, bytes := range s.Assignments {
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = id, bytes
		req.GroupAssignment = append(req.GroupAssignment, a)
	}
	resp, err := patient[*kmsg.SyncGroupResponse](ctx, r.Cluster, req, func(resp *kmsg.SyncGroupResponse) int16 { return resp.ErrorCode })
	if err != nil {
		return group.SyncResult{}, fmt.Errorf("sync group %q: %w", s.Group, err)
	}
	result := group.SyncResult{ProtocolType: s.ProtocolType, Protocol: s.Protocol, Assignment: resp.MemberAssignment}
	if resp.ProtocolType != nil && resp.Protocol != nil {
		result.ProtocolType, result.Protocol = *resp.ProtocolType, *resp.Protocol
	}
	return result, nil
}

// Heartbeat implements group.Coordinator. That the coordinator cannot be reached is partition.Retriable.
func (r *remoteCoordinator) Heartbeat(ctx context.Context, m group.Membership) error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.Generation, req.MemberID, req.InstanceID = m.Group, int32(m.Generation), m.MemberID, optional(m.InstanceID)
	resp, err := request[*kmsg.HeartbeatResponse](ctx, r.Cluster, req)
	if err == nil {
		err = brokerError("Heartbeat", resp.ErrorCode, nil)
	}
	if err != nil {
		return fmt.Errorf("heartbeat in group %q: %w", m.Group, err)
	}
	return nil
}

// Leave implements group.Coordinator. Members that mean to come back say nothing at all.
func (r *remoteCoordinator) Leave(ctx context.Context, id string, members ...group.LeavingMember) error {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = id
	var places []int
	for i, m := range members {
		if m.Temporary && m.InstanceID != "" {
			continue
		}
		leaving := kmsg.NewLeaveGroupRequestMember()
		leaving.MemberID, leaving.InstanceID, leaving.Reason = m.MemberID, optional(m.InstanceID), optional(m.Reason)
		req.Members = append(req.Members, leaving)
		req.MemberID = m.MemberID // versions before 3 have one
		places = append(places, i)
	}
	if len(places) == 0 {
		return nil
	}
	resp, err := request[*kmsg.LeaveGroupResponse](ctx, r.Cluster, req)
	if err == nil {
		err = brokerError("LeaveGroup", resp.ErrorCode, nil)
	}
	if err != nil {
		return fmt.Errorf("leave group %q: %w", id, err)
	}
	failed := &group.LeaveError{Members: make([]error, len(members))}
	some := false
	for i, m := range resp.Members {
		if i < len(places) {
			failed.Members[places[i]] = brokerError("LeaveGroup", m.ErrorCode, nil)
			some = some || m.ErrorCode != codeNone
		}
	}
	if some {
		return fmt.Errorf("leave group %q: %w", id, failed)
	}
	return nil
}

// optional is a nullable string, null for the empty one.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// milliseconds32 is a duration as the protocol has it, bounded.
func milliseconds32(d time.Duration) int32 {
	return int32(min(d.Milliseconds(), int64(1<<31-1)))
}

// partitionsByTopic groups partitions for a request.
func partitionsByTopic(tps []partition.TopicPartition) (names []string, partitions map[string][]int32) {
	partitions = make(map[string][]int32)
	for _, tp := range tps {
		if partitions[tp.Topic] == nil {
			names = append(names, tp.Topic)
		}
		partitions[tp.Topic] = append(partitions[tp.Topic], tp.Partition)
	}
	return names, partitions
}
