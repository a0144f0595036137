package replication

import (
	"context"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// BenchmarkAppendAll is one record of 1 KiB after the other with acks=all on three nodes: the time of a record's way to a follower and back.
func BenchmarkAppendAll(b *testing.B) { benchmarkAppendAll(b, false) }

// BenchmarkAppendAllParallel is the same with many writers.
func BenchmarkAppendAllParallel(b *testing.B) { benchmarkAppendAll(b, true) }

func benchmarkAppendAll(b *testing.B, parallel bool) {
	for _, sync := range []partition.SyncMode{partition.SyncNever, partition.SyncAlways} {
		b.Run(sync.String(), func(b *testing.B) {
			ctx := context.Background()
			l, err := StartLocal(ctx, LocalConfig{Dir: b.TempDir(), Change: func(c *Config) { c.Store.Sync = sync }})
			require.NoError(b, err)
			defer l.Close()
			_, err = l.Node(1).CreateTopic(ctx, orders.Topic, partition.TopicConfig{Assignment: [][]int32{{1, 2, 3}}})
			require.NoError(b, err)
			value := string(make([]byte, 1024))
			for {
				if _, err := l.Node(1).Append(ctx, partition.AppendRequest{TopicPartition: orders, Batch: one(b, value), Acks: partition.AcksAll}); err == nil {
					break
				}
			}
			b.SetBytes(1024)
			b.ReportAllocs()
			if !parallel {
				record := one(b, value)
				for b.Loop() {
					_, err := l.Node(1).Append(ctx, partition.AppendRequest{TopicPartition: orders, Batch: record, Acks: partition.AcksAll})
					require.NoError(b, err)
				}
				return
			}
			b.SetParallelism(128)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				record := one(b, value)
				for pb.Next() {
					if _, err := l.Node(1).Append(ctx, partition.AppendRequest{TopicPartition: orders, Batch: record, Acks: partition.AcksAll}); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.StopTimer() // closing takes its time
		})
	}
}

// BenchmarkAppendAllBatches is batches of 1000 records of 100 bytes with acks=all on three nodes, four at a time. allocs/record counts the whole process: the leader, and
// two followers that fetch, check and append.
func BenchmarkAppendAllBatches(b *testing.B) {
	const records, writers = 1000, 4
	ctx := context.Background()
	l, err := StartLocal(ctx, LocalConfig{Dir: b.TempDir(), Change: func(c *Config) { c.Store.Sync, c.Dial = partition.SyncNever, nil }})
	require.NoError(b, err)
	defer l.Close()
	_, err = l.Node(1).CreateTopic(ctx, orders.Topic, partition.TopicConfig{Assignment: [][]int32{{1, 2, 3}}})
	require.NoError(b, err)
	send(ctx, b, l.Node(1), orders, "the first")
	value := make([]byte, 100)
	b.SetBytes(records * int64(len(value)))
	b.SetParallelism(writers)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		var builder batch.Builder
		builder.Reset(nil, batch.Options{})
		for range records {
			builder.Append(1000, nil, value, nil)
		}
		whole, err := builder.Finish()
		if err != nil {
			b.Error(err)
			return
		}
		for pb.Next() {
			if _, err := l.Node(1).Append(ctx, partition.AppendRequest{TopicPartition: orders, Batch: whole, Acks: partition.AcksAll}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	runtime.ReadMemStats(&after)
	appended := float64(b.N) * records
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/appended, "allocs/record")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/appended, "ns/record")
}

// BenchmarkFailover10000Partitions is how long it takes from the death of one of three nodes until the others lead what it led, with a session timeout
// of 2 s, which is a part of it.
func BenchmarkFailover10000Partitions(b *testing.B) {
	const many = 10_000
	for b.Loop() {
		b.StopTimer()
		ctx := context.Background()
		l, err := StartLocal(ctx, LocalConfig{})
		require.NoError(b, err)
		_, err = l.Node(1).CreateTopic(ctx, orders.Topic, partition.TopicConfig{Partitions: many})
		require.NoError(b, err)
		count := func(f func(ReplicaStats) int) (sum int) {
			for _, n := range l.Nodes() {
				sum += f(n.ReplicaStats(false))
			}
			return sum
		}
		for count(func(s ReplicaStats) int { return s.Following }) < 2*many {
			pause(ctx)
		}
		b.StartTimer()
		require.NoError(b, l.Kill(3))
		for count(func(s ReplicaStats) int { return s.Leading }) < many {
			pause(ctx)
		}
		b.StopTimer()
		require.NoError(b, l.Close())
		b.StartTimer()
	}
}
