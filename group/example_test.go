package group_test

import (
	"context"
	"fmt"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// A tool that sets a group back to the beginning of a topic, while nobody is in the group.
func ExampleConsumerGroup_Commit() {
	ctx := context.Background()
	store, err := partition.OpenMemory(partition.Config{})
	if err != nil {
		panic(err)
	}
	defer store.Close()
	if _, err := store.CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 2}); err != nil {
		panic(err)
	}
	billing, err := group.Open(store, "billing", group.Config{})
	if err != nil {
		panic(err)
	}
	defer billing.Close()
	offsets := make(map[partition.TopicPartition]group.CommittedOffset)
	for p := range int32(2) {
		tp := partition.TopicPartition{Topic: "orders", Partition: p}
		start, err := store.ListOffsets(ctx, tp, partition.TimestampEarliest)
		if err != nil {
			panic(err)
		}
		offsets[tp] = group.CommittedOffset{Offset: start, LeaderEpoch: partition.LeaderEpochUnknown}
	}
	if err := billing.Commit(ctx, offsets); err != nil {
		panic(err) // group.ErrUnknownMemberID: somebody is in the group
	}
	committed, err := billing.Committed(ctx)
	if err != nil {
		panic(err)
	}
	d, err := billing.Describe(ctx)
	if err != nil {
		panic(err)
	}
	fmt.Println(d.State, len(committed), committed[partition.TopicPartition{Topic: "orders", Partition: 1}].Offset)
	// Output: Empty 2 0
}
