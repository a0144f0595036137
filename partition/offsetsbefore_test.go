package partition_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
)

func TestOffsetsBeforeOfWhatIsNotThere(t *testing.T) {
	s, err := partition.OpenMemory(partition.Config{})
	require.NoError(t, err)
	_, err = s.OffsetsBefore(t.Context(), partition.TopicPartition{Topic: "orders"}, partition.TimestampLatest, 1)
	require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
	_, err = s.CreateTopic(t.Context(), "orders", partition.TopicConfig{Partitions: 1})
	require.NoError(t, err)
	for _, timestamp := range []int64{partition.TimestampLatest, partition.TimestampEarliest, time.Now().Add(time.Hour).UnixMilli()} {
		got, err := s.OffsetsBefore(t.Context(), partition.TopicPartition{Topic: "orders"}, timestamp, 3)
		require.NoError(t, err)
		require.Equal(t, []partition.Offset{0}, got)
	}
	got, err := s.OffsetsBefore(t.Context(), partition.TopicPartition{Topic: "orders"}, 0, 3)
	require.NoError(t, err)
	require.Empty(t, got)
	require.NoError(t, s.Close())
	_, err = s.OffsetsBefore(t.Context(), partition.TopicPartition{Topic: "orders"}, partition.TimestampLatest, 1)
	require.ErrorIs(t, err, partition.ErrClosed)
}
