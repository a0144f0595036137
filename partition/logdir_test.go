package partition_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
)

func TestSizeIsThatOfThePartitionsRecords(t *testing.T) {
	ctx := context.Background()
	s, err := partition.Open(t.TempDir(), partition.Config{})
	require.NoError(t, err)
	defer s.Close()
	_, err = s.CreateTopic(ctx, "sized", partition.TopicConfig{})
	require.NoError(t, err)
	tp := partition.TopicPartition{Topic: "sized"}
	n, err := s.Size(ctx, tp)
	require.NoError(t, err)
	require.Zero(t, n)
	_, err = s.Size(ctx, partition.TopicPartition{Topic: "sized", Partition: 1})
	require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
	v := s.Volume()
	require.Positive(t, v.Total)
	require.LessOrEqual(t, v.Free, v.Total)
}
