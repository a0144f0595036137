package group

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

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
	told := make(chan string, 10)
	events := Events{
		Rebalance: func(i RebalanceInfo) {
			_, err := g.Describe(context.Background())
			told <- fmt.Sprintf("rebalance %d %v", i.Generation, err)
		},
		Generation: func(i GenerationInfo) {
			told <- fmt.Sprintf("generation %d %s %d", i.Generation, i.State, i.Members)
		},
		MemberRemoved: func(i MemberRemovedInfo) { told <- "removed: " + i.Reason },
	}
	g, _ = openGroup(t, newBackend(newStore(t, "orders")), "billing", Config{Coordinator: CoordinatorConfig{Events: events}})
	a := newClient(t, g, "orders")
	require.NoError(t, a.enter(t.Context()))
	require.NoError(t, a.c.Leave(t.Context(), "billing", LeavingMember{MemberID: a.joined.MemberID}))
	for _, want := range []string{
		"rebalance 0 <nil>", "generation 1 CompletingRebalance 1",
		"removed: left", "rebalance 1 <nil>", "generation 2 Empty 0",
	} {
		require.Equal(t, want, within(t, told)) // they may come after the answer
	}
	require.Empty(t, told)
}

// Events may also commit, whoever tells them: a caller that writes itself, a writer, a loader.
func TestEventsMayCommit(t *testing.T) {
	store := newStore(t, "orders")
	index := PartitionFor("billing", OffsetsPartitions)
	var b batch.Builder
	b.Reset(nil, batch.Options{})
	b.Append(1, []byte{0, 1, 9}, nil, nil) // corrupt: the loader tells
	data, err := b.Finish()
	require.NoError(t, err)
	_, err = store.Append(t.Context(), partition.AppendRequest{TopicPartition: tp(OffsetsTopic, index), Batch: data, Internal: true})
	require.NoError(t, err)

	var g *ConsumerGroup
	told := make(chan string, 1000)
	commit := func(what string) {
		told <- what
		_ = g.Commit(context.Background(), map[partition.TopicPartition]CommittedOffset{tp("orders", 0): at(1)}) // refused while there are members
	}
	backend := newBackend(store)
	g, _ = openGroup(t, backend, "billing", Config{Coordinator: CoordinatorConfig{Events: Events{
		Corrupt: func(CorruptInfo) { commit("corrupt") }, Rebalance: func(RebalanceInfo) { commit("rebalance") },
		Generation: func(GenerationInfo) { commit("generation") }, Assigned: func(AssignedInfo) { commit("assigned") },
		MemberRemoved: func(MemberRemovedInfo) { commit("removed") }, OffsetsDeleted: func(OffsetsDeletedInfo) { commit("deleted") },
		WriteFailed: func(WriteFailedInfo) { backend.setFail(nil); commit("failed") },
	}}})
	m := newClient(t, g, "orders")
	require.NoError(t, m.enter(t.Context()))
	require.NoError(t, g.Remove(t.Context(), LeavingMember{MemberID: m.joined.MemberID}))
	backend.setFail(partition.ErrStorage)
	_ = g.Commit(t.Context(), map[partition.TopicPartition]CommittedOffset{tp("orders", 0): at(2)}) // this one fails, or an event's
	for seen := map[string]bool{}; !seen["failed"] || len(seen) < 6; {                              // events may come late
		seen[within(t, told)] = true
	}
	_ = Delete(t.Context(), backend, "billing") // somebody may just have committed
}

// The empty group id is good for offsets, as old clients that assign by hand have it, and for nothing else.
func TestEmptyGroupIDIsForOffsetsOnly(t *testing.T) {
	ctx := t.Context()
	_, c := openGroup(t, newStore(t, "orders"), "billing", Config{})
	offsets := map[partition.TopicPartition]CommittedOffset{tp("orders", 0): at(5)}
	require.NoError(t, c.Commit(ctx, CommitRequest{Membership: outside(""), Offsets: offsets}))
	committed, err := c.Offsets(ctx, OffsetsRequest{})
	require.NoError(t, err)
	require.EqualValues(t, 5, committed[tp("orders", 0)].Offset)
	for what, request := range map[string]func() error{
		"join":           func() error { _, err := c.Join(ctx, JoinRequest{}); return err },
		"sync":           func() error { _, err := c.Sync(ctx, SyncRequest{}); return err },
		"heartbeat":      func() error { return c.Heartbeat(ctx, Membership{}) },
		"leave":          func() error { return c.Leave(ctx, "", LeavingMember{MemberID: "a"}) },
		"delete offsets": func() error { return c.DeleteOffsets(ctx, "", tp("orders", 0)) },
		"commit in a transaction": func() error {
			return c.Commit(ctx, CommitRequest{Membership: outside(""), Offsets: offsets, Txn: &TxnCommit{TransactionalID: "tx", Producer: partition.ProducerID{ID: 1}}})
		},
	} {
		require.ErrorIs(t, request(), ErrInvalidGroupID, what)
	}
	_, err = c.ConsumerGroupHeartbeat(ctx, ConsumerHeartbeatRequest{MemberID: "a", MemberEpoch: 1})
	require.ErrorIs(t, err, ErrInvalidRequest)
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
