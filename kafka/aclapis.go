package kafka

import (
	"errors"
	"fmt"
	"slices"

	"github.com/partlog/partlog/partition"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	textNoAuthorizer     = "No Authorizer is configured on the broker"
	textNoAuthorizerHere = "No Authorizer is configured."
	textClusterDenied    = "Cluster authorization failed."

	// maxMutations is how many rules one request may create or delete, as in Kafka's controller.
	maxMutations = 10_000
)

var errTooManyMutations = &protocolError{codePolicyViolation, "Unable to perform excessively large batch operation."}

// answerOf returns an error as answers have it: a code, and a text or nil.
func answerOf(err error) (code int16, text *string) {
	if err == nil {
		return codeNone, nil
	}
	code, message := codeUnknownServerError, err.Error()
	if p, ok := errors.AsType[*protocolError](err); ok {
		code, message = p.code, p.message
	} else if errors.Is(err, partition.ErrNoSpace) || errors.Is(err, partition.ErrStorage) {
		code = codeKafkaStorageError
	}
	return code, &message
}

// errIndefinite is what Kafka makes of a request with a rule that has an element of filters: all of it fails.
var errIndefinite = &protocolError{codeUnknownServerError, "a rule with an element that only filters have"}

var errUnknownElements = fmt.Errorf("%w: an access rule with unknown elements", ErrMalformedRequest)

func handleDescribeACLs(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.DescribeACLsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeACLsResponse)
	f := aclFilter{resourceType(req.ResourceType), patternType(req.ResourcePatternType), req.ResourceName, req.Principal, req.Host, operation(req.Operation), permission(req.PermissionType)}
	if unknownElements(f.resource, f.pattern, f.operation, f.permit) {
		return nil, errUnknownElements
	}
	switch {
	case !s.authorizeCluster(opDescribe):
		resp.ErrorCode, resp.ErrorMessage = codeClusterAuthorizationFailed, kmsg.StringPtr(textClusterDenied)
		return resp, nil
	case !s.secured():
		resp.ErrorCode, resp.ErrorMessage = codeSecurityDisabled, kmsg.StringPtr(textNoAuthorizer)
		return resp, nil
	}
	x, err := s.server.guard.acls.get(s.server.guard.store)
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = answerOf(err)
		return resp, nil
	}
	resp.ErrorMessage = new(string) // as Kafka: empty, not null
	_, rules := x.sorted(&f)
	for _, a := range rules { // those of one pattern come one after the other
		n := len(resp.Resources)
		if n == 0 || resp.Resources[n-1].ResourceName != a.Name || resourceType(resp.Resources[n-1].ResourceType) != a.Resource || patternType(resp.Resources[n-1].ResourcePatternType) != a.Pattern {
			r := kmsg.NewDescribeACLsResponseResource()
			r.ResourceType, r.ResourceName, r.ResourcePatternType = kmsg.ACLResourceType(a.Resource), a.Name, kmsg.ACLResourcePatternType(a.Pattern)
			resp.Resources = append(resp.Resources, r)
			n++
		}
		o := kmsg.NewDescribeACLsResponseResourceACL()
		o.Principal, o.Host, o.Operation, o.PermissionType = a.Principal, a.Host, kmsg.ACLOperation(a.Operation), kmsg.ACLPermissionType(a.Permit)
		resp.Resources[n-1].ACLs = append(resp.Resources[n-1].ACLs, o)
	}
	return resp, nil
}

func handleCreateACLs(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.CreateACLsRequest)
	resp := req.ResponseKind().(*kmsg.CreateACLsResponse)
	rules := make([]acl, len(req.Creations))
	results := make([]error, len(req.Creations))
	indefinite := false
	for i, r := range req.Creations {
		a := acl{resourceType(r.ResourceType), patternType(r.ResourcePatternType), r.ResourceName, r.Principal, r.Host, operation(r.Operation), permission(r.PermissionType)}
		if unknownElements(a.Resource, a.Pattern, a.Operation, a.Permit) {
			return nil, errUnknownElements
		}
		indefinite = indefinite || a.Resource == resourceAny || a.Pattern == patternAny || a.Pattern == patternMatch || a.Operation == opAny || a.Permit == permissionAny
		rules[i] = a
	}
	err := s.mayAlterACLs(len(rules))
	if err == nil && indefinite {
		err = errIndefinite
	}
	if err != nil {
		for i := range results {
			results[i] = err
		}
	} else if err := s.server.guard.createACLs(c, rules, results); err != nil {
		for i := range results {
			if results[i] == nil {
				results[i] = err
			}
		}
	}
	for _, err := range results {
		r := kmsg.NewCreateACLsResponseResult()
		r.ErrorCode, r.ErrorMessage = answerOf(err)
		switch err {
		case nil:
			r.ErrorMessage = new(string) // as Kafka: empty, not null
		case errIndefinite:
			r.ErrorMessage = nil
		}
		resp.Results = append(resp.Results, r)
	}
	return resp, nil
}

// mayAlterACLs returns the error that all n parts of a request are answered with, if any.
func (s *session) mayAlterACLs(n int) error {
	switch {
	case !s.authorizeCluster(opAlter):
		return &protocolError{codeClusterAuthorizationFailed, textClusterDenied}
	case !s.secured():
		return &protocolError{codeSecurityDisabled, textNoAuthorizerHere}
	case n > maxMutations:
		return errTooManyMutations
	}
	return nil
}

// createACLs adds those rules that are valid and not there yet, all or none; results gets what is wrong with the others.
func (g *guard) createACLs(c *call, rules []acl, results []error) error {
	g.alter.Lock()
	defer g.alter.Unlock()
	x, err := g.acls.get(g.store)
	if err != nil {
		return err
	}
	there := make(map[acl]bool, len(x.all))
	for _, a := range x.all {
		there[a] = true
	}
	var changes []partition.Setting
	for i, a := range rules {
		if results[i] = a.validate(); results[i] != nil || there[a] {
			continue
		}
		there[a] = true
		changes = append(changes, partition.Setting{Key: aclArea + randomID(), Value: a.encode()})
	}
	return g.put(c, changes)
}

func handleDeleteACLs(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.DeleteACLsRequest)
	resp := req.ResponseKind().(*kmsg.DeleteACLsResponse)
	filters := make([]aclFilter, len(req.Filters))
	for i, r := range req.Filters {
		filters[i] = aclFilter{resourceType(r.ResourceType), patternType(r.ResourcePatternType), r.ResourceName, r.Principal, r.Host, operation(r.Operation), permission(r.PermissionType)}
		if f := &filters[i]; unknownElements(f.resource, f.pattern, f.operation, f.permit) {
			return nil, errUnknownElements
		}
	}
	var deleted [][]acl
	err := s.mayAlterACLs(0)
	if err == nil {
		deleted, err = s.server.guard.deleteACLs(c, filters)
	}
	for i := range filters {
		r := kmsg.NewDeleteACLsResponseResult()
		err := err
		if err == nil {
			err = filters[i].check()
		}
		if r.ErrorCode, r.ErrorMessage = answerOf(err); err == nil {
			for _, a := range deleted[i] {
				m := kmsg.NewDeleteACLsResponseResultMatchingACL()
				m.ResourceType, m.ResourceName, m.ResourcePatternType = kmsg.ACLResourceType(a.Resource), a.Name, kmsg.ACLResourcePatternType(a.Pattern)
				m.Principal, m.Host, m.Operation, m.PermissionType = a.Principal, a.Host, kmsg.ACLOperation(a.Operation), kmsg.ACLPermissionType(a.Permit)
				r.MatchingACLs = append(r.MatchingACLs, m)
			}
		}
		resp.Results = append(resp.Results, r)
	}
	return resp, nil
}

// deleteACLs removes what the filters select, all or none, and returns for each filter what that was: a rule that two
// filters select is in both answers.
func (g *guard) deleteACLs(c *call, filters []aclFilter) (deleted [][]acl, err error) {
	g.alter.Lock()
	defer g.alter.Unlock()
	x, err := g.acls.get(g.store)
	if err != nil {
		return nil, err
	}
	var keys []string
	for i := range filters {
		selected, rules := x.sorted(&filters[i])
		keys, deleted = append(keys, selected...), append(deleted, rules)
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	if len(keys) > maxMutations {
		return nil, errTooManyMutations
	}
	changes := make([]partition.Setting, len(keys))
	for i, key := range keys {
		changes[i].Key = key
	}
	return deleted, g.put(c, changes)
}
