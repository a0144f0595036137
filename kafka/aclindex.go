package kafka

import (
	"slices"
	"strings"
)

// aclIndex is a set of access rules, arranged so that a decision looks at those only which apply to its resource and
// its principal. It is made once and never changed, so any number of goroutines may ask it.
type aclIndex struct {
	all   map[string]acl // by the setting's key
	types [resourceTypes]aclsOfType
}

// aclsOfType are the rules about one type of resource.
type aclsOfType struct {
	literal  map[string]aclsByPrincipal // by name, the wildcard included
	prefixed map[string]aclsByPrincipal // by prefix
	lengths  []int                      // of the prefixes, each once, ascending
}

// aclsByPrincipal are the rules of one pattern, by whom they are about.
type aclsByPrincipal map[string][]acl

// newACLIndex arranges rules.
func newACLIndex(all map[string]acl) *aclIndex {
	x := &aclIndex{all: all}
	for _, a := range all {
		t := &x.types[a.Resource]
		m := &t.literal
		if a.Pattern == patternPrefixed {
			m = &t.prefixed
			if i, found := slices.BinarySearch(t.lengths, len(a.Name)); !found {
				t.lengths = slices.Insert(t.lengths, i, len(a.Name))
			}
		}
		if *m == nil {
			*m = map[string]aclsByPrincipal{}
		}
		of := (*m)[a.Name]
		if of == nil {
			of = aclsByPrincipal{}
			(*m)[a.Name] = of
		}
		of[a.Principal] = append(of[a.Principal], a)
	}
	return x
}

// decision is what rules say about a request.
type decision int8

const (
	noRules      decision = iota // there is no rule about the resource at all
	notMentioned                 // there are, and none is about this
	denied
	allowed
)

// decide applies the rules to an operation on a resource as Kafka's StandardAuthorizer does: a rule that denies wins.
// principal is "Type:name", host an address as text.
func (x *aclIndex) decide(principal, host string, op operation, rt resourceType, name string) decision {
	t := &x.types[rt]
	found := noRules
	look := func(of aclsByPrincipal) {
		if of == nil {
			return
		}
		found = max(found, notMentioned)
		for _, who := range [...]string{principal, wildcardPrincipal} {
			for i := range of[who] {
				if a := &of[who][i]; a.about(host, op) {
					if a.Permit == permissionDeny {
						found = denied
					} else if found != denied {
						found = allowed
					}
				}
			}
			if principal == wildcardPrincipal {
				break
			}
		}
	}
	look(t.literal[name])
	if name != wildcard {
		look(t.literal[wildcard])
	}
	for _, n := range t.lengths {
		if n > len(name) || found == denied {
			break
		}
		look(t.prefixed[name[:n]])
	}
	return found
}

// about reports whether a rule whose resource and principal match is about an operation from a host. A rule that allows to
// read, write, delete or alter also allows to describe, one that allows to alter configurations to describe them; a rule
// that denies them does not deny that.
func (a *acl) about(host string, op operation) bool {
	if a.Host != wildcard && a.Host != host {
		return false
	}
	if a.Operation == opAll || a.Operation == op {
		return true
	}
	if a.Permit != permissionAllow {
		return false
	}
	switch op {
	case opDescribe:
		return a.Operation == opRead || a.Operation == opWrite || a.Operation == opDelete || a.Operation == opAlter
	case opDescribeConfigs:
		return a.Operation == opAlterConfigs
	}
	return false
}

// decideAny reports whether there is a resource of the type on which the operation is allowed: one that a rule allows and no
// rule that is at least as wide denies. Implied operations do not count here, as in Kafka.
func (x *aclIndex) decideAny(principal, host string, op operation, rt resourceType) bool {
	t := &x.types[rt]
	says := func(of aclsByPrincipal, p permission) bool {
		for _, who := range [...]string{principal, wildcardPrincipal} {
			for _, a := range of[who] {
				if a.Permit == p && (a.Host == wildcard || a.Host == host) && (a.Operation == opAll || a.Operation == op) {
					return true
				}
			}
		}
		return false
	}
	if says(t.literal[wildcard], permissionDeny) {
		return false
	}
	if says(t.literal[wildcard], permissionAllow) {
		return true
	}
	dominated := func(name string) bool {
		for _, n := range t.lengths {
			if n > len(name) {
				break
			}
			if says(t.prefixed[name[:n]], permissionDeny) {
				return true
			}
		}
		return false
	}
	for prefix, of := range t.prefixed {
		if says(of, permissionAllow) && !dominated(prefix) {
			return true
		}
	}
	for name, of := range t.literal {
		if name != wildcard && says(of, permissionAllow) && !says(of, permissionDeny) && !dominated(name) {
			return true
		}
	}
	return false
}

// sorted returns the rules that a filter selects, with their keys, in a fixed order: by resource, then by all else.
func (x *aclIndex) sorted(f *aclFilter) (keys []string, rules []acl) {
	for key, a := range x.all {
		if f.matches(&a) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(k, l string) int {
		a, b := x.all[k], x.all[l]
		for _, c := range [...]int{
			int(a.Resource) - int(b.Resource), int(a.Pattern) - int(b.Pattern), strings.Compare(a.Name, b.Name),
			strings.Compare(a.Principal, b.Principal), strings.Compare(a.Host, b.Host),
			int(a.Operation) - int(b.Operation), int(a.Permit) - int(b.Permit), strings.Compare(k, l),
		} {
			if c != 0 {
				return c
			}
		}
		return 0
	})
	for _, k := range keys {
		rules = append(rules, x.all[k])
	}
	return keys, rules
}
