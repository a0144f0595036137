package replication

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

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
