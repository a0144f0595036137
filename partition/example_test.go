package partition_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
)

// Batches are what goes in and out of a store. Package producer builds them, package consumer takes them apart; here the
// helpers of partitiontest do.
func Example() {
	ctx := context.Background()
	store, err := partition.OpenMemory(partition.Config{}) // or Open("data", partition.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	if _, err := store.CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 2}); err != nil {
		fmt.Println(err)
		return
	}
	tp := partition.TopicPartition{Topic: "orders", Partition: 1}
	now := time.Now().UnixMilli()
	r, err := store.Append(ctx, partition.AppendRequest{TopicPartition: tp, Batch: partitiontest.Batch(
		partitiontest.Record{Timestamp: now, Key: []byte("ada"), Value: []byte("tea")},
		partitiontest.Record{Timestamp: now, Key: []byte("bob"), Value: []byte("milk")},
	)})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("first offset", r.BaseOffset)

	results, err := store.Fetch(ctx, partition.FetchRequest{MaxWait: time.Second, Partitions: []partition.FetchPosition{
		{TopicPartition: tp, Offset: 0, LeaderEpoch: partition.LeaderEpochUnknown},
	}})
	if err != nil || results[0].Err != nil {
		fmt.Println(err, results)
		return
	}
	defer results[0].Lease.Release() // the bytes are the mapped segment's
	records, err := partitiontest.Records(results[0].Batches)
	for _, r := range records {
		fmt.Println(r.Offset, string(r.Key), string(r.Value))
	}
	fmt.Println("high watermark", results[0].HighWatermark, err)
	// Output:
	// first offset 0
	// 0 ada tea
	// 1 bob milk
	// high watermark 2 <nil>
}

// The settings of a topic have Kafka's names, and an error names the one that is wrong.
func ExampleStore_AlterTopicConfig() {
	ctx := context.Background()
	store, err := partition.OpenMemory(partition.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	if _, err := store.CreateTopic(ctx, "clicks", partition.TopicConfig{RetentionAge: 24 * time.Hour, Sync: partition.SyncNever}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(store.AlterTopicConfig(ctx, "clicks", map[string]string{"retention.ms": "3600000"}))
	err = store.AlterTopicConfig(ctx, "clicks", map[string]string{"segment.bytes": "7"})
	if bad, ok := errors.AsType[*partition.ConfigError](err); ok {
		fmt.Printf("%s=%s: want %s\n", bad.Key, bad.Value, bad.Range)
	}
	d, err := store.DescribeTopic(ctx, "clicks")
	fmt.Println(d.Overrides["retention.ms"], d.Config["segment.bytes"], err)
	// Output:
	// <nil>
	// segment.bytes=7: want an integer from 1048576 to 2147483647
	// 3600000 1073741824 <nil>
}

// A backup of a live store is a store.
func ExampleStore_Snapshot() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "partlog-example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	live, err := partition.Open(filepath.Join(dir, "live"), partition.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer live.Close()
	topic, err := live.CreateTopic(ctx, "orders", partition.TopicConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := topic.Partition(0)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := p.Append(ctx, partitiontest.Batch(partitiontest.Record{Timestamp: time.Now().UnixMilli(), Value: []byte("tea")}), partition.AcksAll); err != nil {
		fmt.Println(err)
		return
	}
	if err := live.Snapshot(ctx, filepath.Join(dir, "backup")); err != nil {
		fmt.Println(err)
		return
	}

	backup, err := partition.OpenReadOnly(filepath.Join(dir, "backup"), partition.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer backup.Close()
	report, err := backup.Verify(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	end, err := backup.ListOffsets(ctx, p.TopicPartition(), partition.TimestampLatest)
	fmt.Println(end, "record; damaged:", report.Damaged(), err)
	// Output: 1 record; damaged: false <nil>
}

// A second process is told who has the store.
func ExampleStoreInUseError() {
	dir, err := os.MkdirTemp("", "partlog-example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	store, err := partition.Open(dir, partition.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	_, err = partition.Open(dir, partition.Config{})
	if held, ok := errors.AsType[*partition.StoreInUseError](err); ok {
		fmt.Println("held by this process:", held.PID == os.Getpid())
	}
	// Output: held by this process: true
}
