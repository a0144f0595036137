package partitiontest_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
)

// A store keeps the whole contract, on a disk of either kind and in either sync mode.
func TestStoreConforms(t *testing.T) {
	for name, c := range map[string]partition.Config{
		"memory":        {FS: partitiontest.NewDisk()},
		"memory, never": {FS: partitiontest.NewDisk(), Sync: partition.SyncNever},
		"files":         {Sync: partition.SyncNever},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			clock := partitiontest.NewClock(time.UnixMilli(1_700_000_000_000))
			c.Clock = clock
			var s *partition.Store
			open := func(t *testing.T) partitiontest.Store {
				var err error
				s, err = partition.Open(dir, c)
				require.NoError(t, err)
				return s
			}
			open(t)
			t.Cleanup(func() { require.NoError(t, s.Close()) })
			partitiontest.StoreConformance(t, &partitiontest.Subject{
				Store: s, Clock: clock,
				Compact: func(ctx context.Context, tp partition.TopicPartition) error { return s.Compact(ctx, tp) },
				Reopen: func(t *testing.T) partitiontest.Store {
					require.NoError(t, s.Close())
					return open(t)
				},
			})
		})
	}
}

// A partition of several nodes keeps the same contract: every append is acknowledged when all three have it.
func TestReplicatedStoreConforms(t *testing.T) {
	for _, mode := range []partition.SyncMode{partition.SyncAlways, partition.SyncNever} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			clock := partitiontest.NewClock(time.UnixMilli(1_700_000_000_000))
			nodes := partitiontest.StartNodes(t, 3, partition.Config{Sync: mode, Clock: clock})
			partitiontest.StoreConformance(t, &partitiontest.Subject{
				Store: nodes.Store(0), Clock: clock,
				Compact: func(ctx context.Context, tp partition.TopicPartition) error {
					for id := range int32(3) {
						if err := nodes.Store(id).Compact(ctx, tp); err != nil {
							return err
						}
					}
					return nil
				},
				Differs: partitiontest.Differences{
					HangingIsJudged: true,
					KnowsNoReplicas: true,
					NeverReopened:   "nodes of this kind live in memory; TestEveryCrashStateOfANodeIsOneThatItWasIn and package replication open theirs again",
				},
			})
		})
	}
}
