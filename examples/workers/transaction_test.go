package main

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// In a transaction, what is handled, what is buried and the offsets are one: after an abort none of it is there, and
// everything is handled again.
func TestDeadLettersAreInTheTransactionOfTheirSource(t *testing.T) {
	ctx := t.Context()
	store, err := partition.OpenMemory(partition.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	for _, topic := range []string{"orders", "bills", "dead"} {
		_, err := store.CreateTopic(ctx, topic, partition.TopicConfig{Partitions: 1})
		require.NoError(t, err)
	}
	plain, err := producer.New(store, producer.Config{})
	require.NoError(t, err)
	require.NoError(t, produce(ctx, plain, options{orders: 1000, customers: 10}))
	require.NoError(t, plain.Close())
	p, err := producer.New(store, producer.Config{TransactionalID: "billing"})
	require.NoError(t, err)
	g, err := group.Open(store, "billing", group.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, g.Close()) })
	c, err := consumer.Join(ctx, g, consumer.Config{Topics: []string{"orders"}, Until: consumer.UntilEnd(), MaxPollRecords: 150, Commit: consumer.CommitManual})
	require.NoError(t, err)

	noLuck := errors.New("no luck")
	for n := 0; ; n++ {
		records, err := c.Poll(ctx)
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		err = p.TransactFrom(ctx, c, func(tx *producer.Tx) error {
			bill := func(ctx context.Context, r consumer.TypedRecord[string, order]) error {
				return tx.Forward(ctx, "bills", r.Raw.Key, r.Raw.Value, nil)
			}
			handler := consumer.Typed(consumer.String, consumer.JSON[order], bill)
			err := consumer.WorkBatch(ctx, records, handler, consumer.WorkConfig{DeadLetter: "dead", Forwarder: tx, Group: g.ID()})
			if n%2 == 0 && err == nil {
				err = noLuck
			}
			return err
		})
		if n%2 == 0 {
			require.ErrorIs(t, err, noLuck)
		} else {
			require.NoError(t, err)
		}
	}
	require.NoError(t, c.Close())
	require.NoError(t, p.Close())
	require.Len(t, committed(t, store, "bills"), 990)
	require.Len(t, committed(t, store, "dead"), 10)
	for _, r := range committed(t, store, "dead") {
		require.Equal(t, "poison", string(r.Value))
	}
}

func committed(t *testing.T, store *partition.Store, topic string) (all []consumer.Record) {
	end, err := store.ListOffsets(t.Context(), partition.TopicPartition{Topic: topic}, partition.TimestampLatest)
	require.NoError(t, err)
	c, err := consumer.Assign(t.Context(), store, []consumer.Assignment{
		{TopicPartition: partition.TopicPartition{Topic: topic}, Until: consumer.UntilOffset(end)},
	}, consumer.Config{Isolation: consumer.ReadCommitted})
	require.NoError(t, err)
	defer c.Close()
	for r, err := range c.Records(t.Context()) {
		require.NoError(t, err)
		all = append(all, r)
	}
	return all
}
