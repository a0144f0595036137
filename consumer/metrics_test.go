package consumer_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

// consumerRig is a member of a group that reads a topic of one partition, and what goes on around it takes the time that
// a test says.
type consumerRig struct {
	*consumer.Consumer
	store   *partition.Store
	backend *spy
	clock   *clock.Manual
	group   *group.ConsumerGroup
}

// What users of Kafka watch has its figure here, and the figure moves with what it counts.
func TestEveryMetricOfAConsumerMovesWithWhatItCounts(t *testing.T) {
	reads := func(n int) func(*testing.T, *consumerRig) {
		return func(t *testing.T, r *consumerRig) {
			for read := 0; read < n; {
				read += len(poll(t, r.Consumer))
			}
			poll(t, r.Consumer) // acknowledges, and ends the fetch
		}
	}
	readsAll := func(t *testing.T, r *consumerRig) {
		reads(30)(t, r)
		write(t, r.store, "t", 0, 50, 1)
		poll(t, r.Consumer) // counted at the end of a fetch
	}
	slowFetches := func(t *testing.T, r *consumerRig) {
		for _, d := range []time.Duration{1, 3, 2} {
			r.backend.fetched = func(partition.FetchRequest, []partition.FetchResult) { r.clock.Advance(d * time.Millisecond) }
			require.NoError(t, r.Seek(at("t", 0), consumer.Earliest()))
			poll(t, r.Consumer)
		}
	}
	slowCommits := func(t *testing.T, r *consumerRig) {
		for i, d := range []time.Duration{1, 3, 2} {
			r.backend.commit = func(group.CommitRequest) { r.clock.Advance(d * time.Millisecond) }
			require.NoError(t, r.CommitOffsets(t.Context(), map[partition.TopicPartition]group.CommittedOffset{at("t", 0): {Offset: partition.Offset(i)}}))
		}
		r.backend.commit = nil
	}
	refusedCommit := func(t *testing.T, r *consumerRig) {
		err := r.CommitOffsets(t.Context(), map[partition.TopicPartition]group.CommittedOffset{at("t", 0): {Offset: -5}})
		require.Error(t, err)
	}
	rebalances := func(t *testing.T, r *consumerRig) {
		before := r.Stats().Rebalances
		r.backend.synced = func(group.SyncRequest, group.SyncResult) { r.clock.Advance(2 * time.Millisecond) }
		coordinator, err := r.group.Coordinator(t.Context())
		require.NoError(t, err)
		d, err := r.group.Describe(t.Context())
		require.NoError(t, err)
		require.NoError(t, coordinator.Leave(t.Context(), "g", group.LeavingMember{MemberID: d.Members[0].MemberID}))
		until(t, func() bool { return r.Stats().Rebalances > before })
		r.backend.synced = nil
	}
	resets := func(t *testing.T, r *consumerRig) {
		require.NoError(t, r.Seek(at("t", 0), consumer.AtOffset(1000)))
		poll(t, r.Consumer)
	}
	pollsSlowly := func(t *testing.T, r *consumerRig) { // the time passes between calls
		for _, d := range []time.Duration{1, 3, 2, 0} {
			poll(t, r.Consumer)
			r.clock.Advance(d * time.Millisecond)
		}
	}
	borrows := func(t *testing.T, r *consumerRig) {
		b, err := r.PollBorrowed(t.Context())
		require.NoError(t, err)
		b.Release()
	}
	works := func(t *testing.T, r *consumerRig) { // handlers take so long
		ctx, cancel := context.WithCancel(t.Context())
		times := []time.Duration{1, 3, 2}
		require.ErrorIs(t, consumer.Work(ctx, r.Consumer, func(context.Context, consumer.Record) error {
			if len(times) > 0 {
				r.clock.Advance(times[0] * time.Millisecond)
				times = times[1:]
			} else {
				cancel()
			}
			return nil
		}, consumer.WorkConfig{Workers: 1}), context.Canceled)
	}
	stopsWork := func(t *testing.T, r *consumerRig) { // in the middle of a record
		ctx, cancel := context.WithCancel(t.Context())
		require.ErrorIs(t, consumer.Work(ctx, r.Consumer, func(ctx context.Context, _ consumer.Record) error {
			cancel()
			<-ctx.Done()
			return nil
		}, consumer.WorkConfig{Workers: 1, Grace: consumer.NoGrace}), context.Canceled)
	}
	one := func(f func(consumer.PartitionStats) int64) func(consumer.Stats) int64 {
		return func(s consumer.Stats) int64 { return f(s.Partitions[0]) }
	}
	const some = -1 // more than before
	for _, v := range []struct {
		metric string
		figure func(consumer.Stats) int64
		action func(*testing.T, *consumerRig)
		by     int64
	}{
		{"records-consumed-total", one(func(p consumer.PartitionStats) int64 { return p.Records }), readsAll, 41},
		{"bytes-consumed-total", one(func(p consumer.PartitionStats) int64 { return p.Bytes }), readsAll, 41 * 3}, // "k" and two digits
		{"fetch-total", func(s consumer.Stats) int64 { return s.Fetches }, slowFetches, 3},
		{"fetch-latency-avg", func(s consumer.Stats) int64 { return int64(s.FetchTime) }, slowFetches, int64(6 * time.Millisecond)},
		{"fetch-latency-max", func(s consumer.Stats) int64 { return int64(s.MaxFetchTime) }, slowFetches, int64(3 * time.Millisecond)},
		{"polls", func(s consumer.Stats) int64 { return s.Polls }, pollsSlowly, 4},
		{"polls that borrow", func(s consumer.Stats) int64 { return s.Polls }, borrows, 1},
		{"time-between-poll-avg", func(s consumer.Stats) int64 { return int64(s.PollInterval) }, pollsSlowly, int64(6 * time.Millisecond)},
		{"time-between-poll-max", func(s consumer.Stats) int64 { return int64(s.MaxPollInterval) }, pollsSlowly, int64(3 * time.Millisecond)},
		{"poll-idle-ratio-avg: between", func(s consumer.Stats) int64 { return int64(s.PollTime) }, pollsSlowly, 0},
		{"poll-idle-ratio-avg: within", func(s consumer.Stats) int64 { return int64(s.PollTime) }, slowFetches, int64(6 * time.Millisecond)},
		{"processing time: sum", func(s consumer.Stats) int64 { return int64(s.Work.ProcessTime) }, works, int64(6 * time.Millisecond)},
		{"processing time: largest", func(s consumer.Stats) int64 { return int64(s.Work.MaxTime) }, works, int64(3 * time.Millisecond)},
		{"timeout frequency", func(s consumer.Stats) int64 { return s.Work.Cancelled }, stopsWork, 1},
		{"timeout frequency: none", func(s consumer.Stats) int64 { return s.Work.Cancelled }, works, 0},
		{"records-lag", one(func(p consumer.PartitionStats) int64 { return -p.Lag }), reads(10), 10},
		{"records-lead", one(func(p consumer.PartitionStats) int64 { return p.Lead }), reads(10), 10},
		{"position", one(func(p consumer.PartitionStats) int64 { return int64(p.Position) }), reads(10), 10},
		{"committed", one(func(p consumer.PartitionStats) int64 { return int64(p.Committed) }), slowCommits, 3}, // from −1 to 2
		{"commit-total", func(s consumer.Stats) int64 { return s.Commits }, slowCommits, 3},
		{"commit-latency-avg", func(s consumer.Stats) int64 { return int64(s.CommitTime) }, slowCommits, int64(6 * time.Millisecond)},
		{"commit-latency-max", func(s consumer.Stats) int64 { return int64(s.MaxCommitTime) }, slowCommits, int64(3 * time.Millisecond)},
		{"commit errors", func(s consumer.Stats) int64 { return s.CommitErrors }, refusedCommit, 1},
		{"rebalance-total", func(s consumer.Stats) int64 { return s.Rebalances }, rebalances, 1},
		{"rebalance-latency-total", func(s consumer.Stats) int64 { return int64(s.RebalanceTime) }, rebalances, int64(2 * time.Millisecond)},
		{"rebalance-latency-max", func(s consumer.Stats) int64 { return int64(s.MaxRebalanceTime) }, rebalances, int64(2 * time.Millisecond)},
		{"sync-time-avg", func(s consumer.Stats) int64 { return int64(s.SyncTime) }, rebalances, int64(2 * time.Millisecond)},
		{"join-time-avg", func(s consumer.Stats) int64 { return int64(s.JoinTime) }, func(t *testing.T, r *consumerRig) {
			r.backend.joined = func() { r.clock.Advance(4 * time.Millisecond) }
			rebalances(t, r)
		}, some}, // an attempt as who it was, and one as a new member
		{"failed-rebalance-total", func(s consumer.Stats) int64 { return s.FailedRebalances }, rebalances, 1}, // as who it was
		{"assigned-partitions", func(s consumer.Stats) int64 { return int64(len(s.Partitions)) }, func(t *testing.T, r *consumerRig) {
			require.NoError(t, r.store.CreatePartitions(t.Context(), "t", 3))
			passing(t, r.clock, time.Second, func() bool { return len(r.Assignment()) == 3 })
		}, 2},
		{"reset events", func(s consumer.Stats) int64 { return s.Resets }, resets, 1},
	} {
		t.Run(v.metric, func(t *testing.T) {
			r := &consumerRig{store: newStore(t, "t", 1), clock: clock.NewManual(timeZero)}
			r.backend = &spy{Store: r.store}
			write(t, r.store, "t", 0, 10, 40)
			r.group = r.backend.group(t, group.Config{RebalanceTimeout: 20 * 24 * time.Hour})
			r.Consumer = join(t, r.group, consumer.Config{Clock: r.clock, MaxPollRecords: 10, CommitInterval: consumer.NoInterval, PrefetchBytes: consumer.NoPrefetch})
			if v.metric == "records-lag" || v.metric == "records-lead" { // which are known from the first fetch on
				poll(t, r.Consumer)
				require.NoError(t, r.Seek(at("t", 0), consumer.Earliest()))
			}
			before := r.Stats()
			v.action(t, r)
			after := r.Stats()
			if moved := v.figure(after) - v.figure(before); v.by == some {
				require.Positive(t, moved)
			} else {
				require.Equal(t, v.by, moved)
			}
		})
	}
	t.Run("OnCorruption", func(t *testing.T) {
		store := damagedStore(t, 5)
		c := assign(t, store, consumer.Config{OnCorruption: consumer.Skip}, consumer.Assignment{TopicPartition: at("t", 0), Until: consumer.UntilEnd()})
		failed := 0
		for _, err := range c.Records(t.Context()) {
			if err != nil {
				failed++
			}
		}
		require.Positive(t, failed)
		require.EqualValues(t, failed, c.Stats().Skipped)
	})
}
