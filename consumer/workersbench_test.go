package consumer_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// fillKeyed returns a store with n records of 100 bytes that go round 16 keys.
func fillKeyed(b testing.TB, n int) *partition.Store {
	b.Helper()
	store, err := partition.OpenMemory(partition.Config{Sync: partition.SyncNever})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, store.Close()) })
	_, err = store.CreateTopic(context.Background(), "t", partition.TopicConfig{Partitions: 1, MaxMessageBytes: 8 << 20})
	require.NoError(b, err)
	var keys [16][]byte
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "key-%d", i)
	}
	var builder batch.Builder
	value := make([]byte, 100)
	for first := 0; first < n; first += 1000 {
		builder.Reset(nil, batch.Options{})
		for i := range min(1000, n-first) {
			builder.Append(900_000_000_000, keys[(first+i)%16], value, nil)
		}
		built, err := builder.Finish()
		require.NoError(b, err)
		_, err = store.Append(context.Background(), partition.AppendRequest{TopicPartition: at("t", 0), Batch: built})
		require.NoError(b, err)
	}
	return store
}

func BenchmarkWork(b *testing.B) {
	for name, unordered := range map[string]bool{"keys=16": false, "unordered": true} {
		b.Run(name, func(b *testing.B) {
			store := fillKeyed(b, 500_000)
			b.ReportAllocs()
			for b.Loop() {
				c, err := consumer.Assign(b.Context(), store, []consumer.Assignment{{TopicPartition: at("t", 0), Until: consumer.UntilEnd()}}, consumer.Config{})
				require.NoError(b, err)
				var n atomic.Int64
				require.NoError(b, consumer.Work(b.Context(), c, func(_ context.Context, r consumer.Record) error {
					n.Add(1)
					return nil
				}, consumer.WorkConfig{Unordered: unordered}))
				require.EqualValues(b, 500_000, n.Load())
				require.NoError(b, c.Close())
			}
			b.ReportMetric(500_000*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrec/s")
		})
	}
}

// What is allocated is for fetches and for the bounds of what is in flight, not for records. Typed is left out: its pool
// forgets on purpose under the race detector.
func TestWorkAllocatesNothingPerRecord(t *testing.T) {
	handler := func(context.Context, consumer.Record) error { return nil }
	allocations := func(records int) float64 {
		store := fillKeyed(t, records)
		return testing.AllocsPerRun(1, func() {
			c, err := consumer.Assign(context.Background(), store, []consumer.Assignment{{TopicPartition: at("t", 0), Until: consumer.UntilEnd()}}, consumer.Config{})
			require.NoError(t, err)
			require.NoError(t, consumer.Work(context.Background(), c, handler, consumer.WorkConfig{Workers: 4}))
			require.NoError(t, c.Close())
		})
	}
	few, many := allocations(20_000), allocations(120_000)
	require.Less(t, (many-few)/100_000, 0.2)
}
