package kafka

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func indexOf(rules ...acl) *aclIndex {
	all := map[string]acl{}
	for i, a := range rules {
		all[fmt.Sprint(aclArea, i)] = a
	}
	return newACLIndex(all)
}

// naive decides by looking at every rule, in the words of Kafka's documentation.
func naive(rules []acl, principal, host string, op operation, rt resourceType, name string) decision {
	found := noRules
	for _, a := range rules {
		applies := a.Resource == rt && (a.Pattern == patternLiteral && (a.Name == name || a.Name == "*") ||
			a.Pattern == patternPrefixed && strings.HasPrefix(name, a.Name))
		if !applies {
			continue
		}
		found = max(found, notMentioned)
		if a.Principal != principal && a.Principal != "User:*" || a.Host != host && a.Host != "*" {
			continue
		}
		implied := map[operation][]operation{
			opDescribe:        {opRead, opWrite, opDelete, opAlter},
			opDescribeConfigs: {opAlterConfigs},
		}
		matches := a.Operation == op || a.Operation == opAll
		if a.Permit == permissionAllow {
			for _, o := range implied[op] {
				matches = matches || a.Operation == o
			}
		}
		if !matches {
			continue
		}
		if a.Permit == permissionDeny {
			return denied
		}
		found = allowed
	}
	return found
}

// naiveAny decides whether any resource is open by trying every name that a rule has, and what lies below a prefix.
func naiveAny(rules []acl, principal, host string, op operation, rt resourceType) bool {
	says := func(a acl, p permission) bool {
		return a.Resource == rt && a.Permit == p && (a.Principal == principal || a.Principal == "User:*") &&
			(a.Host == host || a.Host == "*") && (a.Operation == op || a.Operation == opAll)
	}
	for _, a := range rules {
		if says(a, permissionDeny) && a.Pattern == patternLiteral && a.Name == "*" {
			return false
		}
	}
	for _, a := range rules {
		if !says(a, permissionAllow) {
			continue
		}
		if a.Pattern == patternLiteral && a.Name == "*" {
			return true
		}
		open := true
		for _, d := range rules {
			if says(d, permissionDeny) && (d.Pattern == patternPrefixed && strings.HasPrefix(a.Name, d.Name) ||
				d.Pattern == patternLiteral && a.Pattern == patternLiteral && d.Name == a.Name) {
				open = false
			}
		}
		if open {
			return true
		}
	}
	return false
}

func drawACL(t *rapid.T) acl {
	return acl{
		Resource:  rapid.SampledFrom([]resourceType{resourceTopic, resourceTopic, resourceGroup}).Draw(t, "resource"),
		Pattern:   rapid.SampledFrom([]patternType{patternLiteral, patternPrefixed}).Draw(t, "pattern"),
		Name:      rapid.SampledFrom([]string{"*", "a", "ab", "abc", "b", "ba"}).Draw(t, "name"),
		Principal: rapid.SampledFrom([]string{"User:alice", "User:bob", "User:*", "Group:alice"}).Draw(t, "principal"),
		Host:      rapid.SampledFrom([]string{"*", "10.0.0.1", "::1"}).Draw(t, "host"),
		Operation: rapid.SampledFrom([]operation{opAll, opRead, opWrite, opDescribe, opAlter, opAlterConfigs, opDescribeConfigs}).Draw(t, "operation"),
		Permit:    rapid.SampledFrom([]permission{permissionAllow, permissionAllow, permissionDeny}).Draw(t, "permission"),
	}
}

func TestDecisionsAreThoseOfLookingAtEveryRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := rapid.SliceOfN(rapid.Custom(drawACL), 0, 12).Draw(t, "rules")
		x := indexOf(rules...)
		for range 8 {
			principal := rapid.SampledFrom([]string{"User:alice", "User:bob", "User:*", "User:ANONYMOUS", "Group:alice"}).Draw(t, "who")
			host := rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2", "::1"}).Draw(t, "from")
			op := rapid.SampledFrom([]operation{opRead, opWrite, opDescribe, opAlter, opDelete, opAlterConfigs, opDescribeConfigs}).Draw(t, "op")
			rt := rapid.SampledFrom([]resourceType{resourceTopic, resourceGroup, resourceCluster}).Draw(t, "type")
			name := rapid.SampledFrom([]string{"a", "ab", "abc", "abcd", "b", "c", "", "*"}).Draw(t, "on")
			require.Equal(t, naive(rules, principal, host, op, rt, name), x.decide(principal, host, op, rt, name))
			require.Equal(t, naiveAny(rules, principal, host, op, rt), x.decideAny(principal, host, op, rt))
		}
	})
}

// The rules of Kafka's documentation ("Authorization and ACLs", "Operations and Resources"), each as an example.
func TestDecisionsAreThoseOfKafkasDocumentation(t *testing.T) {
	rule := func(p permission, who string, host string, op operation, pattern patternType, name string) acl {
		return acl{resourceTopic, pattern, name, who, host, op, p}
	}
	allow := func(who string, op operation, name string) acl {
		return rule(permissionAllow, who, "*", op, patternLiteral, name)
	}
	deny := func(who string, op operation, name string) acl {
		return rule(permissionDeny, who, "*", op, patternLiteral, name)
	}
	for _, c := range []struct {
		what  string
		rules []acl
		who   string
		host  string
		op    operation
		name  string
		want  decision
	}{
		{"no rule at all", nil, "User:Bob", "1.1.1.1", opRead, "t", noRules},
		{"a rule about another topic is none", []acl{allow("User:Bob", opRead, "u")}, "User:Bob", "1.1.1.1", opRead, "t", noRules},
		{"a rule about another principal", []acl{allow("User:Alice", opRead, "t")}, "User:Bob", "1.1.1.1", opRead, "t", notMentioned},
		{"Bob and Alice from two addresses", []acl{rule(permissionAllow, "User:Bob", "198.51.100.0", opRead, patternLiteral, "Test-topic")}, "User:Bob", "198.51.100.0", opRead, "Test-topic", allowed},
		{"from another address", []acl{rule(permissionAllow, "User:Bob", "198.51.100.0", opRead, patternLiteral, "Test-topic")}, "User:Bob", "198.51.100.3", opRead, "Test-topic", notMentioned},
		{"all but BadBob", []acl{allow("User:*", opRead, "Test-topic"), rule(permissionDeny, "User:BadBob", "198.51.100.3", opRead, patternLiteral, "Test-topic")}, "User:BadBob", "198.51.100.3", opRead, "Test-topic", denied},
		{"BadBob from elsewhere", []acl{allow("User:*", opRead, "Test-topic"), rule(permissionDeny, "User:BadBob", "198.51.100.3", opRead, patternLiteral, "Test-topic")}, "User:BadBob", "198.51.100.4", opRead, "Test-topic", allowed},
		{"any topic", []acl{rule(permissionAllow, "User:Peter", "198.51.200.1", opWrite, patternLiteral, "*")}, "User:Peter", "198.51.200.1", opWrite, "whatever", allowed},
		{"any topic that begins so", []acl{rule(permissionAllow, "User:Jane", "*", opWrite, patternPrefixed, "Test-")}, "User:Jane", "::1", opWrite, "Test-1", allowed},
		{"one that does not", []acl{rule(permissionAllow, "User:Jane", "*", opWrite, patternPrefixed, "Test-")}, "User:Jane", "::1", opWrite, "Test", noRules},
		{"a prefix is itself a name that begins so", []acl{rule(permissionAllow, "User:Jane", "*", opWrite, patternPrefixed, "Test-")}, "User:Jane", "::1", opWrite, "Test-", allowed},
		{"a prefixed star is no wildcard", []acl{rule(permissionAllow, "User:Jane", "*", opWrite, patternPrefixed, "*")}, "User:Jane", "::1", opWrite, "t", noRules},
		{"deny before allow", []acl{deny("User:Bob", opRead, "*"), allow("User:Bob", opAll, "t")}, "User:Bob", "::1", opRead, "t", denied},
		{"to deny one operation denies no other", []acl{deny("User:Bob", opRead, "t"), allow("User:Bob", opWrite, "t")}, "User:Bob", "::1", opWrite, "t", allowed},
		{"to read is to describe", []acl{allow("User:Bob", opRead, "t")}, "User:Bob", "::1", opDescribe, "t", allowed},
		{"to write is to describe", []acl{allow("User:Bob", opWrite, "t")}, "User:Bob", "::1", opDescribe, "t", allowed},
		{"to delete is to describe", []acl{allow("User:Bob", opDelete, "t")}, "User:Bob", "::1", opDescribe, "t", allowed},
		{"to alter is to describe", []acl{allow("User:Bob", opAlter, "t")}, "User:Bob", "::1", opDescribe, "t", allowed},
		{"to create is not", []acl{allow("User:Bob", opCreate, "t")}, "User:Bob", "::1", opDescribe, "t", notMentioned},
		{"to alter configs is to describe them", []acl{allow("User:Bob", opAlterConfigs, "t")}, "User:Bob", "::1", opDescribeConfigs, "t", allowed},
		{"and not the topic", []acl{allow("User:Bob", opAlterConfigs, "t")}, "User:Bob", "::1", opDescribe, "t", notMentioned},
		{"to deny reading does not deny describing", []acl{deny("User:Bob", opRead, "t"), allow("User:Bob", opDescribe, "t")}, "User:Bob", "::1", opDescribe, "t", allowed},
		{"to deny all denies describing", []acl{deny("User:Bob", opAll, "t"), allow("User:Bob", opDescribe, "t")}, "User:Bob", "::1", opDescribe, "t", denied},
		{"to describe is not to read", []acl{allow("User:Bob", opDescribe, "t")}, "User:Bob", "::1", opRead, "t", notMentioned},
		{"types of principals differ", []acl{allow("Group:Bob", opRead, "t")}, "User:Bob", "::1", opRead, "t", notMentioned},
		{"names are case-sensitive", []acl{allow("User:bob", opRead, "t")}, "User:Bob", "::1", opRead, "t", notMentioned},
	} {
		require.Equal(t, c.want, indexOf(c.rules...).decide(c.who, c.host, c.op, resourceTopic, c.name), c.what)
	}
}

func TestFilterSelectsAsDescribeAclsDoes(t *testing.T) {
	name := func(s string) *string { return &s }
	literal := acl{resourceTopic, patternLiteral, "ab", "User:a", "*", opRead, permissionAllow}
	star := acl{resourceTopic, patternLiteral, "*", "User:a", "*", opRead, permissionAllow}
	prefixed := acl{resourceTopic, patternPrefixed, "a", "User:b", "h", opWrite, permissionDeny}
	group := acl{resourceGroup, patternLiteral, "ab", "User:a", "*", opRead, permissionAllow}
	all := []acl{literal, star, prefixed, group}
	everything := aclFilter{resource: resourceAny, pattern: patternAny, operation: opAny, permit: permissionAny}
	for what, c := range map[string]struct {
		change func(*aclFilter)
		want   []acl
	}{
		"everything":                       {func(f *aclFilter) {}, all},
		"a type":                           {func(f *aclFilter) { f.resource = resourceGroup }, []acl{group}},
		"a literal pattern":                {func(f *aclFilter) { f.pattern = patternLiteral }, []acl{literal, star, group}},
		"a prefixed pattern":               {func(f *aclFilter) { f.pattern = patternPrefixed }, []acl{prefixed}},
		"a name in any pattern":            {func(f *aclFilter) { f.name = name("a") }, []acl{prefixed}},
		"a literal name":                   {func(f *aclFilter) { f.pattern, f.name = patternLiteral, name("ab") }, []acl{literal, group}},
		"the wildcard is only itself":      {func(f *aclFilter) { f.name = name("*") }, []acl{star}},
		"what would apply to a name":       {func(f *aclFilter) { f.pattern, f.name = patternMatch, name("ab") }, all},
		"what would apply to another":      {func(f *aclFilter) { f.pattern, f.name = patternMatch, name("ac") }, []acl{star, prefixed}},
		"match without a name":             {func(f *aclFilter) { f.pattern = patternMatch }, all},
		"a principal":                      {func(f *aclFilter) { f.principal = name("User:b") }, []acl{prefixed}},
		"a host":                           {func(f *aclFilter) { f.host = name("*") }, []acl{literal, star, group}},
		"an operation":                     {func(f *aclFilter) { f.operation = opWrite }, []acl{prefixed}},
		"all operations are one operation": {func(f *aclFilter) { f.operation = opAll }, nil},
		"a permission":                     {func(f *aclFilter) { f.permit = permissionAllow }, []acl{literal, star, group}},
	} {
		f := everything
		c.change(&f)
		_, got := indexOf(all...).sorted(&f)
		require.ElementsMatch(t, c.want, got, what)
	}
	strange := everything
	strange.operation = 99
	_, got := indexOf(all...).sorted(&strange)
	require.Empty(t, got, "an operation that nobody knows")
}

// The bytes of a rule on the disk: readable for ever.
func TestRuleOfTheFirstFormatIsStillRead(t *testing.T) {
	const stored = `{"resource":2,"pattern":4,"name":"a","principal":"User:b","host":"*","operation":4,"permission":2}`
	a, err := decodeACL([]byte(stored))
	require.NoError(t, err)
	require.Equal(t, acl{resourceTopic, patternPrefixed, "a", "User:b", "*", opWrite, permissionDeny}, a)
	require.Equal(t, stored, string(a.encode()))
	require.Equal(t, "DENY of WRITE to User:b from host * on PREFIXED TOPIC:a", a.String())
}

func FuzzStoredRule(f *testing.F) {
	f.Add([]byte(`{"resource":2,"pattern":4,"name":"a","principal":"User:b","host":"*","operation":4,"permission":2}`))
	f.Add([]byte(`{"resource":127}`))
	f.Fuzz(func(t *testing.T, stored []byte) {
		a, err := decodeACL(stored)
		if err != nil {
			require.ErrorIs(t, err, errBadACL)
			return
		}
		indexOf(a).decide("User:b", "h", opRead, resourceTopic, a.Name)
		b, err := decodeACL(a.encode())
		require.NoError(t, err)
		want, _ := json.Marshal(a)
		have, _ := json.Marshal(b)
		require.Equal(t, string(want), string(have))
	})
}

// BenchmarkDecide is a decision among many rules: it looks at those of its resource only.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		rules := make([]acl, n)
		for i := range rules {
			rules[i] = acl{resourceTopic, patternLiteral, fmt.Sprint("topic-", i), fmt.Sprint("User:", i%100), "*", opRead, permissionAllow}
		}
		rules = append(rules, acl{resourceTopic, patternPrefixed, "topic-", "User:5", "*", opWrite, permissionAllow}, acl{resourceTopic, patternPrefixed, "t", "User:5", "*", opAlter, permissionAllow})
		x := indexOf(rules...)
		b.Run(fmt.Sprint(n, "-rules"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if x.decide("User:5", "127.0.0.1", opRead, resourceTopic, "topic-5") != allowed {
					b.Fatal("not allowed")
				}
			}
		})
	}
}
