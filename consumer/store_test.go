package consumer_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// newStore returns a store in memory with a topic of so many partitions.
func newStore(t *testing.T, topic string, partitions int32) *partition.Store {
	t.Helper()
	store, err := partition.OpenMemory(partition.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	_, err = store.CreateTopic(context.Background(), topic, partition.TopicConfig{Partitions: partitions})
	require.NoError(t, err)
	return store
}

// write appends one batch of records "<first>", "<first+1>", ... and returns the offset of the first.
func write(t *testing.T, store *partition.Store, topic string, number int32, first, n int) partition.Offset {
	t.Helper()
	values := make([]string, n)
	for i := range values {
		values[i] = fmt.Sprint(first + i)
	}
	return writeAt(t, store, topic, number, time.Now(), values...)
}

func writeAt(t *testing.T, store *partition.Store, topic string, number int32, at time.Time, values ...string) partition.Offset {
	t.Helper()
	return writeBatch(t, store, topic, number, at, batch.Options{}, values...)
}

func writeBatch(t *testing.T, store *partition.Store, topic string, number int32, at time.Time, o batch.Options, values ...string) partition.Offset {
	t.Helper()
	var b batch.Builder
	b.Reset(nil, o)
	for _, v := range values {
		b.Append(at.UnixMilli(), []byte("k"), []byte(v), []batch.Header{{Key: "h", Value: []byte(v)}})
	}
	built, err := b.Finish()
	require.NoError(t, err)
	r, err := store.Append(context.Background(), partition.AppendRequest{
		TopicPartition: partition.TopicPartition{Topic: topic, Partition: number}, Batch: built,
	})
	require.NoError(t, err)
	return r.BaseOffset
}

func at(topic string, number int32) partition.TopicPartition {
	return partition.TopicPartition{Topic: topic, Partition: number}
}

// all collects the values of a bounded iteration.
func all(t *testing.T, c *consumer.Consumer) []string {
	t.Helper()
	var got []string
	for r, err := range c.Records(t.Context()) {
		require.NoError(t, err)
		got = append(got, string(r.Value))
	}
	return got
}

// texts returns the decimal texts of [first, first+n).
func texts(first, n int) []string {
	s := make([]string, n)
	for i := range s {
		s[i] = fmt.Sprint(first + i)
	}
	return s
}

// The two ways to rebalance: a member gives up everything first, or keeps what it can.
var (
	eager       = []group.Assignor{group.Range}
	cooperative = []group.Assignor{group.CooperativeSticky}
)

func openGroup(t *testing.T, store *partition.Store, c group.Config) *group.ConsumerGroup {
	t.Helper()
	g, err := group.Open(store, "g", c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, g.Close()) })
	return g
}
