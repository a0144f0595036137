package kafka

import (
	"testing"

	"github.com/partlog/partlog/internal/wire"
	"github.com/partlog/partlog/partition"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// secure is a server with an authorizer, whose super user is root.
func secure(t testing.TB, properties ...string) *fortress {
	c := Config{Properties: map[string]string{"authorizer.class.name": standardAuthorizer, "super.users": "User:root; User:other"}}
	for i := 0; i < len(properties); i += 2 {
		c.Properties[properties[i]] = properties[i+1]
	}
	return newFortress(t, c, ListenerConfig{Protocol: SASLPlaintext, Users: map[string]Password{"root": "r", "alice": "a", "bob": "b"}})
}

// as is a connection of a user.
func (f *fortress) as(user string) *peer {
	p := f.dial()
	require.Zero(f.t, p.login(wire.PlainClient(user, user[:1])).ErrorCode)
	return p
}

func creation(a acl) kmsg.CreateACLsRequestCreation {
	c := kmsg.NewCreateACLsRequestCreation()
	c.ResourceType, c.ResourceName, c.ResourcePatternType = kmsg.ACLResourceType(a.Resource), a.Name, kmsg.ACLResourcePatternType(a.Pattern)
	c.Principal, c.Host, c.Operation, c.PermissionType = a.Principal, a.Host, kmsg.ACLOperation(a.Operation), kmsg.ACLPermissionType(a.Permit)
	return c
}

func createACLs(rules ...acl) *kmsg.CreateACLsRequest {
	req := kmsg.NewPtrCreateACLsRequest()
	for _, a := range rules {
		req.Creations = append(req.Creations, creation(a))
	}
	return req
}

func describeAllACLs() *kmsg.DescribeACLsRequest {
	req := kmsg.NewPtrDescribeACLsRequest()
	req.ResourceType, req.ResourcePatternType, req.Operation, req.PermissionType = 1, 1, 1, 1
	return req
}

func deleteACLs(names ...string) *kmsg.DeleteACLsRequest {
	req := kmsg.NewPtrDeleteACLsRequest()
	for _, name := range names {
		f := kmsg.NewDeleteACLsRequestFilter()
		f.ResourceType, f.ResourcePatternType, f.Operation, f.PermissionType = 1, 1, 1, 1
		if name != "" {
			f.ResourceName = &name
		}
		req.Filters = append(req.Filters, f)
	}
	return req
}

func described(resp *kmsg.DescribeACLsResponse) (rules []acl) {
	for _, r := range resp.Resources {
		for _, a := range r.ACLs {
			rules = append(rules, acl{resourceType(r.ResourceType), patternType(r.ResourcePatternType), r.ResourceName, a.Principal, a.Host, operation(a.Operation), permission(a.PermissionType)})
		}
	}
	return rules
}

func TestRulesAreCreatedDescribedActAndAreDeleted(t *testing.T) {
	f := secure(t)
	root, alice := f.as("root"), f.as("alice")
	mayRead := func(p *peer, topic string) bool {
		return p.ask(12, topicRequest(topic)).(*kmsg.MetadataResponse).Topics[0].ErrorCode != codeTopicAuthorizationFailed
	}
	require.False(t, mayRead(alice, "a-1"), "denied by default")
	require.True(t, mayRead(root, "a-1"))
	rules := []acl{
		{resourceTopic, patternPrefixed, "a-", "User:alice", "*", opRead, permissionAllow},
		{resourceTopic, patternLiteral, "a-2", "User:alice", "127.0.0.1", opDescribe, permissionDeny},
		{resourceTopic, patternLiteral, "b", "User:*", "10.0.0.1", opAll, permissionAllow},
		{resourceTopic, patternLiteral, "b", "User:bob", "*", opAll, permissionAllow},
	}
	for version := int16(1); version <= 3; version++ {
		for range 2 { // a rule that is there already is created again without an error, and is there once
			created := root.ask(version, createACLs(append(rules, rules[0])...)).(*kmsg.CreateACLsResponse)
			require.Len(t, created.Results, 5)
			for _, r := range created.Results {
				require.Zero(t, r.ErrorCode)
				require.Empty(t, *r.ErrorMessage)
			}
		}
		resp := root.ask(version, describeAllACLs()).(*kmsg.DescribeACLsResponse)
		require.Zero(t, resp.ErrorCode)
		require.Empty(t, *resp.ErrorMessage)
		require.ElementsMatch(t, rules, described(resp))
		require.Len(t, resp.Resources, 3, "rules of one pattern are together")
		require.True(t, mayRead(alice, "a-1"))
		require.False(t, mayRead(alice, "a-2"))
		require.False(t, mayRead(alice, "b"))

		deleted := root.ask(version, deleteACLs("b", "", "nothing")).(*kmsg.DeleteACLsResponse)
		require.Len(t, deleted.Results, 3)
		require.Len(t, deleted.Results[0].MatchingACLs, 2)
		require.Len(t, deleted.Results[1].MatchingACLs, 4, "the same rule is in the answer to each filter")
		require.Empty(t, deleted.Results[2].MatchingACLs)
		require.Empty(t, described(root.ask(version, describeAllACLs()).(*kmsg.DescribeACLsResponse)))
		require.False(t, mayRead(alice, "a-1"))
	}
}

func TestRulesThatAreNoneAreRefusedOneByOne(t *testing.T) {
	f := secure(t)
	root := f.as("root")
	good := acl{resourceTopic, patternLiteral, "t", "User:alice", "*", opRead, permissionAllow}
	change := func(f func(*acl)) acl { a := good; f(&a); return a }
	for text, bad := range map[string]acl{
		"Invalid empty resource name":                              change(func(a *acl) { a.Name = "" }),
		"The only valid name for the CLUSTER resource is":          change(func(a *acl) { a.Resource = resourceCluster }),
		"Invalid resourceType UNKNOWN":                             change(func(a *acl) { a.Resource = 77 }),
		"Invalid patternType UNKNOWN":                              change(func(a *acl) { a.Pattern = 5 }),
		"Invalid operation UNKNOWN":                                change(func(a *acl) { a.Operation = 16 }),
		"Invalid permissionType UNKNOWN":                           change(func(a *acl) { a.Permit = -1 }),
		"Could not parse principal from `alice` (no colon is pres": change(func(a *acl) { a.Principal = "alice" }),
	} {
		resp := root.ask(3, createACLs(bad, good)).(*kmsg.CreateACLsResponse)
		require.Equal(t, codeInvalidRequest, resp.Results[0].ErrorCode, text)
		require.Contains(t, *resp.Results[0].ErrorMessage, text)
		require.Zero(t, resp.Results[1].ErrorCode)
	}
	require.Equal(t, []acl{good}, described(root.ask(3, describeAllACLs()).(*kmsg.DescribeACLsResponse)))
	many := make([]acl, maxMutations+1)
	for i := range many {
		many[i] = good
	}
	require.Equal(t, codePolicyViolation, root.ask(3, createACLs(many...)).(*kmsg.CreateACLsResponse).Results[0].ErrorCode)

	for _, indefinite := range []acl{change(func(a *acl) { a.Resource = resourceAny }), change(func(a *acl) { a.Pattern = patternMatch }), change(func(a *acl) { a.Operation = opAny }), change(func(a *acl) { a.Permit = permissionAny })} {
		for _, r := range root.ask(3, createACLs(good, indefinite)).(*kmsg.CreateACLsResponse).Results {
			require.Equal(t, codeUnknownServerError, r.ErrorCode, "all of the request fails, as in Kafka")
			require.Nil(t, r.ErrorMessage)
		}
	}
	strange := deleteACLs("t", "t")
	strange.Filters[0].ResourceType, strange.Filters[1].Operation = 77, 99
	refused := root.ask(3, strange).(*kmsg.DeleteACLsResponse)
	require.Equal(t, "Unknown patternFilter.", *refused.Results[0].ErrorMessage)
	require.Equal(t, "Unknown entryFilter.", *refused.Results[1].ErrorMessage)

	for what, send := range map[string]func(*peer){
		"create":   func(p *peer) { p.send(3, createACLs(change(func(a *acl) { a.Operation = 0 }))) },
		"describe": func(p *peer) { r := describeAllACLs(); r.PermissionType = 0; p.send(3, r) },
		"delete":   func(p *peer) { r := deleteACLs("x"); r.Filters[0].ResourceType = 0; p.send(3, r) },
	} {
		p := f.as("root")
		send(p)
		p.end()
		require.ErrorIs(t, f.reason(), ErrMalformedRequest, what)
	}
}

func TestRulesAreForThoseWhoMayAlterTheCluster(t *testing.T) {
	f := secure(t)
	alice := f.as("alice")
	rule := acl{resourceTopic, patternLiteral, "t", "User:alice", "*", opAll, permissionAllow}
	require.Equal(t, codeClusterAuthorizationFailed, alice.ask(3, createACLs(rule)).(*kmsg.CreateACLsResponse).Results[0].ErrorCode)
	require.Equal(t, codeClusterAuthorizationFailed, alice.ask(3, deleteACLs("t")).(*kmsg.DeleteACLsResponse).Results[0].ErrorCode)
	require.Equal(t, codeClusterAuthorizationFailed, alice.ask(3, describeAllACLs()).(*kmsg.DescribeACLsResponse).ErrorCode)
	f.rules(acl{resourceCluster, patternLiteral, clusterName, "User:alice", "*", opAlter, permissionAllow})
	require.Zero(t, alice.ask(3, createACLs(rule)).(*kmsg.CreateACLsResponse).Results[0].ErrorCode)
	require.Zero(t, alice.ask(3, describeAllACLs()).(*kmsg.DescribeACLsResponse).ErrorCode, "to alter is to describe")
}

func TestWithoutAnAuthorizerSecurityIsDisabled(t *testing.T) {
	f := newFortress(t, Config{}, ListenerConfig{})
	p := f.dial()
	created := p.ask(3, createACLs(acl{resourceTopic, patternLiteral, "t", "User:alice", "*", opAll, permissionAllow})).(*kmsg.CreateACLsResponse)
	require.Equal(t, codeSecurityDisabled, created.Results[0].ErrorCode)
	require.Equal(t, codeSecurityDisabled, p.ask(3, deleteACLs("t")).(*kmsg.DeleteACLsResponse).Results[0].ErrorCode)
	require.Equal(t, codeSecurityDisabled, p.ask(3, describeAllACLs()).(*kmsg.DescribeACLsResponse).ErrorCode)
}

func TestEveryoneIsAllowedWhatNoRuleIsAboutIfThePropertySaysSo(t *testing.T) {
	f := secure(t, "allow.everyone.if.no.acl.found", "true")
	s := f.server.brokers()[0].listeners[0].newSession(1, nil)
	s.host = "10.0.0.9"
	require.True(t, s.authorize(opRead, resourceTopic, "free"))
	require.True(t, s.authorizeAny(opWrite, resourceTopic))
	f.rules(acl{resourceTopic, patternLiteral, "taken", "User:bob", "*", opRead, permissionAllow}, acl{resourceTopic, patternPrefixed, "sec", "User:bob", "*", opRead, permissionDeny})
	require.True(t, s.authorize(opRead, resourceTopic, "free"))
	require.False(t, s.authorize(opRead, resourceTopic, "taken"))
	require.False(t, s.authorize(opRead, resourceTopic, "secret"))
	require.Zero(t, s.authorizedOperations(resourceTopic, "taken"))
	require.Equal(t, supportedOperations[resourceTopic], s.authorizedOperations(resourceTopic, "free"))
	require.True(t, s.authorizeCluster(opAlter))
	f.rules(acl{resourceTopic, patternLiteral, "*", "User:bob", "*", opRead, permissionAllow})
	require.False(t, s.authorize(opRead, resourceTopic, "free"), "a rule for all topics is one about each")
	require.False(t, s.authorizeAny(opWrite, resourceTopic))
}

func TestAuthorizedOperationsAreTheBitsOfWhatIsAllowed(t *testing.T) {
	f := secure(t)
	s := f.server.brokers()[0].listeners[0].newSession(1, nil)
	s.become(Principal{"User", "alice"})
	f.rules(acl{resourceTopic, patternLiteral, "t", "User:alice", "*", opWrite, permissionAllow}, acl{resourceGroup, patternPrefixed, "g", "User:alice", "*", opAll, permissionAllow},
		acl{resourceGroup, patternPrefixed, "g", "User:alice", "*", opDelete, permissionDeny})
	require.Equal(t, bits(opWrite, opDescribe), s.authorizedOperations(resourceTopic, "t"))
	require.Equal(t, bits(opRead, opDescribe, opDescribeConfigs, opAlterConfigs), s.authorizedOperations(resourceGroup, "g1"))
	require.Zero(t, s.authorizedOperations(resourceCluster, clusterName))
	s.become(Principal{"User", "root"})
	require.Equal(t, int32(3576), s.authorizedOperations(resourceTopic, "t"), "as an Apache Kafka broker answers")

	items := []string{"t", "u", "t", "v"}
	self := func(s string) string { return s }
	s.become(Principal{"User", "alice"})
	yes, no := authorized(s, opWrite, resourceTopic, items, self)
	require.Equal(t, []string{"t", "t"}, yes)
	require.Equal(t, []string{"u", "v"}, no)
	yes, no = authorized(s, opWrite, resourceTopic, items[:1], self)
	require.Equal(t, items[:1], yes)
	require.Empty(t, no)
	require.Equal(t, []string{"t", "u", "t", "v"}, items, "items stay as they are")
}

// Rules, credentials and quotas are the store's: they are there after a restart, and for another server on the same store
// at once.
func TestSecurityOutlivesTheServerAndIsSharedByItsSiblings(t *testing.T) {
	f := secure(t)
	rule := acl{resourceTopic, patternLiteral, "t", "User:alice", "*", opAll, permissionAllow}
	f.rules(rule)
	putUser(t, f.server, "alice", wire.MechanismScramSHA512, "wonder")
	first := f.server
	f.serve(Config{Properties: map[string]string{"authorizer.class.name": standardAuthorizer}}, ListenerConfig{Protocol: SASLPlaintext})
	p := f.dial()
	require.Zero(t, p.login(scramClient(t, wire.MechanismScramSHA512, "alice", "wonder")).ErrorCode)
	s := first.brokers()[0].listeners[0].newSession(1, nil)
	s.become(Principal{"User", "alice"})
	require.True(t, s.authorize(opRead, resourceTopic, "t"))
	require.False(t, s.authorize(opRead, resourceTopic, "u"))
	rule.Name = "u"
	f.rules(rule) // by the second server
	require.True(t, s.authorize(opRead, resourceTopic, "u"), "seen by the first")

	require.NoError(t, f.store.PutSettings(t.Context(), partition.Setting{Key: aclArea + "x", Value: []byte("from the future")}))
	require.False(t, s.authorize(opRead, resourceTopic, "t"), "what cannot be read may be a denial")
	s.become(Principal{"User", "root"})
	require.True(t, s.authorize(opRead, resourceTopic, "t"))
	_, err := New(f.store, Config{})
	require.ErrorIs(t, err, errBadACL)
}
