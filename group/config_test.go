package group

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Defaults of groups and coordinators, each in its field's comment where it is not Kafka's.
func TestDefaultsOfGroupsAreKafkas(t *testing.T) {
	c := Config{}.withDefaults()
	require.Equal(t, "45s", c.SessionTimeout.String())
	require.Equal(t, "3s", c.HeartbeatInterval.String())
	require.Equal(t, "5m0s", c.RebalanceTimeout.String())
	require.Equal(t, []Assignor{CooperativeSticky}, c.Assignors) // Kafka: range, cooperative-sticky

	d := CoordinatorConfig{}.withDefaults()
	require.Equal(t, "6s", d.MinSessionTimeout.String())
	require.Equal(t, "30m0s", d.MaxSessionTimeout.String())
	require.Equal(t, "5m0s", d.NewMemberTimeout.String())
	require.Equal(t, 4096, d.MaxMetadataBytes)
	require.Equal(t, "10m0s", d.OffsetsRetentionCheckInterval.String())
	require.Zero(t, d.MaxSize)
	require.Zero(t, d.InitialRebalanceDelay) // Kafka: 3 s
	require.Zero(t, d.OffsetsRetention)      // Kafka: 7 days
	require.Equal(t, "45s", d.ConsumerGroups.SessionTimeout.String())
	require.Equal(t, "5s", d.ConsumerGroups.HeartbeatInterval.String())
	require.Equal(t, "10m0s", d.ConsumerGroups.RegexRefreshInterval.String())
	require.Equal(t, []ServerAssignor{Uniform, ServerRange}, d.ConsumerGroups.Assignors)
	require.Equal(t, MigrateBoth, d.ConsumerGroups.Migration)
}
