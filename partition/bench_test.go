package partition

import (
	"context"
	"testing"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/stretchr/testify/require"
)

func TestAppendAndFetchAllocateNothing(t *testing.T) {
	still := clock.NewManual(time.UnixMilli(900_000_000_000)) // a checkpoint allocates
	s := memory(t, Config{Sync: SyncNever, Clock: still})
	topic := create(t, s, "t", TopicConfig{})
	p, err := topic.Partition(0)
	require.NoError(t, err)
	b := records("some value")
	ctx := context.Background()
	r := AppendRequest{TopicPartition: TopicPartition{"t", 0}, Batch: b}
	positions := []FetchPosition{{TopicPartition: TopicPartition{"t", 0}, LeaderEpoch: -1}}
	fetch := FetchRequest{Partitions: positions, Reuse: make([]FetchResult, 0, 1)}
	var res FetchResult
	for name, f := range map[string]func(){
		"Partition.Append": func() { _, err = p.Append(ctx, b, AcksAll) },
		"Store.Append":     func() { _, err = s.Append(ctx, r) },
		"Partition.Fetch": func() {
			err = p.Fetch(0, 1<<16, &res)
			res.Lease.Release()
		},
		"Store.Fetch": func() {
			rs, ferr := s.Fetch(ctx, fetch)
			err = ferr
			releaseAll(rs)
		},
	} {
		for range 10 {
			f()
		}
		require.Zero(t, testing.AllocsPerRun(200, f), name)
		require.NoError(t, err, name)
	}
}

func BenchmarkPartitionAppend100B(b *testing.B) {
	s, err := Open(b.TempDir(), Config{Sync: SyncNever})
	require.NoError(b, err)
	defer s.Close()
	topic := create(b, s, "t", TopicConfig{})
	p, err := topic.Partition(0)
	require.NoError(b, err)
	ctx := context.Background()
	var w batch.Builder
	value := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		w.Reset(nil, batch.Options{})
		w.Append(900_000_000_000, nil, value, nil)
		x, err := w.Finish()
		if err == nil {
			_, err = p.Append(ctx, x, AcksAll)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStoreFetch(b *testing.B) {
	s, err := Open(b.TempDir(), Config{Sync: SyncNever})
	require.NoError(b, err)
	defer s.Close()
	create(b, s, "t", TopicConfig{})
	for range 1000 {
		appendTo(b, s, "t", 0, "some value")
	}
	r := FetchRequest{Partitions: []FetchPosition{{TopicPartition: TopicPartition{"t", 0}, Offset: 500, LeaderEpoch: -1, MaxBytes: 4096}}, Reuse: make([]FetchResult, 0, 1)}
	b.ReportAllocs()
	for b.Loop() {
		rs, err := s.Fetch(context.Background(), r)
		if err != nil || rs[0].Err != nil {
			b.Fatal(err, rs[0].Err)
		}
		releaseAll(rs)
	}
}

func BenchmarkParkedFetch(b *testing.B) {
	s, err := Open(b.TempDir(), Config{Sync: SyncNever})
	require.NoError(b, err)
	defer s.Close()
	create(b, s, "t", TopicConfig{})
	ping, pong := make(chan struct{}), make(chan struct{})
	go func() {
		r := FetchRequest{Partitions: []FetchPosition{{TopicPartition: TopicPartition{"t", 0}, LeaderEpoch: -1}}, MaxWait: 1e12, Reuse: make([]FetchResult, 0, 1)}
		for {
			select {
			case <-ping:
			default:
			}
			rs, err := s.Fetch(context.Background(), r)
			if err != nil {
				return
			}
			for c := rs[0].Batches; len(c) > 0; {
				x := batch.Batch(c)
				r.Partitions[0].Offset = Offset(x.NextOffset())
				c = c[x.Length():]
			}
			releaseAll(rs)
			pong <- struct{}{}
		}
	}()
	x := records("value")
	topic, _ := s.Topic("t")
	p, _ := topic.Partition(0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Append(context.Background(), x, AcksAll); err != nil {
			b.Fatal(err)
		}
		<-pong
	}
}
