package group_test

import (
	"context"
	"fmt"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// exampleStore has a topic of two partitions with ten records each, and a group that has read seven of the first.
func exampleStore(ctx context.Context) (*partition.Store, *group.ConsumerGroup) {
	store, err := partition.OpenMemory(partition.Config{})
	if err != nil {
		panic(err)
	}
	if _, err := store.CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 2}); err != nil {
		panic(err)
	}
	for p := range int32(2) {
		var b batch.Builder
		b.Reset(nil, batch.Options{})
		for range 10 {
			b.Append(1_700_000_000_000, nil, []byte("order"), nil)
		}
		data, err := b.Finish()
		if err != nil {
			panic(err)
		}
		if _, err := store.Append(ctx, partition.AppendRequest{TopicPartition: partition.TopicPartition{Topic: "orders", Partition: p}, Batch: data}); err != nil {
			panic(err)
		}
	}
	billing, err := group.Open(store, "billing", group.Config{})
	if err != nil {
		panic(err)
	}
	err = billing.Commit(ctx, map[partition.TopicPartition]group.CommittedOffset{{Topic: "orders"}: {Offset: 7, LeaderEpoch: partition.LeaderEpochUnknown}})
	if err != nil {
		panic(err)
	}
	return store, billing
}

// Offsets are set back, so that records are read again, while nobody is in the group.
func ExampleConsumerGroup_Reset() {
	ctx := context.Background()
	store, billing := exampleStore(ctx)
	defer store.Close()
	orders := partition.TopicPartition{Topic: "orders"}

	offsets, err := billing.Reset(ctx, group.ShiftBy(-3))
	fmt.Println(offsets[orders].Offset, err)
	offsets, err = billing.Reset(ctx, group.ToOffset(1000)) // as far as the log goes
	fmt.Println(offsets[orders].Offset, err)
	offsets, err = billing.PlanReset(ctx, group.ToEarliest, orders, partition.TopicPartition{Topic: "orders", Partition: 1})
	fmt.Println(len(offsets), offsets[orders].Offset, err)
	// Output:
	// 4 <nil>
	// 10 <nil>
	// 2 0 <nil>
}

// What kafka-consumer-groups --describe shows.
func ExampleConsumerGroup_Standings() {
	ctx := context.Background()
	store, billing := exampleStore(ctx)
	defer store.Close()
	standings, d, err := billing.Standings(ctx)
	if err != nil {
		panic(err)
	}
	fmt.Println(d.State, len(d.Members))
	for _, s := range standings {
		fmt.Println(s.TopicPartition, s.Committed.Offset, s.End, s.Lag)
	}
	// Output:
	// Empty 0
	// orders-0 7 10 3
}

// Groups that nobody is in are listed, and deleted with what they have committed.
func ExampleDelete() {
	ctx := context.Background()
	store, _ := exampleStore(ctx)
	defer store.Close()
	groups, err := group.List(ctx, store, group.ListGroupsRequest{States: []group.State{group.Empty}})
	if err != nil {
		panic(err)
	}
	for _, g := range groups {
		fmt.Println(g.Group, g.State, g.Type, group.Delete(ctx, store, g.Group))
	}
	fmt.Println(group.Delete(ctx, store, "billing"))
	// Output:
	// billing Empty classic <nil>
	// delete group "billing": group id not found
}
