package kafka

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/group"
)

// handleHeartbeat keeps a member's session alive, and tells it whether its generation still is (Heartbeat).
func handleHeartbeat(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.HeartbeatRequest)
	resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
	switch {
	case !s.authorize(opRead, resourceGroup, req.Group):
		resp.ErrorCode = codeGroupAuthorizationFailed
		return resp, nil
	case req.Group == "":
		resp.ErrorCode = codeInvalidGroupID
		return resp, nil
	}
	g, err := s.groupOf(c.ctx, req.Group)
	if err == nil {
		err = g.Heartbeat(c.ctx, membership(req.Group, req.MemberID, req.Generation, req.InstanceID))
	}
	resp.ErrorCode = groupCode(err, c.key, c.version)
	return resp, nil
}

// handleLeaveGroup takes members out of their group (LeaveGroup): one before version 3, several from then on (KIP-345).
func handleLeaveGroup(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.LeaveGroupRequest)
	resp := req.ResponseKind().(*kmsg.LeaveGroupResponse)
	switch {
	case !s.authorize(opRead, resourceGroup, req.Group):
		resp.ErrorCode = codeGroupAuthorizationFailed
		return resp, nil
	case req.Group == "":
		resp.ErrorCode = codeInvalidGroupID
		return resp, nil
	}
	leaving := []group.LeavingMember{{MemberID: req.MemberID}}
	if c.version >= 3 {
		leaving = leaving[:0]
		for _, m := range req.Members {
			leaving = append(leaving, group.LeavingMember{MemberID: m.MemberID, InstanceID: stringOf(m.InstanceID), Reason: stringOf(m.Reason)})
		}
	}
	g, err := s.groupOf(c.ctx, req.Group)
	if err == nil {
		err = g.Leave(c.ctx, req.Group, leaving...)
	}
	var some *group.LeaveError
	if err != nil && !errors.As(err, &some) {
		resp.ErrorCode = groupCode(err, c.key, c.version)
		return resp, nil
	}
	of := func(i int) error {
		if some == nil {
			return nil
		}
		return some.Members[i]
	}
	if c.version < 3 {
		resp.ErrorCode = errorCode(of(0), c.key, c.version)
		return resp, nil
	}
	for i, m := range req.Members {
		member := kmsg.NewLeaveGroupResponseMember()
		member.MemberID, member.InstanceID, member.ErrorCode = m.MemberID, m.InstanceID, errorCode(of(i), c.key, c.version)
		resp.Members = append(resp.Members, member)
	}
	return resp, nil
}
