package group

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

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

// Clients of Kafka commit negative offsets to say that nothing is committed: such a one is kept, told to whoever asks the
// coordinator, also after a restart, and counts as none for consumers and for how the group stands.
func TestNegativeOffsetThatIsAskedForCountsAsNone(t *testing.T) {
	store := newStore(t, "orders")
	g, c := openGroup(t, newBackend(store), "billing", Config{})
	at := tp("orders", 0)
	require.NoError(t, g.Commit(t.Context(), map[partition.TopicPartition]CommittedOffset{at: {Offset: 3}, tp("orders", 1): {Offset: 4}}))
	require.NoError(t, c.Commit(t.Context(), CommitRequest{Membership: Membership{Group: "billing", Generation: NoGeneration}, Negative: true,
		Offsets: map[partition.TopicPartition]CommittedOffset{at: {Offset: -2}}}))
	again, reopened := openGroup(t, newBackend(store), "billing", Config{})
	for i, c := range []Coordinator{c, reopened} {
		told, err := c.Offsets(t.Context(), OffsetsRequest{Group: "billing"})
		require.NoError(t, err)
		require.EqualValues(t, -2, told[at].Offset)
		g := []*ConsumerGroup{g, again}[i]
		committed, err := g.Committed(t.Context())
		require.NoError(t, err)
		require.Len(t, committed, 1)
		standings, _, err := g.Standings(t.Context())
		require.NoError(t, err)
		require.Len(t, standings, 1)
		require.Equal(t, tp("orders", 1), standings[0].TopicPartition)
	}
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
	untilAppends(b, "billing", n) // all are queued or in the first batch
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
