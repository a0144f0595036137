package partition_test

import (
	"context"
	"fmt"
	"time"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
)

// A compacted topic keeps the last record of each key. The store compacts by itself; Compact is for those who cannot wait.
func ExampleStore_Compact() {
	ctx := context.Background()
	store, err := partition.OpenMemory(partition.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	if _, err := store.CreateTopic(ctx, "profiles", partition.TopicConfig{CleanupPolicy: partition.CleanupCompact}); err != nil {
		fmt.Println(err)
		return
	}
	tp := partition.TopicPartition{Topic: "profiles"}
	now := time.Now().UnixMilli()
	for _, city := range []string{"Rome", "Oslo", "Lima"} {
		_, err := store.Append(ctx, partition.AppendRequest{TopicPartition: tp, Batch: partitiontest.Batch(
			partitiontest.Record{Timestamp: now, Key: []byte("ada"), Value: []byte(city)},
		)})
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	if err := store.Compact(ctx, tp); err != nil {
		fmt.Println(err)
		return
	}
	results, err := store.Fetch(ctx, partition.FetchRequest{Partitions: []partition.FetchPosition{
		{TopicPartition: tp, Offset: 0, LeaderEpoch: partition.LeaderEpochUnknown},
	}})
	if err != nil || results[0].Err != nil {
		fmt.Println(err, results)
		return
	}
	defer results[0].Lease.Release()
	records, err := partitiontest.Records(results[0].Batches)
	for _, r := range records {
		fmt.Println(r.Offset, string(r.Key), string(r.Value))
	}
	fmt.Println(err)
	// Output:
	// 2 ada Lima
	// <nil>
}
