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
