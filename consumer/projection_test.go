package consumer_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// project runs a projection once and returns the values that it applied.
func project(t *testing.T, s consumer.Source, c consumer.ProjectionConfig) (got []string, caughtUp int) {
	t.Helper()
	c.Once = true
	c.CaughtUp = func() { caughtUp++ }
	require.NoError(t, consumer.Project(t.Context(), s, c, func(r consumer.Record) error {
		got = append(got, string(r.Value))
		return nil
	}))
	return got, caughtUp
}

func TestProjectionGoesOnWhereItsCheckpointIsAndIsRebuiltFromZeroOnDemand(t *testing.T) {
	store := newStore(t, "t", 1)
	g, err := group.Open(store, "view", group.Config{})
	require.NoError(t, err)
	c := consumer.ProjectionConfig{Topics: []string{"t"}, Checkpoint: consumer.GroupCheckpoint(g)}
	got, caughtUp := project(t, store, c)
	require.Empty(t, got)
	require.Equal(t, 1, caughtUp, "an empty topic is caught up")
	write(t, store, "t", 0, 0, 5)
	got, _ = project(t, store, c)
	require.Equal(t, texts(0, 5), got)
	write(t, store, "t", 0, 5, 2)
	got, _ = project(t, store, c)
	require.Equal(t, texts(5, 2), got)
	got, caughtUp = project(t, store, c)
	require.Empty(t, got)
	require.Equal(t, 1, caughtUp)
	c.Rebuild = true
	got, _ = project(t, store, c)
	require.Equal(t, texts(0, 7), got)
}

func TestProjectionOverAnAbortedTailIsCaughtUp(t *testing.T) {
	store := newStore(t, "t", 2)
	write(t, store, "t", 0, 0, 2)
	aborted(t, store, "t", 0, 2)
	aborted(t, store, "t", 1, 2)
	got, caughtUp := project(t, store, consumer.ProjectionConfig{Topics: []string{"t"}, Read: consumer.Config{Isolation: consumer.ReadCommitted}})
	require.Equal(t, texts(0, 2), got)
	require.Equal(t, 1, caughtUp)
}

func TestRecordWhoseApplyFailsIsAppliedAgainByTheNextProjection(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 4)
	g, err := group.Open(store, "view", group.Config{})
	require.NoError(t, err)
	c := consumer.ProjectionConfig{Topics: []string{"t"}, Checkpoint: consumer.GroupCheckpoint(g)}
	bad := errors.New("bad")
	err = consumer.Project(t.Context(), store, c, func(r consumer.Record) error {
		if string(r.Value) == "2" {
			return bad
		}
		return nil
	})
	require.ErrorIs(t, err, bad)
	got, _ := project(t, store, c)
	require.Equal(t, texts(2, 2), got, "what was applied before the failure has been saved")
}

func TestProjectionFollowsUntilItsContextEndsAndSavesThen(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 2)
	g, err := group.Open(store, "view", group.Config{})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	c := consumer.ProjectionConfig{Topics: []string{"t"}, Checkpoint: consumer.GroupCheckpoint(g)}
	c.CaughtUp = func() { write(t, store, "t", 0, 2, 3) }
	n := 0
	err = consumer.Project(ctx, store, c, func(r consumer.Record) error {
		if n++; n == 5 {
			cancel()
		}
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	committed, err := g.Committed(t.Context())
	require.NoError(t, err)
	require.Equal(t, partition.Offset(5), committed[at("t", 0)].Offset)
}

func TestProjectionWithoutTopicsOrOfUnknownOnesIsRefused(t *testing.T) {
	store := newStore(t, "t", 1)
	apply := func(consumer.Record) error { return nil }
	require.ErrorIs(t, consumer.Project(t.Context(), store, consumer.ProjectionConfig{}, apply), partition.ErrInvalidConfig)
	err := consumer.Project(t.Context(), store, consumer.ProjectionConfig{Topics: []string{"nothing"}}, apply)
	require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
	_, err = consumer.OpenTable(t.Context(), store, "nothing", consumer.String, consumer.String, consumer.TableConfig{})
	require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
}
