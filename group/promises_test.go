package group_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

func memory(t *testing.T) *partition.Store {
	t.Helper()
	store, err := partition.OpenMemory(partition.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	_, err = store.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 2})
	require.NoError(t, err)
	return store
}

// A handle that was closed says so at every call; another handle of the same group, and the group, go on.
func TestClosedHandleSaysSoAndTheGroupGoesOn(t *testing.T) {
	ctx := t.Context()
	store := memory(t)
	g, err := group.Open(store, "g", group.Config{})
	require.NoError(t, err)
	other, err := group.Open(store, "g", group.Config{})
	require.NoError(t, err)
	tp := partition.TopicPartition{Topic: "t"}
	offsets := map[partition.TopicPartition]group.CommittedOffset{tp: {Offset: 5}}
	require.NoError(t, g.Commit(ctx, offsets))
	require.NoError(t, g.Close())
	require.NoError(t, g.Close())
	for name, call := range map[string]func() error{
		"Commit":      func() error { return g.Commit(ctx, offsets) },
		"Committed":   func() error { _, err := g.Committed(ctx); return err },
		"Describe":    func() error { _, err := g.Describe(ctx); return err },
		"Lag":         func() error { _, err := g.Lag(ctx); return err },
		"Reset":       func() error { _, err := g.Reset(ctx, group.ToLatest); return err },
		"PlanReset":   func() error { _, err := g.PlanReset(ctx, group.ToLatest); return err },
		"Delete":      func() error { return g.DeleteOffsets(ctx, tp) },
		"Remove":      func() error { return g.Remove(ctx, group.LeavingMember{MemberID: "m"}) },
		"Standings":   func() error { _, _, err := g.Standings(ctx); return err },
		"Coordinator": func() error { _, err := g.Coordinator(ctx); return err },
	} {
		err := call()
		require.ErrorIs(t, err, partition.ErrClosed, name)
		require.ErrorContains(t, err, `"g"`, name)
	}
	committed, err := other.Committed(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 5, committed[tp].Offset)
}

// Durations that would make a timer fire at once, for ever, are refused like every other value out of range.
func TestConfigOutOfRangeNamesKeyValueAndRange(t *testing.T) {
	store := memory(t)
	for key, c := range map[string]group.Config{
		"session.timeout.ms":                  {SessionTimeout: -1},
		"heartbeat.interval.ms":               {HeartbeatInterval: -1},
		"max.poll.interval.ms":                {RebalanceTimeout: -1},
		"group.min.session.timeout.ms":        {Coordinator: group.CoordinatorConfig{MinSessionTimeout: time.Hour}},
		"NewMemberTimeout":                    {Coordinator: group.CoordinatorConfig{NewMemberTimeout: -1}},
		"RetryInterval":                       {Coordinator: group.CoordinatorConfig{RetryInterval: -1}},
		"group.initial.rebalance.delay.ms":    {Coordinator: group.CoordinatorConfig{InitialRebalanceDelay: -1}},
		"offsets.retention.minutes":           {Coordinator: group.CoordinatorConfig{OffsetsRetention: -1}},
		"offsets.retention.check.interval.ms": {Coordinator: group.CoordinatorConfig{OffsetsRetentionCheckInterval: -1}},
		"group.max.size":                      {Coordinator: group.CoordinatorConfig{MaxSize: -1}},
		"offset.metadata.max.bytes":           {Coordinator: group.CoordinatorConfig{MaxMetadataBytes: -1}},
		"partition.assignment.strategy":       {Assignors: []group.Assignor{nil}},
	} {
		_, err := group.Open(store, "g", c)
		bad, ok := errors.AsType[*partition.ConfigError](err)
		require.True(t, ok, "%s: %v", key, err)
		require.Equal(t, key, bad.Key)
		require.NotEmpty(t, bad.Value, key)
		require.NotEmpty(t, bad.Range, key)
	}
}

// A commit that is refused names the partition and the offset, and the committed offset stays.
func TestRefusedCommitNamesThePartitionAndChangesNothing(t *testing.T) {
	ctx := t.Context()
	g, err := group.Open(memory(t), "g", group.Config{})
	require.NoError(t, err)
	tp := partition.TopicPartition{Topic: "t", Partition: 1}
	require.NoError(t, g.Commit(ctx, map[partition.TopicPartition]group.CommittedOffset{tp: {Offset: 5}}))
	for name, c := range map[string]struct {
		tp   partition.TopicPartition
		o    group.CommittedOffset
		want error
		word string
	}{
		"negative":          {tp, group.CommittedOffset{Offset: -7}, group.ErrInvalidCommitOffset, "t-1"},
		"unknown topic":     {partition.TopicPartition{Topic: "nowhere"}, group.CommittedOffset{Offset: 1}, partition.ErrUnknownTopicOrPartition, "nowhere"},
		"unknown partition": {partition.TopicPartition{Topic: "t", Partition: 2}, group.CommittedOffset{Offset: 1}, partition.ErrUnknownTopicOrPartition, "t-2"},
		"another topic":     {tp, group.CommittedOffset{Offset: 1, TopicID: partition.TopicID{1}}, partition.ErrUnknownTopicID, "t-1"},
	} {
		err := g.Commit(ctx, map[partition.TopicPartition]group.CommittedOffset{c.tp: c.o})
		require.ErrorIs(t, err, c.want, name)
		require.ErrorContains(t, err, c.word, name)
		committed, err := g.Committed(ctx)
		require.NoError(t, err)
		require.Len(t, committed, 1, name)
		require.EqualValues(t, 5, committed[tp].Offset, name)
	}
}
