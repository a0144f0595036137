package partition

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
)

func TestListTransactionsFilters(t *testing.T) {
	now := clock.NewManual(time.UnixMilli(1_700_000_000_000))
	s := openTxnStore(t, vfs.NewMem(), Config{Clock: now}, "t")
	defer s.Close()
	a, b := newTxnClient(t, s, "orders-1"), newTxnClient(t, s, "orders-2")
	newTxnClient(t, s, "billing")
	a.send(t0, "1")
	now.Advance(9 * time.Second)
	b.send(t0, "1")
	now.Advance(500 * time.Millisecond)
	for name, c := range map[string]struct {
		f    TransactionFilter
		want []string
	}{
		"all":             {TransactionFilter{}, []string{"billing", "orders-1", "orders-2"}},
		"state":           {TransactionFilter{States: []TransactionState{TransactionOngoing}}, []string{"orders-1", "orders-2"}},
		"states":          {TransactionFilter{States: []TransactionState{TransactionEmpty, TransactionDead}}, []string{"billing"}},
		"producer":        {TransactionFilter{ProducerIDs: []int64{b.pid.ID, 99}}, []string{"orders-2"}},
		"older":           {TransactionFilter{OlderThan: 5 * time.Second}, []string{"orders-1"}},
		"pattern":         {TransactionFilter{Pattern: "orders-.*"}, []string{"orders-1", "orders-2"}},
		"whole pattern":   {TransactionFilter{Pattern: "orders"}, nil},
		"all must hold":   {TransactionFilter{Pattern: ".*-1", ProducerIDs: []int64{b.pid.ID}}, nil},
		"either of a set": {TransactionFilter{Pattern: "billing|orders-1"}, []string{"billing", "orders-1"}},
	} {
		list, err := s.ListTransactions(t.Context(), c.f)
		require.NoError(t, err, name)
		var got []string
		for _, x := range list {
			got = append(got, x.TransactionalID)
		}
		require.Equal(t, c.want, got, name)
	}
	_, err := s.ListTransactions(t.Context(), TransactionFilter{Pattern: "("})
	require.ErrorIs(t, err, ErrInvalidConfig)
	_, err = s.ListTransactions(t.Context(), TransactionFilter{States: []TransactionState{"Open"}})
	require.ErrorIs(t, err, ErrInvalidConfig)
}

func TestDescribeTransactionsAndProducers(t *testing.T) {
	now := clock.NewManual(time.UnixMilli(1_700_000_000_000))
	s := openTxnStore(t, vfs.NewMem(), Config{Clock: now}, "t", "u")
	defer s.Close()
	a := newTxnClient(t, s, "a")
	a.send(u0, "1")
	a.send(t1, "1", "2", "3")
	ds, err := s.DescribeTransactions(t.Context(), []string{"nobody", "a"})
	require.NoError(t, err)
	require.ErrorIs(t, ds[0].Err, ErrTransactionalIDNotFound)
	require.Equal(t, TransactionDescription{
		TransactionListing: TransactionListing{"a", a.pid, TransactionOngoing},
		Timeout:            time.Minute, Start: now.Now(), Partitions: []TopicPartition{t1, u0},
	}, ds[1])
	ps, err := s.DescribeProducers(t.Context(), t1)
	require.NoError(t, err)
	require.Equal(t, []ProducerState{{Producer: a.pid, LastSequence: 2, LastTimestamp: now.Now(), CoordinatorEpoch: -1, TxnStart: 0}}, ps)
	a.end(true)
	settled(t, s)
	ps, err = s.DescribeProducers(t.Context(), t1)
	require.NoError(t, err)
	require.Len(t, ps, 1)
	require.EqualValues(t, -1, ps[0].TxnStart)
	require.EqualValues(t, 0, ps[0].CoordinatorEpoch)
	require.Equal(t, a.pid, ps[0].Producer)
	_, err = s.DescribeProducers(t.Context(), TopicPartition{"x", 0})
	require.ErrorIs(t, err, ErrUnknownTopicOrPartition)
}

func TestAbortTransactionEndsItAndFencesItsProducer(t *testing.T) {
	s := openTxnStore(t, vfs.NewMem(), Config{}, "t")
	defer s.Close()
	require.ErrorIs(t, s.AbortTransaction(t.Context(), "a"), ErrTransactionalIDNotFound)
	a := newTxnClient(t, s, "a")
	require.ErrorIs(t, s.AbortTransaction(t.Context(), "a"), ErrInvalidTxnState)
	a.send(t0, "1")
	require.NoError(t, s.AbortTransaction(t.Context(), "a"))
	requireCommitted(t, s, t0)
	require.ErrorIs(t, a.trySend(t1, "2"), ErrInvalidProducerEpoch)
	require.ErrorIs(t, a.trySend(t0, "2"), ErrInvalidProducerEpoch)
	require.ErrorIs(t, a.tryEnd(true), ErrProducerFenced)
	require.ErrorIs(t, a.tryEnd(false), ErrProducerFenced)
	require.ErrorIs(t, s.AbortTransaction(t.Context(), "a"), ErrInvalidTxnState)
	require.EqualValues(t, 1, s.Stats().Transactions.ByAdmin)
}

// A transaction that is open in a partition and known to nobody, as older brokers could leave them.
func TestAbortHangingFreesThePartition(t *testing.T) {
	s := openTxnStore(t, vfs.NewMem(), Config{}, "t")
	defer s.Close()
	p, err := s.part(t0, TopicID{})
	require.NoError(t, err)
	l, err := p.open()
	require.NoError(t, err)
	guard, _, err := l.TxnGuard(4242, 7, 0)
	require.NoError(t, err)
	var w batch.Builder
	w.Reset(nil, batch.Options{Transactional: true, ProducerID: 4242, Epoch: 7})
	w.Append(time.Now().UnixMilli(), nil, []byte("hangs"), nil)
	b, err := w.Finish()
	require.NoError(t, err)
	_, err = l.Append(b, logAppend(guard))
	require.NoError(t, err)
	a := newTxnClient(t, s, "a")
	a.send(t0, "1")
	a.end(true)
	settled(t, s)
	values, _ := committed(t, s, t0)
	require.Empty(t, values)

	ps, err := s.DescribeProducers(t.Context(), t0)
	require.NoError(t, err)
	require.Len(t, ps, 2)
	require.EqualValues(t, 4242, ps[1].Producer.ID)
	require.ErrorIs(t, s.AbortHanging(t.Context(), t0, ps[0]), ErrInvalidTxnState, "has nothing open")
	require.ErrorIs(t, s.AbortHanging(t.Context(), t1, ps[1]), ErrInvalidTxnState, "not here")
	require.NoError(t, s.AbortHanging(t.Context(), t0, ps[1]))
	requireCommitted(t, s, t0, "1")
	require.ErrorIs(t, s.AbortHanging(t.Context(), t0, ps[1]), ErrInvalidTxnState, "not any more")

	a.send(t0, "2")
	ps, err = s.DescribeProducers(t.Context(), t0)
	require.NoError(t, err)
	require.ErrorIs(t, s.AbortHanging(t.Context(), t0, ps[0]), ErrInvalidTxnState, "the coordinator knows it")
	a.end(true)
}

func TestInternalTopicsDoNotGrow(t *testing.T) {
	s := openTxnStore(t, vfs.NewMem(), Config{}, "t")
	defer s.Close()
	newTxnClient(t, s, "a")
	require.ErrorIs(t, s.CreatePartitions(t.Context(), "__transaction_state", 60), ErrInvalidTopic)
}
