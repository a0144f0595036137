package txn_test

import (
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

// The files of a partition whose coordinator is lost have a transaction that nobody will end.
func TestHangingTransactionIsFoundAndAborted(t *testing.T) {
	ctx := t.Context()
	disk := partitiontest.NewDisk()
	store := open(t, disk)
	var after *partitiontest.Disk
	require.NoError(t, within(t, store, "lost", func(*producer.Producer) {
		after = disk.Kill()
		hanging, err := txn.FindHanging(ctx, store, txn.Search{OlderThan: 1, Clock: later()})
		require.NoError(t, err)
		require.Empty(t, hanging, "its coordinator knows it")
		require.Error(t, txn.AbortHanging(ctx, store, partition.TopicPartition{Topic: "t", Partition: 1}, 0))
	}))

	other, err := partition.Open("other", partition.Config{FS: after})
	require.NoError(t, err)
	defer other.Close()
	_, err = other.Import(ctx, "store/data", partition.ImportOptions{})
	require.NoError(t, err)
	tp := partition.TopicPartition{Topic: "t", Partition: 1}
	stable := func() partition.Offset {
		o, err := other.ListOffsets(ctx, tp, partition.TimestampLastStable)
		require.NoError(t, err)
		return o
	}
	require.Zero(t, stable())
	for name, s := range map[string]txn.Search{
		"everywhere":       {Clock: later()},
		"in its topic":     {Topics: []string{"t"}, Clock: later()},
		"in its partition": {Partitions: []partition.TopicPartition{tp}, Clock: later()},
	} {
		hanging, err := txn.FindHanging(ctx, other, s)
		require.NoError(t, err, name)
		require.Len(t, hanging, 1, name)
		require.Equal(t, tp, hanging[0].TopicPartition)
		require.Zero(t, hanging[0].Producer.TxnStart)
	}
	none, err := txn.FindHanging(ctx, other, txn.Search{})
	require.NoError(t, err)
	require.Empty(t, none, "it is too young")
	none, err = txn.FindHanging(ctx, other, txn.Search{Partitions: []partition.TopicPartition{{Topic: "t"}}, Clock: later()})
	require.NoError(t, err)
	require.Empty(t, none)

	found, err := txn.FindHanging(ctx, other, txn.Search{Clock: later()})
	require.NoError(t, err)
	require.NoError(t, txn.AbortHanging(ctx, other, tp, found[0].Producer.Producer.ID))
	require.EqualValues(t, 2, stable(), "behind the record and its marker")
	found, err = txn.FindHanging(ctx, other, txn.Search{Clock: later()})
	require.NoError(t, err)
	require.Empty(t, found)
	require.ErrorIs(t, txn.AbortHanging(ctx, other, tp, 0), partition.ErrInvalidTxnState)
}

func later() partition.Clock { return partitiontest.NewClock(time.Now().Add(time.Hour)) }

var _ txn.Backend = (*partition.Store)(nil)
