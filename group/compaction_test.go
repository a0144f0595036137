package group_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/partition"
)

// The offsets topic is compacted like any other, and a coordinator loads the same from what is left.
func TestCommittedOffsetsSurviveTheCompactionOfTheirTopic(t *testing.T) {
	ctx := t.Context()
	fs := vfs.NewMem()
	open := func() *partition.Store {
		s, err := partition.Open("/store", partition.Config{FS: fs, CleanerBackoff: partition.Unlimited})
		require.NoError(t, err)
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	s := open()
	_, err := s.CreateTopic(ctx, "t", partition.TopicConfig{Partitions: 3})
	require.NoError(t, err)
	groups := []string{"a", "b", "c", "d"}
	for i := range 50 {
		for _, name := range groups {
			g, err := group.Open(s, name, group.Config{})
			require.NoError(t, err)
			offsets := map[partition.TopicPartition]group.CommittedOffset{}
			for p := range int32(3) {
				offsets[partition.TopicPartition{Topic: "t", Partition: p}] = group.CommittedOffset{
					Offset: partition.Offset(i), LeaderEpoch: partition.LeaderEpochUnknown, Metadata: fmt.Sprint(name, i)}
			}
			require.NoError(t, g.Commit(ctx, offsets))
			require.NoError(t, g.Close())
		}
	}
	check := func() {
		for _, name := range groups {
			g, err := group.Open(s, name, group.Config{})
			require.NoError(t, err)
			committed, err := g.Committed(ctx)
			require.NoError(t, err)
			require.Len(t, committed, 3)
			for _, o := range committed {
				require.Equal(t, partition.Offset(49), o.Offset)
				require.Equal(t, fmt.Sprint(name, 49), o.Metadata)
			}
			require.NoError(t, g.Close())
		}
	}
	before := int64(0)
	for _, p := range s.Stats().ByPartition {
		if p.Topic == "__consumer_offsets" {
			before += p.Bytes
			require.NoError(t, s.Compact(ctx, p.TopicPartition))
		}
	}
	after := int64(0)
	for _, p := range s.Stats().ByPartition {
		if p.Topic == "__consumer_offsets" {
			after += p.Bytes
		}
	}
	require.Less(t, after, before/10)
	for range 2 {
		check()
		require.NoError(t, s.Close())
		s = open()
	}
	check()
}
