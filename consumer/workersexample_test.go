package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
)

// printing is a Forwarder for an example; in a program it is the producer.
type printing struct{ store *partition.Store }

func (p printing) Forward(ctx context.Context, topic string, key, value []byte, headers []partition.Header) error {
	fmt.Printf("%s is written to %s\n", value, topic)
	_, err := p.store.Append(ctx, partition.AppendRequest{TopicPartition: partition.TopicPartition{Topic: topic},
		Batch: partitiontest.Batch(partitiontest.Record{Timestamp: time.Now().UnixMilli(), Key: key, Value: value, Headers: headers})})
	return err
}

// Orders of one customer are handled one after the other. What cannot be decoded, and what fails three times, goes to the
// dead letters, and the rest goes on.
func ExampleWork() {
	ctx := context.Background()
	store := openStore(`{"Cents":1999}`, `oops`, `{"Cents":250}`)
	defer store.Close()
	if _, err := store.CreateTopic(ctx, "orders-dead", partition.TopicConfig{}); err != nil {
		fmt.Println(err)
		return
	}
	billing, err := group.Open(store, "billing", group.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer billing.Close()
	c, err := consumer.Join(ctx, billing, consumer.Config{Topics: []string{"orders"}, Until: consumer.UntilEnd()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	charge := func(ctx context.Context, r consumer.TypedRecord[string, Order]) error {
		fmt.Printf("%s pays %d\n", r.Key, r.Value.Cents)
		return nil
	}
	err = consumer.Work(ctx, c, consumer.Typed(consumer.String, consumer.JSON[Order], charge), consumer.WorkConfig{
		Retry:      consumer.Retry{Attempts: 3},
		DeadLetter: "orders-dead", Forwarder: printing{store},
	})
	fmt.Println(err)
	// Output:
	// ada pays 1999
	// oops is written to orders-dead
	// ada pays 250
	// <nil>
}

// What lies in a dead-letter topic is listed, and what is worth it sent back to where it came from.
func ExampleListDeadLetters() {
	ctx := context.Background()
	store := openStore("a", "b", "c")
	defer store.Close()
	if _, err := store.CreateTopic(ctx, "dead", partition.TopicConfig{}); err != nil {
		fmt.Println(err)
		return
	}
	c, err := consumer.Assign(ctx, store, []consumer.Assignment{
		{TopicPartition: partition.TopicPartition{Topic: "orders"}, Until: consumer.UntilEnd()},
	}, consumer.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	err = consumer.Work(ctx, c, func(_ context.Context, r consumer.Record) error {
		if string(r.Value) == "a" {
			return nil
		}
		return errors.New("the bank is closed")
	}, consumer.WorkConfig{DeadLetter: "dead", Forwarder: printing{store}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for l, err := range consumer.ListDeadLetters(ctx, store, "dead") {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s at offset %d: %s\n", l.TopicPartition, l.Offset, l.Error)
	}
	n, err := consumer.SendBack(ctx, consumer.ListDeadLetters(ctx, store, "dead"),
		func(l consumer.DeadLetter) bool { return l.Offset == 2 }, printing{store})
	fmt.Println(n, err)
	// Output:
	// b is written to dead
	// c is written to dead
	// orders-0 at offset 1: the bank is closed
	// orders-0 at offset 2: the bank is closed
	// c is written to orders
	// 1 <nil>
}
