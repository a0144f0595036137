package kafka

import (
	"bytes"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/group"
)

// handleJoinGroup is a member's entry into the next generation of its group (JoinGroup). It waits for the others, on the
// connection's goroutine.
func handleJoinGroup(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.JoinGroupRequest)
	resp := req.ResponseKind().(*kmsg.JoinGroupResponse)
	resp.Generation = -1
	switch {
	case !s.authorize(opRead, resourceGroup, req.Group):
		resp.ErrorCode = codeGroupAuthorizationFailed
		return resp, nil
	case req.Group == "":
		resp.ErrorCode, resp.MemberID = codeInvalidGroupID, req.MemberID
		return resp, nil
	}
	r := joinRequest(req)
	r.ClientID, r.ClientHost = c.clientID, s.clientHost()
	s.letGo()
	var joined group.JoinResult
	g, err := s.groupOf(c.ctx, req.Group)
	if err == nil {
		since := s.elapsed()
		joined, err = g.Join(c.ctx, r)
		s.waited(s.elapsed() - since)
	}
	if err != nil {
		resp.ErrorCode = groupCode(err, c.key, c.version)
		switch {
		case errors.Is(err, group.ErrMemberIDRequired):
			resp.MemberID = joined.MemberID
		case errors.Is(err, group.ErrUnknownMemberID), errors.Is(err, group.ErrFencedInstanceID),
			errors.Is(err, group.ErrInconsistentGroupProtocol), errors.Is(err, group.ErrInvalidSessionTimeout):
			resp.MemberID = req.MemberID
		}
		return resp, nil
	}
	resp.Generation, resp.MemberID, resp.LeaderID = int32(joined.Generation), joined.MemberID, joined.LeaderID
	resp.ProtocolType, resp.Protocol = &joined.ProtocolType, &joined.Protocol
	if joined.SkipAssignment && c.version < 9 {
		// It could not be told to skip the assignment, so it must not take itself for the leader (KIP-814).
		resp.LeaderID = ""
		return resp, nil
	}
	resp.SkipAssignment = joined.SkipAssignment
	for _, m := range joined.Members {
		member := kmsg.NewJoinGroupResponseMember()
		member.MemberID, member.InstanceID, member.ProtocolMetadata = m.MemberID, nullable(m.InstanceID), m.Metadata
		resp.Members = append(resp.Members, member)
	}
	return resp, nil
}

// joinRequest is a JoinGroup request as the coordinator takes it. The coordinator keeps what it gets, so bytes are copied.
func joinRequest(req *kmsg.JoinGroupRequest) group.JoinRequest {
	r := group.JoinRequest{
		Group: req.Group, MemberID: req.MemberID, InstanceID: stringOf(req.InstanceID), ProtocolType: req.ProtocolType,
		SessionTimeout: millis(req.SessionTimeoutMillis), RebalanceTimeout: millis(req.RebalanceTimeoutMillis),
		// Older clients do not know the answer, and would take it for a failure (KIP-394).
		RequireKnownMemberID: req.Version >= 4,
		Reason:               stringOf(req.Reason),
	}
	if req.Version == 0 {
		r.RebalanceTimeout = 0 // the session timeout
	}
	for _, p := range req.Protocols {
		r.Protocols = append(r.Protocols, group.Protocol{Name: p.Name, Metadata: bytes.Clone(p.Metadata)})
	}
	return r
}

// handleSyncGroup hands in the leader's assignment, and waits for the member's part of it (SyncGroup).
func handleSyncGroup(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.SyncGroupRequest)
	resp := req.ResponseKind().(*kmsg.SyncGroupResponse)
	switch {
	case c.version >= 5 && (req.ProtocolType == nil || req.Protocol == nil):
		resp.ErrorCode = codeInconsistentGroupProtocol // mandatory since KIP-559
	case !s.authorize(opRead, resourceGroup, req.Group):
		resp.ErrorCode = codeGroupAuthorizationFailed
	case req.Group == "":
		resp.ErrorCode = codeInvalidGroupID
	}
	if resp.ErrorCode != codeNone {
		return resp, nil
	}
	r := group.SyncRequest{
		Membership:   membership(req.Group, req.MemberID, req.Generation, req.InstanceID),
		ProtocolType: stringOf(req.ProtocolType), Protocol: stringOf(req.Protocol),
	}
	if len(req.GroupAssignment) > 0 {
		r.Assignments = make(map[string][]byte, len(req.GroupAssignment))
		for _, a := range req.GroupAssignment {
			r.Assignments[a.MemberID] = bytes.Clone(a.MemberAssignment)
		}
	}
	s.letGo()
	var synced group.SyncResult
	g, err := s.groupOf(c.ctx, req.Group)
	if err == nil {
		since := s.elapsed()
		synced, err = g.Sync(c.ctx, r)
		s.waited(s.elapsed() - since)
	}
	if err != nil {
		resp.ErrorCode = groupCode(err, c.key, c.version)
		return resp, nil
	}
	resp.ProtocolType, resp.Protocol, resp.MemberAssignment = &synced.ProtocolType, &synced.Protocol, synced.Assignment
	return resp, nil
}

func membership(id, member string, generation int32, instance *string) group.Membership {
	return group.Membership{Group: id, MemberID: member, Generation: group.Generation(generation), InstanceID: stringOf(instance)}
}
