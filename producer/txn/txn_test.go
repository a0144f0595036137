package txn_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/partlog/partlog/producer"
	"github.com/partlog/partlog/producer/txn"
)

// open returns a store on the disk with the topic "t" of two partitions.
func open(t *testing.T, disk *partitiontest.Disk) *partition.Store {
	t.Helper()
	store, err := partition.Open("store", partition.Config{FS: disk})
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	_, err = store.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 2})
	require.NoError(t, err)
	return store
}

// within runs f while the transactional id has a transaction open in partition 1 of "t", and returns what became of it.
func within(t *testing.T, store *partition.Store, id string, f func(p *producer.Producer)) error {
	t.Helper()
	p, err := producer.New(store, producer.Config{TransactionalID: id})
	require.NoError(t, err)
	defer p.Close()
	return p.Transact(t.Context(), func(tx *producer.Tx) error {
		_, err := tx.Send(t.Context(), producer.Record{Topic: "t", Partition: producer.To(1), Value: []byte("x")})
		require.NoError(t, err)
		f(p)
		return nil
	})
}

func TestOpenTransactionIsListedDescribedAndAborted(t *testing.T) {
	ctx := t.Context()
	store := open(t, partitiontest.NewDisk())
	require.NoError(t, within(t, store, "billing-1", func(*producer.Producer) {}))
	for prepared := []txn.Listing{{}}; len(prepared) > 0; { // until its markers are written
		var err error
		prepared, err = txn.List(ctx, store, txn.Filter{States: []txn.State{txn.PrepareCommit}})
		require.NoError(t, err)
	}
	err := within(t, store, "billing-2", func(*producer.Producer) {
		all, err := txn.List(ctx, store, txn.Filter{Pattern: "billing-.*"})
		require.NoError(t, err)
		require.Len(t, all, 2)
		ongoing, err := txn.List(ctx, store, txn.Filter{States: []txn.State{txn.Ongoing}})
		require.NoError(t, err)
		require.Equal(t, all[1:], ongoing)
		require.Equal(t, "billing-2", ongoing[0].TransactionalID)

		d, err := txn.Describe(ctx, store, "billing-2")
		require.NoError(t, err)
		require.Equal(t, []partition.TopicPartition{{Topic: "t", Partition: 1}}, d.Partitions)
		require.Equal(t, time.Minute, d.Timeout)
		require.False(t, d.Start.IsZero())

		producers, err := txn.Producers(ctx, store, partition.TopicPartition{Topic: "t", Partition: 1})
		require.NoError(t, err)
		require.Len(t, producers, 2)
		require.Equal(t, d.Producer, producers[1].Producer)
		require.GreaterOrEqual(t, producers[1].TxnStart, partition.Offset(0))
		require.Less(t, producers[0].TxnStart, partition.Offset(0))

		require.NoError(t, txn.Abort(ctx, store, "billing-2"))
		require.ErrorIs(t, txn.Abort(ctx, store, "billing-2"), partition.ErrInvalidTxnState)
	})
	require.ErrorIs(t, err, producer.ErrProducerFenced)
	end, err := store.ListOffsets(ctx, partition.TopicPartition{Topic: "t", Partition: 1}, partition.TimestampLastStable)
	require.NoError(t, err)
	require.EqualValues(t, 4, end, "nobody waits any more: two records and two markers")
}

func TestUnknownIdsAndBadFiltersAreTold(t *testing.T) {
	ctx := t.Context()
	store := open(t, partitiontest.NewDisk())
	_, err := txn.Describe(ctx, store, "nobody")
	require.ErrorIs(t, err, partition.ErrTransactionalIDNotFound)
	require.ErrorIs(t, txn.Abort(ctx, store, "nobody"), partition.ErrTransactionalIDNotFound)
	_, err = txn.List(ctx, store, txn.Filter{Pattern: "("})
	require.ErrorIs(t, err, partition.ErrInvalidConfig)
	all, err := txn.List(ctx, store, txn.Filter{})
	require.NoError(t, err)
	require.Empty(t, all)
	nowhere := partition.TopicPartition{Topic: "nowhere"}
	_, err = txn.Producers(ctx, store, nowhere)
	require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
	_, err = txn.FindHanging(ctx, store, txn.Search{Topics: []string{"nowhere"}})
	require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
	_, err = txn.FindHanging(ctx, store, txn.Search{Partitions: []partition.TopicPartition{nowhere}})
	require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
	require.ErrorIs(t, txn.AbortHanging(ctx, store, partition.TopicPartition{Topic: "t"}, 5), partition.ErrInvalidTxnState)
}

// older is a store with a partition that a broker without verification (KIP-890) has left a transaction open in.
type older struct {
	*partition.Store
	tp      partition.TopicPartition
	hanging partition.ProducerState
	aborted int
}

func (o *older) DescribeProducers(ctx context.Context, tp partition.TopicPartition) ([]partition.ProducerState, error) {
	all, err := o.Store.DescribeProducers(ctx, tp)
	if err == nil && tp == o.tp && o.aborted == 0 {
		all = append(all, o.hanging)
	}
	return all, err
}

func (o *older) AbortHanging(_ context.Context, tp partition.TopicPartition, p partition.ProducerState) error {
	if tp != o.tp || p != o.hanging {
		return partition.ErrInvalidTxnState
	}
	o.aborted++
	return nil
}

// A transaction hangs if no coordinator knows its producer, or that the producer writes to that partition. One that a
// coordinator will end does not.
func TestHangingTransactionIsFoundAndAborted(t *testing.T) {
	ctx := t.Context()
	store := open(t, partitiontest.NewDisk())
	tp := partition.TopicPartition{Topic: "t", Partition: 0}
	now := time.Now()
	soon, late := partitiontest.NewClock(now.Add(time.Minute)), partitiontest.NewClock(now.Add(time.Hour))
	err := within(t, store, "known", func(*producer.Producer) {
		known, err := txn.Describe(ctx, store, "known")
		require.NoError(t, err)
		for name, id := range map[string]int64{"of an unknown producer": 4242, "of a producer that writes elsewhere": known.Producer.ID} {
			b := &older{Store: store, tp: tp, hanging: partition.ProducerState{
				Producer: partition.ProducerID{ID: id, Epoch: 7}, LastTimestamp: now, CoordinatorEpoch: -1, TxnStart: 3,
			}}
			want := []txn.Hanging{{TopicPartition: tp, Producer: b.hanging}}
			for _, s := range []txn.Search{
				{Clock: late}, {Clock: late, Topics: []string{"t"}}, {Clock: late, Partitions: []partition.TopicPartition{tp}},
				{Clock: soon, OlderThan: time.Second},
			} {
				hanging, err := txn.FindHanging(ctx, b, s)
				require.NoError(t, err, name)
				require.Equal(t, want, hanging, name)
			}
			for _, s := range []txn.Search{
				{Clock: soon}, {Clock: late, OlderThan: 2 * time.Hour}, {Clock: late, Partitions: []partition.TopicPartition{{Topic: "t", Partition: 1}}},
			} {
				hanging, err := txn.FindHanging(ctx, b, s)
				require.NoError(t, err, name)
				require.Empty(t, hanging, name)
			}
			require.ErrorIs(t, txn.AbortHanging(ctx, b, tp, 1), partition.ErrInvalidTxnState)
			require.NoError(t, txn.AbortHanging(ctx, b, tp, id))
			require.Equal(t, 1, b.aborted)
			require.ErrorIs(t, txn.AbortHanging(ctx, b, tp, id), partition.ErrInvalidTxnState)
		}
		require.ErrorIs(t, txn.AbortHanging(ctx, store, partition.TopicPartition{Topic: "t", Partition: 1}, known.Producer.ID),
			partition.ErrInvalidTxnState, "its coordinator knows it")
	})
	require.NoError(t, err)
}

var _ txn.Backend = (*partition.Store)(nil)
