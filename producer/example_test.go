package producer_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/partlog/partlog/group"
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

// What a transaction sends is seen by readers of committed records all or not at all.
func ExampleProducer_Transact() {
	ctx := context.Background()
	store := openStore("accounts", partition.TopicConfig{Partitions: 1})
	defer store.Close()
	p, err := producer.New(store, producer.Config{TransactionalID: "bank"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	accounts := producer.For(p, "accounts", producer.String, producer.JSON[int])

	transfer := func(cents, limit int) error {
		return p.Transact(ctx, func(tx *producer.Tx) error {
			accounts.In(tx).SendAsync(ctx, "ada", -cents, nil)
			accounts.In(tx).SendAsync(ctx, "bob", cents, nil)
			if cents > limit {
				return errors.New("too much")
			}
			return nil
		})
	}
	fmt.Println(transfer(500, 1000))
	err = transfer(5000, 1000)
	_, aborted := errors.AsType[*producer.AbortedError](err)
	fmt.Println(aborted, err)
	// Output:
	// <nil>
	// true transaction of "bank" aborted: too much
}

// Offsets of a group are committed with what was made of the records (Kafka's sendOffsetsToTransaction). A consumer's
// own are committed by TransactFrom and CommitOffsets.
func ExampleTx_CommitGroupOffsets() {
	ctx := context.Background()
	store := openStore("totals", partition.TopicConfig{Partitions: 1})
	defer store.Close()
	p, err := producer.New(store, producer.Config{TransactionalID: "totals"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	g, err := group.Open(store, "adders", group.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer g.Close()

	source := partition.TopicPartition{Topic: "totals", Partition: 0}
	err = p.Transact(ctx, func(tx *producer.Tx) error {
		tx.SendAsync(ctx, producer.Record{Topic: "totals", Value: []byte("42")}, nil)
		return tx.CommitGroupOffsets(ctx, g, group.Membership{Generation: group.NoGeneration},
			map[partition.TopicPartition]group.CommittedOffset{source: {Offset: 7, LeaderEpoch: partition.LeaderEpochUnknown}})
	})
	fmt.Println("both or neither:", err)
	// Output: both or neither: <nil>
}
