package kafkatest_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/kafka/kafkatest"
	"github.com/partlog/partlog/partition"
)

// joinAndFallSilent makes a member of a group that has all partitions, and is not heard of again.
func joinAndFallSilent(t *testing.T, c *kafkatest.Cluster, group, topic string) (member string) {
	k := client(t, c)
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Topics = []string{topic}
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.ProtocolType, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = group, "consumer", 10_000, 10_000
	join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "cooperative-sticky", Metadata: meta.AppendTo(nil)}}
	resp, err := join.RequestWith(bound(t), k)
	require.NoError(t, err)
	if resp.ErrorCode == kerr.MemberIDRequired.Code {
		join.MemberID = resp.MemberID
		resp, err = join.RequestWith(bound(t), k)
		require.NoError(t, err)
	}
	require.Zero(t, resp.ErrorCode)
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.MemberID, sync.Generation = group, resp.MemberID, resp.Generation
	sync.ProtocolType, sync.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("cooperative-sticky")
	assignment := kmsg.NewConsumerMemberAssignment()
	assignment.Topics = []kmsg.ConsumerMemberAssignmentTopic{{Topic: topic, Partitions: []int32{0}}}
	sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: resp.MemberID, MemberAssignment: assignment.AppendTo(nil)}}
	sr, err := sync.RequestWith(bound(t), k)
	require.NoError(t, err)
	require.Zero(t, sr.ErrorCode)
	return resp.MemberID
}

// hasMember asks the broker.
func hasMember(t *testing.T, c *kafkatest.Cluster, group, member string) bool {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{group}
	resp, err := req.RequestWith(bound(t), client(t, c))
	require.NoError(t, err)
	return slices.ContainsFunc(resp.Groups[0].Members, func(m kmsg.DescribeGroupsResponseGroupMember) bool { return m.MemberID == member })
}

// A member that has gone without a word holds its partitions for a session; then another one has them. No time passes.
func TestASessionExpiresWhenTheClockIsAdvanced(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("orders", 1), kafkatest.Frozen(time.Now()))
	produce(t, client(t, c), "orders", "1")
	silent := joinAndFallSilent(t, c, "g", "orders")
	joined := c.Inject(kafkatest.Rule{API: "JoinGroup"})
	other := reader(t, c, "orders", kgo.ConsumerGroup("g"), kgo.SessionTimeout(30*time.Minute), kgo.RebalanceTimeout(30*time.Minute))
	require.NoError(t, joined.Wait(bound(t), 1))
	require.True(t, hasMember(t, c, "g", silent))
	c.Clock().Advance(11 * time.Second)
	for ctx := bound(t); hasMember(t, c, "g", silent); {
		require.NoError(t, ctx.Err())
	}
	require.Len(t, consume(t, other, 1), 1)
}

func TestRetentionDropsOldRecordsWhenTheClockIsAdvanced(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("orders", 1, "retention.ms", "3600000000", "segment.ms", "600000"))
	put := func(v string) {
		_, err := c.Produce(bound(t), "orders", 0, kafkatest.Record{Value: []byte(v)})
		require.NoError(t, err)
	}
	put("old")
	c.Clock().Advance(900 * time.Hour)
	put("new")
	require.Len(t, values(t, c, "orders", 0), 2)
	c.Clock().Advance(101 * time.Hour)
	for ctx := bound(t); !slices.Equal([]string{"new"}, values(t, c, "orders", 0)); { // a segment that is just being closed waits for the next round
		require.NoError(t, ctx.Err())
		time.Sleep(time.Millisecond)
		c.Clock().Advance(time.Minute)
	}
}

func TestATransactionTimesOutWhenTheClockIsAdvanced(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("orders", 1))
	k := client(t, c, kgo.TransactionalID("tx"), kgo.TransactionTimeout(10*time.Minute))
	require.NoError(t, k.BeginTransaction())
	produce(t, k, "orders", "never")
	c.Clock().Advance(20 * time.Minute)
	end, err := c.Produce(bound(t), "orders", 0, kafkatest.Record{Value: []byte("always")})
	require.NoError(t, err)
	require.GreaterOrEqual(t, end, partition.Offset(1))
	for ctx := bound(t); ; { // the marker is written by a goroutine of the coordinator
		records, err := c.Committed("orders", 0)
		require.NoError(t, err)
		if len(records) == 1 {
			require.Equal(t, "always", string(records[0].Value))
			break
		}
		require.NoError(t, ctx.Err())
		time.Sleep(time.Millisecond)
	}
	require.Error(t, k.EndTransaction(bound(t), kgo.TryCommit))
}

func TestCommittedOffsetsExpireWhenTheClockIsAdvanced(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("orders", 1), kafkatest.Property("offsets.retention.minutes", "60"))
	produce(t, client(t, c), "orders", "1")
	r := reader(t, c, "orders", kgo.ConsumerGroup("g"), kgo.DisableAutoCommit())
	consume(t, r, 1)
	require.NoError(t, r.CommitUncommittedOffsets(bound(t)))
	r.Close()
	committed := func() int64 {
		req := kmsg.NewPtrOffsetFetchRequest()
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = "g"
		gt := kmsg.NewOffsetFetchRequestGroupTopic()
		gt.Topic, gt.Partitions = "orders", []int32{0}
		g.Topics = append(g.Topics, gt)
		req.Groups = append(req.Groups, g)
		req.Group, req.Topics = "g", []kmsg.OffsetFetchRequestTopic{{Topic: "orders", Partitions: []int32{0}}}
		resp, err := req.RequestWith(bound(t), client(t, c))
		require.NoError(t, err)
		return resp.Groups[0].Topics[0].Partitions[0].Offset
	}
	require.EqualValues(t, 1, committed())
	c.Clock().Advance(50 * time.Minute)
	require.EqualValues(t, 1, committed())
	c.Clock().Advance(30 * time.Minute)
	for ctx := bound(t); committed() != -1; { // expiry is written by a goroutine of the coordinator
		require.NoError(t, ctx.Err())
		c.Clock().Advance(10 * time.Minute)
	}
}

func TestAFrozenClockStandsStill(t *testing.T) {
	start := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	c := kafkatest.New(t, kafkatest.Frozen(start), kafkatest.Topic("orders", 1, "message.timestamp.type", "LogAppendTime"))
	require.True(t, c.Clock().Frozen())
	k := client(t, c)
	produce(t, k, "orders", "1")
	c.Clock().Advance(time.Hour)
	produce(t, k, "orders", "2")
	records, err := c.Records("orders", 0)
	require.NoError(t, err)
	require.Equal(t, start.UnixMilli(), records[0].Timestamp)
	require.Equal(t, start.Add(time.Hour).UnixMilli(), records[1].Timestamp)
}
