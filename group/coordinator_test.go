package group

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

func rejoins(err error) bool {
	return errors.Is(err, ErrRebalanceInProgress) || errors.Is(err, ErrIllegalGeneration)
}

func TestTwoMembersSplitThePartitions(t *testing.T) {
	g, _ := openGroup(t, newStore(t, "orders"), "billing", Config{Assignors: []Assignor{Range}})
	a, b := newClient(t, g, "orders"), newClient(t, g, "orders")
	require.NoError(t, a.enter(t.Context()))
	require.Len(t, a.assigned, 4)
	require.True(t, a.joined.IsLeader())
	require.Zero(t, a.joined.HeartbeatInterval)
	require.False(t, closed(a.joined.Rebalance))

	entered := make(chan error, 1)
	go func() { entered <- b.enter(t.Context()) }()
	<-a.joined.Rebalance // it is told, and need not ask
	require.ErrorIs(t, a.c.Heartbeat(t.Context(), a.joined.Membership), ErrRebalanceInProgress)
	old := a.joined.Membership
	require.NoError(t, a.enter(t.Context()))
	require.NoError(t, within(t, entered))
	require.Equal(t, []partition.TopicPartition{tp("orders", 0), tp("orders", 1)}, lower(a, b).assigned)
	require.Equal(t, []partition.TopicPartition{tp("orders", 2), tp("orders", 3)}, higher(a, b).assigned)

	// A commit from the generation before is refused.
	err := a.c.Commit(t.Context(), CommitRequest{Membership: old, Offsets: map[partition.TopicPartition]CommittedOffset{tp("orders", 3): {Offset: 1}}})
	require.ErrorIs(t, err, ErrIllegalGeneration)

	require.NoError(t, b.c.Leave(t.Context(), "billing", LeavingMember{MemberID: b.joined.MemberID}))
	require.True(t, closed(b.joined.Rebalance))
	require.ErrorIs(t, b.commit(t.Context(), tp("orders", 3), 1), ErrUnknownMemberID)
	<-a.joined.Rebalance
	require.NoError(t, a.enter(t.Context()))
	require.Len(t, a.assigned, 4)

	d, err := g.Describe(t.Context())
	require.NoError(t, err)
	require.Equal(t, Stable, d.State)
	require.Equal(t, a.joined.Generation, d.Generation)
	require.Equal(t, "range", d.Protocol)
	require.Len(t, d.Members, 1)
	require.True(t, d.Members[0].Local)
	require.Equal(t, 1, g.Stats().Groups[Stable])
	require.Equal(t, 1, g.Stats().LocalMembers)
}

// lower and higher order two clients by member id, as the assignor does.
func lower(a, b *client) *client {
	if a.joined.MemberID < b.joined.MemberID {
		return a
	}
	return b
}

func higher(a, b *client) *client {
	if lower(a, b) == a {
		return b
	}
	return a
}

func TestCommitsSurviveARestart(t *testing.T) {
	store := newStore(t, "orders")
	first := newBackend(store)
	g, _ := openGroup(t, first, "billing", Config{})
	a := newClient(t, g, "orders")
	require.NoError(t, a.enter(t.Context()))
	require.NoError(t, a.c.Commit(t.Context(), CommitRequest{Membership: a.joined.Membership, Offsets: map[partition.TopicPartition]CommittedOffset{
		tp("orders", 0): {Offset: 7, LeaderEpoch: 3, Metadata: "m"},
		tp("orders", 1): {Offset: 9, LeaderEpoch: partition.LeaderEpochUnknown},
	}}))
	require.NoError(t, a.commit(t.Context(), tp("orders", 1), 10))
	require.NoError(t, first.service.Close())
	require.ErrorIs(t, a.commit(t.Context(), tp("orders", 1), 11), partition.ErrClosed)

	again, _ := openGroup(t, newBackend(store), "billing", Config{})
	committed, err := again.Committed(t.Context())
	require.NoError(t, err)
	require.Len(t, committed, 2)
	require.EqualValues(t, 7, committed[tp("orders", 0)].Offset)
	require.EqualValues(t, 3, committed[tp("orders", 0)].LeaderEpoch)
	require.Equal(t, "m", committed[tp("orders", 0)].Metadata)
	require.EqualValues(t, 10, committed[tp("orders", 1)].Offset)
	committed, err = again.Committed(t.Context(), tp("orders", 1), tp("orders", 2))
	require.NoError(t, err)
	require.Len(t, committed, 1)

	lag, err := again.Lag(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[partition.TopicPartition]int64{tp("orders", 0): 0, tp("orders", 1): 0}, lag, "an end before the offset is no lag")
}

// The first process is killed: nothing is closed, its members never leave. The next one joins without waiting for
// anybody, although time stands still.
func TestMembersOfAKilledProcessDelayNobody(t *testing.T) {
	store := newStore(t, "orders")
	c := Config{Coordinator: CoordinatorConfig{Clock: clock.NewManual(time.Unix(1e9, 0))}}
	g, _ := openGroup(t, newBackend(store), "billing", c)
	a, b := newClient(t, g, "orders"), newClient(t, g, "orders")
	require.NoError(t, a.enter(t.Context()))
	entered := make(chan error, 1)
	go func() { entered <- b.enter(t.Context()) }()
	<-a.joined.Rebalance
	require.NoError(t, a.enter(t.Context()))
	require.NoError(t, within(t, entered))
	require.NoError(t, a.commit(t.Context(), tp("orders", 0), 5))

	loaded := make(chan LoadedInfo, 1)
	c.Coordinator.Events.Loaded = func(i LoadedInfo) { loaded <- i }
	next, _ := openGroup(t, newBackend(store), "billing", c)
	n := newClient(t, next, "orders")
	require.NoError(t, n.enter(t.Context()))
	require.Len(t, n.assigned, 4)
	require.Greater(t, n.joined.Generation, a.joined.Generation)
	require.Equal(t, 2, within(t, loaded).RemovedMembers)
	committed, err := next.Committed(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 5, committed[tp("orders", 0)].Offset)
}

func TestARecreatedTopicDoesNotInheritOffsets(t *testing.T) {
	store := newStore(t, "orders", "other")
	g, c := openGroup(t, newBackend(store), "billing", Config{})
	old, err := store.Metadata(t.Context(), []string{"orders"})
	require.NoError(t, err)
	commit := func(offsets map[partition.TopicPartition]CommittedOffset) error {
		return g.Commit(t.Context(), offsets)
	}
	require.NoError(t, commit(map[partition.TopicPartition]CommittedOffset{tp("orders", 0): {Offset: 5}, tp("other", 0): {Offset: 6}}))
	require.NoError(t, store.DeleteTopic(t.Context(), "orders"))
	createTopics(t, store, "orders")

	// Seen by the same coordinator, and by the next one, which has only the log.
	next, _ := openGroup(t, newBackend(store), "billing", Config{})
	for _, g := range []*ConsumerGroup{next, g} {
		committed, err := g.Committed(t.Context())
		require.NoError(t, err)
		require.Len(t, committed, 1)
		require.EqualValues(t, 6, committed[tp("other", 0)].Offset)
	}
	require.EqualValues(t, 1, g.Stats().DroppedOffsets)

	// A consumer of the topic that is gone cannot commit into the one that has its name.
	err = commit(map[partition.TopicPartition]CommittedOffset{tp("orders", 0): {Offset: 7, TopicID: old[0].ID}, tp("other", 0): {Offset: 8}})
	require.ErrorIs(t, err, partition.ErrUnknownTopicID)
	refused, ok := errors.AsType[*CommitError](err)
	require.True(t, ok)
	require.Contains(t, refused.Partitions, tp("orders", 0))
	committed, err := c.Offsets(t.Context(), OffsetsRequest{Group: "billing"})
	require.NoError(t, err)
	require.Len(t, committed, 1)
	require.EqualValues(t, 8, committed[tp("other", 0)].Offset, "the rest of the commit counts")
}

func TestCommitToWhatDoesNotExistIsRefused(t *testing.T) {
	g, _ := openGroup(t, newStore(t, "orders"), "billing", Config{})
	for _, bad := range []partition.TopicPartition{tp("none", 0), tp("orders", 4), tp("orders", -1)} {
		err := g.Commit(t.Context(), map[partition.TopicPartition]CommittedOffset{bad: {Offset: 1}})
		require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition, bad)
	}
	err := g.Commit(t.Context(), map[partition.TopicPartition]CommittedOffset{tp("orders", 0): {Offset: -1}})
	require.ErrorIs(t, err, ErrInvalidCommitOffset)
	d, err := g.Describe(t.Context())
	require.NoError(t, err)
	require.Equal(t, Dead, d.State, "refused commits leave no group behind")
	require.NoError(t, g.Commit(t.Context(), nil))
}

// While one append is under way, everything else waits in the queue; then it is one batch.
func TestCommitsThatComeTogetherShareABatch(t *testing.T) {
	b := newBackend(newStore(t, "orders"))
	g, _ := openGroup(t, b, "billing", Config{})
	gate := make(chan struct{})
	b.setGate(gate)
	var wg sync.WaitGroup
	const n = 50
	errs := make(chan error, n)
	for i := range n {
		wg.Go(func() {
			errs <- g.Commit(t.Context(), map[partition.TopicPartition]CommittedOffset{tp("orders", int32(i%4)): {Offset: partition.Offset(i)}})
		})
	}
	<-b.arrived
	// All are queued or in the first batch when the machine holds that many appends.
	shell := b.service.(*coordinator)
	for pending := 0; pending < n; {
		shell.mu.Lock()
		if p := shell.partitions[PartitionFor("billing", OffsetsPartitions)]; p != nil && p.groups["billing"] != nil {
			pending = len(p.groups["billing"].appends)
		}
		shell.mu.Unlock()
	}
	close(gate)
	wg.Wait()
	for range n {
		require.NoError(t, <-errs)
	}
	stats := g.Stats()
	require.EqualValues(t, n, stats.Records)
	require.LessOrEqual(t, stats.Appends, uint64(2))
	require.EqualValues(t, n, stats.Commits)
}

// A commit of more than a batch holds is split, and is all there.
func TestLargeCommitIsSplit(t *testing.T) {
	store := newStore(t)
	_, err := store.CreateTopic(t.Context(), "wide", partition.TopicConfig{Partitions: 6000})
	require.NoError(t, err)
	b := newBackend(store)
	g, _ := openGroup(t, b, "billing", Config{})
	offsets := make(map[partition.TopicPartition]CommittedOffset)
	for p := range int32(6000) {
		offsets[tp("wide", p)] = CommittedOffset{Offset: partition.Offset(p), Metadata: "some metadata that makes the record large enough, some hundred bytes of it, so that six thousand do not fit into a batch"}
	}
	require.NoError(t, g.Commit(t.Context(), offsets))
	require.Greater(t, g.Stats().Appends, uint64(1))
	again, _ := openGroup(t, newBackend(store), "billing", Config{})
	committed, err := again.Committed(t.Context())
	require.NoError(t, err)
	require.Len(t, committed, len(offsets))
}

func TestCommitsGoOnInMemoryWhileTheDiskIsFull(t *testing.T) {
	store := newStore(t, "orders")
	b := newBackend(store)
	manual := clock.NewManual(time.Unix(1e9, 0))
	failed := make(chan WriteFailedInfo, 100)
	c := Config{Coordinator: CoordinatorConfig{Clock: manual, Events: Events{WriteFailed: func(i WriteFailedInfo) { failed <- i }}}}
	g, _ := openGroup(t, b, "billing", c)
	a := newClient(t, g, "orders")
	require.NoError(t, a.enter(t.Context()))

	b.setFail(fmt.Errorf("append: %w", partition.ErrNoSpace))
	require.NoError(t, a.commit(t.Context(), tp("orders", 0), 5))
	require.True(t, within(t, failed).Kept)
	require.NoError(t, a.commit(t.Context(), tp("orders", 0), 6))
	committed, err := g.Committed(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 6, committed[tp("orders", 0)].Offset)
	require.Equal(t, 1, g.Stats().Unwritten)
	manual.Advance(time.Second) // tried again, in vain
	within(t, failed)
	within(t, failed)

	b.setFail(nil)
	for g.Stats().Unwritten > 0 { // the attempt is made on a goroutine of its own
		manual.Advance(time.Second)
	}
	again, _ := openGroup(t, newBackend(store), "billing", Config{})
	committed, err = again.Committed(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 6, committed[tp("orders", 0)].Offset)
}

func TestCloseWritesWhatThereWasNoSpaceForOrSaysSo(t *testing.T) {
	for _, space := range []bool{true, false} {
		b := newBackend(newStore(t, "orders"))
		g, _ := openGroup(t, b, "billing", Config{Coordinator: CoordinatorConfig{Clock: clock.NewManual(time.Unix(1e9, 0))}})
		b.setFail(partition.ErrNoSpace)
		require.NoError(t, g.Commit(t.Context(), map[partition.TopicPartition]CommittedOffset{tp("orders", 0): {Offset: 5}}))
		if space {
			b.setFail(nil)
			require.NoError(t, b.service.Close())
			continue
		}
		require.ErrorIs(t, b.service.Close(), partition.ErrNoSpace)
		require.ErrorIs(t, b.service.Close(), partition.ErrNoSpace, "the second time as well")
	}
}

func TestFailedCommitIsAnsweredAndChangesNothing(t *testing.T) {
	b := newBackend(newStore(t, "orders"))
	g, _ := openGroup(t, b, "billing", Config{})
	require.NoError(t, g.Commit(t.Context(), map[partition.TopicPartition]CommittedOffset{tp("orders", 0): {Offset: 5}}))
	b.setFail(partition.ErrStorage)
	err := g.Commit(t.Context(), map[partition.TopicPartition]CommittedOffset{tp("orders", 0): {Offset: 6}})
	require.ErrorIs(t, err, partition.ErrStorage)
	committed, err := g.Committed(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 5, committed[tp("orders", 0)].Offset)
	require.EqualValues(t, 1, g.Stats().FailedCommits)
}

func TestCancelledJoinIsWithdrawn(t *testing.T) {
	g, _ := openGroup(t, newStore(t, "orders"), "billing", Config{})
	a, b := newClient(t, g, "orders"), newClient(t, g, "orders")
	require.NoError(t, a.enter(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	joined := make(chan error, 1)
	go func() { joined <- b.join(ctx) }()
	<-a.joined.Rebalance
	cancel()
	require.ErrorIs(t, within(t, joined), context.Canceled)
	require.NoError(t, a.enter(t.Context()))
	require.Len(t, a.assigned, 4, "nobody waits for a ghost")
}

// wire is a member of another process, to whom heartbeats matter.
func wire(m *client) *client {
	m.request = func(r *JoinRequest) { r.Local, r.ClientHost = false, "/10.0.0.1" }
	return m
}

func TestSilentMemberOverTheWireExpiresAndOneOfTheProcessDoesNot(t *testing.T) {
	manual := clock.NewManual(time.Unix(1e9, 0))
	g, _ := openGroup(t, newBackend(newStore(t, "orders")), "billing", Config{Coordinator: CoordinatorConfig{Clock: manual}})
	a, w := newClient(t, g, "orders"), wire(newClient(t, g, "orders"))
	require.NoError(t, a.enter(t.Context()))
	entered := make(chan error, 1)
	go func() { entered <- w.enter(t.Context()) }()
	<-a.joined.Rebalance
	require.NoError(t, a.enter(t.Context()))
	require.NoError(t, within(t, entered))
	require.Nil(t, w.joined.Rebalance)
	require.Equal(t, 15*time.Second, w.joined.HeartbeatInterval)
	require.Len(t, w.assigned, 2)

	manual.Advance(40 * time.Second)
	require.NoError(t, w.c.Heartbeat(t.Context(), w.joined.Membership))
	manual.Advance(44 * time.Second)
	require.False(t, closed(a.joined.Rebalance), "the heartbeat has begun a new session")
	manual.Advance(time.Second)
	require.True(t, closed(a.joined.Rebalance))
	require.ErrorIs(t, w.c.Heartbeat(t.Context(), w.joined.Membership), ErrUnknownMemberID)
	require.NoError(t, a.enter(t.Context()))
	manual.Advance(24 * time.Hour)
	require.False(t, closed(a.joined.Rebalance))
}

func TestFirstJoinOverTheWireGetsAnIDToComeBackWith(t *testing.T) {
	g, _ := openGroup(t, newStore(t, "orders"), "billing", Config{ClientID: "app"})
	w := newClient(t, g, "orders")
	w.request = func(r *JoinRequest) { r.Local, r.RequireKnownMemberID = false, true }
	r, err := w.c.Join(t.Context(), JoinRequest{
		Group: "billing", ClientID: "app", RequireKnownMemberID: true, SessionTimeout: time.Minute,
		ProtocolType: ProtocolTypeConsumer, Protocols: g.Protocols(Subscription{Topics: []string{"orders"}}),
	})
	require.ErrorIs(t, err, ErrMemberIDRequired)
	require.Regexp(t, `^app-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, r.MemberID)
	w.joined = r
	require.NoError(t, w.enter(t.Context()))
	require.Equal(t, r.MemberID, w.joined.MemberID)
	require.Len(t, w.assigned, 4)
}

// The process is stopped for ten minutes while members have still to join again. When it wakes, all their time seems
// to be over, but none of them was running; they get what they had left.
func TestASuspendedProcessExpelsNobodyOnWaking(t *testing.T) {
	manual := clock.NewManual(time.Unix(1e9, 0))
	g, _ := openGroup(t, newBackend(newStore(t, "orders")), "billing", Config{RebalanceTimeout: time.Minute, Coordinator: CoordinatorConfig{Clock: manual}})
	a, b := newClient(t, g, "orders"), newClient(t, g, "orders")
	require.NoError(t, a.enter(t.Context()))
	entered := make(chan error, 1)
	go func() { entered <- b.enter(t.Context()) }()
	<-a.joined.Rebalance

	manual.Advance(59 * time.Second)          // one second is left
	manual.Set(manual.Now().Add(time.Minute)) // and the process is stopped
	manual.Advance(time.Second)               // it wakes: the timer is due, and has been for long
	require.NotErrorIs(t, a.c.Heartbeat(t.Context(), a.joined.Membership), ErrUnknownMemberID)
	require.NoError(t, a.enter(t.Context()))
	require.NoError(t, within(t, entered))

	// Without any stop, the time does end.
	c := newClient(t, g, "orders")
	go func() { entered <- c.join(t.Context()) }()
	<-a.joined.Rebalance
	<-b.joined.Rebalance
	manual.Advance(time.Minute)
	require.NoError(t, within(t, entered))
	require.ErrorIs(t, a.c.Heartbeat(t.Context(), a.joined.Membership), ErrUnknownMemberID)
}

// Closing answers everybody: parked joins and syncs, and every later call.
func TestCloseAnswersEverybodyAndLeavesNothingRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, err := partition.OpenMemory(partition.Config{Sync: partition.SyncNever})
		require.NoError(t, err)
		createTopics(t, store, "orders")
		g, c := openGroup(t, store, "billing", Config{})
		a, b := newClient(t, g, "orders"), wire(newClient(t, g, "orders"))
		require.NoError(t, a.enter(t.Context()))
		joined := make(chan error, 1)
		go func() { joined <- b.join(t.Context()) }()
		<-a.joined.Rebalance
		other, _ := openGroup(t, store, "other", Config{})
		x, y := newClient(t, other, "orders"), newClient(t, other, "orders")
		require.NoError(t, x.join(t.Context()))
		go func() { joined <- y.enter(t.Context()) }()
		<-x.joined.Rebalance

		require.NoError(t, store.Close())
		require.ErrorIs(t, <-joined, partition.ErrClosed)
		require.ErrorIs(t, <-joined, partition.ErrClosed)
		require.ErrorIs(t, a.commit(t.Context(), tp("orders", 0), 1), partition.ErrClosed)
		require.ErrorIs(t, c.Heartbeat(t.Context(), a.joined.Membership), partition.ErrClosed)
		require.ErrorIs(t, c.Leave(t.Context(), "billing", LeavingMember{MemberID: a.joined.MemberID}), partition.ErrClosed)
		_, err = c.Offsets(t.Context(), OffsetsRequest{Group: "billing"})
		require.ErrorIs(t, err, partition.ErrClosed)
		_, err = Open(store, "third", Config{})
		require.ErrorIs(t, err, partition.ErrClosed)
		require.NoError(t, g.Close())
		_, err = g.Committed(t.Context())
		require.ErrorIs(t, err, partition.ErrClosed)
	})
}

func TestEventsMayCallTheGroupAndComeInOrder(t *testing.T) {
	var g *ConsumerGroup
	var got []string
	events := Events{
		Rebalance: func(i RebalanceInfo) {
			_, err := g.Describe(context.Background())
			got = append(got, fmt.Sprintf("rebalance %d %v", i.Generation, err))
		},
		Generation: func(i GenerationInfo) {
			got = append(got, fmt.Sprintf("generation %d %s %d", i.Generation, i.State, i.Members))
		},
		MemberRemoved: func(i MemberRemovedInfo) { got = append(got, "removed: "+i.Reason) },
	}
	g, _ = openGroup(t, newBackend(newStore(t, "orders")), "billing", Config{Coordinator: CoordinatorConfig{Events: events}})
	a := newClient(t, g, "orders")
	require.NoError(t, a.enter(t.Context()))
	require.NoError(t, a.c.Leave(t.Context(), "billing", LeavingMember{MemberID: a.joined.MemberID}))
	require.Equal(t, []string{
		"rebalance 0 <nil>", "generation 1 CompletingRebalance 1",
		"removed: left", "rebalance 1 <nil>", "generation 2 Empty 0",
	}, got)
}

// TestGoldenPartitionIsLoaded puts what a broker wrote into the log, batch by batch, and asks for its groups.
func TestGoldenPartitionIsLoaded(t *testing.T) {
	store := newStore(t, "golden-none")
	index := PartitionFor("golden-group", OffsetsPartitions) // the broker had only one partition
	data, err := os.ReadFile("testdata/kafka-4.1.2/__consumer_offsets-0/00000000000000000000.log")
	require.NoError(t, err)
	for len(data) > 0 {
		b, err := batch.Peek(data)
		require.NoError(t, err)
		data = data[len(b):]
		_, err = store.Append(t.Context(), partition.AppendRequest{TopicPartition: tp(OffsetsTopic, index), Batch: b, Internal: true})
		require.NoError(t, err)
	}
	loaded := make(chan LoadedInfo, 1)
	g, _ := openGroup(t, newBackend(store), "golden-group", Config{Coordinator: CoordinatorConfig{Events: Events{Loaded: func(i LoadedInfo) { loaded <- i }}}})
	d, err := g.Describe(t.Context())
	require.NoError(t, err)
	info := within(t, loaded)
	require.Equal(t, []int{10, 0, 3}, []int{info.Records, info.Skipped, info.Groups})
	require.Equal(t, Empty, d.State)
	require.EqualValues(t, 2, d.Generation)
	require.Equal(t, "consumer", d.ProtocolType)
	require.EqualValues(t, 200, d.Offsets[tp("golden-none", 0)].Offset)
	require.Equal(t, "kgo-5aa491da-e2e4-4aaf-bbd2-8ac176048986", d.Offsets[tp("golden-none", 0)].Metadata)
	require.EqualValues(t, 200, d.Offsets[tp("golden-lz4", 0)].Offset, "a broker knows offsets of topics that are elsewhere")
	metadata, err := store.Metadata(t.Context(), []string{"golden-none"})
	require.NoError(t, err)
	require.Equal(t, metadata[0].ID, d.Offsets[tp("golden-none", 0)].TopicID)

	// A topic that appears later is a new one.
	createTopics(t, store, "golden-lz4")
	committed, err := g.Committed(t.Context())
	require.NoError(t, err)
	require.Len(t, committed, 1)

	m := newClient(t, g, "golden-none")
	require.NoError(t, m.enter(t.Context()))
	require.EqualValues(t, 3, m.joined.Generation)
}

func TestOpenRefusesWhatCannotBe(t *testing.T) {
	store := newStore(t)
	_, err := Open(store, "", Config{})
	require.ErrorIs(t, err, ErrInvalidGroupID)
	for key, c := range map[string]Config{
		"session.timeout.ms":               {SessionTimeout: time.Second},
		"heartbeat.interval.ms":            {HeartbeatInterval: time.Minute},
		"max.poll.interval.ms":             {RebalanceTimeout: -1},
		"partition.assignment.strategy":    {Assignors: []Assignor{Range, Range}},
		"group.max.size":                   {Coordinator: CoordinatorConfig{MaxSize: -1}},
		"group.initial.rebalance.delay.ms": {Coordinator: CoordinatorConfig{InitialRebalanceDelay: -1}},
		"offset.metadata.max.bytes":        {Coordinator: CoordinatorConfig{MaxMetadataBytes: -1}},
	} {
		_, err := Open(store, "billing", c)
		require.ErrorIs(t, err, partition.ErrInvalidConfig, key)
		require.ErrorContains(t, err, key)
	}
}
