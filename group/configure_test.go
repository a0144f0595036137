package group

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

func TestAGroupsSettingsChangeWhileItRuns(t *testing.T) {
	store := newStore(t, "orders")
	manual := clock.NewManual(time.Unix(1.7e9, 0))
	g, c := openGroup(t, store, "billing", Config{Coordinator: CoordinatorConfig{Clock: manual}})
	ctx := t.Context()
	join := ConsumerHeartbeatRequest{Group: "billing", MemberID: "a", RebalanceTimeout: time.Minute, Topics: []string{"orders"}, Owned: []TopicIDPartitions{}}
	result, err := c.ConsumerGroupHeartbeat(ctx, join)
	require.NoError(t, err)
	require.Equal(t, 5*time.Second, result.HeartbeatInterval)

	require.NoError(t, g.coordinators.Configure("billing", ConsumerGroupOverrides{SessionTimeout: 10 * time.Second, HeartbeatInterval: 2 * time.Second}))
	require.NoError(t, g.coordinators.Configure("later", ConsumerGroupOverrides{HeartbeatInterval: 3 * time.Second}))
	beat := ConsumerHeartbeatRequest{Group: "billing", MemberID: "a", MemberEpoch: result.MemberEpoch}
	result, err = c.ConsumerGroupHeartbeat(ctx, beat)
	require.NoError(t, err)
	require.Equal(t, 2*time.Second, result.HeartbeatInterval)
	join.Group = "later"
	result, err = c.ConsumerGroupHeartbeat(ctx, join)
	require.NoError(t, err)
	require.Equal(t, 3*time.Second, result.HeartbeatInterval)

	manual.Advance(11 * time.Second)
	_, err = c.ConsumerGroupHeartbeat(ctx, beat)
	require.ErrorIs(t, err, ErrUnknownMemberID, "its session is ten seconds now")

	var bad *partition.ConfigError
	require.ErrorAs(t, g.coordinators.Configure("billing", ConsumerGroupOverrides{HeartbeatInterval: time.Hour}), &bad)
	require.NoError(t, g.coordinators.Configure("billing", ConsumerGroupOverrides{}))
	join.Group = "billing"
	result, err = c.ConsumerGroupHeartbeat(ctx, join)
	require.NoError(t, err)
	require.Equal(t, 5*time.Second, result.HeartbeatInterval)

	require.NoError(t, store.Close())
	require.ErrorIs(t, g.coordinators.Configure("billing", ConsumerGroupOverrides{}), partition.ErrClosed)
}
