package partition

import (
	"context"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
)

// txnV1Client is a producer before transaction.version 2, reduced to what it says to a store.
type txnV1Client struct{ *txnClient }

func newTxnV1Client(t testing.TB, s *Store, id string) txnV1Client {
	return txnV1Client{newTxnClient(t, s, id)}
}

func (c txnV1Client) tryAdd(tps ...TopicPartition) error {
	return c.s.AddPartitionsToTxnV1(context.Background(), c.id, c.pid, tps)
}

func (c txnV1Client) trySend(tp TopicPartition, values ...string) error {
	_, err := c.s.Append(context.Background(), AppendRequest{TopicPartition: tp, Batch: c.batch(tp, values...), Acks: AcksAll, TransactionalID: c.id, TxnAdded: true})
	if err == nil {
		c.seq[tp] += int32(len(values))
	}
	return err
}

func (c txnV1Client) tryEnd(commit bool) error {
	return c.s.EndTxnV1(context.Background(), c.id, c.pid, commit)
}

func TestTransactionsOfVersion1ShareAnEpochAndAddTheirPartitions(t *testing.T) {
	fs := vfs.NewMem()
	s := openTxnStore(t, fs, Config{}, "t")
	defer func() { s.Close() }()
	c := newTxnV1Client(t, s, "a")
	first := c.pid
	t0, t1 := TopicPartition{"t", 0}, TopicPartition{"t", 1}
	require.ErrorIs(t, c.tryEnd(true), ErrInvalidTxnState)
	require.ErrorIs(t, c.tryEnd(false), ErrInvalidTxnState)
	require.ErrorIs(t, c.trySend(t0, "not added"), ErrTransactionAbortable)
	require.NoError(t, c.tryAdd(t0))
	require.ErrorIs(t, c.trySend(t1, "another was"), ErrTransactionAbortable)
	require.NoError(t, c.trySend(t0, "1"))
	require.NoError(t, c.trySend(t0, "2"))
	require.NoError(t, c.tryEnd(true))
	require.NoError(t, c.tryEnd(true), "an answer may be lost")
	require.ErrorIs(t, c.tryEnd(false), ErrInvalidTxnState)
	require.ErrorIs(t, c.trySend(t0, "late"), ErrTransactionAbortable)

	require.NoError(t, c.tryAdd(t0, t1))
	require.NoError(t, c.trySend(t0, "3"))
	require.NoError(t, c.trySend(t1, "4"))
	require.NoError(t, c.tryEnd(false))
	require.NoError(t, c.tryAdd(t1))
	require.NoError(t, c.trySend(t1, "5"))
	require.NoError(t, c.tryEnd(true))
	settled(t, s)
	require.Equal(t, first, c.pid)
	require.NoError(t, s.Close())

	s = openTxnStore(t, fs, Config{})
	values, _ := committed(t, s, t0)
	require.Equal(t, []string{"1", "2"}, values)
	values, _ = committed(t, s, t1)
	require.Equal(t, []string{"5"}, values)
}

func TestTransactionOfVersion1ThatWasOpenAtACrashIsAbortedAndItsProducerFenced(t *testing.T) {
	fs := vfs.NewCrashMem(vfs.Ext4Like)
	s := openTxnStore(t, fs, Config{}, "t")
	defer s.Close()
	c := newTxnV1Client(t, s, "a")
	t0 := TopicPartition{"t", 0}
	require.NoError(t, c.tryAdd(t0))
	require.NoError(t, c.trySend(t0, "kept"))
	require.NoError(t, c.tryEnd(true))
	settled(t, s)
	require.NoError(t, c.tryAdd(t0))
	require.NoError(t, c.trySend(t0, "lost"))
	for seed := range uint64(20) {
		after := openTxnStore(t, fs.CrashClone(rand.New(rand.NewPCG(seed, 1))), Config{})
		settled(t, after)
		again := c
		again.txnClient = &txnClient{t: t, s: after, id: c.id, pid: c.pid, seq: maps.Clone(c.seq)}
		require.ErrorIs(t, again.tryEnd(true), ErrProducerFenced)
		require.ErrorIs(t, again.trySend(t0, "more"), ErrInvalidProducerEpoch)
		values, _ := committed(t, after, t0)
		require.Equal(t, []string{"kept"}, values)
		require.NoError(t, after.Close())
	}
}

func TestVersion1WaitsForTheEndOfItsTransactionBeforeTheNext(t *testing.T) {
	s := openTxnStore(t, vfs.NewMem(), Config{}, "t")
	defer s.Close()
	c := newTxnV1Client(t, s, "a")
	t0 := TopicPartition{"t", 0}
	for range 50 {
		require.NoError(t, c.tryAdd(t0))
		require.NoError(t, c.trySend(t0, "x"))
		require.NoError(t, c.tryEnd(true))
	}
	settled(t, s)
	values, _ := committed(t, s, t0)
	require.Len(t, values, 50)
}

func TestPartitionsInTxnTellsWithoutChanging(t *testing.T) {
	ctx := context.Background()
	s := openTxnStore(t, vfs.NewMem(), Config{}, "t")
	defer s.Close()
	c := newTxnV1Client(t, s, "a")
	all := []TopicPartition{{"t", 0}, {"t", 1}}
	in, err := s.PartitionsInTxn(ctx, "a", c.pid, all)
	require.NoError(t, err)
	require.Equal(t, []bool{false, false}, in)
	require.NoError(t, c.tryAdd(all[1]))
	in, err = s.PartitionsInTxn(ctx, "a", c.pid, all)
	require.NoError(t, err)
	require.Equal(t, []bool{false, true}, in)
	_, err = s.PartitionsInTxn(ctx, "b", c.pid, all)
	require.ErrorIs(t, err, ErrInvalidProducerIDMapping)
	_, err = s.PartitionsInTxn(ctx, "a", ProducerID{c.pid.ID, c.pid.Epoch + 1}, all)
	require.ErrorIs(t, err, ErrProducerFenced)
	require.NoError(t, c.tryEnd(false))
	settled(t, s)
	in, err = s.PartitionsInTxn(ctx, "a", c.pid, all)
	require.NoError(t, err)
	require.Equal(t, []bool{false, false}, in)
}

func TestOffsetsTopicIsThereWhenATransactionOfVersion1AddsIt(t *testing.T) {
	s := openTxnStore(t, vfs.NewMem(), Config{})
	defer s.Close()
	c := newTxnV1Client(t, s, "a")
	require.NoError(t, c.tryAdd(TopicPartition{offsetsTopic, 7}))
	require.NoError(t, c.tryEnd(true))
	require.ErrorIs(t, c.tryAdd(TopicPartition{"t", 0}), ErrUnknownTopicOrPartition)
}

func TestWriteTxnMarkerEndsAHangingTransaction(t *testing.T) {
	ctx := context.Background()
	s := openTxnStore(t, vfs.NewMem(), Config{}, "t")
	defer s.Close()
	c := newTxnClient(t, s, "a")
	t0 := TopicPartition{"t", 0}
	c.send(t0, "x")
	ps, err := s.DescribeProducers(ctx, t0)
	require.NoError(t, err)
	require.EqualValues(t, 0, ps[0].TxnStart)
	require.ErrorIs(t, s.WriteTxnMarker(ctx, t0, ProducerID{c.pid.ID, c.pid.Epoch - 1}, false, 0), ErrInvalidProducerEpoch)
	require.ErrorIs(t, s.WriteTxnMarker(ctx, TopicPartition{"t", 9}, c.pid, false, 0), ErrUnknownTopicOrPartition)
	require.NoError(t, s.WriteTxnMarker(ctx, t0, c.pid, false, 3))
	ps, err = s.DescribeProducers(ctx, t0)
	require.NoError(t, err)
	require.EqualValues(t, -1, ps[0].TxnStart)
	require.EqualValues(t, 3, ps[0].CoordinatorEpoch)
	require.ErrorIs(t, s.WriteTxnMarker(ctx, t0, c.pid, false, 2), ErrTransactionCoordinatorFenced)
	values, next := committed(t, s, t0)
	require.Empty(t, values)
	require.EqualValues(t, 2, next)
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.WriteTxnMarker(ctx, t0, c.pid, false, 3), ErrClosed)
}

func TestTransactionOfVersion1ThatTimesOutFencesItsProducer(t *testing.T) {
	fs := vfs.NewMem()
	clk := clock.NewManual(time.UnixMilli(1_700_000_000_000))
	s := openTxnStore(t, fs, Config{Clock: clk}, "t")
	defer s.Close()
	c := newTxnV1Client(t, s, "a")
	t0 := TopicPartition{"t", 0}
	require.NoError(t, c.tryAdd(t0))
	require.NoError(t, c.trySend(t0, "x"))
	clk.Advance(2 * time.Minute)
	settled(t, s)
	require.ErrorIs(t, c.tryEnd(true), ErrProducerFenced)
	values, _ := committed(t, s, t0)
	require.Empty(t, values)
}
