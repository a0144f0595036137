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

type Order struct{ Cents int }

// openStore returns a store with some orders, as a producer would have sent them.
func openStore(orders ...string) *partition.Store {
	ctx := context.Background()
	store, err := partition.OpenMemory(partition.Config{})
	if err != nil {
		panic(err)
	}
	if _, err := store.CreateTopic(ctx, "orders", partition.TopicConfig{}); err != nil {
		panic(err)
	}
	for _, o := range orders {
		_, err := store.Append(ctx, partition.AppendRequest{TopicPartition: partition.TopicPartition{Topic: "orders"},
			Batch: partitiontest.Batch(partitiontest.Record{Timestamp: time.Now().UnixMilli(), Key: []byte("ada"), Value: []byte(o)})})
		if err != nil {
			panic(err)
		}
	}
	return store
}

// A member of a group reads what the group has not finished yet. UntilEnd makes a job that ends; without it the loop
// waits for more.
func Example() {
	ctx := context.Background()
	store := openStore(`{"Cents":1999}`, `oops`, `{"Cents":250}`)
	defer store.Close()
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
	defer c.Close() // commits what the loop finished, leaves the group
	for rec, err := range consumer.Records(ctx, c, consumer.String, consumer.JSON[Order]) {
		if bad, ok := errors.AsType[*consumer.DecodeError](err); ok {
			fmt.Printf("offset %d: bad value %q\n", bad.Raw.Offset, bad.Raw.Value)
			continue
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("offset %d: %s pays %d\n", rec.Offset, rec.Key, rec.Value.Cents)
	}
	// Output:
	// offset 0: ada pays 1999
	// offset 1: bad value "oops"
	// offset 2: ada pays 250
}

// Without a group, a consumer reads what it is told: here, the second and the third record.
func ExampleAssign() {
	ctx := context.Background()
	store := openStore("a", "b", "c", "d")
	defer store.Close()
	tp := partition.TopicPartition{Topic: "orders"}
	c, err := consumer.Assign(ctx, store, []consumer.Assignment{
		{TopicPartition: tp, From: consumer.AtOffset(1), Until: consumer.UntilOffset(3)},
	}, consumer.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	for rec, err := range c.Records(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(rec.Offset, string(rec.Value))
	}
	next, _ := c.Position(tp)
	fmt.Println("next", next)
	// Output:
	// 1 b
	// 2 c
	// next 3
}

// Poll gives records in groups; the next Poll acknowledges them.
func ExampleConsumer_Poll() {
	ctx := context.Background()
	store := openStore("a", "b", "c")
	defer store.Close()
	c, err := consumer.Assign(ctx, store, []consumer.Assignment{
		{TopicPartition: partition.TopicPartition{Topic: "orders"}, Until: consumer.UntilEnd()},
	}, consumer.Config{MaxPollRecords: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	for {
		records, err := c.Poll(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(len(records), "records from offset", records[0].Offset)
	}
	// Output:
	// 2 records from offset 0
	// 1 records from offset 2
	// EOF
}

// Borrowed records are read where they lie, in the mapped segment, until Release.
func ExampleConsumer_PollBorrowed() {
	ctx := context.Background()
	store := openStore("a", "b", "c")
	defer store.Close()
	c, err := consumer.Assign(ctx, store, []consumer.Assignment{{TopicPartition: partition.TopicPartition{Topic: "orders"}}}, consumer.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	run, err := c.PollBorrowed(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	size := 0
	for rec, err := range run.All() {
		if err != nil {
			fmt.Println(err)
			return
		}
		size += len(rec.Value)
	}
	run.Release() // acknowledges what All went past; the bytes are gone
	fmt.Println(size, "bytes")
	// Output: 3 bytes
}

// A host that keeps offsets in its own database, in one transaction with its results, is asked for them whenever the
// member gets partitions. The generation fences writers that have lost theirs without knowing it.
func ExampleConfig_start() {
	ctx := context.Background()
	store := openStore("a", "b", "c", "d")
	defer store.Close()
	g, err := group.Open(store, "projection", group.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	rows := map[partition.TopicPartition]partition.Offset{{Topic: "orders"}: 2} // a table of the host's
	c, err := consumer.Join(ctx, g, consumer.Config{
		Topics: []string{"orders"}, Until: consumer.UntilEnd(),
		Start: func(_ context.Context, of group.Membership, tps []partition.TopicPartition) (map[partition.TopicPartition]consumer.Position, error) {
			from := make(map[partition.TopicPartition]consumer.Position)
			for _, tp := range tps { // UPDATE ... SET generation = of.Generation WHERE generation <= of.Generation
				from[tp] = consumer.AtOffset(rows[tp])
			}
			return from, nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	for rec, err := range c.Records(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(string(rec.Value)) // and, in the same transaction, the offset behind it
	}
	// Output:
	// c
	// d
}

// A member that commits by itself nothing: each record when its work is done, with a word about it.
func ExampleConsumer_CommitRecord() {
	ctx := context.Background()
	store := openStore("a", "b")
	defer store.Close()
	g, err := group.Open(store, "billing", group.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := consumer.Join(ctx, g, consumer.Config{Topics: []string{"orders"}, Until: consumer.UntilEnd(), Commit: consumer.CommitManual})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	for rec, err := range c.Records(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if err := c.CommitRecord(ctx, rec, "invoice "+string(rec.Value)); err != nil {
			fmt.Println(err)
			return
		}
	}
	committed, err := c.Committed(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	for tp, o := range committed {
		fmt.Println(tp, o.Offset, o.Metadata)
	}
	// Output: orders-0 2 invoice b
}
