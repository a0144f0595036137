package producer_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

var first = partition.TopicPartition{Topic: "t"}

// openGroup returns the group "g" of a store.
func openGroup(t testing.TB, store *partition.Store) *group.ConsumerGroup {
	t.Helper()
	g, err := group.Open(store, "g", group.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = g.Close() })
	return g
}

func at(o partition.Offset) map[partition.TopicPartition]group.CommittedOffset {
	return map[partition.TopicPartition]group.CommittedOffset{first: {Offset: o, LeaderEpoch: partition.LeaderEpochUnknown}}
}

// stable returns the committed offset of the group, once no transaction is undecided about it.
func stable(t testing.TB, g *group.ConsumerGroup) partition.Offset {
	t.Helper()
	c, err := g.Coordinator(t.Context())
	require.NoError(t, err)
	for {
		all, err := c.Offsets(t.Context(), group.OffsetsRequest{Group: g.ID(), Partitions: []partition.TopicPartition{first}, RequireStable: true})
		if errors.Is(err, group.ErrUnstableOffsetCommit) {
			continue
		}
		require.NoError(t, err)
		if o, ok := all[first]; ok {
			return o.Offset
		}
		return -1
	}
}

func TestOffsetsCountIfAndOnlyIfTheTransactionCommits(t *testing.T) {
	p, _, store := transactional(t, 1, producer.Config{})
	g := openGroup(t, store)
	commit := func(o partition.Offset, with error) (*source, error) {
		src := &source{group: g, offsets: at(o)}
		return src, p.Transact(t.Context(), func(tx *producer.Tx) error {
			require.NoError(t, tx.CommitOffsets(src))
			require.NoError(t, tx.CommitOffsets(src), "again")
			require.Empty(t, src.outcomes())
			return with
		})
	}
	src, err := commit(5, nil)
	require.NoError(t, err)
	require.Equal(t, []bool{true}, src.outcomes(), "once")
	require.EqualValues(t, 5, stable(t, g))
	src, err = commit(7, errStop)
	require.ErrorIs(t, err, errStop)
	require.Equal(t, []bool{false}, src.outcomes())
	require.EqualValues(t, 5, stable(t, g))
	_, err = commit(9, nil)
	require.NoError(t, err)
	require.EqualValues(t, 9, stable(t, g))
}

func TestTransactFromCommitsTheOffsetsAndTellsTheOutcomeWhateverHappens(t *testing.T) {
	p, k, store := transactional(t, 1, producer.Config{})
	g := openGroup(t, store)
	src := &source{group: g, offsets: at(3)}
	require.NoError(t, p.TransactFrom(t.Context(), src, send("x")))
	require.Equal(t, []bool{true}, src.outcomes())
	require.EqualValues(t, 3, stable(t, g))

	src = &source{group: g, offsets: at(4)}
	require.ErrorIs(t, p.TransactFrom(t.Context(), src, func(*producer.Tx) error { return errStop }), errStop)
	require.Equal(t, []bool{false}, src.outcomes(), "before anything was done")
	require.Panics(t, func() {
		_ = p.TransactFrom(t.Context(), src, func(*producer.Tx) error { panic("boom") })
	})
	require.Equal(t, []bool{false, false}, src.outcomes())
	k.before = func(int, partition.AppendRequest) error { return partition.ErrNoSpace }
	require.ErrorIs(t, p.TransactFrom(t.Context(), src, send("x")), partition.ErrNoSpace)
	require.Equal(t, []bool{false, false, false}, src.outcomes())
	k.before = nil
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, p.TransactFrom(ctx, src, send("x")), context.Canceled)
	require.Len(t, src.outcomes(), 4, "not called")
	src.err = errStop
	require.ErrorIs(t, p.TransactFrom(t.Context(), src, send("x")), errStop)
	require.Len(t, src.outcomes(), 5)
	require.EqualValues(t, 3, stable(t, g))
	require.Equal(t, []string{"x"}, committed(t, store, 0))
}

// KIP-447: offsets of a member that the group has gone on without are refused, and the transaction with them.
func TestOffsetsOfAFencedMemberAbortTheTransaction(t *testing.T) {
	p, _, store := transactional(t, 1, producer.Config{})
	g := openGroup(t, store)
	require.NoError(t, g.Commit(t.Context(), at(1)))
	err := p.Transact(t.Context(), func(tx *producer.Tx) error {
		_, err := tx.Send(t.Context(), to(0, "x"))
		require.NoError(t, err)
		err = tx.CommitGroupOffsets(t.Context(), g, group.Membership{MemberID: "nobody", Generation: 5}, at(2))
		require.Error(t, err)
		_, again := tx.Send(t.Context(), to(0, "y"))
		require.ErrorIs(t, again, partition.ErrTransactionAbortable)
		return nil
	})
	_, aborted := errors.AsType[*producer.AbortedError](err)
	require.True(t, aborted, err)
	require.True(t, errors.Is(err, group.ErrUnknownMemberID) || errors.Is(err, group.ErrIllegalGeneration), err)
	require.EqualValues(t, 1, stable(t, g))
	require.NoError(t, p.Transact(t.Context(), send("z")))
	require.Equal(t, []string{"z"}, committed(t, store, 0))
}

func TestCommittingNoOffsetsAsksNobody(t *testing.T) {
	p, k, store := transactional(t, 1, producer.Config{})
	src := &source{group: openGroup(t, store)}
	require.NoError(t, p.TransactFrom(t.Context(), src, func(*producer.Tx) error { return nil }))
	require.Equal(t, []bool{true}, src.outcomes())
	require.Empty(t, k.asked())
}

// A batch of which nobody knows whether it was appended dooms its transaction; it is in no later one (KIP-360).
func TestUncertainBatchIsAbortedWithItsTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, k, store := transactional(t, 1, producer.Config{DeliveryTimeout: time.Second})
		k.after = func(n int, _ partition.AppendRequest, err error) error {
			if n > 1 {
				return partition.ErrTimeout // although it was appended
			}
			return err
		}
		err := p.Transact(t.Context(), func(tx *producer.Tx) error {
			_, err := tx.Send(t.Context(), to(0, "sure"))
			require.NoError(t, err)
			tx.SendAsync(t.Context(), to(0, "unsure"), nil)
			return nil
		})
		_, aborted := errors.AsType[*producer.AbortedError](err)
		require.True(t, aborted, err)
		_, uncertain := errors.AsType[*producer.UncertainError](err)
		require.True(t, uncertain, err)
		k.after = nil
		require.NoError(t, p.Transact(t.Context(), send("next")))
		require.Equal(t, []string{"next"}, committed(t, store, 0))
	})
}

// INVALID_PRODUCER_EPOCH and OUT_OF_ORDER_SEQUENCE_NUMBER of a partition's leader can be aborted; the coordinator says
// whether it was a fence.
func TestLeaderThatRefusesTheProducerAbortsOneTransaction(t *testing.T) {
	for _, refusal := range []error{
		partition.ErrInvalidProducerEpoch, partition.ErrOutOfOrderSequence, partition.ErrInvalidTxnState, partition.ErrTransactionAbortable,
	} {
		p, k, store := transactional(t, 1, producer.Config{})
		k.before = func(n int, _ partition.AppendRequest) error {
			if n == 2 {
				return refusal
			}
			return nil
		}
		err := p.Transact(t.Context(), func(tx *producer.Tx) error {
			_, err := tx.Send(t.Context(), to(0, "x"))
			require.NoError(t, err)
			_, err = tx.Send(t.Context(), to(0, "y"))
			require.ErrorIs(t, err, refusal)
			return nil
		})
		require.ErrorIs(t, err, refusal)
		require.NoError(t, p.Transact(t.Context(), send("z")), refusal)
		require.Equal(t, []string{"z"}, committed(t, store, 0))
		require.Len(t, k.initialized(), 1)
	}
}

func TestLeaderThatFencesTheProducerEndsIt(t *testing.T) {
	for _, fence := range []error{partition.ErrProducerFenced, partition.ErrInvalidProducerIDMapping, partition.ErrUnsupported} {
		p, k, _ := transactional(t, 1, producer.Config{})
		k.before = func(int, partition.AppendRequest) error { return fence }
		for range 2 {
			require.ErrorIs(t, p.Transact(t.Context(), send("x")), fence)
		}
		require.Empty(t, k.asked())
		require.Len(t, k.seen(), 1)
	}
}

// slowOffsets is a store whose offsets topic takes so long for a batch.
type slowOffsets struct {
	*partition.Store
	clock *clock.Manual
	takes time.Duration
}

func (s slowOffsets) Append(ctx context.Context, r partition.AppendRequest) (partition.AppendResult, error) {
	if r.TopicPartition.Topic == group.OffsetsTopic {
		s.clock.Advance(s.takes)
	}
	return s.Store.Append(ctx, r)
}

// Kafka's txn-init, -send-offsets, -commit and -abort-time-ns-total.
func TestTransactionTimesAreCounted(t *testing.T) {
	c := clock.NewManual(time.Unix(1e9, 0))
	store, err := partition.OpenMemory(partition.Config{Clock: c})
	require.NoError(t, err)
	defer store.Close()
	create(t, store, "t", 1)
	g, err := group.Open(slowOffsets{store, c, 4 * time.Millisecond}, "g", group.Config{})
	require.NoError(t, err)
	defer g.Close()
	k := &coordinator{script: &script{Backend: store}}
	k.afterInit = func() { c.Advance(8 * time.Millisecond) }
	k.beforeEnd = func(int, bool) error {
		c.Advance(time.Millisecond)
		return nil
	}
	p, err := producer.New(k, producer.Config{TransactionalID: "tx", Clock: c})
	require.NoError(t, err)
	defer p.Close()
	require.Equal(t, producer.TransactionStats{InitTime: 8 * time.Millisecond}, p.Stats().Transactions)
	require.NoError(t, p.TransactFrom(t.Context(), &source{group: g, offsets: at(1)}, send("x")))
	for range 2 {
		require.Error(t, p.Transact(t.Context(), func(tx *producer.Tx) error {
			_, err := tx.Send(t.Context(), to(0, "x"))
			require.NoError(t, err)
			return errStop
		}))
	}
	require.Equal(t, producer.TransactionStats{
		Committed: 1, Aborted: 2, InitTime: 8 * time.Millisecond, OffsetsTime: 4 * time.Millisecond,
		CommitTime: time.Millisecond, AbortTime: 2 * time.Millisecond,
	}, p.Stats().Transactions)
}
