package kafkatest_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/partlog/partlog/kafka/kafkatest"
)

// A client that speaks no newer version than Kafka 0.11 did, the first with the message format v2, works with the double of each
// release that still had those: records, a group that commits and goes on, a transaction, topics that come and go.
func TestAnOldClientWorksWithReleasesBeforeKafka4(t *testing.T) {
	for _, p := range []*kafkatest.Persona{kafkatest.Kafka28, kafkatest.Kafka39} {
		for name, versions := range map[string]*kversion.Versions{"0.11": kversion.V0_11_0(), "1.0": kversion.V1_0_0(), "2.0": kversion.V2_0_0()} {
			t.Run(fmt.Sprint(p, " from ", name), func(t *testing.T) {
				c := kafkatest.New(t, kafkatest.As(p), kafkatest.Topic("orders", 2))
				ctx := bound(t)
				old := kgo.MaxVersions(versions)
				k := client(t, c, old, kgo.TransactionalID("tx"))
				require.NoError(t, k.BeginTransaction())
				require.NoError(t, k.ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: []byte("aborted")}).FirstErr())
				require.NoError(t, k.EndTransaction(ctx, kgo.TryAbort))
				require.NoError(t, k.BeginTransaction())
				require.NoError(t, k.ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: []byte("a")}, &kgo.Record{Topic: "orders", Value: []byte("b")}).FirstErr())
				require.NoError(t, k.EndTransaction(ctx, kgo.TryCommit))

				join := []kgo.Opt{old, kgo.ConsumerGroup("billing"), kgo.ConsumeTopics("orders"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.DisableAutoCommit()}
				first := client(t, c, join...)
				require.ElementsMatch(t, []string{"a", "b"}, consume(t, first, 2))
				require.NoError(t, first.CommitUncommittedOffsets(ctx))
				first.Close()
				require.NoError(t, client(t, c, old).ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: []byte("c")}).FirstErr())
				second := client(t, c, join...)
				require.Equal(t, []string{"c"}, consume(t, second, 1))

				for _, call := range c.Calls() {
					if most, ok := versions.LookupMaxKeyVersion(call.Key); ok && call.Key != 18 {
						require.LessOrEqual(t, call.Version, most, call.API())
					}
				}
			})
		}
	}
}

// oldest sends a request in the oldest version.
func oldest[R kmsg.Response](t testing.TB, k *kgo.Client, req kmsg.Request) R {
	t.Helper()
	resp, err := k.Request(bound(t), req)
	require.NoError(t, err)
	require.Zero(t, resp.GetVersion(), kmsg.NameForKey(req.Key()))
	return resp.(R)
}

// The oldest version of each API does what it did.
func TestVersion0IsServedAsItsReleaseServedIt(t *testing.T) {
	zero := &kversion.Versions{}
	for key := range int16(64) {
		if key != 18 {
			zero.SetMaxKeyVersion(key, 0)
		}
	}
	zero.SetMaxKeyVersion(3, 1) // Metadata 0 does not say who the controller is, whom this client asks for topics
	c := kafkatest.New(t, kafkatest.As(kafkatest.Kafka28))
	k := client(t, c, kgo.MaxVersions(zero))

	create := kmsg.NewPtrCreateTopicsRequest()
	one := kmsg.NewCreateTopicsRequestTopic()
	one.Topic, one.NumPartitions, one.ReplicationFactor = "orders", 1, 1
	create.Topics = []kmsg.CreateTopicsRequestTopic{one}
	require.Zero(t, oldest[*kmsg.CreateTopicsResponse](t, k, create).Topics[0].ErrorCode)

	require.NoError(t, client(t, c).ProduceSync(bound(t), &kgo.Record{Topic: "orders", Value: []byte("a")}).FirstErr())
	list := kmsg.NewPtrListOffsetsRequest()
	lp := kmsg.NewListOffsetsRequestTopicPartition()
	lp.Timestamp, lp.MaxNumOffsets = -1, 10
	list.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: "orders", Partitions: []kmsg.ListOffsetsRequestTopicPartition{lp}}}
	require.Equal(t, []int64{1, 0}, oldest[*kmsg.ListOffsetsResponse](t, k, list).Topics[0].Partitions[0].OldStyleOffsets)

	require.Zero(t, oldest[*kmsg.FindCoordinatorResponse](t, k, &kmsg.FindCoordinatorRequest{CoordinatorKey: "billing"}).ErrorCode)
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.SessionTimeoutMillis, join.ProtocolType = "billing", 10000, "consumer"
	join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{0, 0}}}
	joined := oldest[*kmsg.JoinGroupResponse](t, k, join)
	require.Zero(t, joined.ErrorCode, "not MEMBER_ID_REQUIRED, which clients did not know")
	member := joined.MemberID
	sync := &kmsg.SyncGroupRequest{Group: "billing", Generation: joined.Generation, MemberID: member,
		GroupAssignment: []kmsg.SyncGroupRequestGroupAssignment{{MemberID: member, MemberAssignment: []byte("mine")}}}
	require.Equal(t, "mine", string(oldest[*kmsg.SyncGroupResponse](t, k, sync).MemberAssignment))
	require.Zero(t, oldest[*kmsg.HeartbeatResponse](t, k, &kmsg.HeartbeatRequest{Group: "billing", Generation: joined.Generation, MemberID: member}).ErrorCode)
	require.Equal(t, "billing", oldest[*kmsg.ListGroupsResponse](t, k, kmsg.NewPtrListGroupsRequest()).Groups[0].Group)
	require.Equal(t, "Stable", oldest[*kmsg.DescribeGroupsResponse](t, k, &kmsg.DescribeGroupsRequest{Groups: []string{"billing"}}).Groups[0].State)

	commit := kmsg.NewPtrOffsetCommitRequest()
	cp := kmsg.NewOffsetCommitRequestTopicPartition()
	cp.Offset = 1
	commit.Group, commit.Topics = "billing", []kmsg.OffsetCommitRequestTopic{{Topic: "orders", Partitions: []kmsg.OffsetCommitRequestTopicPartition{cp}}}
	require.Zero(t, oldest[*kmsg.OffsetCommitResponse](t, k, commit).Topics[0].Partitions[0].ErrorCode)
	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Group, fetch.Topics = "billing", []kmsg.OffsetFetchRequestTopic{{Topic: "orders", Partitions: []int32{0}}}
	require.EqualValues(t, 1, oldest[*kmsg.OffsetFetchResponse](t, k, fetch).Topics[0].Partitions[0].Offset)
	require.Zero(t, oldest[*kmsg.LeaveGroupResponse](t, k, &kmsg.LeaveGroupRequest{Group: "billing", MemberID: member}).ErrorCode)

	describe := kmsg.NewPtrDescribeConfigsRequest()
	describe.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "orders"}}
	require.NotEmpty(t, oldest[*kmsg.DescribeConfigsResponse](t, k, describe).Resources[0].Configs)
	require.Len(t, oldest[*kmsg.DeleteTopicsResponse](t, k, &kmsg.DeleteTopicsRequest{TopicNames: []string{"orders"}, TimeoutMillis: 1000}).Topics, 1)
}

// There was no ZooKeeper for offsets of version 0 with KRaft.
func TestKafka39RefusesOffsetsOfVersion0(t *testing.T) {
	zero := &kversion.Versions{}
	for _, key := range []int16{3, 8, 9, 10} {
		zero.SetMaxKeyVersion(key, 0)
	}
	k := client(t, kafkatest.New(t, kafkatest.As(kafkatest.Kafka39), kafkatest.Topic("orders", 1)), kgo.MaxVersions(zero))
	commit := kmsg.NewPtrOffsetCommitRequest()
	one := []kmsg.OffsetCommitRequestTopicPartition{kmsg.NewOffsetCommitRequestTopicPartition()}
	commit.Group, commit.Topics = "billing", []kmsg.OffsetCommitRequestTopic{{Topic: "nothing", Partitions: one}}
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, oldest[*kmsg.OffsetCommitResponse](t, k, commit).Topics[0].Partitions[0].ErrorCode)
	commit.Topics = append(commit.Topics, kmsg.OffsetCommitRequestTopic{Topic: "orders", Partitions: one})
	for _, topic := range oldest[*kmsg.OffsetCommitResponse](t, k, commit).Topics {
		require.Equal(t, kerr.UnsupportedVersion.Code, topic.Partitions[0].ErrorCode, topic.Topic)
	}
	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Group, fetch.Topics = "billing", []kmsg.OffsetFetchRequestTopic{{Topic: "orders", Partitions: []int32{0}}}
	require.Equal(t, kerr.UnsupportedVersion.Code, oldest[*kmsg.OffsetFetchResponse](t, k, fetch).Topics[0].Partitions[0].ErrorCode)
}
