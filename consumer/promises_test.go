package consumer_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

// A member is expelled while a record is in hand, and its partition goes to another, which finishes it. What the first
// acknowledges then is dropped: it does not move the committed offset back. What it had read ahead is never yielded.
func TestLastAcknowledgementOfARevokedPartitionIsDropped(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 10)
	still := clock.NewManual(time.UnixMilli(1_700_000_000_000)) // the coordinator's: however late the member notices, it is the first
	clock := clock.NewManual(time.UnixMilli(1_700_000_000_000))
	g := openGroup(t, store, group.Config{Coordinator: group.CoordinatorConfig{Clock: still}})
	first, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t"}, Clock: clock})
	require.NoError(t, err)
	var got []string
	var last error
	for r, err := range first.Records(t.Context()) {
		if last = err; err != nil {
			break
		}
		got = append(got, string(r.Value))
		if len(got) < 3 {
			continue
		}
		passing(t, clock, 20*time.Second, func() bool { // in steps in which the process runs
			d, err := g.Describe(t.Context())
			return err == nil && len(d.Members) == 0
		})
		second, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t"}, Clock: clock, Until: consumer.UntilEnd()})
		require.NoError(t, err)
		require.Equal(t, texts(2, 8), all(t, second), "the record in hand was not finished")
		require.NoError(t, second.Close())
		require.EqualValues(t, 10, committed(t, g)[at("t", 0)])
	} // reaches the next iteration: acknowledges its record, too late
	require.ErrorIs(t, last, consumer.ErrExpelled)
	require.Equal(t, texts(0, 3), got, "nothing that was read ahead")
	require.Error(t, first.Commit(t.Context()))
	_ = first.Close()
	require.EqualValues(t, 10, committed(t, g)[at("t", 0)])
}

// Negative offsets are no positions, wherever they are given, and the error names the partition and the offset.
func TestNegativeOffsetsAreRefused(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 3)
	for _, a := range []consumer.Assignment{
		{TopicPartition: at("t", 0), From: consumer.AtOffset(-5)},
		{TopicPartition: at("t", 0), Until: consumer.UntilOffset(-5)},
	} {
		_, err := consumer.Assign(t.Context(), store, []consumer.Assignment{a}, consumer.Config{})
		require.ErrorIs(t, err, partition.ErrOffsetOutOfRange)
		require.ErrorContains(t, err, "t-0")
		require.ErrorContains(t, err, "-5")
	}
	c := assign(t, store, consumer.Config{}, consumer.Assignment{TopicPartition: at("t", 0), Until: consumer.UntilEnd()})
	err := c.Seek(at("t", 0), consumer.AtOffset(-5))
	require.ErrorIs(t, err, partition.ErrOffsetOutOfRange)
	require.ErrorContains(t, err, "-5")
	require.Equal(t, texts(0, 3), all(t, c), "a refused Seek moves nothing")
}

// What ends an iteration names the partition and what was found there.
func TestLastPairNamesThePartition(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 3)
	c := assign(t, store, consumer.Config{Reset: consumer.ResetNone}, consumer.Assignment{TopicPartition: at("t", 0), From: consumer.AtOffset(9)})
	_, err := c.Poll(t.Context())
	require.ErrorIs(t, err, partition.ErrOffsetOutOfRange)
	require.ErrorContains(t, err, "t-0")
	require.ErrorContains(t, err, "9")
	require.NoError(t, store.DeleteTopic(t.Context(), "t"))
	_, err = consumer.Assign(t.Context(), store, []consumer.Assignment{{TopicPartition: at("t", 0)}}, consumer.Config{})
	require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
	require.ErrorContains(t, err, "t-0")
	g := openGroup(t, store, group.Config{})
	_, err = consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"a b"}})
	require.ErrorIs(t, err, partition.ErrInvalidTopic)
	require.ErrorContains(t, err, "a b")
	bad, ok := errors.AsType[*partition.ConfigError](joinError(t, g))
	require.True(t, ok)
	require.Equal(t, "Topics", bad.Key)
}

func joinError(t *testing.T, g *group.ConsumerGroup) error {
	t.Helper()
	_, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t", "t"}})
	return err
}
