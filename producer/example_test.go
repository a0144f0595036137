package producer_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

type Order struct{ Cents int }

// A store in memory stands for one on disk: partition.Open("data", partition.Config{}).
func openStore(topic string, c partition.TopicConfig) *partition.Store {
	store, err := partition.OpenMemory(partition.Config{})
	if err != nil {
		panic(err)
	}
	if _, err := store.CreateTopic(context.Background(), topic, c); err != nil {
		panic(err)
	}
	return store
}

func Example() {
	ctx := context.Background()
	store := openStore("orders", partition.TopicConfig{Partitions: 8})
	defer store.Close()

	p, err := producer.New(store, producer.Config{}) // idempotent, acks=all
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close() // flushes
	orders := producer.For(p, "orders", producer.String, producer.JSON[Order])
	for i := range 3 {
		r, err := orders.Send(ctx, "customer-42", Order{Cents: 1999 + i})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(r.TopicPartition, r.Offset)
	}
	// Output:
	// orders-1 0
	// orders-1 1
	// orders-1 2
}

func ExampleProducer_SendAsync() {
	ctx := context.Background()
	store := openStore("clicks", partition.TopicConfig{Partitions: 1})
	defer store.Close()
	p, err := producer.New(store, producer.Config{Compression: partition.CodecZstd})
	if err != nil {
		fmt.Println(err)
		return
	}
	failed := 0
	for i := range 1000 {
		p.SendAsync(ctx, producer.Record{Topic: "clicks", Value: fmt.Appendf(nil, "click %d", i)}, func(r producer.Result) {
			if r.Err != nil { // callbacks of one partition run one at a time
				failed++
			}
		})
	}
	if err := p.Close(); err != nil { // all callbacks have run
		fmt.Println(err)
	}
	st := p.Stats()
	fmt.Println(st.Records, failed, st.Bytes < st.Uncompressed)
	// Output: 1000 0 true
}

func ExampleRecord() {
	ctx := context.Background()
	store := openStore("sensors", partition.TopicConfig{Partitions: 4})
	defer store.Close()
	p, err := producer.New(store, producer.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	r, err := p.Send(ctx, producer.Record{
		Topic:     "sensors",
		Value:     []byte("21.5"),
		Headers:   []partition.Header{{Key: "unit", Value: []byte("°C")}},
		Partition: producer.To(3),
		Timestamp: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Acks:      producer.Need(partition.AcksLeader),
	})
	fmt.Println(r.TopicPartition, r.Offset, r.Timestamp.UTC().Format(time.DateTime), err)
	// Output: sensors-3 0 2026-01-02 03:04:05 <nil>
}

func ExampleView_Delete() {
	ctx := context.Background()
	store := openStore("accounts", partition.TopicConfig{Partitions: 1})
	defer store.Close()
	p, err := producer.New(store, producer.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	accounts := producer.For(p, "accounts", producer.Int64, producer.String)
	_, _ = accounts.Send(ctx, 7, "Ada")
	r, err := accounts.Delete(ctx, 7) // a tombstone
	fmt.Println(r.Offset, r.ValueSize, err)
	// Output: 1 -1 <nil>
}

// An encoder may add headers: here, the name of the schema.
func ExampleEncoder() {
	ctx := context.Background()
	store := openStore("orders", partition.TopicConfig{Partitions: 1})
	defer store.Close()
	p, err := producer.New(store, producer.Config{Interceptors: []producer.Interceptor{{
		OnSend: func(_ context.Context, r *producer.Record) error {
			fmt.Printf("%s %s=%s\n", r.Value, r.Headers[0].Key, r.Headers[0].Value)
			return nil
		},
	}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	withSchema := func(dst []byte, v Order, at *producer.Envelope) ([]byte, error) {
		at.Headers = append(at.Headers, partition.Header{Key: "schema", Value: []byte("order/1")})
		return producer.JSON(dst, v, at)
	}
	_, _ = producer.For(p, "orders", producer.Null[string], withSchema).Send(ctx, "", Order{Cents: 5})
	// Output: {"Cents":5} schema=order/1
}

func ExampleUncertainError() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	store := openStore("orders", partition.TopicConfig{Partitions: 1})
	defer store.Close()
	p, err := producer.New(store, producer.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	_, err = p.Send(ctx, producer.Record{Topic: "orders"})
	if _, maybe := errors.AsType[*producer.UncertainError](err); maybe {
		fmt.Println("may be in the log:", err)
	} else if err != nil {
		fmt.Println("is not in the log:", err)
	}
	// Output: is not in the log: send to topic "orders": not accepted: context canceled
}
