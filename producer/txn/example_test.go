package txn_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
	"github.com/partlog/partlog/producer/txn"
)

// An operator aborts a transaction that readers have waited for long enough.
func Example() {
	ctx := context.Background()
	store, err := partition.OpenMemory(partition.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	_, _ = store.CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 1})
	p, err := producer.New(store, producer.Config{TransactionalID: "billing"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()

	err = p.Transact(ctx, func(tx *producer.Tx) error {
		if _, err := tx.Send(ctx, producer.Record{Topic: "orders"}); err != nil {
			return err
		}
		open, err := txn.List(ctx, store, txn.Filter{States: []txn.State{txn.Ongoing}})
		if err != nil {
			return err
		}
		for _, t := range open {
			d, err := txn.Describe(ctx, store, t.TransactionalID)
			if err != nil {
				return err
			}
			fmt.Println(d.TransactionalID, d.State, d.Partitions)
			if err := txn.Abort(ctx, store, t.TransactionalID); err != nil {
				return err
			}
		}
		return nil
	})
	fmt.Println("fenced:", errors.Is(err, producer.ErrProducerFenced))
	// Output:
	// billing Ongoing [orders-0]
	// fenced: true
}

func ExampleFindHanging() {
	ctx := context.Background()
	store, err := partition.OpenMemory(partition.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	hanging, err := txn.FindHanging(ctx, store, txn.Search{}) // silent for 15 min, in all topics
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, h := range hanging {
		if err := txn.AbortHanging(ctx, store, h.TopicPartition, h.Producer.Producer.ID); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println(len(hanging), "aborted")
	// Output: 0 aborted
}
