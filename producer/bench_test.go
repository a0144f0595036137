package producer_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// sink takes batches and keeps nothing: what is left is the producer.
type sink struct{ next partition.Offset }

func (s *sink) Metadata(_ context.Context, topics []string) ([]partition.Metadata, error) {
	return []partition.Metadata{{Topic: topics[0], ID: partition.TopicID{1}, MaxMessageBytes: 1048588, Compression: partition.CodecProducer,
		Partitions: make([]partition.PartitionMetadata, 1)}}, nil
}

func (s *sink) InitProducerID(context.Context, string, time.Duration, partition.ProducerID) (partition.ProducerID, error) {
	return partition.ProducerID{ID: 7}, nil
}

func (s *sink) EndTxn(_ context.Context, _ string, id partition.ProducerID, _ bool) (partition.ProducerID, error) {
	id.Epoch++
	return id, nil
}

func (s *sink) Append(context.Context, partition.AppendRequest) (partition.AppendResult, error) {
	s.next++
	return partition.AppendResult{BaseOffset: s.next, LogAppendTime: -1}, nil
}

func BenchmarkSendAsyncWithoutStore(b *testing.B) {
	p, err := producer.New(&sink{}, producer.Config{})
	require.NoError(b, err)
	benchmarkSendAsync(b, p)
}

func BenchmarkSendWithoutStore(b *testing.B) {
	p, err := producer.New(&sink{}, producer.Config{})
	require.NoError(b, err)
	benchmarkSend(b, p)
}

func benchmarkSendAsync(b *testing.B, p *producer.Producer) {
	ctx, value := context.Background(), make([]byte, 100)
	failed := 0
	done := func(r producer.Result) {
		if r.Err != nil {
			failed++
		}
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(value)))
	for b.Loop() {
		p.SendAsync(ctx, producer.Record{Topic: "records", Value: value}, done)
	}
	require.NoError(b, p.Flush(ctx))
	require.Zero(b, failed)
	require.NoError(b, p.Close())
}

func benchmarkSend(b *testing.B, p *producer.Producer) {
	ctx, value := context.Background(), make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Send(ctx, producer.Record{Topic: "records", Value: value}); err != nil {
			b.Fatal(err)
		}
	}
	require.NoError(b, p.Close())
}

// onDisk returns a producer on a store on a real disk with the topic "records".
func onDisk(b *testing.B, mode partition.SyncMode) *producer.Producer {
	store, err := partition.Open(b.TempDir(), partition.Config{Sync: mode})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, store.Close()) })
	_, err = store.CreateTopic(b.Context(), "records", partition.TopicConfig{Partitions: 1})
	require.NoError(b, err)
	p, err := producer.New(store, producer.Config{})
	require.NoError(b, err)
	return p
}

func BenchmarkSendAsyncNoSync(b *testing.B) { benchmarkSendAsync(b, onDisk(b, partition.SyncNever)) }

func BenchmarkSendAsyncSync(b *testing.B) { benchmarkSendAsync(b, onDisk(b, partition.SyncAlways)) }

func BenchmarkSendNoSync(b *testing.B) { benchmarkSend(b, onDisk(b, partition.SyncNever)) }

func BenchmarkSendSync(b *testing.B) { benchmarkSend(b, onDisk(b, partition.SyncAlways)) }

func BenchmarkViewSendAsyncWithoutStore(b *testing.B) {
	p, err := producer.New(&sink{}, producer.Config{})
	require.NoError(b, err)
	ctx, value := context.Background(), make([]byte, 100)
	view := producer.For(p, "records", producer.Int64, producer.Bytes)
	done := func(producer.Result) {}
	b.ReportAllocs()
	var i int64
	for b.Loop() {
		view.SendAsync(ctx, i, value, done)
		i++
	}
	require.NoError(b, p.Close())
}

// Many goroutines that wait share appends and syncs.
func BenchmarkSendSync64(b *testing.B) {
	p := onDisk(b, partition.SyncAlways)
	ctx, value := context.Background(), make([]byte, 100)
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := p.Send(ctx, producer.Record{Topic: "records", Value: value}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	require.NoError(b, p.Close())
}
