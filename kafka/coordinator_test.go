package kafka

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

// desk is a ground whose handlers are called without a connection.
type desk struct {
	*ground
	clock    *clock.Manual
	brokers  []*Broker
	sessions []*session // one of each broker
}

// newDesk has brokers with one PLAINTEXT listener each and the topics "t" and "u" of three partitions; first joins are not delayed.
func newDesk(t testing.TB, brokers int, properties map[string]string) *desk {
	r := &desk{clock: clock.NewManual(time.UnixMilli(1_700_000_000_000))}
	set := map[string]string{"group.initial.rebalance.delay.ms": "0"}
	maps.Copy(set, properties)
	r.ground = newGround(t, terms{brokers: brokers, store: partition.Config{Clock: r.clock}, server: Config{Properties: set, Clock: r.clock}})
	for id := range int32(brokers) {
		s := r.newSession(id+1, uint64(id+1), 5)
		r.brokers, r.sessions = append(r.brokers, s.broker), append(r.sessions, s)
	}
	for _, name := range []string{"t", "u"} {
		r.createTopic(name, partition.TopicConfig{Partitions: 3})
	}
	return r
}

// coordinated is a desk of one broker that has been asked for the coordinators, as all clients do first.
func coordinated(t testing.TB, properties map[string]string) *desk {
	r := newDesk(t, 1, properties)
	for _, kind := range []int8{0, 1} {
		found := ask[*kmsg.FindCoordinatorResponse](r, 1, &kmsg.FindCoordinatorRequest{CoordinatorKey: "x", CoordinatorType: kind})
		require.Zero(t, found.ErrorCode)
	}
	return r
}

// ask sends a request to the first broker, and returns the answer; both go through their encoding in that version.
func ask[R kmsg.Response](r *desk, version int16, req kmsg.Request) R {
	r.t.Helper()
	return askOn[R](r, r.sessions[0], version, req)
}

func askOn[R kmsg.Response](r *desk, s *session, version int16, req kmsg.Request) R {
	r.t.Helper()
	resp, err := tryAsk(context.Background(), s, version, req)
	require.NoError(r.t, err)
	return resp.(R)
}

// tryAsk may be called by any number of goroutines.
func tryAsk(ctx context.Context, s *session, version int16, req kmsg.Request) (kmsg.Response, error) {
	req.SetVersion(version)
	got := kmsg.RequestForKey(req.Key())
	got.SetVersion(version)
	if err := got.ReadFrom(req.AppendTo(nil)); err != nil {
		return nil, err
	}
	defer settleAfter(s.server, req)
	resp, err := apis[req.Key()].handle(s, &call{ctx: ctx, key: req.Key(), version: version, clientID: "client", req: got})
	if err != nil {
		return nil, err
	}
	resp.SetVersion(version)
	out := got.ResponseKind()
	out.SetVersion(version)
	return out, out.ReadFrom(resp.AppendTo(nil))
}

// another is a session to the same broker, for requests that wait while others go on.
func (r *desk) another() *session {
	return r.newSession(1, 99, 6)
}

// later asks on a session of its own, and returns what gives the answer.
func later[R kmsg.Response](r *desk, ctx context.Context, version int16, req kmsg.Request) func() R {
	out := make(chan kmsg.Response, 1)
	s := r.another()
	go func() {
		resp, err := tryAsk(ctx, s, version, req)
		if err != nil {
			r.t.Error(err)
		}
		out <- resp
	}()
	return func() R { return (<-out).(R) }
}

func TestFindCoordinatorInEveryVersion(t *testing.T) {
	r := newDesk(t, 1, map[string]string{"offsets.topic.num.partitions": "7", "transaction.state.log.num.partitions": "3"})
	at := *r.brokers[0].endpoint("PLAINTEXT")
	for v := range int16(4) {
		resp := ask[*kmsg.FindCoordinatorResponse](r, v, &kmsg.FindCoordinatorRequest{CoordinatorKey: "g"})
		require.Zero(t, resp.ErrorCode, v)
		require.Equal(t, at, endpoint{resp.NodeID, resp.Host, resp.Port, nil}, v)
	}
	for v := int16(4); v <= 6; v++ {
		resp := ask[*kmsg.FindCoordinatorResponse](r, v, &kmsg.FindCoordinatorRequest{CoordinatorKeys: []string{"g", "", "h"}, CoordinatorType: 1})
		require.Len(t, resp.Coordinators, 3)
		for i, key := range []string{"g", "", "h"} {
			one := resp.Coordinators[i]
			require.Equal(t, key, one.Key)
			require.Zero(t, one.ErrorCode)
			require.Equal(t, at, endpoint{one.NodeID, one.Host, one.Port, nil})
		}
	}
	for name, n := range map[string]int32{"__consumer_offsets": 7, "__transaction_state": 3} {
		topic, err := r.store.Topic(name)
		require.NoError(t, err)
		require.Equal(t, n, topic.Partitions())
	}
}

func TestFindCoordinatorOfWhatThereIsNot(t *testing.T) {
	r := newDesk(t, 1, nil)
	for _, kind := range []int8{2, 3, -1} {
		resp := ask[*kmsg.FindCoordinatorResponse](r, 6, &kmsg.FindCoordinatorRequest{CoordinatorKeys: []string{"g:x:0"}, CoordinatorType: kind})
		require.Equal(t, codeInvalidRequest, resp.Coordinators[0].ErrorCode, kind)
		require.EqualValues(t, -1, resp.Coordinators[0].NodeID)
		old := ask[*kmsg.FindCoordinatorResponse](r, 2, &kmsg.FindCoordinatorRequest{CoordinatorKey: "g", CoordinatorType: kind})
		require.Equal(t, codeInvalidRequest, old.ErrorCode)
	}
	_, err := r.store.Topic("__consumer_offsets")
	require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition, "nobody has asked for a group's")
}

func TestCoordinatorsAreSpreadOverBrokersAndMove(t *testing.T) {
	r := newDesk(t, 3, nil)
	find := func(s *session, kind int8, key string) int32 {
		resp := askOn[*kmsg.FindCoordinatorResponse](r, s, 4, &kmsg.FindCoordinatorRequest{CoordinatorKeys: []string{key}, CoordinatorType: kind})
		require.Zero(t, resp.Coordinators[0].ErrorCode)
		return resp.Coordinators[0].NodeID
	}
	for _, kind := range []int8{0, 1} {
		all := map[int32]bool{}
		for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
			id := find(r.sessions[0], kind, key)
			require.Equal(t, id, find(r.sessions[1], kind, key), "all brokers say the same")
			require.Equal(t, id, r.server.Coordinator(kind == 1, key))
			all[id] = true
		}
		require.Len(t, all, 3)
	}
	before := find(r.sessions[0], 0, "a")
	to := before%3 + 1
	beat := &kmsg.HeartbeatRequest{Group: "a", MemberID: "m"}
	require.Equal(t, codeUnknownMemberID, askOn[*kmsg.HeartbeatResponse](r, r.sessions[before-1], 4, beat).ErrorCode)
	require.Equal(t, codeNotCoordinator, askOn[*kmsg.HeartbeatResponse](r, r.sessions[to-1], 4, beat).ErrorCode)
	require.NoError(t, r.server.MoveCoordinator(t.Context(), false, "a", to))
	require.Equal(t, to, find(r.sessions[0], 0, "a"))
	require.Equal(t, codeNotCoordinator, askOn[*kmsg.HeartbeatResponse](r, r.sessions[before-1], 4, beat).ErrorCode)
	require.Equal(t, codeUnknownMemberID, askOn[*kmsg.HeartbeatResponse](r, r.sessions[to-1], 4, beat).ErrorCode)
	require.ErrorIs(t, r.server.MoveCoordinator(t.Context(), true, "a", 9), ErrUnknownBroker)
}

func TestABrokerThatIsNotTheCoordinatorSaysSoInEveryApi(t *testing.T) {
	r := newDesk(t, 2, nil)
	ask[*kmsg.FindCoordinatorResponse](r, 1, &kmsg.FindCoordinatorRequest{CoordinatorKey: "x", CoordinatorType: 0})
	ask[*kmsg.FindCoordinatorResponse](r, 1, &kmsg.FindCoordinatorRequest{CoordinatorKey: "x", CoordinatorType: 1})
	require.NoError(t, r.server.MoveCoordinator(t.Context(), false, "g", 2))
	require.NoError(t, r.server.MoveCoordinator(t.Context(), true, "x", 2))
	id := "x"
	for _, req := range []kmsg.Request{
		&kmsg.JoinGroupRequest{Group: "g", SessionTimeoutMillis: 10000, ProtocolType: "consumer", Protocols: []kmsg.JoinGroupRequestProtocol{{Name: "range"}}},
		&kmsg.SyncGroupRequest{Group: "g", MemberID: "m", ProtocolType: &id, Protocol: &id},
		&kmsg.HeartbeatRequest{Group: "g", MemberID: "m"},
		&kmsg.LeaveGroupRequest{Group: "g"},
		&kmsg.ConsumerGroupHeartbeatRequest{Group: "g", MemberID: "m", RebalanceTimeoutMillis: 1000, SubscribedTopicNames: []string{"t"}, Topics: []kmsg.ConsumerGroupHeartbeatRequestTopic{}},
		&kmsg.InitProducerIDRequest{TransactionalID: &id, TransactionTimeoutMillis: 1000, ProducerID: -1, ProducerEpoch: -1},
		&kmsg.EndTxnRequest{TransactionalID: id},
		&kmsg.AddOffsetsToTxnRequest{TransactionalID: id, Group: "g"},
	} {
		resp := ask[kmsg.Response](r, maxVersion(req), req)
		require.Equal(t, codeNotCoordinator, topCode(resp), "%T", req)
	}
	commit := ask[*kmsg.OffsetCommitResponse](r, 9, commitRequest("g", -1, "", map[string][]int32{"t": {0}, "nope": {1}}))
	require.Equal(t, map[partition.TopicPartition]int16{{Topic: "t", Partition: 0}: codeNotCoordinator, {Topic: "nope", Partition: 1}: codeUnknownTopicOrPartition}, commitCodes(commit))
	fetch := ask[*kmsg.OffsetFetchResponse](r, 9, &kmsg.OffsetFetchRequest{Groups: []kmsg.OffsetFetchRequestGroup{{Group: "g", MemberEpoch: -1}}})
	require.Equal(t, codeNotCoordinator, fetch.Groups[0].ErrorCode)
	fetch = ask[*kmsg.OffsetFetchResponse](r, 7, &kmsg.OffsetFetchRequest{Group: "g"})
	require.Equal(t, codeNotCoordinator, fetch.ErrorCode)
	fetch = ask[*kmsg.OffsetFetchResponse](r, 1, &kmsg.OffsetFetchRequest{Group: "g", Topics: []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{2}}}})
	require.Equal(t, codeNotCoordinator, fetch.Topics[0].Partitions[0].ErrorCode, "version 1 has no other place for it")
	require.EqualValues(t, -1, fetch.Topics[0].Partitions[0].Offset)
	require.Equal(t, codeNotCoordinator, ask[*kmsg.DescribeGroupsResponse](r, 6, &kmsg.DescribeGroupsRequest{Groups: []string{"g"}}).Groups[0].ErrorCode)
	require.Equal(t, codeNotCoordinator, ask[*kmsg.ConsumerGroupDescribeResponse](r, 1, &kmsg.ConsumerGroupDescribeRequest{Groups: []string{"g"}}).Groups[0].ErrorCode)
	require.Equal(t, codeNotCoordinator, ask[*kmsg.DeleteGroupsResponse](r, 2, &kmsg.DeleteGroupsRequest{Groups: []string{"g"}}).Groups[0].ErrorCode)
	require.Equal(t, codeNotCoordinator, ask[*kmsg.DescribeTransactionsResponse](r, 0, &kmsg.DescribeTransactionsRequest{TransactionalIDs: []string{"x"}}).TransactionStates[0].ErrorCode)
	require.Equal(t, codeNotCoordinator, ask[*kmsg.OffsetDeleteResponse](r, 0, &kmsg.OffsetDeleteRequest{Group: "g"}).ErrorCode)

	askOn[*kmsg.OffsetCommitResponse](r, r.sessions[1], 9, commitRequest("g", -1, "", map[string][]int32{"t": {0}}))
	require.Empty(t, ask[*kmsg.ListGroupsResponse](r, 5, &kmsg.ListGroupsRequest{}).Groups)
	require.Len(t, askOn[*kmsg.ListGroupsResponse](r, r.sessions[1], 5, &kmsg.ListGroupsRequest{}).Groups, 1)
}

func TestBeforeACoordinatorWasFoundThereIsNone(t *testing.T) {
	r := newDesk(t, 1, nil)
	require.Equal(t, codeNotCoordinator, ask[*kmsg.HeartbeatResponse](r, 4, &kmsg.HeartbeatRequest{Group: "g", MemberID: "m"}).ErrorCode)
	require.EqualValues(t, -1, r.server.Coordinator(false, "g"))
	require.Empty(t, ask[*kmsg.ListGroupsResponse](r, 5, &kmsg.ListGroupsRequest{}).Groups)
	require.Empty(t, ask[*kmsg.ListTransactionsResponse](r, 2, &kmsg.ListTransactionsRequest{DurationFilterMillis: -1}).TransactionStates)
}

func maxVersion(req kmsg.Request) int16 { return apis[req.Key()].Max }

// topCode is the error code of a whole answer.
func topCode(resp kmsg.Response) int16 {
	switch r := resp.(type) {
	case *kmsg.JoinGroupResponse:
		return r.ErrorCode
	case *kmsg.SyncGroupResponse:
		return r.ErrorCode
	case *kmsg.HeartbeatResponse:
		return r.ErrorCode
	case *kmsg.LeaveGroupResponse:
		return r.ErrorCode
	case *kmsg.ConsumerGroupHeartbeatResponse:
		return r.ErrorCode
	case *kmsg.InitProducerIDResponse:
		return r.ErrorCode
	case *kmsg.EndTxnResponse:
		return r.ErrorCode
	case *kmsg.AddOffsetsToTxnResponse:
		return r.ErrorCode
	}
	panic("BUG: which code?")
}

// commitRequest commits the partition's number plus 100 as offset of each partition.
func commitRequest(group string, generation int32, member string, partitions map[string][]int32) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation, req.MemberID = group, generation, member
	for topic, ps := range partitions {
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic = topic
		for _, p := range ps {
			one := kmsg.NewOffsetCommitRequestTopicPartition()
			one.Partition, one.Offset, one.LeaderEpoch = p, 100+int64(p), 0
			t.Partitions = append(t.Partitions, one)
		}
		req.Topics = append(req.Topics, t)
	}
	return req
}

func commitCodes(resp *kmsg.OffsetCommitResponse) map[partition.TopicPartition]int16 {
	out := map[partition.TopicPartition]int16{}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			out[partition.TopicPartition{Topic: t.Topic, Partition: p.Partition}] = p.ErrorCode
		}
	}
	return out
}
