package group

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// BenchmarkCommit is a commit of one partition into memory; -cpu says how many commit at once.
func BenchmarkCommit(b *testing.B) {
	s, err := partition.OpenMemory(partition.Config{Sync: partition.SyncNever})
	require.NoError(b, err)
	defer s.Close()
	_, err = s.CreateTopic(b.Context(), "orders", partition.TopicConfig{Partitions: 4})
	require.NoError(b, err)
	g, err := Open(s, "billing", Config{})
	require.NoError(b, err)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		offset := partition.Offset(0)
		for pb.Next() {
			offset++
			if err := g.Commit(b.Context(), map[partition.TopicPartition]CommittedOffset{{Topic: "orders"}: {Offset: offset}}); err != nil {
				b.Error(err)
			}
		}
	})
	stats := g.Stats()
	b.ReportMetric(float64(stats.Records)/float64(stats.Appends), "commits/append")
}

func BenchmarkRange(b *testing.B) {
	partitions := map[string]int32{"t": 10_000}
	var members []AssignorMember
	for i := range 100 {
		members = append(members, AssignorMember{MemberID: string(rune('a' + i)), Subscription: Subscription{Topics: []string{"t"}}})
	}
	b.ReportAllocs()
	for b.Loop() {
		Range.Assign(Cluster{Partitions: partitions}, members)
	}
}

// BenchmarkLoad reads a partition with 100,000 commits, one a batch, as a group of many members leaves behind.
func BenchmarkLoad(b *testing.B) {
	s, err := partition.OpenMemory(partition.Config{Sync: partition.SyncNever})
	require.NoError(b, err)
	defer s.Close()
	_, err = s.CreateTopic(b.Context(), "orders", partition.TopicConfig{Partitions: 100})
	require.NoError(b, err)
	const n = 100_000
	at := partition.TopicPartition{Topic: OffsetsTopic, Partition: PartitionFor("billing", OffsetsPartitions)}
	var builder batch.Builder
	for i := range n {
		c := storedOffset{CommittedOffset: CommittedOffset{Offset: partition.Offset(i), TopicID: partition.TopicID{1}, Time: time.UnixMilli(1.7e12)}}
		r := offsetCommitRecord("billing", partition.TopicPartition{Topic: "orders", Partition: int32(i % 100)}, &c)
		builder.Reset(nil, batch.Options{})
		builder.Append(1.7e12, r.key, r.value, nil)
		data, err := builder.Finish()
		require.NoError(b, err)
		_, err = s.Append(b.Context(), partition.AppendRequest{TopicPartition: at, Batch: data, Internal: true})
		require.NoError(b, err)
	}
	b.ReportAllocs()
	for b.Loop() {
		c, err := newCoordinator(s, CoordinatorConfig{})
		require.NoError(b, err)
		p, err := c.partition(b.Context(), "billing")
		require.NoError(b, err)
		require.Len(b, p.groups["billing"].machine.offsets, 100)
		require.NoError(b, c.Close())
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
