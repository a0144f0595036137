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

var membership = group.Membership{Generation: group.NoGeneration}

// In the bubble time passes only by waiting.
func TestCommitIsRepeatedUntilItIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, k, store := transactional(t, 1, producer.Config{})
		k.beforeEnd = func(n int, _ bool) error {
			if n <= 3 {
				return partition.ErrConcurrentTransactions
			}
			return nil
		}
		k.afterEnd = func(n int, _ bool, err error) error {
			require.NoError(t, err)
			if n <= 5 {
				return partition.ErrTimeout // it has been done, and the answer was lost
			}
			return nil
		}
		begin := time.Now()
		require.NoError(t, p.Transact(t.Context(), send("x")))
		require.Less(t, time.Since(begin), 3*time.Second)
		require.Greater(t, time.Since(begin), 50*time.Millisecond)
		require.Len(t, k.asked(), 6)
		for _, e := range k.asked() {
			require.Equal(t, k.asked()[0], e)
		}
		require.NoError(t, p.Transact(t.Context(), send("y")))
		require.Equal(t, []string{"x", "y"}, committed(t, store, 0))
	})
}

// A commit whose answer is lost has one outcome; the next Transact learns it before it begins.
func TestNextTransactLearnsTheOutcomeOfALostCommit(t *testing.T) {
	for name, reached := range map[string]bool{"it was done": true, "it was not": false} {
		t.Run(name, func(t *testing.T) {
			p, k, store := transactional(t, 1, producer.Config{})
			ctx, cancel := context.WithCancel(t.Context())
			k.beforeEnd = func(n int, _ bool) error {
				if n == 1 && !reached {
					cancel()
					return ctx.Err()
				}
				return nil
			}
			k.afterEnd = func(n int, _ bool, _ error) error {
				if n == 1 {
					cancel()
					return ctx.Err()
				}
				return nil
			}
			src := &source{}
			err := p.TransactFrom(ctx, src, send("x"))
			_, unknown := errors.AsType[*producer.OutcomeUnknownError](err)
			require.True(t, unknown, err)
			require.ErrorIs(t, err, context.Canceled)
			require.Empty(t, src.outcomes(), "not known yet")
			require.ErrorIs(t, p.Transact(ctx, send("never")), context.Canceled)
			require.NoError(t, p.Transact(t.Context(), func(tx *producer.Tx) error {
				require.Equal(t, []bool{true}, src.outcomes())
				return send("y")(tx)
			}))
			all := k.asked()
			require.Len(t, all, 3)
			require.Equal(t, all[0], all[1], "the same question")
			require.Equal(t, []string{"x", "y"}, committed(t, store, 0))
			require.EqualValues(t, 1, p.Stats().Transactions.Unknown)
			require.EqualValues(t, 2, p.Stats().Transactions.Committed)
		})
	}
}

// What could not be committed is not followed by a transaction that may rest on it.
func TestTransactAfterALostCommitThatBecameAnAbortDoesNotRun(t *testing.T) {
	p, k, store := transactional(t, 1, producer.Config{})
	k.beforeEnd = func(n int, commit bool) error {
		switch n {
		case 1:
			return errStop // nobody knows what that means
		case 2:
			return partition.ErrTransactionAbortable
		}
		require.Equal(t, n == 4, commit)
		return nil
	}
	src := &source{}
	err := p.TransactFrom(t.Context(), src, send("x"))
	_, unknown := errors.AsType[*producer.OutcomeUnknownError](err)
	require.True(t, unknown, err)
	err = p.Transact(t.Context(), func(*producer.Tx) error { panic("called") })
	_, aborted := errors.AsType[*producer.AbortedError](err)
	require.True(t, aborted, err)
	require.Equal(t, []bool{false}, src.outcomes())
	require.NoError(t, p.Transact(t.Context(), send("y")))
	require.Equal(t, []string{"y"}, committed(t, store, 0))
}

func TestCommitThatCanOnlyBeAbortedIsAborted(t *testing.T) {
	p, k, store := transactional(t, 1, producer.Config{})
	k.beforeEnd = func(n int, _ bool) error {
		if n == 1 {
			return partition.ErrTransactionAbortable
		}
		return nil
	}
	err := p.Transact(t.Context(), send("x"))
	_, aborted := errors.AsType[*producer.AbortedError](err)
	require.True(t, aborted, err)
	require.ErrorIs(t, err, partition.ErrTransactionAbortable)
	require.Equal(t, []bool{true, false}, commits(k))
	require.NoError(t, p.Transact(t.Context(), send("y")))
	require.Equal(t, []string{"y"}, committed(t, store, 0))
}

// A fence after a commit without an answer says nothing about that commit.
func TestFenceAfterALostCommitLeavesItsOutcomeUnknown(t *testing.T) {
	for _, fence := range []error{partition.ErrProducerFenced, partition.ErrInvalidProducerEpoch, partition.ErrInvalidProducerIDMapping} {
		p, k, _ := transactional(t, 1, producer.Config{RetryBackoff: time.Millisecond})
		k.beforeEnd = func(n int, _ bool) error {
			if n == 1 {
				return partition.ErrTimeout
			}
			return fence
		}
		src := &source{}
		err := p.TransactFrom(t.Context(), src, send("x"))
		_, unknown := errors.AsType[*producer.OutcomeUnknownError](err)
		require.True(t, unknown, err)
		require.ErrorIs(t, err, fence)
		require.Equal(t, []bool{false}, src.outcomes(), "it goes by what is committed")
		require.ErrorIs(t, p.Transact(t.Context(), send("x")), fence)
		require.Len(t, k.asked(), 2)
	}
}

func TestFirstAnswerThatFencesMeansAborted(t *testing.T) {
	for _, fence := range []error{partition.ErrProducerFenced, partition.ErrInvalidProducerEpoch, partition.ErrInvalidProducerIDMapping} {
		p, k, _ := transactional(t, 1, producer.Config{})
		k.beforeEnd = func(int, bool) error { return fence }
		err := p.Transact(t.Context(), send("x"))
		_, aborted := errors.AsType[*producer.AbortedError](err)
		require.True(t, aborted, err)
		require.ErrorIs(t, err, fence)
		require.ErrorIs(t, p.Transact(t.Context(), send("x")), fence)
		require.Len(t, k.asked(), 1)
	}
}

// The coordinator aborts what is open for too long. The commit that comes later is told, and the producer goes on.
func TestTransactionThatTimedOutIsAbortedAndTheNextOneGoesOn(t *testing.T) {
	c := clock.NewManual(time.Unix(1e9, 0))
	store, err := partition.OpenMemory(partition.Config{Clock: c})
	require.NoError(t, err)
	defer store.Close()
	create(t, store, "t", 2)
	p, err := producer.New(store, producer.Config{TransactionalID: "tx", TransactionTimeout: time.Second, Clock: c})
	require.NoError(t, err)
	defer p.Close()
	expire := func() {
		for open := 1; open > 0; {
			c.Advance(10 * time.Second)
			time.Sleep(100 * time.Microsecond) // for the coordinator to get a processor before days have passed
			all, err := store.ListTransactions(t.Context(), partition.TransactionFilter{States: []partition.TransactionState{
				partition.TransactionOngoing, partition.TransactionPrepareAbort,
			}})
			require.NoError(t, err)
			open = len(all)
		}
	}
	for _, late := range []int32{-1, 0, 1} { // no record, one to a partition of the transaction, one to another
		err = p.Transact(t.Context(), func(tx *producer.Tx) error {
			_, err := tx.Send(t.Context(), to(0, "slow"))
			require.NoError(t, err)
			expire()
			if late >= 0 {
				_, err := tx.Send(t.Context(), to(late, "too late"))
				require.ErrorIs(t, err, partition.ErrInvalidProducerEpoch)
			}
			return nil
		})
		_, aborted := errors.AsType[*producer.AbortedError](err)
		require.True(t, aborted, err)
		require.NotErrorIs(t, err, producer.ErrProducerFenced)
		if late < 0 {
			require.ErrorContains(t, err, "timeout (1s)")
		}
		require.NoError(t, p.Transact(t.Context(), send("in time")))
	}
	require.Equal(t, []string{"in time", "in time", "in time"}, committed(t, store, 0))
	require.Empty(t, committed(t, store, 1))
}

func TestCancelBeforeTheCommitAborts(t *testing.T) {
	p, k, store := transactional(t, 1, producer.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	err := p.Transact(ctx, func(tx *producer.Tx) error {
		_, err := tx.Send(t.Context(), to(0, "x"))
		cancel()
		return err
	})
	aborted, ok := errors.AsType[*producer.AbortedError](err)
	require.True(t, ok, err)
	require.NoError(t, aborted.Pending)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []bool{false}, commits(k))
	require.NoError(t, p.Transact(t.Context(), send("y")))
	require.Equal(t, []string{"y"}, committed(t, store, 0))
}

// A backend that hangs does not keep a caller whose context has ended. What the append brings later is no part of any
// commit.
func TestCancelWhileRecordsAreBeingSentAbortsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, k, store := transactional(t, 1, producer.Config{})
		g := newGate()
		k.before = func(n int, _ partition.AppendRequest) error {
			if n == 2 {
				g.hold()
			}
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		var results results
		err := p.Transact(ctx, func(tx *producer.Tx) error {
			_, err := tx.Send(ctx, to(0, "in time"))
			require.NoError(t, err)
			tx.SendAsync(ctx, to(0, "late"), results.add)
			<-g.come
			tx.SendAsync(ctx, to(0, "never"), results.add)
			go cancel()
			return nil
		})
		_, aborted := errors.AsType[*producer.AbortedError](err)
		require.True(t, aborted, err)
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, p.Transact(t.Context(), send("next")))
		close(g.open)
		synctest.Wait()
		all := results.list()
		require.Len(t, all, 2)
		for _, r := range all {
			require.ErrorIs(t, r.Err, context.Canceled)
		}
		_, uncertain := errors.AsType[*producer.UncertainError](all[0].Err)
		require.True(t, uncertain)
		require.NoError(t, p.Transact(t.Context(), send("last")))
		require.Equal(t, []string{"next", "last"}, committed(t, store, 0))
	})
}

// An abort that the coordinator does not answer is an abort all the same.
func TestAbortWithoutAnAnswerIsCompletedByTheNextTransact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, k, store := transactional(t, 1, producer.Config{MaxBlock: time.Second})
		down := true
		k.beforeEnd = func(int, bool) error {
			if down {
				return partition.ErrTimeout
			}
			return nil
		}
		fail := func(tx *producer.Tx) error {
			_, err := tx.Send(t.Context(), to(0, "x"))
			require.NoError(t, err)
			return errStop
		}
		src := &source{}
		err := p.TransactFrom(t.Context(), src, fail)
		aborted, ok := errors.AsType[*producer.AbortedError](err)
		require.True(t, ok, err)
		require.ErrorIs(t, err, errStop)
		require.ErrorIs(t, aborted.Pending, partition.ErrTimeout)
		require.Equal(t, []bool{false}, src.outcomes())
		require.ErrorIs(t, p.Transact(t.Context(), send("not yet")), partition.ErrTimeout)
		down = false
		require.NoError(t, p.Transact(t.Context(), send("y")))
		require.Equal(t, []string{"y"}, committed(t, store, 0))
		require.EqualValues(t, 1, p.Stats().Transactions.Aborted)
	})
}

func TestCloseEndsWhatTheLastTransactionLeftOpen(t *testing.T) {
	p, k, store := transactional(t, 1, producer.Config{})
	k.beforeEnd = func(n int, _ bool) error {
		if n == 1 {
			return errStop
		}
		return nil
	}
	err := p.Transact(t.Context(), send("x"))
	_, unknown := errors.AsType[*producer.OutcomeUnknownError](err)
	require.True(t, unknown, err)
	require.NoError(t, p.Close())
	require.Equal(t, []bool{true, true}, commits(k))
	require.Equal(t, []string{"x"}, committed(t, store, 0))
}

func TestCloseInAScopeLeavesItsEndToTransact(t *testing.T) {
	p, _, store := transactional(t, 1, producer.Config{})
	require.NoError(t, p.Transact(t.Context(), func(tx *producer.Tx) error {
		tx.SendAsync(t.Context(), to(0, "x"), nil)
		return p.Close()
	}))
	require.Equal(t, []string{"x"}, committed(t, store, 0))

	p, err := producer.New(store, producer.Config{TransactionalID: "tx"})
	require.NoError(t, err)
	err = p.Transact(t.Context(), func(tx *producer.Tx) error {
		tx.SendAsync(t.Context(), to(0, "y"), nil)
		require.NoError(t, p.Close())
		_, err := tx.Send(t.Context(), to(0, "z"))
		require.ErrorIs(t, err, producer.ErrClosed)
		return nil
	})
	require.ErrorIs(t, err, producer.ErrClosed)
	_, aborted := errors.AsType[*producer.AbortedError](err)
	require.True(t, aborted, err)
	require.Equal(t, []string{"x"}, committed(t, store, 0))
}

// KIP-360 with a coordinator that keeps the epoch from one transaction to the next (transaction.version 1): sequences go
// on, and after a failure the producer asks for a new epoch of its id.
func TestCoordinatorThatKeepsTheEpochIsAskedForANewOneAfterAFailure(t *testing.T) {
	s := &sink{}
	k := &coordinator{script: &script{Backend: s}, old: true}
	p, err := producer.New(k, producer.Config{TransactionalID: "tx"})
	require.NoError(t, err)
	defer p.Close()
	require.NoError(t, p.Transact(t.Context(), send("x")))
	require.NoError(t, p.Transact(t.Context(), send("x")))
	all := k.seen()
	require.Equal(t, all[0].id, all[1].id)
	require.EqualValues(t, 1, all[1].seq)
	k.before = func(n int, _ partition.AppendRequest) error {
		if n == 3 {
			return partition.ErrOutOfOrderSequence
		}
		return nil
	}
	require.ErrorIs(t, p.Transact(t.Context(), send("x")), partition.ErrOutOfOrderSequence)
	require.NoError(t, p.Transact(t.Context(), send("x")))
	require.Equal(t, []partition.ProducerID{partition.NoProducerID, all[0].id}, k.initialized())
}
