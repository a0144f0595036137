package partition_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
)

// A transaction as package producer makes it: an id, appends to two partitions, and one end for both.
func ExampleStore_EndTxn() {
	ctx := context.Background()
	store, err := partition.OpenMemory(partition.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	if _, err := store.CreateTopic(ctx, "accounts", partition.TopicConfig{Partitions: 2}); err != nil {
		fmt.Println(err)
		return
	}
	const id = "transfers"
	p, err := store.InitProducerID(ctx, id, time.Minute, partition.NoProducerID)
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, value := range []string{"-10", "+10"} {
		_, err := store.Append(ctx, partition.AppendRequest{
			TopicPartition:  partition.TopicPartition{Topic: "accounts", Partition: int32(i)},
			Batch:           partitiontest.TransactionalBatch(p, 0, partitiontest.Record{Timestamp: time.Now().UnixMilli(), Value: []byte(value)}),
			Acks:            partition.AcksLeader, // EndTxn makes it durable
			TransactionalID: id,
		})
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	next, err := store.EndTxn(ctx, id, p, true) // both are there, or neither
	fmt.Println("committed:", err == nil, "epoch", p.Epoch, "then", next.Epoch)

	_, err = store.EndTxn(ctx, id, p, true) // once more, as after a lost answer
	fmt.Println("again:", err == nil)

	_, err = store.InitProducerID(ctx, id, time.Minute, partition.NoProducerID) // another instance
	fmt.Println("another:", err == nil)
	_, err = store.Append(ctx, partition.AppendRequest{
		TopicPartition:  partition.TopicPartition{Topic: "accounts"},
		Batch:           partitiontest.TransactionalBatch(next, 0, partitiontest.Record{Timestamp: time.Now().UnixMilli(), Value: []byte("-1")}),
		TransactionalID: id,
	})
	fmt.Println("old epoch:", errors.Is(err, partition.ErrInvalidProducerEpoch))
	_, err = store.EndTxn(ctx, id, next, false)
	fmt.Println("fenced:", errors.Is(err, partition.ErrProducerFenced))
	// Output:
	// committed: true epoch 0 then 1
	// again: true
	// another: true
	// old epoch: true
	// fenced: true
}
