package kafka

import (
	"slices"

	"github.com/partlog/partlog/partition"
)

func buildACLs(stored []partition.Setting) (*aclIndex, error) {
	all := make(map[string]acl, len(stored))
	for _, s := range stored {
		a, err := decodeACL(s.Value)
		if err != nil {
			return nil, err
		}
		all[s.Key] = a
	}
	return newACLIndex(all), nil
}

// secured reports whether there is an authorizer (authorizer.class.name); without one everybody may do everything.
func (s *session) secured() bool { return s.settings().authorizer != "" }

// authorize reports whether the principal of the connection may do op to the resource: always without an authorizer. A super
// user may do everything; else a rule that denies counts before one that allows, and where there is no rule about the
// resource at all, allow.everyone.if.no.acl.found decides (KIP-11, KIP-290).
func (s *session) authorize(op operation, rt resourceType, name string) bool {
	set := s.settings()
	if set.authorizer == "" {
		return true
	}
	if slices.Contains(set.superUsers, s.sec.name) {
		return true
	}
	x, err := s.server.guard.acls.get(s.server.guard.store)
	if err != nil {
		return false // a rule that cannot be read may be one that denies
	}
	switch x.decide(s.sec.name, s.host, op, rt, name) {
	case allowed:
		return true
	case noRules:
		return set.allowEveryoneIfNoACL
	}
	return false
}

// authorizeCluster is authorize for the cluster itself.
func (s *session) authorizeCluster(op operation) bool {
	return s.authorize(op, resourceCluster, clusterName)
}

// authorizeAny reports whether there is any resource of the type to which the principal may do op (KIP-679).
func (s *session) authorizeAny(op operation, rt resourceType) bool {
	if s.authorize(op, rt, "hardcode") { // as in Kafka: super users, and who is allowed everything that has no rule
		return true
	}
	x, err := s.server.guard.acls.get(s.server.guard.store)
	return err == nil && x.decideAny(s.sec.name, s.host, op, rt)
}

// authorizedOperations returns the operations that the principal may do to a resource, as the bits of the
// authorized-operations fields (KIP-430).
func (s *session) authorizedOperations(rt resourceType, name string) (field int32) {
	supported := supportedOperations[rt]
	if !s.secured() {
		return supported
	}
	for op := opRead; op <= opTwoPhaseCommit; op++ {
		if supported&(1<<op) != 0 && s.authorize(op, rt, name) {
			field |= 1 << op
		}
	}
	return field
}

// authorized divides items by whether the principal may do op to the resource that each names. The order stays; if all are
// allowed, they are items itself.
func authorized[T any](s *session, op operation, rt resourceType, items []T, name func(T) string) (allowed, denied []T) {
	if !s.secured() {
		return items, nil
	}
	for i, item := range items {
		switch ok := s.authorize(op, rt, name(item)); {
		case !ok:
			if denied == nil {
				allowed = slices.Clone(items[:i])
			}
			denied = append(denied, item)
		case denied != nil:
			allowed = append(allowed, item)
		}
	}
	if denied == nil {
		return items, nil
	}
	return allowed, denied
}
