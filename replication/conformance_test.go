package replication

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
)

// TestNodesKeepTheContractOfAStore: one suite runs on a store alone (partition/partitiontest) and on nodes: one that is alone, and three, whichever is asked: the one that
// leads, and one that does not, which passes everything on.
func TestNodesKeepTheContractOfAStore(t *testing.T) {
	for name, on := range map[string]struct {
		nodes int
		asked int32
	}{"alone": {1, 1}, "leader": {3, 1}, "other": {3, 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := partitiontest.NewClock(time.UnixMilli(1_700_000_000_000))
			l := local(t, LocalConfig{Nodes: on.nodes, Change: func(c *Config) {
				calm(c)
				c.PreferredInterval = partition.Unlimited
				c.Store.Clock, c.Clock = now, clock.System
			}})
			small(t, l)
			replicas := []int32{1, 2, 3}[:on.nodes]
			var stopOne func(t *testing.T) func()
			if on.nodes == 3 {
				stopOne = func(t *testing.T) func() {
					require.NoError(t, l.Stop(3))
					return func() { again(t, l, 3) }
				}
			}
			partitiontest.StoreConformance(t, &partitiontest.Subject{
				Store: l.Node(on.asked), Clock: now, Replicas: replicas,
				Compact: func(ctx context.Context, tp partition.TopicPartition) error { return compactAll(ctx, t, l, tp) },
				Reopen: func(t *testing.T) partitiontest.Store {
					for _, id := range replicas {
						require.NoError(t, l.Stop(id))
						again(t, l, id)
					}
					return l.Node(on.asked)
				},
				StopOne: stopOne,
				Differs: partitiontest.Differences{TransactionsGoOn: true, HangingIsJudged: true, LaterEpochsAreAwaited: true},
			})
		})
	}
}

// small makes the coordinators' topics with few partitions: the many of the default take longer to make than all checks together.
func small(t *testing.T, l *Local) {
	for _, name := range []string{"__transaction_state", "__consumer_offsets"} {
		_, err := l.Node(1).CreateTopic(patient(t), name, partition.TopicConfig{Partitions: 4})
		require.NoError(t, err)
	}
}

// compactAll compacts a partition on all nodes, when all have all of it.
func compactAll(ctx context.Context, t *testing.T, l *Local, tp partition.TopicPartition) error {
	end, err := l.Node(1).ListOffsets(ctx, tp, partition.TimestampLatest)
	for _, n := range l.Nodes() {
		if err != nil {
			return err
		}
		eventually(ctx, t, "a follower knows the high watermark", func() bool {
			h := n.replicas.named(tp)
			if h == nil {
				return false
			}
			r, err := n.store.Replica(tp, partition.TopicID(h.id.Topic))
			return err == nil && r.HighWatermark() >= end
		})
		err = n.store.Compact(ctx, tp)
	}
	return err
}

// again starts a node that was stopped, and waits until it is in sync with all that it has.
func again(t *testing.T, l *Local, id int32) {
	ctx := patient(t)
	n, err := l.Start(id)
	require.NoError(t, err)
	require.NoError(t, n.Ready(ctx))
	until(ctx, t, n, "all partitions are whole", func() bool {
		all, err := n.PartitionsOf(ctx)
		return err == nil && !slices.ContainsFunc(all, func(p PartitionInfo) bool { return p.Leader < 0 || len(p.ISR) < len(p.Replicas) })
	})
}
