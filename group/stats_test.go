package group

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

// Each metric of a coordinator moves with what it counts.
func TestStatsCountWhatHappens(t *testing.T) {
	store := newStore(t, "orders")
	b := newBackend(store)
	manual := clock.NewManual(time.Unix(1e9, 0))
	assigned := make(chan AssignedInfo, 10)
	g, c := openGroup(t, b, "billing", Config{Coordinator: CoordinatorConfig{
		Clock: manual, Events: Events{Assigned: func(i AssignedInfo) { assigned <- i }},
	}})
	require.Zero(t, g.Stats().LoadedPartitions)
	a, w := newClient(t, g, "orders"), newClient(t, g, "orders")
	require.NoError(t, a.enter(t.Context()))
	s := g.Stats()
	require.EqualValues(t, []uint64{1, 1, 1, 1}, []uint64{s.Rebalances, s.Generations, s.Assignments, s.LoadedPartitions})
	require.Equal(t, 1, s.Groups[Stable])
	require.Equal(t, 1, s.Types[ClassicGroup])
	require.Equal(t, []int{1, 1}, []int{s.Members, s.LocalMembers})
	require.Equal(t, AssignedInfo{Group: "billing", Generation: 1, Members: 1}, within(t, assigned))

	// A rebalance takes as long as its slowest member.
	entered := make(chan error, 1)
	go func() { entered <- w.enter(t.Context()) }()
	<-a.joined.Rebalance
	require.Equal(t, 1, g.Stats().Waiting)
	manual.Advance(7 * time.Second)
	require.NoError(t, a.enter(t.Context()))
	require.NoError(t, within(t, entered))
	require.Equal(t, 7*time.Second, within(t, assigned).Duration)
	s = g.Stats()
	require.Equal(t, []time.Duration{7 * time.Second, 7 * time.Second}, []time.Duration{s.RebalanceTime, s.MaxRebalanceTime})

	require.NoError(t, a.commit(t.Context(), tp("orders", 0), 5))
	require.Error(t, g.Commit(t.Context(), map[partition.TopicPartition]CommittedOffset{tp("orders", 0): at(1)}))
	s = g.Stats()
	require.EqualValues(t, []uint64{2, 1}, []uint64{s.Commits, s.FailedCommits})
	require.Equal(t, 1, s.Offsets)

	// Commits wait for the log, and so does what is queued behind them.
	gate := make(chan struct{})
	b.setGate(gate)
	for len(b.arrived) > 0 {
		<-b.arrived
	}
	done := make(chan error, 2)
	go func() { done <- a.commit(t.Context(), tp("orders", 0), 6) }()
	within(t, b.arrived)
	go func() { done <- a.commit(t.Context(), tp("orders", 0), 7) }()
	for g.Stats().Queued == 0 {
	}
	require.Equal(t, 2, g.Stats().Waiting)
	manual.Advance(3 * time.Second)
	close(gate)
	require.NoError(t, within(t, done))
	require.NoError(t, within(t, done))
	s = g.Stats()
	require.Equal(t, []int{0, 0}, []int{s.Queued, s.Waiting})
	require.Equal(t, 3*time.Second, s.MaxCommitTime)
	require.Equal(t, 6*time.Second, s.CommitTime)
	require.GreaterOrEqual(t, s.AppendTime, 3*time.Second)
	require.Equal(t, []time.Duration{3 * time.Second, 3 * time.Second}, []time.Duration{s.QueueTime, s.MaxQueueTime}, "the second waited for the writer")
	b.setGate(nil)

	x := newTransaction(t, store, "tx")
	require.NoError(t, x.commit(c, a.joined.Membership, map[partition.TopicPartition]CommittedOffset{tp("orders", 1): at(1), tp("orders", 2): at(1)}))
	require.Equal(t, 2, g.Stats().Pending)
	x.end(true)
	stable(t, c, "billing")
	s = g.Stats()
	require.Zero(t, s.Pending)
	require.Equal(t, 3, s.Offsets)

	b.setFail(errors.New("broken"))
	require.Error(t, a.commit(t.Context(), tp("orders", 0), 8))
	require.EqualValues(t, 1, g.Stats().FailedAppends)
	b.setFail(nil)
	require.NoError(t, g.Remove(t.Context(), LeavingMember{MemberID: a.joined.MemberID}, LeavingMember{MemberID: w.joined.MemberID}))
	s = g.Stats()
	require.EqualValues(t, 2, s.RemovedMembers)
	require.Equal(t, 1, s.Groups[Empty])
}

// slowLoads is a backend on which the load of an offsets partition begins when the gate lets it, and takes so long.
type slowLoads struct {
	*backend
	clock *clock.Manual
	gate  chan time.Duration
}

func (b *slowLoads) ListOffsets(ctx context.Context, at partition.TopicPartition, timestamp int64) (partition.Offset, error) {
	if at.Topic == OffsetsTopic {
		b.clock.Advance(<-b.gate)
	}
	return b.Store.ListOffsets(ctx, at, timestamp)
}

// partition-load-time-avg and -max, num-partitions by state.
func TestLoadsOfTheOffsetsTopicAreCounted(t *testing.T) {
	manual := clock.NewManual(time.Unix(1e9, 0))
	b := &slowLoads{newBackend(newStore(t, "orders")), manual, make(chan time.Duration)}
	c := Config{Coordinator: CoordinatorConfig{Clock: manual}}
	var total, longest time.Duration
	seen := map[int32]bool{}
	for i := 0; len(seen) < 3; i++ {
		id := fmt.Sprint("group-", i)
		if at := PartitionFor(id, OffsetsPartitions); seen[at] {
			continue
		} else {
			seen[at] = true
		}
		took := []time.Duration{time.Second, 3 * time.Second, 2 * time.Second}[len(seen)-1]
		total, longest = total+took, max(longest, took)
		g, _ := openGroup(t, b, id, c)
		done := make(chan error, 1)
		go func() {
			_, err := g.Describe(t.Context())
			done <- err
		}()
		for g.Stats().Loading == 0 {
		}
		s := g.Stats()
		require.Equal(t, []int{1, len(seen) - 1}, []int{s.Loading, s.Active})
		b.gate <- took
		require.NoError(t, within(t, done))
		s = g.Stats()
		require.Equal(t, []int{0, len(seen)}, []int{s.Loading, s.Active})
		require.Equal(t, []time.Duration{total, longest}, []time.Duration{s.LoadTime, s.MaxLoadTime})
	}
}

// A static member that comes back is counted, and told with both of its ids.
func TestReplacementsAreTold(t *testing.T) {
	replaced := make(chan MemberReplacedInfo, 1)
	g, _ := openGroup(t, newStore(t, "orders"), "billing", Config{Coordinator: CoordinatorConfig{Events: Events{
		MemberReplaced: func(i MemberReplacedInfo) { replaced <- i },
	}}})
	static := func(r *JoinRequest) { r.InstanceID = "till-1" }
	a, again := newClient(t, g, "orders"), newClient(t, g, "orders")
	a.request, again.request = static, static
	require.NoError(t, a.enter(t.Context()))
	require.NoError(t, again.join(t.Context()))
	require.True(t, again.joined.SkipAssignment)
	require.True(t, again.joined.IsLeader())
	require.Equal(t, a.joined.Generation, again.joined.Generation)
	require.Equal(t, MemberReplacedInfo{"billing", "till-1", a.joined.MemberID, again.joined.MemberID}, within(t, replaced))
	require.True(t, closed(a.joined.Rebalance), "the old one is told")
	require.ErrorIs(t, a.commit(t.Context(), tp("orders", 0), 1), ErrFencedInstanceID)
	require.ErrorIs(t, a.c.Heartbeat(t.Context(), a.joined.Membership), ErrFencedInstanceID)
	require.NoError(t, again.sync(t.Context()))
	require.Len(t, again.assigned, 4)
	require.NoError(t, again.commit(t.Context(), tp("orders", 0), 1))
	require.EqualValues(t, 1, g.Stats().Replacements)
	d, err := g.Describe(t.Context())
	require.NoError(t, err)
	require.Len(t, d.Members, 1)
	require.Equal(t, "till-1", d.Members[0].InstanceID)
	require.Regexp(t, `^till-1-`, d.Members[0].MemberID)
}
