package consumer_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/partition"
)

func TestRecreatedTopicIsReadFromItsBeginning(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 5)
	c := assign(t, store, consumer.Config{}, consumer.Assignment{TopicPartition: at("t", 0)})
	next := func() string {
		records, err := c.Poll(t.Context())
		require.NoError(t, err)
		return string(records[0].Value)
	}
	require.Equal(t, "0", next())
	require.NoError(t, store.DeleteTopic(t.Context(), "t"))
	_, err := store.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 1})
	require.NoError(t, err)
	write(t, store, "t", 0, 50, 1)
	require.Equal(t, "50", next())
}

func TestDeletedTopicEndsTheIteration(t *testing.T) {
	store := newStore(t, "t", 1)
	c := assign(t, store, consumer.Config{}, consumer.Assignment{TopicPartition: at("t", 0)})
	last := make(chan error, 1)
	go func() {
		_, err := c.Poll(context.Background())
		last <- err
	}()
	require.NoError(t, store.DeleteTopic(t.Context(), "t"))
	err := <-last
	require.True(t, errors.Is(err, partition.ErrUnknownTopicOrPartition) || errors.Is(err, partition.ErrUnknownTopicID), "%v", err)
}
