package group

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
)

// transaction is a producer with a transactional id, as far as groups are concerned.
type transaction struct {
	t  *testing.T
	s  *partition.Store
	id string
	p  partition.ProducerID
}

func newTransaction(t *testing.T, s *partition.Store, id string) *transaction {
	p, err := s.InitProducerID(t.Context(), id, 15*time.Minute, partition.NoProducerID)
	require.NoError(t, err)
	return &transaction{t, s, id, p}
}

// commit commits offsets of a group in the transaction.
func (x *transaction) commit(c Coordinator, m Membership, offsets map[partition.TopicPartition]CommittedOffset) error {
	return c.Commit(x.t.Context(), CommitRequest{Membership: m, Offsets: offsets, Txn: &TxnCommit{TransactionalID: x.id, Producer: x.p}})
}

func (x *transaction) end(commit bool) {
	next, err := x.s.EndTxn(x.t.Context(), x.id, x.p, commit)
	require.NoError(x.t, err)
	x.p = next
}

func outside(group string) Membership { return Membership{Group: group, Generation: NoGeneration} }

// stable waits until no transaction has an offset of the group pending, and returns what is committed.
func stable(t *testing.T, c Coordinator, group string) map[partition.TopicPartition]CommittedOffset {
	for {
		out, err := c.Offsets(t.Context(), OffsetsRequest{Group: group, RequireStable: true})
		if err == nil {
			return out
		}
		require.ErrorIs(t, err, ErrUnstableOffsetCommit)
	}
}

func TestOffsetsOfATransactionCountFromItsEnd(t *testing.T) {
	store := newStore(t, "orders")
	b := newBackend(store)
	g, c := openGroup(t, b, "billing", Config{})
	require.NoError(t, g.Commit(t.Context(), map[partition.TopicPartition]CommittedOffset{tp("orders", 0): at(1)}))
	x := newTransaction(t, store, "tx")

	require.NoError(t, x.commit(c, outside("billing"), map[partition.TopicPartition]CommittedOffset{tp("orders", 0): at(5), tp("orders", 1): at(6)}))
	committed, err := g.Committed(t.Context())
	require.NoError(t, err)
	require.Len(t, committed, 1)
	require.EqualValues(t, 1, committed[tp("orders", 0)].Offset)
	_, err = c.Offsets(t.Context(), OffsetsRequest{Group: "billing", Partitions: []partition.TopicPartition{tp("orders", 0), tp("orders", 2)}, RequireStable: true})
	unstable, ok := errors.AsType[*OffsetsError](err)
	require.True(t, ok, "%v", err)
	require.Len(t, unstable.Partitions, 1)
	require.ErrorIs(t, err, ErrUnstableOffsetCommit)
	require.ErrorContains(t, err, "orders-0")
	require.True(t, partition.Retriable(err))
	x.end(true)
	committed = stable(t, c, "billing")
	require.EqualValues(t, 5, committed[tp("orders", 0)].Offset)
	require.EqualValues(t, 6, committed[tp("orders", 1)].Offset)

	require.NoError(t, x.commit(c, outside("billing"), map[partition.TopicPartition]CommittedOffset{tp("orders", 0): at(50)}))
	x.end(false)
	committed = stable(t, c, "billing")
	require.EqualValues(t, 5, committed[tp("orders", 0)].Offset)

	// The next coordinator sees the same, and one that comes in the middle of a transaction waits for its end too.
	require.NoError(t, x.commit(c, outside("billing"), map[partition.TopicPartition]CommittedOffset{tp("orders", 0): at(60)}))
	_, next := openGroup(t, newBackend(store), "billing", Config{})
	_, err = next.Offsets(t.Context(), OffsetsRequest{Group: "billing", RequireStable: true})
	require.ErrorIs(t, err, ErrUnstableOffsetCommit)
	x.end(true)
	for _, c := range []Coordinator{c, next} {
		committed = stable(t, c, "billing")
		require.EqualValues(t, 60, committed[tp("orders", 0)].Offset)
		require.EqualValues(t, 6, committed[tp("orders", 1)].Offset)
	}
}

// A producer commits for a member of a generation: one that has lost its partitions cannot (KIP-447).
func TestZombieCannotCommitInATransaction(t *testing.T) {
	store := newStore(t, "orders")
	g, c := openGroup(t, store, "billing", Config{})
	a, b := newClient(t, g, "orders"), newClient(t, g, "orders")
	require.NoError(t, a.enter(t.Context()))
	x := newTransaction(t, store, "tx")
	offsets := map[partition.TopicPartition]CommittedOffset{tp("orders", 3): at(5)}
	require.NoError(t, x.commit(c, a.joined.Membership, offsets))
	zombie := a.joined.Membership

	entered := make(chan error, 1)
	go func() { entered <- b.enter(t.Context()) }()
	<-a.joined.Rebalance
	require.NoError(t, x.commit(c, zombie, offsets), "its generation is still the one")
	require.NoError(t, a.enter(t.Context()))
	require.NoError(t, within(t, entered))
	require.ErrorIs(t, x.commit(c, zombie, offsets), ErrIllegalGeneration)
	stranger := a.joined.Membership
	stranger.MemberID = "nobody"
	require.ErrorIs(t, x.commit(c, stranger, offsets), ErrUnknownMemberID)
	x.end(false)
	require.Empty(t, stable(t, c, "billing"))

	fenced := &transaction{t, store, "tx", x.p}
	newTransaction(t, store, "tx")
	require.ErrorIs(t, fenced.commit(c, a.joined.Membership, offsets), partition.ErrInvalidProducerEpoch)
	require.ErrorIs(t, c.Commit(t.Context(), CommitRequest{Membership: a.joined.Membership, Offsets: offsets, Txn: &TxnCommit{TransactionalID: "", Producer: x.p}}), ErrInvalidRequest)
	require.ErrorIs(t, c.Commit(t.Context(), CommitRequest{Membership: a.joined.Membership, Offsets: offsets, Txn: &TxnCommit{TransactionalID: "tx", Producer: partition.NoProducerID}}), ErrInvalidRequest)
}

// Several groups and topics in one transaction: all of it or nothing.
func TestTransactionOverSeveralGroupsIsWhole(t *testing.T) {
	store := newStore(t, "orders", "other")
	b := newBackend(store)
	_, c := openGroup(t, b, "billing", Config{})
	x := newTransaction(t, store, "tx")
	groups := []string{"billing", "shipping", "été", "a", "b", "c"}
	for round := range partition.Offset(4) {
		for _, id := range groups {
			require.NoError(t, x.commit(c, outside(id), map[partition.TopicPartition]CommittedOffset{
				tp("orders", 0): at(round), tp("orders", 1): at(round), tp("other", 0): at(round),
			}))
		}
		x.end(round%2 == 0)
		for _, id := range groups {
			committed := stable(t, c, id)
			require.Len(t, committed, 3)
			for _, o := range committed {
				require.Equal(t, round&^1, o.Offset, id)
			}
		}
	}
}

// Two transactions wait at the same time, and plain commits come between: of each partition the latest record counts.
func TestPlainCommitsAndTransactionsOfOnePartitionAreOrderedByTheLog(t *testing.T) {
	store := newStore(t, "orders")
	g, c := openGroup(t, newBackend(store), "billing", Config{})
	first, second := newTransaction(t, store, "first"), newTransaction(t, store, "second")
	p := tp("orders", 0)
	require.NoError(t, first.commit(c, outside("billing"), map[partition.TopicPartition]CommittedOffset{p: at(1)}))
	require.NoError(t, second.commit(c, outside("billing"), map[partition.TopicPartition]CommittedOffset{p: at(2)}))
	require.NoError(t, g.Commit(t.Context(), map[partition.TopicPartition]CommittedOffset{p: at(3), tp("orders", 1): at(3)}))
	require.NoError(t, first.commit(c, outside("billing"), map[partition.TopicPartition]CommittedOffset{tp("orders", 1): at(4)}))
	second.end(true)
	first.end(true)
	_, next := openGroup(t, newBackend(store), "billing", Config{})
	for _, c := range []Coordinator{c, next} {
		committed := stable(t, c, "billing")
		require.EqualValues(t, 3, committed[p].Offset)
		require.EqualValues(t, 4, committed[tp("orders", 1)].Offset)
	}
}

// The marker is read by a tail that exists only while somebody waits; Close ends it, and whoever waits for a transaction.
func TestNothingRunsOnceTransactionsHaveEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, err := partition.OpenMemory(partition.Config{Sync: partition.SyncNever})
		require.NoError(t, err)
		createTopics(t, store, "orders")
		_, c := openGroup(t, store, "billing", Config{})
		x := newTransaction(t, store, "tx")
		tailing := func() int {
			synctest.Wait()
			shell := c.(*coordinator)
			shell.mu.Lock()
			defer shell.mu.Unlock()
			n := 0
			for _, p := range shell.partitions {
				if p.tailing {
					n++
				}
			}
			return n
		}
		offsets := map[partition.TopicPartition]CommittedOffset{tp("orders", 0): at(1)}
		require.Zero(t, tailing())
		require.NoError(t, x.commit(c, outside("billing"), offsets))
		require.Equal(t, 1, tailing())
		x.end(true)
		require.Zero(t, tailing())
		require.NoError(t, x.commit(c, outside("billing"), offsets))
		require.Equal(t, 1, tailing())
		require.NoError(t, store.Close())
		require.ErrorIs(t, x.commit(c, outside("billing"), offsets), partition.ErrClosed)
	})
}

// A transaction is aborted because its producer has died and another one has its id; its offsets go with it.
func TestOffsetsOfADeadProducersTransactionAreDropped(t *testing.T) {
	store := newStore(t, "orders")
	_, c := openGroup(t, newBackend(store), "billing", Config{})
	x := newTransaction(t, store, "tx")
	require.NoError(t, x.commit(c, outside("billing"), map[partition.TopicPartition]CommittedOffset{tp("orders", 0): at(1)}))
	newTransaction(t, store, "tx")
	require.Empty(t, stable(t, c, "billing"))
}

// A group that is deleted while a transaction has offsets of it does not come back with the transaction's end.
func TestDeletedGroupDoesNotComeBackWithATransaction(t *testing.T) {
	store := newStore(t, "orders")
	g, c := openGroup(t, newBackend(store), "billing", Config{})
	x := newTransaction(t, store, "tx")
	require.NoError(t, x.commit(c, outside("billing"), map[partition.TopicPartition]CommittedOffset{tp("orders", 0): at(1)}))
	require.NoError(t, c.DeleteGroups(t.Context(), "billing"))
	x.end(true)
	_, next := openGroup(t, newBackend(store), "billing", Config{})
	for _, c := range []Coordinator{c, next} {
		require.Empty(t, stable(t, c, "billing"))
		d, err := c.Describe(t.Context(), "billing")
		require.NoError(t, err)
		require.Equal(t, Dead, d.State)
	}
	require.NoError(t, g.Close())
}
