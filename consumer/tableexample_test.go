package consumer_test

import (
	"context"
	"fmt"
	"time"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
)

// record appends a record with a key, as a producer would have sent it; a nil value is a tombstone.
func record(store *partition.Store, topic, key string, value []byte) partition.Offset {
	r, err := store.Append(context.Background(), partition.AppendRequest{TopicPartition: partition.TopicPartition{Topic: topic},
		Batch: partitiontest.Batch(partitiontest.Record{Timestamp: time.Now().UnixMilli(), Key: []byte(key), Value: value})})
	if err != nil {
		panic(err)
	}
	return r.BaseOffset
}

// emptyStore returns a store with one topic.
func emptyStore(topic string, c partition.TopicConfig) *partition.Store {
	store, err := partition.OpenMemory(partition.Config{})
	if err != nil {
		panic(err)
	}
	if _, err := store.CreateTopic(context.Background(), topic, c); err != nil {
		panic(err)
	}
	return store
}

// A compacted topic as a map: it is restored from the log, and follows it.
func ExampleOpenTable() {
	ctx := context.Background()
	store := emptyStore("prices", partition.TopicConfig{CleanupPolicy: partition.CleanupCompact})
	defer store.Close()
	record(store, "prices", "apple", []byte("120"))
	record(store, "prices", "pear", []byte("90"))
	record(store, "prices", "apple", []byte("130"))

	prices, err := consumer.OpenTable(ctx, store, "prices", consumer.String, consumer.JSON[int], consumer.TableConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer prices.Close()
	if err := prices.CaughtUp(ctx); err != nil { // restored
		fmt.Println(err)
		return
	}
	apple, _ := prices.Lookup("apple")
	fmt.Println("apple", apple.Value, "from offset", apple.Offset)

	record(store, "prices", "pear", nil)         // a tombstone
	if err := prices.CaughtUp(ctx); err != nil { // with what has been written before the call
		fmt.Println(err)
		return
	}
	_, ok := prices.Get("pear")
	fmt.Println("pear", ok, "keys", prices.Stats().Keys)
	// Output:
	// apple 130 from offset 2
	// pear false keys 1
}

// A view that is made from the log. With a checkpoint, each run applies what has come since the last one; Rebuild begins with the first
// record again.
func ExampleProject() {
	ctx := context.Background()
	store := openStore("1999", "250")
	defer store.Close()
	checkpoint, err := group.Open(store, "turnover", group.Config{}) // a group without members
	if err != nil {
		fmt.Println(err)
		return
	}
	defer checkpoint.Close()

	turnover := 0 // the projection
	update := func(rebuild bool) {
		applied := 0
		err := consumer.Project(ctx, store, consumer.ProjectionConfig{
			Topics: []string{"orders"}, Checkpoint: consumer.GroupCheckpoint(checkpoint), Rebuild: rebuild, Once: true,
		}, func(r consumer.Record) error {
			cents, err := consumer.JSON[int](r.Value, nil)
			turnover += cents
			applied++
			return err
		})
		fmt.Println(turnover, "after", applied, "records;", err)
	}
	update(false)
	record(store, "orders", "bob", []byte("51"))
	update(false)
	turnover = 0
	update(true)
	// Output:
	// 2249 after 2 records; <nil>
	// 2300 after 1 records; <nil>
	// 2300 after 3 records; <nil>
}

// The events of one entity, read without the others' from a topic with a key index. Who decides something by them appends it with
// producer.Producer.AppendIf, which expects the last offset; here, as the backend does.
func ExampleHistory() {
	ctx := context.Background()
	store := emptyStore("accounts", partition.TopicConfig{KeyIndex: true})
	defer store.Close()
	record(store, "accounts", "ada", []byte("500"))
	record(store, "accounts", "bob", []byte("70"))
	record(store, "accounts", "ada", []byte("-200"))

	balance, last := 0, partition.NoRecord
	for event, err := range consumer.History(ctx, store, "accounts", []byte("ada"), consumer.JSON[int], consumer.HistoryConfig{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		balance, last = balance+event.Value, event.Offset
	}
	fmt.Println("balance", balance, "last offset", last)

	record(store, "accounts", "ada", []byte("-300")) // somebody else was faster
	_, err := store.Append(ctx, partition.AppendRequest{
		TopicPartition: partition.TopicPartition{Topic: "accounts"},
		Batch:          partitiontest.Batch(partitiontest.Record{Timestamp: time.Now().UnixMilli(), Key: []byte("ada"), Value: []byte("-100")}),
		Expect:         &partition.Expect{Key: []byte("ada"), Last: last},
	})
	fmt.Println(err)
	// Output:
	// balance 300 last offset 2
	// append to accounts-0: version conflict: the last record of key "ada" has offset 3, and 2 was expected
}
