package kafka

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// resourceType is what an access rule is about, with the protocol's numbers.
type resourceType int8

const (
	resourceAny             resourceType = 1 // filters only
	resourceTopic           resourceType = 2
	resourceGroup           resourceType = 3
	resourceCluster         resourceType = 4 // of the one name clusterName
	resourceTransactionalID resourceType = 5
	resourceDelegationToken resourceType = 6
	resourceUser            resourceType = 7

	resourceTypes = 8
)

// clusterName is the name of the only resource of type cluster.
const clusterName = "kafka-cluster"

// operation is what is done to a resource, with the protocol's numbers; its bit in an authorized-operations field is the
// same number.
type operation int8

const (
	opAny             operation = 1 // filters only
	opAll             operation = 2 // rules only
	opRead            operation = 3
	opWrite           operation = 4
	opCreate          operation = 5
	opDelete          operation = 6
	opAlter           operation = 7
	opDescribe        operation = 8
	opClusterAction   operation = 9
	opDescribeConfigs operation = 10
	opAlterConfigs    operation = 11
	opIdempotentWrite operation = 12
	opCreateTokens    operation = 13
	opDescribeTokens  operation = 14
	opTwoPhaseCommit  operation = 15
)

// patternType is how a rule names resources.
type patternType int8

const (
	patternAny      patternType = 1 // filters only: of either type
	patternMatch    patternType = 2 // filters only: all that would apply to the name
	patternLiteral  patternType = 3 // that name, or all with the name *
	patternPrefixed patternType = 4 // all names that begin so
)

// permission is what a rule says.
type permission int8

const (
	permissionAny   permission = 1 // filters only
	permissionDeny  permission = 2
	permissionAllow permission = 3
)

var (
	resourceNames   = [...]string{"UNKNOWN", "ANY", "TOPIC", "GROUP", "CLUSTER", "TRANSACTIONAL_ID", "DELEGATION_TOKEN", "USER"}
	operationNames  = [...]string{"UNKNOWN", "ANY", "ALL", "READ", "WRITE", "CREATE", "DELETE", "ALTER", "DESCRIBE", "CLUSTER_ACTION", "DESCRIBE_CONFIGS", "ALTER_CONFIGS", "IDEMPOTENT_WRITE", "CREATE_TOKENS", "DESCRIBE_TOKENS", "TWO_PHASE_COMMIT"}
	patternNames    = [...]string{"UNKNOWN", "ANY", "MATCH", "LITERAL", "PREFIXED"}
	permissionNames = [...]string{"UNKNOWN", "ANY", "DENY", "ALLOW"}
)

func nameOf(names []string, n int8) string {
	if n < 0 || int(n) >= len(names) {
		return names[0]
	}
	return names[n]
}

func (t resourceType) String() string { return nameOf(resourceNames[:], int8(t)) }
func (o operation) String() string    { return nameOf(operationNames[:], int8(o)) }
func (p patternType) String() string  { return nameOf(patternNames[:], int8(p)) }
func (p permission) String() string   { return nameOf(permissionNames[:], int8(p)) }

// known reports whether a number of the protocol has a meaning.
func known(names []string, n int8) bool { return n > 0 && int(n) < len(names) }

// unknownElements reports whether one of the four numbers of a request says UNKNOWN: that is no request. Numbers that nobody
// knows are another matter: rules with them are refused, and filters match nothing.
func unknownElements(rt resourceType, p patternType, op operation, permit permission) bool {
	return rt == 0 || p == 0 || op == 0 || permit == 0
}

// supportedOperations are the operations that make sense for a type of resource, as the bits of an authorized-operations
// field.
var supportedOperations = [resourceTypes]int32{
	resourceTopic:           bits(opRead, opWrite, opCreate, opDescribe, opDelete, opAlter, opDescribeConfigs, opAlterConfigs),
	resourceGroup:           bits(opRead, opDescribe, opDelete, opDescribeConfigs, opAlterConfigs),
	resourceCluster:         bits(opCreate, opClusterAction, opDescribeConfigs, opAlterConfigs, opIdempotentWrite, opAlter, opDescribe),
	resourceTransactionalID: bits(opDescribe, opWrite, opTwoPhaseCommit),
	resourceDelegationToken: bits(opDescribe),
	resourceUser:            bits(opCreateTokens, opDescribeTokens),
}

func bits(ops ...operation) (field int32) {
	for _, op := range ops {
		field |= 1 << op
	}
	return field
}

// wildcard names every resource in a literal rule, every host, and in wildcardPrincipal every user.
const (
	wildcard          = "*"
	wildcardPrincipal = "User:*"
)

// acl is one access rule. It can be compared.
type acl struct {
	Resource  resourceType `json:"resource"`
	Pattern   patternType  `json:"pattern"`
	Name      string       `json:"name"`
	Principal string       `json:"principal"` // Type:name, or User:*
	Host      string       `json:"host"`      // an address as text, or *
	Operation operation    `json:"operation"`
	Permit    permission   `json:"permission"`
}

// String is for errors: nothing in a rule is secret.
func (a acl) String() string {
	return fmt.Sprintf("%v of %v to %s from host %s on %v %v:%s", a.Permit, a.Operation, a.Principal, a.Host, a.Pattern, a.Resource, a.Name)
}

// aclArea is the part of the store's settings where rules are: one setting each, called after a random id.
const aclArea = "kafka/acl/"

var errBadACL = errors.New("access rule that this program cannot read")

func (a acl) encode() []byte {
	b, err := json.Marshal(a)
	if err != nil {
		panic("BUG: " + err.Error()) // strings and numbers always marshal
	}
	return b
}

func decodeACL(value []byte) (a acl, err error) {
	if err := json.Unmarshal(value, &a); err != nil {
		return acl{}, fmt.Errorf("%w: %w", errBadACL, err)
	}
	if err := a.validate(); err != nil {
		return acl{}, fmt.Errorf("%w: %w", errBadACL, err)
	}
	return a, nil
}

// validate says what keeps a from being a rule, in the words of Kafka's controller.
func (a acl) validate() error {
	bad := func(format string, args ...any) error {
		return &protocolError{codeInvalidRequest, fmt.Sprintf(format, args...)}
	}
	switch {
	case a.Resource == resourceCluster && a.Name != clusterName:
		return bad("The only valid name for the CLUSTER resource is %s", clusterName)
	case a.Name == "":
		return bad("Invalid empty resource name")
	case a.Resource == resourceAny || !known(resourceNames[:], int8(a.Resource)):
		return bad("Invalid resourceType %v", a.Resource)
	case a.Pattern != patternLiteral && a.Pattern != patternPrefixed:
		return bad("Invalid patternType %v", a.Pattern)
	case a.Operation == opAny || !known(operationNames[:], int8(a.Operation)):
		return bad("Invalid operation %v", a.Operation)
	case a.Permit != permissionDeny && a.Permit != permissionAllow:
		return bad("Invalid permissionType %v", a.Permit)
	case !strings.Contains(a.Principal, ":"):
		return bad("Could not parse principal from `%s` (no colon is present separating the principal type from the principal name)", a.Principal)
	}
	return nil
}

// aclFilter selects rules: DescribeAcls and DeleteAcls. Nil strings match everything.
type aclFilter struct {
	resource  resourceType
	pattern   patternType
	name      *string
	principal *string
	host      *string
	operation operation
	permit    permission
}

// check says what keeps f from selecting anything, in the words of Kafka's controller: a number without a meaning.
func (f *aclFilter) check() error {
	if !known(resourceNames[:], int8(f.resource)) || !known(patternNames[:], int8(f.pattern)) {
		return &protocolError{codeInvalidRequest, "Unknown patternFilter."}
	}
	if !known(operationNames[:], int8(f.operation)) || !known(permissionNames[:], int8(f.permit)) {
		return &protocolError{codeInvalidRequest, "Unknown entryFilter."}
	}
	return nil
}

// matches reports whether the filter selects a.
func (f *aclFilter) matches(a *acl) bool {
	return (f.resource == resourceAny || f.resource == a.Resource) &&
		f.matchesName(a) &&
		(f.principal == nil || *f.principal == a.Principal) &&
		(f.host == nil || *f.host == a.Host) &&
		(f.operation == opAny || f.operation == a.Operation) &&
		(f.permit == permissionAny || f.permit == a.Permit)
}

func (f *aclFilter) matchesName(a *acl) bool {
	switch {
	case f.pattern != patternAny && f.pattern != patternMatch:
		return f.pattern == a.Pattern && (f.name == nil || *f.name == a.Name)
	case f.name == nil:
		return true
	case f.pattern == patternAny:
		return *f.name == a.Name
	case a.Pattern == patternPrefixed:
		return strings.HasPrefix(*f.name, a.Name)
	default:
		return a.Name == *f.name || a.Name == wildcard
	}
}
