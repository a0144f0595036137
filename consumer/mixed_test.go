package consumer_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// Members that know range besides rebalance eagerly, as Kafka's default does, and are in one group with those that keep
// their partitions: nothing has two owners, and everything is read once. This is how a group migrates (KIP-429).
func TestEagerAndCooperativeMembersAreOneGroup(t *testing.T) {
	const partitions, each = 6, 400
	store := newStore(t, "t", partitions)
	for p := range int32(partitions) {
		for i := 0; i < each; i += 20 {
			write(t, store, "t", p, i, 20)
		}
	}
	keeps := openGroup(t, store, group.Config{Assignors: cooperative})
	gives := openGroup(t, store, group.Config{Assignors: []group.Assignor{group.CooperativeSticky, group.Range}})
	require.True(t, keeps.Cooperative())
	require.False(t, gives.Cooperative())

	var mu sync.Mutex
	seen := make(map[partition.TopicPartition]map[partition.Offset]int)
	owner := make(map[partition.TopicPartition]string)
	total := 0
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	member := func(name string, g *group.ConsumerGroup) {
		own := func(tps []partition.TopicPartition) {
			mu.Lock()
			defer mu.Unlock()
			for _, tp := range tps {
				if owner[tp] != "" {
					t.Errorf("%s gets %s of %s", name, tp, owner[tp])
				}
				owner[tp] = name
			}
		}
		disown := func(tps []partition.TopicPartition) {
			mu.Lock()
			defer mu.Unlock()
			for _, tp := range tps {
				delete(owner, tp)
			}
		}
		c, err := consumer.Join(ctx, g, consumer.Config{
			Topics: []string{"t"}, Listener: consumer.Listener{Assigned: own, Revoked: disown},
		})
		if err != nil {
			if ctx.Err() == nil {
				t.Error(err)
			}
			return
		}
		for r, err := range c.Records(ctx) {
			if err != nil {
				break
			}
			mu.Lock()
			tp := at(r.Topic, r.Partition)
			if seen[tp] == nil {
				seen[tp] = make(map[partition.Offset]int)
			}
			if seen[tp][r.Offset]++; seen[tp][r.Offset] == 1 {
				if total++; total == partitions*each {
					cancel()
				}
			}
			mu.Unlock()
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	for i, g := range []*group.ConsumerGroup{keeps, gives, keeps, gives, keeps} {
		wg.Go(func() { member(string(rune('a'+i)), g) })
		until(t, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return total > i*partitions*each/8
		})
	}
	wg.Wait()
	for tp, offsets := range seen {
		for o, n := range offsets {
			if n > 1 && int(o) < each-1 { // the last one of each may have been in hand at the end
				require.Equal(t, 1, n, "%s at %d", tp, o)
			}
		}
	}
	require.Equal(t, partitions*each, total)
}
