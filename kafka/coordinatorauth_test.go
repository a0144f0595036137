package kafka

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// guarded is a desk with an authorizer, at which the first session may do nothing and root everything.
func guarded(t testing.TB) (r *desk, root *session) {
	r = newDesk(t, 1, map[string]string{"authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users": "User:root"})
	root = r.another()
	root.sec.name = "User:root"
	for _, kind := range []int8{0, 1} {
		require.Zero(t, askOn[*kmsg.FindCoordinatorResponse](r, root, 2, &kmsg.FindCoordinatorRequest{CoordinatorKey: "x", CoordinatorType: kind}).ErrorCode)
	}
	return r, root
}

// allow gives the first session's principal one permission.
func (r *desk) allow(root *session, op operation, rt resourceType, name string) {
	r.t.Helper()
	req := kmsg.NewPtrCreateACLsRequest()
	c := kmsg.NewCreateACLsRequestCreation()
	c.ResourceType, c.ResourceName, c.ResourcePatternType = kmsg.ACLResourceType(rt), name, kmsg.ACLResourcePatternTypeLiteral
	c.Principal, c.Host, c.Operation, c.PermissionType = "User:ANONYMOUS", "*", kmsg.ACLOperation(op), kmsg.ACLPermissionTypeAllow
	req.Creations = append(req.Creations, c)
	require.Zero(r.t, askOn[*kmsg.CreateACLsResponse](r, root, 3, req).Results[0].ErrorCode)
}

func TestEveryCoordinatorApiIsRefusedToWhoMayDoNothing(t *testing.T) {
	r, root := guarded(t)
	none := partition.NoProducerID
	require.Equal(t, codeGroupAuthorizationFailed, ask[*kmsg.FindCoordinatorResponse](r, 2, &kmsg.FindCoordinatorRequest{CoordinatorKey: "x"}).ErrorCode)
	require.Equal(t, codeTransactionalIDAuthFailed, ask[*kmsg.FindCoordinatorResponse](r, 4, &kmsg.FindCoordinatorRequest{CoordinatorKeys: []string{"x"}, CoordinatorType: 1}).Coordinators[0].ErrorCode)
	refused := ask[*kmsg.JoinGroupResponse](r, 9, joinOf("g", ""))
	require.Equal(t, codeGroupAuthorizationFailed, refused.ErrorCode)
	require.Nil(t, refused.Protocol)
	require.Equal(t, codeGroupAuthorizationFailed, ask[*kmsg.SyncGroupResponse](r, 5, syncOf("g", &kmsg.JoinGroupResponse{})).ErrorCode)
	require.Equal(t, codeGroupAuthorizationFailed, ask[*kmsg.HeartbeatResponse](r, 4, &kmsg.HeartbeatRequest{Group: "g"}).ErrorCode)
	require.Equal(t, codeGroupAuthorizationFailed, ask[*kmsg.LeaveGroupResponse](r, 5, &kmsg.LeaveGroupRequest{Group: "g"}).ErrorCode)
	require.Equal(t, codeGroupAuthorizationFailed, ask[*kmsg.DescribeGroupsResponse](r, 6, &kmsg.DescribeGroupsRequest{Groups: []string{"g"}}).Groups[0].ErrorCode)
	require.Equal(t, codeGroupAuthorizationFailed, ask[*kmsg.DeleteGroupsResponse](r, 2, &kmsg.DeleteGroupsRequest{Groups: []string{"g"}}).Groups[0].ErrorCode)
	commit := commitRequest("g", -1, "", map[string][]int32{"t": {0}, "nope": {0}})
	for _, code := range commitCodes(ask[*kmsg.OffsetCommitResponse](r, 9, commit)) {
		require.Equal(t, codeGroupAuthorizationFailed, code)
	}
	fetch := &kmsg.OffsetFetchRequest{Group: "g", Topics: []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{0}}}}
	require.Equal(t, codeGroupAuthorizationFailed, ask[*kmsg.OffsetFetchResponse](r, 1, fetch).Topics[0].Partitions[0].ErrorCode)
	require.Equal(t, codeGroupAuthorizationFailed, ask[*kmsg.OffsetFetchResponse](r, 5, fetch).ErrorCode)
	require.Equal(t, codeGroupAuthorizationFailed, ask[*kmsg.OffsetFetchResponse](r, 9, &kmsg.OffsetFetchRequest{Groups: []kmsg.OffsetFetchRequestGroup{{Group: "g"}}}).Groups[0].ErrorCode)
	require.Equal(t, codeGroupAuthorizationFailed, ask[*kmsg.OffsetDeleteResponse](r, 0, &kmsg.OffsetDeleteRequest{Group: "g"}).ErrorCode)
	require.Equal(t, codeGroupAuthorizationFailed, ask[*kmsg.ConsumerGroupHeartbeatResponse](r, 1, heartbeatOf("g", "m")).ErrorCode)
	require.Equal(t, codeGroupAuthorizationFailed, ask[*kmsg.ConsumerGroupDescribeResponse](r, 1, &kmsg.ConsumerGroupDescribeRequest{Groups: []string{"g"}}).Groups[0].ErrorCode)
	require.Equal(t, codeTransactionalIDAuthFailed, ask[*kmsg.InitProducerIDResponse](r, 5, initOf("x", none)).ErrorCode)
	require.Equal(t, codeClusterAuthorizationFailed, ask[*kmsg.InitProducerIDResponse](r, 5, &kmsg.InitProducerIDRequest{ProducerID: -1, ProducerEpoch: -1}).ErrorCode)
	require.Equal(t, []int16{codeTransactionalIDAuthFailed}, addCodes(ask[*kmsg.AddPartitionsToTxnResponse](r, 3, addOf("x", none, "t", 0))))
	require.Equal(t, codeClusterAuthorizationFailed, ask[*kmsg.AddPartitionsToTxnResponse](r, 5, &kmsg.AddPartitionsToTxnRequest{}).ErrorCode)
	require.Equal(t, codeTransactionalIDAuthFailed, ask[*kmsg.AddOffsetsToTxnResponse](r, 4, &kmsg.AddOffsetsToTxnRequest{TransactionalID: "x"}).ErrorCode)
	require.Equal(t, codeTransactionalIDAuthFailed, ask[*kmsg.EndTxnResponse](r, 5, endOf("x", none, true)).ErrorCode)
	require.Equal(t, codeTransactionalIDAuthFailed, ask[*kmsg.TxnOffsetCommitResponse](r, 5, txnCommitOf("x", "g", none, 0)).Topics[0].Partitions[0].ErrorCode)
	marker := kmsg.WriteTxnMarkersRequestMarker{ProducerID: 1, Topics: []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: "t", Partitions: []int32{0}}}}
	require.Equal(t, codeClusterAuthorizationFailed, ask[*kmsg.WriteTxnMarkersResponse](r, 1, &kmsg.WriteTxnMarkersRequest{Markers: []kmsg.WriteTxnMarkersRequestMarker{marker}}).Markers[0].Topics[0].Partitions[0].ErrorCode)
	require.Equal(t, codeTransactionalIDAuthFailed, ask[*kmsg.DescribeTransactionsResponse](r, 0, &kmsg.DescribeTransactionsRequest{TransactionalIDs: []string{"x"}}).TransactionStates[0].ErrorCode)
	require.Equal(t, codeTopicAuthorizationFailed, ask[*kmsg.DescribeProducersResponse](r, 0, &kmsg.DescribeProducersRequest{Topics: []kmsg.DescribeProducersRequestTopic{{Topic: "t", Partitions: []int32{0}}}}).Topics[0].Partitions[0].ErrorCode)

	// Lists leave out what may not be seen.
	askOn[*kmsg.OffsetCommitResponse](r, root, 9, commit)
	require.Zero(t, askOn[*kmsg.InitProducerIDResponse](r, root, 5, initOf("x", none)).ErrorCode)
	require.Empty(t, ask[*kmsg.ListGroupsResponse](r, 5, &kmsg.ListGroupsRequest{}).Groups)
	require.Empty(t, ask[*kmsg.ListTransactionsResponse](r, 2, &kmsg.ListTransactionsRequest{DurationFilterMillis: -1}).TransactionStates)
	require.Len(t, askOn[*kmsg.ListGroupsResponse](r, root, 5, &kmsg.ListGroupsRequest{}).Groups, 1)
	require.Len(t, askOn[*kmsg.ListTransactionsResponse](r, root, 2, &kmsg.ListTransactionsRequest{DurationFilterMillis: -1}).TransactionStates, 1)
}

func TestTopicsAreRefusedOneByOne(t *testing.T) {
	r, root := guarded(t)
	r.allow(root, opRead, resourceGroup, "g")
	r.allow(root, opRead, resourceTopic, "t")
	r.allow(root, opWrite, resourceTransactionalID, "x")
	t0, u0, nope := partition.TopicPartition{Topic: "t"}, partition.TopicPartition{Topic: "u"}, partition.TopicPartition{Topic: "nope"}
	commit := commitRequest("g", -1, "", map[string][]int32{"t": {0}, "u": {0}, "nope": {0}})
	require.Equal(t, map[partition.TopicPartition]int16{t0: 0, u0: codeTopicAuthorizationFailed, nope: codeTopicAuthorizationFailed},
		commitCodes(ask[*kmsg.OffsetCommitResponse](r, 9, commit)), "whether a topic is there is nobody's business")
	askOn[*kmsg.OffsetCommitResponse](r, root, 9, commit)

	all := ask[*kmsg.OffsetFetchResponse](r, 7, &kmsg.OffsetFetchRequest{Group: "g"})
	require.Len(t, all.Topics, 1)
	require.Equal(t, "t", all.Topics[0].Topic)
	some := ask[*kmsg.OffsetFetchResponse](r, 7, &kmsg.OffsetFetchRequest{Group: "g", Topics: []kmsg.OffsetFetchRequestTopic{{Topic: "u", Partitions: []int32{0}}, {Topic: "t", Partitions: []int32{0}}}})
	require.Equal(t, []string{"t", "u"}, []string{some.Topics[0].Topic, some.Topics[1].Topic})
	require.Equal(t, []int16{0, codeTopicAuthorizationFailed}, []int16{some.Topics[0].Partitions[0].ErrorCode, some.Topics[1].Partitions[0].ErrorCode})
	require.EqualValues(t, -1, some.Topics[1].Partitions[0].Offset)

	require.Zero(t, ask[*kmsg.InitProducerIDResponse](r, 5, initOf("x", partition.NoProducerID)).ErrorCode)
	id, p := txnOf(r, 5, "x")
	add := addOf(id, p, "t", 0)
	require.Equal(t, []int16{codeTopicAuthorizationFailed}, addCodes(ask[*kmsg.AddPartitionsToTxnResponse](r, 3, add)), "to read it is not to write it")
	require.Equal(t, codeGroupAuthorizationFailed, ask[*kmsg.TxnOffsetCommitResponse](r, 5, txnCommitOf(id, "other", p, 0)).Topics[0].Partitions[0].ErrorCode)
	require.Zero(t, ask[*kmsg.TxnOffsetCommitResponse](r, 5, txnCommitOf(id, "g", p, 0)).Topics[0].Partitions[0].ErrorCode)
	require.Equal(t, codeClusterAuthorizationFailed, ask[*kmsg.InitProducerIDResponse](r, 5, &kmsg.InitProducerIDRequest{ProducerID: -1, ProducerEpoch: -1}).ErrorCode)
	r.allow(root, opWrite, resourceTopic, "u")
	require.Zero(t, ask[*kmsg.InitProducerIDResponse](r, 5, &kmsg.InitProducerIDRequest{ProducerID: -1, ProducerEpoch: -1}).ErrorCode, "who may write anything may do so idempotently")

	r.allow(root, opDescribe, resourceTopic, "t")
	beat := heartbeatOf("g", "m")
	beat.SubscribedTopicNames = []string{"t", "v"}
	require.Equal(t, codeTopicAuthorizationFailed, ask[*kmsg.ConsumerGroupHeartbeatResponse](r, 1, beat).ErrorCode)
	require.Zero(t, ask[*kmsg.ConsumerGroupHeartbeatResponse](r, 1, heartbeatOf("g", "m")).ErrorCode)
	beat = heartbeatOf("g", "n")
	beat.SubscribedTopicNames = []string{"u"}
	require.Zero(t, askOn[*kmsg.ConsumerGroupHeartbeatResponse](r, root, 1, beat).ErrorCode)
	describe := &kmsg.ConsumerGroupDescribeRequest{Groups: []string{"g"}}
	require.Zero(t, ask[*kmsg.ConsumerGroupDescribeResponse](r, 1, describe).Groups[0].ErrorCode, "u may be written, and so described")
	require.Len(t, askOn[*kmsg.ConsumerGroupDescribeResponse](r, root, 1, describe).Groups[0].Members, 2)
}

func TestAuthorizedOperationsOfGroupsAreToldToWhoAsks(t *testing.T) {
	r, root := guarded(t)
	r.allow(root, opRead, resourceGroup, "g")
	for v := int16(3); v <= 6; v++ {
		asked := &kmsg.DescribeGroupsRequest{Groups: []string{"g"}, IncludeAuthorizedOperations: true}
		ops := ask[*kmsg.DescribeGroupsResponse](r, v, asked).Groups[0].AuthorizedOperations
		if v < 6 {
			require.EqualValues(t, 1<<opRead|1<<opDescribe, ops)
		} else {
			require.EqualValues(t, -1<<31, ops, "a group that there is not is an error")
		}
		asked.IncludeAuthorizedOperations = false
		require.EqualValues(t, -1<<31, ask[*kmsg.DescribeGroupsResponse](r, v, asked).Groups[0].AuthorizedOperations)
	}
	askOn[*kmsg.ConsumerGroupHeartbeatResponse](r, root, 1, heartbeatOf("g", "m"))
	r.allow(root, opDescribe, resourceTopic, "t")
	d := ask[*kmsg.ConsumerGroupDescribeResponse](r, 1, &kmsg.ConsumerGroupDescribeRequest{Groups: []string{"g"}, IncludeAuthorizedOperations: true})
	require.EqualValues(t, 1<<opRead|1<<opDescribe, d.Groups[0].AuthorizedOperations)
}

func TestAGroupWithATopicThatMayNotBeDescribedIsNotDescribed(t *testing.T) {
	r, root := guarded(t)
	r.allow(root, opDescribe, resourceGroup, "g")
	require.Zero(t, askOn[*kmsg.ConsumerGroupHeartbeatResponse](r, root, 1, heartbeatOf("g", "m")).ErrorCode)
	d := ask[*kmsg.ConsumerGroupDescribeResponse](r, 1, &kmsg.ConsumerGroupDescribeRequest{Groups: []string{"g"}}).Groups[0]
	require.Equal(t, codeTopicAuthorizationFailed, d.ErrorCode)
	require.Empty(t, d.Members)
}

// KAFKA-18813: an expression resolves by the rights of whoever sends the heartbeat that resolves it; a rule that comes later counts
// when there are new topics.
func TestARegularExpressionStandsForWhatMayBeDescribed(t *testing.T) {
	r, root := guarded(t)
	r.allow(root, opRead, resourceGroup, "g")
	r.allow(root, opDescribe, resourceTopic, "t")
	regex := "[tuv]"
	beat := heartbeatOf("g", "m")
	beat.SubscribedTopicNames, beat.SubscribedTopicRegex = nil, &regex
	assigned := func(resp *kmsg.ConsumerGroupHeartbeatResponse) (names []string) {
		t.Helper()
		require.Zero(t, resp.ErrorCode)
		beat.MemberEpoch = resp.MemberEpoch
		require.NotNil(t, resp.Assignment)
		for _, topic := range resp.Assignment.Topics {
			of, err := r.store.TopicByID(topic.TopicID)
			require.NoError(t, err)
			names = append(names, of.Name())
		}
		slices.Sort(names)
		return names
	}
	require.Equal(t, []string{"t"}, assigned(ask[*kmsg.ConsumerGroupHeartbeatResponse](r, 1, beat)))

	next := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	next.Group, next.MemberID, next.MemberEpoch = "g", "m", beat.MemberEpoch
	r.allow(root, opRead, resourceTopic, "u")
	r.clock.Advance(11 * time.Second)
	require.Nil(t, ask[*kmsg.ConsumerGroupHeartbeatResponse](r, 1, next).Assignment)

	_, err := r.store.CreateTopic(t.Context(), "v", partition.TopicConfig{})
	require.NoError(t, err)
	r.clock.Advance(11 * time.Second)
	require.Equal(t, []string{"t", "u"}, assigned(ask[*kmsg.ConsumerGroupHeartbeatResponse](r, 1, next)), "who may read a topic may describe it")

	other := heartbeatOf("g", "n")
	other.SubscribedTopicNames, other.SubscribedTopicRegex = nil, kmsg.StringPtr("v|w")
	resp := askOn[*kmsg.ConsumerGroupHeartbeatResponse](r, root, 1, other)
	require.Equal(t, []string{"v"}, assigned(resp), "a super user may describe everything")
}
