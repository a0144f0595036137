package consumer_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/compress"
	"github.com/partlog/partlog/partition"
)

// fill writes n records with values of 100 bytes in batches of each, and returns a store that has them.
func fill(b *testing.B, n, each int, codec compress.Codec) *partition.Store {
	b.Helper()
	store, err := partition.OpenMemory(partition.Config{Sync: partition.SyncNever})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, store.Close()) })
	_, err = store.CreateTopic(b.Context(), "t", partition.TopicConfig{Partitions: 1, MaxMessageBytes: 8 << 20})
	require.NoError(b, err)
	var builder batch.Builder
	value := make([]byte, 100)
	for first := 0; first < n; first += each {
		builder.Reset(nil, batch.Options{Codec: codec})
		for range each {
			builder.Append(1_700_000_000_000+int64(first), nil, value, nil)
		}
		built, err := builder.Finish()
		require.NoError(b, err)
		_, err = store.Append(b.Context(), partition.AppendRequest{TopicPartition: at("t", 0), Batch: built})
		require.NoError(b, err)
	}
	return store
}

// eachWay runs a benchmark over records in small and large batches. The loop of b is over records: read does as many as it
// is told, and begins again at the first when there are no more.
func eachWay(b *testing.B, codec compress.Codec, read func(b *testing.B, c *consumer.Consumer, tp partition.TopicPartition)) {
	const records = 400_000
	for _, each := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("batches=%d", each), func(b *testing.B) {
			store := fill(b, records, each, codec)
			c, err := consumer.Assign(b.Context(), store, []consumer.Assignment{{TopicPartition: at("t", 0)}}, consumer.Config{})
			require.NoError(b, err)
			b.Cleanup(func() { require.NoError(b, c.Close()) })
			b.ReportAllocs()
			b.SetBytes(100)
			read(b, c, at("t", 0))
		})
	}
}

func benchmarkRecords(b *testing.B, codec compress.Codec) {
	eachWay(b, codec, func(b *testing.B, c *consumer.Consumer, tp partition.TopicPartition) {
		seen := 0
		for r, err := range c.Records(b.Context()) {
			if err != nil {
				b.Fatal(err)
			}
			if seen += len(r.Value); r.Offset == 399_998 {
				require.NoError(b, c.Seek(tp, consumer.Earliest()))
			}
			if !b.Loop() {
				break
			}
		}
	})
}

func BenchmarkRecords(b *testing.B) { benchmarkRecords(b, compress.None) }

func BenchmarkRecordsLZ4(b *testing.B) { benchmarkRecords(b, compress.LZ4) }

func BenchmarkRecordsTyped(b *testing.B) {
	eachWay(b, compress.None, func(b *testing.B, c *consumer.Consumer, tp partition.TopicPartition) {
		for r, err := range consumer.Records(b.Context(), c, consumer.Bytes, consumer.Bytes) {
			if err != nil {
				b.Fatal(err)
			}
			if r.Offset == 399_998 {
				require.NoError(b, c.Seek(tp, consumer.Earliest()))
			}
			if !b.Loop() {
				break
			}
		}
	})
}

func BenchmarkPoll(b *testing.B) {
	eachWay(b, compress.None, func(b *testing.B, c *consumer.Consumer, tp partition.TopicPartition) {
		for {
			records, err := c.Poll(context.Background())
			if err != nil {
				b.Fatal(err)
			}
			for _, r := range records {
				if r.Offset == 399_998 {
					require.NoError(b, c.Seek(tp, consumer.Earliest()))
				}
				if !b.Loop() {
					return
				}
			}
		}
	})
}

func BenchmarkPollBorrowed(b *testing.B) {
	eachWay(b, compress.None, func(b *testing.B, c *consumer.Consumer, tp partition.TopicPartition) {
		for {
			run, err := c.PollBorrowed(context.Background())
			if err == io.EOF || err != nil {
				b.Fatal(err)
			}
			for r, err := range run.All() {
				if err != nil {
					b.Fatal(err)
				}
				if r.Offset == 399_998 {
					require.NoError(b, c.Seek(tp, consumer.Earliest()))
				}
				if !b.Loop() {
					run.Release()
					return
				}
			}
			run.Release()
		}
	})
}

// What a record costs in allocations is its share of what a fetch costs: one buffer for each partition of it, and a few
// small things.
func TestRecordsAllocateByTheFetch(t *testing.T) {
	store := newStore(t, "t", 1)
	const records = 40_000
	for i := 0; i < records; i += 100 {
		writeAt(t, store, "t", 0, timeZero, slices.Repeat([]string{strings.Repeat("x", 100)}, 100)...)
	}
	read := map[string]func(*consumer.Consumer) (n int){
		"records": func(c *consumer.Consumer) (n int) {
			for _, err := range c.Records(t.Context()) {
				require.NoError(t, err)
				n++
			}
			return n
		},
		"intercepted": func(c *consumer.Consumer) (n int) {
			for _, err := range c.Records(t.Context()) {
				require.NoError(t, err)
				n++
			}
			return n
		},
		"borrowed": func(c *consumer.Consumer) (n int) {
			for {
				run, err := c.PollBorrowed(t.Context())
				if err == io.EOF {
					return n
				}
				require.NoError(t, err)
				for _, err := range run.All() {
					require.NoError(t, err)
					n++
				}
				run.Release()
			}
		},
	}
	for name, f := range read {
		t.Run(name, func(t *testing.T) {
			var config consumer.Config
			if name == "intercepted" {
				config.Interceptors = []func(*consumer.Record){func(r *consumer.Record) { r.Headers = nil }}
			}
			c := assign(t, store, config, consumer.Assignment{TopicPartition: at("t", 0), Until: consumer.UntilEnd()})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			require.Equal(t, records, f(c))
			runtime.ReadMemStats(&after)
			// Each record has a header, as write makes them: a block of them is allocated for every 128.
			require.Less(t, float64(after.Mallocs-before.Mallocs)/records, 0.03)
		})
	}
}
