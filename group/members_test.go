package group

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

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
	afterwards(t, g)

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
	afterwards(t, g)
	manual.Advance(time.Minute)
	require.NoError(t, within(t, entered))
	require.ErrorIs(t, a.c.Heartbeat(t.Context(), a.joined.Membership), ErrUnknownMemberID)
}
