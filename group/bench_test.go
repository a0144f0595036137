package group

import (
	"testing"

	"github.com/stretchr/testify/require"

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
		Range.Assign(partitions, members)
	}
}
