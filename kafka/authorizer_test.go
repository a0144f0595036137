package kafka

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// right is what an API asks for.
type right struct {
	op operation
	rt resourceType
}

// name is the resource that requests of these tests are about.
func (r right) name() string {
	if r.rt == resourceCluster {
		return clusterName
	}
	return "secret"
}

// rightsOfAPIs has, for each API that is served, what Kafka's table of operations and resources asks for; all of it is
// needed. Nothing: the API is for everybody who is authenticated.
var rightsOfAPIs = map[int16][]right{
	0:  {{opWrite, resourceTopic}},
	1:  {{opRead, resourceTopic}},
	2:  {{opDescribe, resourceTopic}},
	3:  {{opDescribe, resourceTopic}},
	8:  {{opRead, resourceGroup}, {opRead, resourceTopic}},
	9:  {{opDescribe, resourceGroup}, {opDescribe, resourceTopic}},
	10: {{opDescribe, resourceGroup}},
	11: {{opRead, resourceGroup}},
	12: {{opRead, resourceGroup}},
	13: {{opRead, resourceGroup}},
	14: {{opRead, resourceGroup}},
	15: {{opDescribe, resourceGroup}},
	16: {{opDescribe, resourceGroup}},
	17: {},
	18: {},
	19: {{opCreate, resourceTopic}},
	20: {{opDelete, resourceTopic}},
	21: {{opDelete, resourceTopic}},
	22: {{opWrite, resourceTransactionalID}},
	23: {{opDescribe, resourceTopic}},
	24: {{opWrite, resourceTransactionalID}, {opWrite, resourceTopic}},
	25: {{opWrite, resourceTransactionalID}, {opRead, resourceGroup}},
	26: {{opWrite, resourceTransactionalID}},
	27: {{opClusterAction, resourceCluster}},
	28: {{opWrite, resourceTransactionalID}, {opRead, resourceGroup}, {opRead, resourceTopic}},
	29: {{opDescribe, resourceCluster}},
	30: {{opAlter, resourceCluster}},
	31: {{opAlter, resourceCluster}},
	32: {{opDescribeConfigs, resourceTopic}},
	33: {{opAlterConfigs, resourceTopic}},
	35: {{opDescribe, resourceCluster}},
	36: {},
	37: {{opAlter, resourceTopic}},
	38: {}, 39: {}, 40: {}, 41: {}, // DELEGATION_TOKEN_AUTH_DISABLED for all
	42: {{opDelete, resourceGroup}},
	43: {{opAlter, resourceCluster}},
	44: {{opAlterConfigs, resourceTopic}},
	45: {{opAlter, resourceCluster}},
	46: {{opDescribe, resourceCluster}},
	47: {{opDelete, resourceGroup}, {opRead, resourceTopic}},
	48: {{opDescribeConfigs, resourceCluster}},
	49: {{opAlterConfigs, resourceCluster}},
	50: {{opDescribe, resourceCluster}},
	51: {{opAlter, resourceCluster}},
	55: {{opDescribe, resourceCluster}},
	57: {{opAlter, resourceCluster}},
	60: {}, // only the field of authorized operations depends on the principal
	61: {{opRead, resourceTopic}},
	64: {{opAlter, resourceCluster}},
	65: {{opDescribe, resourceTransactionalID}},
	66: {{opDescribe, resourceTransactionalID}},
	68: {{opRead, resourceGroup}, {opDescribe, resourceTopic}},
	69: {{opDescribe, resourceGroup}},
	71: {}, 72: {}, // where they are served
	74: {{opDescribeConfigs, resourceCluster}},
	75: {{opDescribe, resourceTopic}},
	80: {{opAlter, resourceCluster}},
	81: {{opAlter, resourceCluster}},
}

// filled makes a request of an API that names one of everything, all called secret.
func filled(key int16) kmsg.Request {
	req := kmsg.RequestForKey(key)
	if d, ok := req.(interface{ Default() }); ok {
		d.Default()
	}
	fill(reflect.ValueOf(req).Elem(), "")
	switch req := req.(type) {
	case *kmsg.ProduceRequest:
		req.Acks, req.TransactionID = -1, nil
		req.Topics[0].Partitions[0].Records = partitiontest.Batch(partitiontest.Record{Value: []byte("v")})
	case *kmsg.FetchRequest:
		req.MaxWaitMillis, req.ReplicaID = 0, -1
		req.ForgottenTopics, req.SessionID, req.SessionEpoch = nil, 0, -1
	case *kmsg.DescribeConfigsRequest:
		req.Resources[0].ResourceType, req.Resources[0].ConfigNames = kmsg.ConfigResourceTypeTopic, nil
	case *kmsg.AlterConfigsRequest:
		req.Resources[0].ResourceType = kmsg.ConfigResourceTypeTopic
	case *kmsg.IncrementalAlterConfigsRequest:
		req.Resources[0].ResourceType = kmsg.ConfigResourceTypeTopic
	case *kmsg.DescribeACLsRequest:
		req.ResourceType, req.ResourcePatternType, req.Operation, req.PermissionType = 1, 1, 1, 1
	case *kmsg.DeleteACLsRequest:
		f := &req.Filters[0]
		f.ResourceType, f.ResourcePatternType, f.Operation, f.PermissionType = 1, 1, 1, 1
	case *kmsg.CreateACLsRequest:
		req.Creations[0] = creation(acl{resourceTopic, patternLiteral, "other", "User:x", "*", opRead, permissionAllow})
	case *kmsg.CreateTopicsRequest:
		req.Topics[0].Topic, req.Topics[0].NumPartitions, req.Topics[0].ReplicationFactor = "secret", 1, 1
		req.Topics[0].ReplicaAssignment, req.Topics[0].Configs = nil, nil
		req.ValidateOnly = true
	case *kmsg.ListGroupsRequest:
		req.StatesFilter, req.TypesFilter = nil, nil
	case *kmsg.ListTransactionsRequest:
		req.StateFilters, req.ProducerIDFilters, req.TransactionalIDPattern = nil, nil, nil
		req.DurationFilterMillis = -1
	case *kmsg.DescribeClientQuotasRequest:
		req.Components = nil
	case *kmsg.OffsetFetchRequest:
		req.Groups[0].MemberID = nil
	case *kmsg.FindCoordinatorRequest:
		req.CoordinatorType = 0
	case *kmsg.ConsumerGroupHeartbeatRequest:
		req.MemberID, req.InstanceID, req.SubscribedTopicRegex, req.ServerAssignor, req.RackID, req.Topics = "member", nil, nil, nil, nil, nil
	case *kmsg.DescribeTopicPartitionsRequest:
		req.Cursor = nil
	case *kmsg.WriteTxnMarkersRequest:
		req.Markers[0].ProducerID = 4711
	}
	return req
}

// fill sets strings to "secret" and gives every list one element.
func fill(v reflect.Value, field string) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Name != "Version" && f.Name != "UnknownTags" {
				fill(v.Field(i), f.Name)
			}
		}
	case reflect.String:
		v.SetString("secret")
	case reflect.Pointer:
		if v.Type().Elem().Kind() == reflect.String && field != "InstanceID" {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), field)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		s := reflect.MakeSlice(v.Type(), 1, 1)
		if d, ok := s.Index(0).Addr().Interface().(interface{ Default() }); ok {
			d.Default()
		}
		fill(s.Index(0), field)
		v.Set(s)
	}
}

// denials returns the codes of failed authorization in an answer, and marks an empty list where an API says no by silence.
func denials(resp kmsg.Response) (codes []int16) {
	switch resp := resp.(type) {
	case *kmsg.ListGroupsResponse:
		if len(resp.Groups) == 0 {
			codes = append(codes, 0)
		}
	case *kmsg.ListTransactionsResponse:
		if len(resp.TransactionStates) == 0 {
			codes = append(codes, 0)
		}
	}
	var walk func(v reflect.Value, field string)
	walk = func(v reflect.Value, field string) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				walk(v.Field(i), v.Type().Field(i).Name)
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i), field)
			}
		case reflect.Int16:
			code := int16(v.Int())
			if strings.Contains(field, "ErrorCode") && (code == codeTopicAuthorizationFailed || code == codeGroupAuthorizationFailed || code == codeClusterAuthorizationFailed || code == codeTransactionalIDAuthFailed) {
				codes = append(codes, code)
			}
		}
	}
	walk(reflect.ValueOf(resp).Elem(), "")
	return codes
}

// codeOfDenial is what an answer has where a right on this type of resource is missing.
var codeOfDenial = map[resourceType]int16{
	resourceTopic: codeTopicAuthorizationFailed, resourceGroup: codeGroupAuthorizationFailed, resourceCluster: codeClusterAuthorizationFailed, resourceTransactionalID: codeTransactionalIDAuthFailed,
}

// vault is a secured server with a topic, a group and a transactional id, all called secret.
func vault(t testing.TB) *fortress {
	f := secure(t, "group.initial.rebalance.delay.ms", "0")
	f.createTopic("secret", partition.TopicConfig{Partitions: 1})
	_, err := f.backend.InitProducerID(t.Context(), "secret", 60_000_000_000, partition.NoProducerID)
	require.NoError(t, err)
	root := f.session("root", t)
	for typ := range int8(2) {
		find := kmsg.NewPtrFindCoordinatorRequest()
		find.CoordinatorKey, find.CoordinatorType = "secret", typ
		_, err = root.ask(2, find)
		require.NoError(t, err)
	}
	commit := kmsg.NewPtrOffsetCommitRequest()
	commit.Group = "secret"
	ct := kmsg.NewOffsetCommitRequestTopic()
	ct.Topic = "secret"
	ct.Partitions = append(ct.Partitions, kmsg.NewOffsetCommitRequestTopicPartition())
	commit.Topics = append(commit.Topics, ct)
	committed, err := root.ask(8, commit)
	require.NoError(t, err)
	require.Zero(t, committed.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode)
	return f
}

// insider is a session without a connection.
type insider struct {
	*session
	t testing.TB
}

func (f *fortress) session(user string, t testing.TB) insider {
	s := f.server.brokers()[0].listeners[0].newSession(1, nil)
	s.host = "127.0.0.1"
	s.become(Principal{principalUser, user})
	return insider{s, t}
}

func (s insider) ask(version int16, req kmsg.Request) (kmsg.Response, error) {
	return try(s.t.Context(), s.session, version, req)
}

// versionOf is the newest version that names topics by their names.
func versionOf(key int16) int16 {
	switch key {
	case 0, 1:
		return 12
	case 20:
		return 5
	case 24:
		return 3 // later ones are between brokers
	}
	return apis[key].Max
}

// Every API that is served is asked by somebody with all that it asks for, and without each part of that. Of nodes, those that only nodes have, as each
// question has a cluster of its own.
func TestEveryAPIAsksForItsRightsAndForNothingElse(t *testing.T) {
	for key := range vault(t).server.versions {
		if onNodes(t) && !slices.Contains(ofNodes, key) {
			continue
		}
		a := apis[key]
		rights, known := rightsOfAPIs[key]
		require.True(t, known, "%s: which rights does it ask for?", a.name)
		t.Run(a.name, func(t *testing.T) {
			ask := func(rights []right) []int16 {
				f := vault(t)
				for _, r := range rights {
					f.rules(acl{r.rt, patternLiteral, r.name(), "User:alice", "127.0.0.1", r.op, permissionAllow})
				}
				resp, err := f.session("alice", t).ask(versionOf(key), filled(key))
				require.NoError(t, err)
				return denials(resp)
			}
			require.Empty(t, ask(rights), "with all that it asks for")
			for i, missing := range rights {
				got := ask(append(append([]right{}, rights[:i]...), rights[i+1:]...))
				if key == 16 || key == 66 {
					require.Equal(t, []int16{0}, got)
					continue
				}
				require.NotEmpty(t, got, "without %v", missing)
				for _, code := range got {
					require.Equal(t, codeOfDenial[missing.rt], code, "without %v", missing)
				}
			}
			// Super users need no rule, and one that denies all of it does not keep them out.
			f := vault(t)
			for _, r := range rights {
				f.rules(acl{r.rt, patternLiteral, r.name(), "User:*", "*", opAll, permissionDeny})
			}
			resp, err := f.session("root", t).ask(versionOf(key), filled(key))
			require.NoError(t, err)
			require.Empty(t, denials(resp), "by a super user")
		})
	}
}

// What one may not see must look as what is not there.
func TestNobodyLearnsWhetherATopicExistsThatHeMayNotDescribe(t *testing.T) {
	f := vault(t)
	s := f.session("alice", t)
	for _, key := range []int16{0, 1, 2, 20, 21, 23, 32, 33, 37, 44, 61, 75} {
		t.Run(apis[key].name, func(t *testing.T) {
			var answers []string
			for _, topic := range []string{"secret", "absent"} {
				req := filled(key)
				rename(reflect.ValueOf(req).Elem(), topic)
				resp, err := s.ask(versionOf(key), req)
				require.NoError(t, err)
				require.NotEmpty(t, denials(resp), apis[key].name)
				answers = append(answers, strings.ReplaceAll(fmt.Sprintf("%+v", printable(resp)), topic, "NAME"))
			}
			require.Equal(t, answers[0], answers[1], apis[key].name)
		})
	}
	metadata := s.metadata(nil)
	require.Empty(t, metadata.Topics, "a list of all topics has those only that one may describe")
	named := s.metadata([]string{"secret", "absent"})
	for _, topic := range named.Topics {
		require.Equal(t, codeTopicAuthorizationFailed, topic.ErrorCode)
		require.Zero(t, topic.TopicID)
		require.Empty(t, topic.Partitions)
		require.False(t, topic.IsInternal)
	}
}

func (s insider) metadata(topics []string) *kmsg.MetadataResponse {
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range topics {
		one := kmsg.NewMetadataRequestTopic()
		one.Topic = &name
		req.Topics = append(req.Topics, one)
	}
	resp, err := s.ask(12, req)
	require.NoError(s.t, err)
	return resp.(*kmsg.MetadataResponse)
}

func rename(v reflect.Value, name string) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				rename(v.Field(i), name)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			rename(v.Index(i), name)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			rename(v.Elem(), name)
		}
	case reflect.String:
		if v.String() == "secret" {
			v.SetString(name)
		}
	}
}

// printable is an answer as bytes, so that pointers in it do not differ.
func printable(resp kmsg.Response) string { return string(resp.AppendTo(nil)) }

// KIP-679: to be allowed to write any topic is to be allowed idempotent producers.
func TestIdempotentProducersNeedSomethingToWrite(t *testing.T) {
	initProducerID := func(f *fortress) int16 {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.ProducerID, req.ProducerEpoch = -1, -1
		resp, err := f.session("alice", t).ask(4, req)
		require.NoError(t, err)
		return resp.(*kmsg.InitProducerIDResponse).ErrorCode
	}
	f := vault(t)
	require.Equal(t, codeClusterAuthorizationFailed, initProducerID(f))
	f.rules(acl{resourceTopic, patternPrefixed, "x", "User:alice", "*", opWrite, permissionAllow})
	require.Zero(t, initProducerID(f))
	f.rules(acl{resourceTopic, patternLiteral, "*", "User:alice", "*", opWrite, permissionDeny})
	require.Equal(t, codeClusterAuthorizationFailed, initProducerID(f))
	f.rules(acl{resourceCluster, patternLiteral, clusterName, "User:alice", "*", opIdempotentWrite, permissionAllow})
	require.Zero(t, initProducerID(f))
}
