package kafkatest_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/kafka/kafkatest"
)

// poll has a consumer take part in its group until the test ends.
func poll(t *testing.T, k *kgo.Client) {
	ctx := bound(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if fs := k.PollFetches(ctx); fs.IsClientClosed() || ctx.Err() != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		k.CloseAllowingRebalance()
		<-done
	})
}

func TestARebalanceIsForced(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("orders", 2))
	r := reader(t, c, "orders", kgo.ConsumerGroup("g"), kgo.HeartbeatInterval(20e6))
	produce(t, client(t, c), "orders", "1")
	consume(t, r, 1)
	poll(t, r)
	synced := c.Inject(kafkatest.Rule{API: "SyncGroup", Group: "g"})
	require.NoError(t, c.ForceRebalance(bound(t), "g"))
	require.NoError(t, synced.Wait(bound(t), 1))
	require.ErrorIs(t, c.ForceRebalance(bound(t), "nobody"), group.ErrGroupIDNotFound)
}

func TestAMemberIsRemovedAndJoinsAgain(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("orders", 2))
	r := reader(t, c, "orders", kgo.ConsumerGroup("g"), kgo.HeartbeatInterval(20e6))
	produce(t, client(t, c), "orders", "1")
	consume(t, r, 1)
	poll(t, r)
	member, _ := r.GroupMetadata()
	joined := c.Inject(kafkatest.Rule{API: "JoinGroup", Group: "g"})
	require.NoError(t, c.RemoveMember(bound(t), "g", member))
	require.NoError(t, joined.Wait(bound(t), 1))
	require.ErrorIs(t, c.RemoveMember(bound(t), "g", "nobody"), group.ErrUnknownMemberID)
}

func TestACoordinatorMovesAndMembersFollow(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Brokers(2), kafkatest.Topic("orders", 1))
	r := reader(t, c, "orders", kgo.ConsumerGroup("g"), kgo.HeartbeatInterval(20e6))
	produce(t, client(t, c), "orders", "1")
	consume(t, r, 1)
	poll(t, r)
	from := c.Server().Coordinator(false, "g")
	to := 3 - from
	beats := c.Inject(kafkatest.Rule{API: "Heartbeat", Brokers: []int32{to}})
	require.NoError(t, c.MoveGroup(bound(t), "g", to))
	require.NoError(t, beats.Wait(bound(t), 2))
	require.NoError(t, c.MoveTransaction(bound(t), "tx", 2))
	require.EqualValues(t, 2, c.Server().Coordinator(true, "tx"))
}
