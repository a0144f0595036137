package producer_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

var errStop = errors.New("stop")

// to is a record for one partition of "t".
func to(n int32, v string) producer.Record {
	return producer.Record{Topic: "t", Partition: producer.To(n), Value: []byte(v)}
}

// send is a transaction that sends one value to partition 0.
func send(v string) func(*producer.Tx) error {
	return func(tx *producer.Tx) error {
		tx.SendAsync(context.Background(), to(0, v), nil)
		return nil
	}
}

func TestTransactionIsSeenWholeOrNotAtAll(t *testing.T) {
	p, k, store := transactional(t, 2, producer.Config{})
	for i := range 4 {
		err := p.Transact(t.Context(), func(tx *producer.Tx) error {
			for n := range int32(2) {
				r, err := tx.Send(t.Context(), to(n, fmt.Sprint("a", i)))
				require.NoError(t, err)
				require.GreaterOrEqual(t, r.Offset, partition.Offset(0))
				tx.SendAsync(t.Context(), to(n, fmt.Sprint("b", i)), nil)
			}
			if i%2 == 1 {
				return errStop
			}
			return nil
		})
		if i%2 == 0 {
			require.NoError(t, err)
			continue
		}
		aborted, ok := errors.AsType[*producer.AbortedError](err)
		require.True(t, ok)
		require.ErrorIs(t, err, errStop)
		require.NoError(t, aborted.Pending)
	}
	for n := range 2 {
		require.Equal(t, []string{"a0", "b0", "a2", "b2"}, committed(t, store, n))
	}
	require.Len(t, k.asked(), 4)
	st := p.Stats().Transactions
	require.EqualValues(t, 2, st.Committed)
	require.EqualValues(t, 2, st.Aborted)
	require.Zero(t, st.Unknown)
}

func TestPanicAbortsAndGoesOn(t *testing.T) {
	p, k, store := transactional(t, 1, producer.Config{})
	require.PanicsWithValue(t, "boom", func() {
		_ = p.Transact(t.Context(), func(tx *producer.Tx) error {
			_, err := tx.Send(t.Context(), to(0, "lost"))
			require.NoError(t, err)
			panic("boom")
		})
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = p.Transact(t.Context(), func(tx *producer.Tx) error {
			_, _ = tx.Send(t.Context(), to(0, "lost too"))
			runtime.Goexit()
			return nil
		})
	})
	wg.Wait()
	require.NoError(t, p.Transact(t.Context(), send("kept")))
	require.Equal(t, []string{"kept"}, committed(t, store, 0))
	require.Equal(t, []bool{false, false, true}, commits(k))
}

func commits(k *coordinator) (all []bool) {
	for _, e := range k.asked() {
		all = append(all, e.commit)
	}
	return all
}

func TestRecordThatCannotBeSentMakesTheCommitAnAbort(t *testing.T) {
	full := errors.New("first")
	for name, break1 := range map[string]func(k *coordinator, tx *producer.Tx) error{
		"refused by the store": func(k *coordinator, tx *producer.Tx) error {
			k.before = func(int, partition.AppendRequest) error { return fmt.Errorf("%w: %w", full, partition.ErrNoSpace) }
			tx.SendAsync(t.Context(), to(0, "x"), nil)
			return full
		},
		"too large": func(_ *coordinator, tx *producer.Tx) error {
			tx.SendAsync(t.Context(), to(0, strings.Repeat("x", 2<<20)), nil)
			return partition.ErrMessageTooLarge
		},
		"unknown topic": func(_ *coordinator, tx *producer.Tx) error {
			_, err := tx.Send(t.Context(), producer.Record{Topic: "nowhere"})
			require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
			return partition.ErrUnknownTopicOrPartition
		},
		"not accepted in time": func(_ *coordinator, tx *producer.Tx) error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			tx.SendAsync(ctx, to(0, "x"), nil)
			return context.Canceled
		},
		"no such encoding": func(_ *coordinator, tx *producer.Tx) error {
			view := producer.For(nil, "t", producer.String, func(dst []byte, _ int, _ *producer.Envelope) ([]byte, error) { return dst, full })
			view.In(tx).SendAsync(t.Context(), "k", 1, nil)
			return full
		},
		"offsets that the source does not tell": func(_ *coordinator, tx *producer.Tx) error {
			require.ErrorIs(t, tx.CommitOffsets(&source{err: full}), full)
			return full
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, k, store := transactional(t, 1, producer.Config{})
			var want error
			err := p.Transact(t.Context(), func(tx *producer.Tx) error {
				_, err := tx.Send(t.Context(), to(0, "before"))
				require.NoError(t, err)
				want = break1(k, tx)
				require.NoError(t, p.Flush(t.Context()))
				k.before = nil
				_, err = tx.Send(t.Context(), to(0, "after"))
				require.ErrorIs(t, err, partition.ErrTransactionAbortable)
				require.ErrorIs(t, err, want)
				return nil
			})
			_, aborted := errors.AsType[*producer.AbortedError](err)
			require.True(t, aborted, err)
			require.ErrorIs(t, err, want)
			require.Equal(t, []bool{false}, commits(k))
			require.NoError(t, p.Transact(t.Context(), send("next")))
			require.Equal(t, []string{"next"}, committed(t, store, 0))
		})
	}
}

func TestEncoderThatFailsInSendLeavesTheTransactionAsItIs(t *testing.T) {
	p, _, store := transactional(t, 1, producer.Config{})
	numbers := producer.For(p, "t", producer.Null[int], func(dst []byte, v int, _ *producer.Envelope) ([]byte, error) {
		if v < 0 {
			return dst, errStop
		}
		return fmt.Append(dst, v), nil
	})
	require.NoError(t, p.Transact(t.Context(), func(tx *producer.Tx) error {
		_, err := numbers.In(tx).Send(t.Context(), 0, -1)
		require.ErrorIs(t, err, errStop)
		_, err = numbers.In(tx).Send(t.Context(), 0, 5)
		return err
	}))
	require.Equal(t, []string{"5"}, committed(t, store, 0))
}

func TestScopesAreUsedRightOrRefused(t *testing.T) {
	p, k, store := transactional(t, 1, producer.Config{})
	view := producer.For(p, "t", producer.String, producer.String)
	_, err := p.Send(t.Context(), value("outside"))
	require.ErrorIs(t, err, producer.ErrNoTransaction)
	var got producer.Result
	p.SendAsync(t.Context(), value("outside"), func(r producer.Result) { got = r })
	require.ErrorIs(t, got.Err, producer.ErrNoTransaction)
	require.ErrorIs(t, p.Forward(t.Context(), "t", nil, nil, nil), producer.ErrNoTransaction)
	_, err = view.Send(t.Context(), "k", "outside")
	require.ErrorIs(t, err, producer.ErrNoTransaction)

	var kept *producer.Tx
	require.NoError(t, p.Transact(t.Context(), func(tx *producer.Tx) error {
		kept = tx
		nested := p.Transact(t.Context(), func(*producer.Tx) error { panic("called") })
		require.ErrorIs(t, nested, producer.ErrTransactionInProgress)
		_, aborted := errors.AsType[*producer.AbortedError](nested)
		require.False(t, aborted, "nothing has happened to the transaction")
		_, err := p.Send(t.Context(), value("beside"))
		require.ErrorIs(t, err, producer.ErrNoTransaction)
		_, err = view.In(tx).Send(t.Context(), "k", "within")
		return err
	}))
	_, err = kept.Send(t.Context(), value("late"))
	require.ErrorIs(t, err, producer.ErrTransactionEnded)
	kept.SendAsync(t.Context(), value("late"), func(r producer.Result) { got = r })
	require.ErrorIs(t, got.Err, producer.ErrTransactionEnded)
	require.ErrorIs(t, kept.Forward(t.Context(), "t", nil, nil, nil), producer.ErrTransactionEnded)
	require.ErrorIs(t, kept.CommitOffsets(&source{}), producer.ErrTransactionEnded)
	require.ErrorIs(t, kept.CommitGroupOffsets(t.Context(), nil, membership, nil), producer.ErrTransactionEnded)
	_, err = view.In(kept).Send(t.Context(), "k", "late")
	require.ErrorIs(t, err, producer.ErrTransactionEnded)

	require.NoError(t, p.Transact(t.Context(), func(tx *producer.Tx) error {
		_, err := kept.Send(t.Context(), value("of another scope"))
		require.ErrorIs(t, err, producer.ErrTransactionEnded)
		_, err = tx.Send(t.Context(), value("2"))
		return err
	}))
	require.Equal(t, []string{"within", "2"}, committed(t, store, 0))
	require.Len(t, k.asked(), 2)

	plain, err := producer.New(store, producer.Config{})
	require.NoError(t, err)
	defer plain.Close()
	require.ErrorIs(t, plain.Transact(t.Context(), send("x")), producer.ErrNotTransactional)
}

func TestConcurrentTransactIsRefusedAndConcurrentSendsAreNot(t *testing.T) {
	p, _, store := transactional(t, 4, producer.Config{})
	inside, refused := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		<-inside
		require.ErrorIs(t, p.Transact(t.Context(), send("x")), producer.ErrTransactionInProgress)
		close(refused)
	})
	require.NoError(t, p.Transact(t.Context(), func(tx *producer.Tx) error {
		close(inside)
		<-refused
		var senders sync.WaitGroup
		for n := range int32(4) {
			senders.Go(func() {
				for i := range 100 {
					if i%10 == 0 {
						_, err := tx.Send(t.Context(), to(n, fmt.Sprint(i)))
						require.NoError(t, err)
					} else {
						tx.SendAsync(t.Context(), to(n, fmt.Sprint(i)), nil)
					}
				}
			})
		}
		senders.Wait()
		return nil
	}))
	wg.Wait()
	for n := range 4 {
		require.Len(t, committed(t, store, n), 100)
	}
}

// A goroutine that goes on sending when the function has returned is told so, and its record is in no transaction.
func TestSenderThatOutlivesTheScopeIsRefusedOrWhollyPartOfIt(t *testing.T) {
	p, _, store := transactional(t, 1, producer.Config{})
	accepted := 0
	for range 50 {
		var wg sync.WaitGroup
		require.NoError(t, p.Transact(t.Context(), func(tx *producer.Tx) error {
			wg.Go(func() {
				for {
					_, err := tx.Send(t.Context(), to(0, "x"))
					if err != nil {
						require.ErrorIs(t, err, producer.ErrTransactionEnded)
						return
					}
					accepted++
				}
			})
			runtime.Gosched()
			return nil
		}))
		wg.Wait()
	}
	require.Len(t, committed(t, store, 0), accepted)
}

func TestCallbacksRunBeforeTheCommitAndMaySendWhileTheScopeIsOpen(t *testing.T) {
	p, k, store := transactional(t, 1, producer.Config{})
	ran := 0
	k.beforeEnd = func(int, bool) error {
		require.Equal(t, 2, ran)
		return nil
	}
	require.NoError(t, p.Transact(t.Context(), func(tx *producer.Tx) error {
		sent := make(chan struct{})
		tx.SendAsync(t.Context(), to(0, "first"), func(producer.Result) {
			ran++
			tx.SendAsync(t.Context(), to(0, "second"), func(producer.Result) { ran++ })
			close(sent)
		})
		<-sent
		return nil
	}))
	require.Equal(t, []string{"first", "second"}, committed(t, store, 0))
}

func TestEmptyScopeAsksNobody(t *testing.T) {
	p, k, _ := transactional(t, 1, producer.Config{})
	require.NoError(t, p.Transact(t.Context(), func(*producer.Tx) error { return nil }))
	require.ErrorIs(t, p.Transact(t.Context(), func(*producer.Tx) error { return errStop }), errStop)
	require.Empty(t, k.asked())
}

// KIP-890: each transaction has an epoch of its own, the one that the end of the transaction before gave, and sequences
// begin at 0 in every partition.
func TestEachTransactionHasItsEpochAndSequencesFromZero(t *testing.T) {
	p, k, _ := transactional(t, 2, producer.Config{})
	for i := range 3 {
		err := p.Transact(t.Context(), func(tx *producer.Tx) error {
			for n := range int32(2) {
				for range 2 {
					_, err := tx.Send(t.Context(), to(n, "x"))
					require.NoError(t, err)
				}
			}
			if i == 1 {
				return errStop
			}
			return nil
		})
		require.Equal(t, i == 1, err != nil)
	}
	all := k.seen()
	require.Len(t, all, 12)
	for i, a := range all {
		require.EqualValues(t, i%2, a.seq)
		require.Equal(t, all[0].id.ID, a.id.ID)
		require.Equal(t, all[0].id.Epoch+int16(i/4), a.id.Epoch)
		require.Equal(t, partition.AcksLeader, a.acks, "the commit makes it durable")
	}
	require.Equal(t, []partition.ProducerID{partition.NoProducerID}, k.initialized())
}

// A partition that had no part in the transaction says that the epoch is old; the abort says that this is for good.
func TestSendOfAFencedInstanceIsFinal(t *testing.T) {
	p, _, store := transactional(t, 2, producer.Config{})
	err := p.Transact(t.Context(), func(tx *producer.Tx) error {
		_, err := tx.Send(t.Context(), to(0, "half done"))
		require.NoError(t, err)
		younger, err := producer.New(store, producer.Config{TransactionalID: "tx"})
		require.NoError(t, err)
		defer younger.Close()
		_, err = tx.Send(t.Context(), to(1, "too late"))
		require.ErrorIs(t, err, partition.ErrInvalidProducerEpoch)
		return err
	})
	_, aborted := errors.AsType[*producer.AbortedError](err)
	require.True(t, aborted, err)
	require.ErrorIs(t, err, producer.ErrProducerFenced)
	require.ErrorContains(t, err, "the producer cannot go on")
	require.ErrorIs(t, p.Transact(t.Context(), send("x")), producer.ErrProducerFenced)
	require.Empty(t, committed(t, store, 0))
	require.Empty(t, committed(t, store, 1))
}

func TestNewFencesTheOlderInstance(t *testing.T) {
	p, _, store := transactional(t, 1, producer.Config{})
	require.NoError(t, p.Transact(t.Context(), send("of the older")))
	var younger *producer.Producer
	src := &source{}
	err := p.TransactFrom(t.Context(), src, func(tx *producer.Tx) error {
		_, err := tx.Send(t.Context(), to(0, "half done"))
		require.NoError(t, err)
		younger, err = producer.New(store, producer.Config{TransactionalID: "tx"})
		require.NoError(t, err)
		return nil
	})
	require.ErrorIs(t, err, producer.ErrProducerFenced)
	_, aborted := errors.AsType[*producer.AbortedError](err)
	require.True(t, aborted, err)
	require.Equal(t, []bool{false}, src.outcomes())
	defer younger.Close()
	require.NoError(t, younger.Transact(t.Context(), send("of the younger")))
	for range 2 {
		called := false
		err = p.Transact(t.Context(), func(*producer.Tx) error { called = true; return nil })
		require.ErrorIs(t, err, producer.ErrProducerFenced)
		require.False(t, called)
	}
	require.NoError(t, younger.Transact(t.Context(), send("again")))
	require.Equal(t, []string{"of the older", "of the younger", "again"}, committed(t, store, 0))
}

func TestTransactionalConfigIsChecked(t *testing.T) {
	store := memory(t)
	_, err := producer.New(store, producer.Config{TransactionalID: "tx", DisableIdempotence: true})
	require.ErrorIs(t, err, partition.ErrInvalidConfig)
	_, err = producer.New(store, producer.Config{TransactionalID: "tx", TransactionTimeout: -time.Second})
	require.ErrorIs(t, err, partition.ErrInvalidConfig)
	_, err = producer.New(store, producer.Config{TransactionalID: "tx", TransactionTimeout: time.Hour})
	require.ErrorIs(t, err, partition.ErrInvalidTransactionTimeout)
	require.ErrorContains(t, err, "1h0m0s; want 1ms to 15m0s")
	p, err := producer.New(store, producer.Config{TransactionalID: "tx", Acks: partition.AcksNone})
	require.NoError(t, err, "acks are not looked at")
	require.NoError(t, p.Close())
	require.ErrorIs(t, p.Transact(t.Context(), send("x")), producer.ErrClosed)
}
