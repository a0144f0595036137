package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/group"
)

// handleDescribeGroups describes classic groups (DescribeGroups). What is no such group is Dead, without an error before
// version 6 (KIP-1043).
func handleDescribeGroups(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.DescribeGroupsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeGroupsResponse)
	allowed, denied := authorized(s, opDescribe, resourceGroup, req.Groups, func(id string) string { return id })
	for _, id := range denied {
		one := kmsg.NewDescribeGroupsResponseGroup()
		one.Group, one.ErrorCode = id, codeGroupAuthorizationFailed
		resp.Groups = append(resp.Groups, one)
	}
	for _, id := range allowed {
		one := s.describeGroup(c, id)
		if req.IncludeAuthorizedOperations && one.ErrorCode == codeNone {
			one.AuthorizedOperations = s.authorizedOperations(resourceGroup, id)
		}
		resp.Groups = append(resp.Groups, one)
	}
	return resp, nil
}

func (s *session) describeGroup(c *call, id string) kmsg.DescribeGroupsResponseGroup {
	one := kmsg.NewDescribeGroupsResponseGroup()
	one.Group = id
	g, err := s.groupOf(c.ctx, id)
	if err != nil {
		one.ErrorCode = groupCode(err, c.key, c.version)
		return one
	}
	d, missing, err := describeClassic(c.ctx, g, id)
	switch {
	case err != nil:
		one.ErrorCode = groupCode(err, c.key, c.version)
		return one
	case missing != "":
		one.State = group.Dead.String()
		if c.version >= 6 {
			one.ErrorCode, one.ErrorMessage = codeGroupIDNotFound, &missing
		}
		return one
	}
	one.State, one.ProtocolType = d.State.String(), d.ProtocolType
	stable := d.State == group.Stable
	if stable {
		one.Protocol = d.Protocol
	}
	for _, m := range d.Members {
		member := kmsg.NewDescribeGroupsResponseGroupMember()
		member.MemberID, member.InstanceID, member.ClientID, member.ClientHost = m.MemberID, nullable(m.InstanceID), m.ClientID, m.ClientHost
		if stable { // in between, metadata and assignments are of different generations
			member.ProtocolMetadata, member.MemberAssignment = m.Metadata, m.Assignment
		}
		one.Members = append(one.Members, member)
	}
	return one
}

// describeClassic describes a group of the classic protocol; missing says why there is none.
func describeClassic(ctx context.Context, g group.Coordinator, id string) (d group.Description, missing string, err error) {
	_, err = g.ConsumerGroupDescribe(ctx, id)
	if err == nil {
		return d, fmt.Sprintf("Group %s is not a classic group.", id), nil
	}
	if !errors.Is(err, group.ErrGroupIDNotFound) {
		return d, "", err
	}
	d, err = g.Describe(ctx, id)
	if err == nil && d.State == group.Dead {
		missing = fmt.Sprintf("Group %s not found.", id)
	}
	return d, missing, err
}

// handleListGroups lists the groups that this broker coordinates (ListGroups): those that the principal may describe, unless
// it may describe the cluster. Filters are of states (KIP-518) and types (KIP-848), in any case of letters.
func handleListGroups(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.ListGroupsRequest)
	resp := req.ResponseKind().(*kmsg.ListGroupsResponse)
	all := s.authorizeCluster(opDescribe)
	listings, err := s.listGroups(c.ctx)
	if err != nil {
		resp.ErrorCode = groupCode(err, c.key, c.version)
		return resp, nil
	}
	for _, l := range listings {
		switch {
		case !selects(req.StatesFilter, l.State.String()), !selects(req.TypesFilter, string(l.Type)),
			!all && !s.authorize(opDescribe, resourceGroup, l.Group):
			continue
		}
		one := kmsg.NewListGroupsResponseGroup()
		one.Group, one.ProtocolType, one.GroupState, one.GroupType = l.Group, l.ProtocolType, l.State.String(), string(l.Type)
		resp.Groups = append(resp.Groups, one)
	}
	return resp, nil
}

// listGroups returns the groups that this broker coordinates.
func (s *session) listGroups(ctx context.Context) ([]group.Listing, error) {
	g, err := s.server.groups.Find(ctx, "")
	if err != nil {
		return nil, err
	}
	listings, err := g.ListGroups(ctx, group.ListGroupsRequest{})
	if err != nil || len(s.server.brokers()) == 1 {
		return listings, err
	}
	return slices.DeleteFunc(listings, func(l group.Listing) bool { return s.coordinates(coordinatorGroup, l.Group) != nil }), nil
}

func selects(filter []string, name string) bool {
	return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool { return strings.EqualFold(f, name) })
}

// handleDeleteGroups removes groups with their offsets (DeleteGroups).
func handleDeleteGroups(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.DeleteGroupsRequest)
	resp := req.ResponseKind().(*kmsg.DeleteGroupsResponse)
	ids := make([]string, 0, len(req.Groups)) // each once, in order
	seen := make(map[string]bool, len(req.Groups))
	for _, id := range req.Groups {
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	allowed, denied := authorized(s, opDelete, resourceGroup, ids, func(id string) string { return id })
	answer := func(id string, code int16) {
		one := kmsg.NewDeleteGroupsResponseGroup()
		one.Group, one.ErrorCode = id, code
		resp.Groups = append(resp.Groups, one)
	}
	for _, id := range allowed {
		g, err := s.groupOf(c.ctx, id)
		if err == nil {
			err = g.DeleteGroups(c.ctx, id)
		}
		answer(id, groupCode(err, c.key, c.version))
	}
	for _, id := range denied {
		answer(id, codeGroupAuthorizationFailed)
	}
	return resp, nil
}
