package kafkatest_test

import (
	"context"
	"fmt"

	"github.com/partlog/partlog/kafka/kafkatest"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// A producer that has no answer sends again; the record is there once.
func ExampleNewBackend() {
	ctx := context.Background()
	store, err := partition.OpenMemory(partition.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	if _, err := store.CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 1}); err != nil {
		fmt.Println(err)
		return
	}
	backend, err := kafkatest.NewBackend(store, kafkatest.BackendConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	lost := backend.Inject(kafkatest.Rule{API: "Produce", Times: 1, Apply: true, Close: true})

	p, err := producer.New(backend, producer.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	r, err := producer.For(p, "orders", producer.String, producer.String).Send(ctx, "customer-42", "a book")
	fmt.Println(r.Offset, err, lost.Hits())
	end, err := store.ListOffsets(ctx, partition.TopicPartition{Topic: "orders"}, partition.TimestampLatest)
	fmt.Println(end, err)
	// Output:
	// 0 <nil> 1
	// 1 <nil>
}
