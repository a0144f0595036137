package partition_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/txn"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/stretchr/testify/require"
)

// nodesTxn is a transactional producer of a cluster: it finds who coordinates and who leads, and tries again where that has changed.
type nodesTxn struct {
	t     testing.TB
	nodes *partitiontest.Nodes
	id    string
	p     partition.ProducerID
	seq   map[partition.TopicPartition]int32
}

var ordersTP = [2]partition.TopicPartition{{Topic: "orders", Partition: 0}, {Topic: "orders", Partition: 1}}

// newNodes starts three nodes with a topic of two partitions, the second led by node 1.
func newNodes(t testing.TB) *partitiontest.Nodes {
	nodes := partitiontest.StartNodes(t, 3, partition.Config{Sync: partition.SyncNever})
	_, err := nodes.Store(0).CreateTopic(t.Context(), "orders", partition.TopicConfig{Partitions: 2})
	require.NoError(t, err)
	nodes.Lead(t, ordersTP[1], 1)
	require.NoError(t, nodes.Store(0).EnsureInternalTopic(t.Context(), txn.Topic))
	return nodes
}

func newNodesTxn(t testing.TB, nodes *partitiontest.Nodes, id string) *nodesTxn {
	x := &nodesTxn{t: t, nodes: nodes, id: id}
	require.NoError(t, x.init())
	return x
}

// again repeats f as long as it is for another node.
func again(f func() error) error {
	for {
		err := f()
		if !errors.Is(err, partition.ErrNotLeaderOrFollower) && !errors.Is(err, partition.ErrTimeout) {
			return err
		}
		runtime.Gosched()
	}
}

func (x *nodesTxn) coordinator() *partition.Store {
	id, _ := x.nodes.Coordinator(x.id)
	return x.nodes.Store(id)
}

func (x *nodesTxn) init() error {
	x.seq = map[partition.TopicPartition]int32{}
	return again(func() (err error) {
		x.p, err = x.coordinator().InitProducerID(context.Background(), x.id, time.Minute, partition.NoProducerID)
		return err
	})
}

func (x *nodesTxn) send(tp partition.TopicPartition, value string) error {
	var w batch.Builder
	w.Reset(nil, batch.Options{Transactional: true, ProducerID: x.p.ID, Epoch: x.p.Epoch, BaseSequence: x.seq[tp]})
	w.Append(1, nil, []byte(value), nil)
	b, err := w.Finish()
	require.NoError(x.t, err)
	err = again(func() error {
		leader := x.nodes.Leader(tp)
		if leader < 0 {
			return partition.ErrNotLeaderOrFollower
		}
		_, err := x.nodes.Store(leader).Append(context.Background(), partition.AppendRequest{TopicPartition: tp, Batch: slices.Clone(b), Acks: partition.AcksLeader, TransactionalID: x.id})
		return err
	})
	if err == nil {
		x.seq[tp]++
	}
	return err
}

func (x *nodesTxn) end(commit bool) error {
	return again(func() error {
		next, err := x.coordinator().EndTxn(context.Background(), x.id, x.p, commit)
		if err == nil {
			x.p, x.seq = next, map[partition.TopicPartition]int32{}
		}
		return err
	})
}

// ended waits until the id's last transaction has all its markers.
func (x *nodesTxn) ended() {
	for {
		d, err := x.coordinator().DescribeTransactions(context.Background(), []string{x.id})
		if err == nil && d[0].State != partition.TransactionPrepareCommit && d[0].State != partition.TransactionPrepareAbort {
			return
		}
		require.True(x.t, err == nil || errors.Is(err, partition.ErrNotLeaderOrFollower), "%v", err)
		runtime.Gosched()
	}
}

// committed returns the values of ended and committed transactions of a partition, in order.
func committed(t testing.TB, nodes *partitiontest.Nodes, tp partition.TopicPartition) (values []string) {
	t.Helper()
	s := nodes.Store(nodes.Leader(tp))
	for offset := partition.Offset(0); ; {
		results, err := s.Fetch(context.Background(), partition.FetchRequest{Partitions: []partition.FetchPosition{{TopicPartition: tp, Offset: offset, LeaderEpoch: -1}}, ReadCommitted: true})
		require.NoError(t, err)
		require.NoError(t, results[0].Err)
		r := &results[0]
		if len(r.Batches) == 0 {
			require.Equal(t, r.HighWatermark, r.LastStable, "nothing is open")
			return values
		}
		skip := map[int64]bool{}
		for data := r.Batches; len(data) > 0; {
			b, err := batch.Peek(data)
			require.NoError(t, err)
			data = data[len(b):]
			for _, a := range r.Aborted {
				if int64(a.FirstOffset) >= b.BaseOffset() && int64(a.FirstOffset) < b.NextOffset() {
					skip[a.ProducerID] = true
				}
			}
			var it batch.Iterator
			for b.Iterate(&it, 1<<20); it.Next(); {
				if b.IsControl() {
					delete(skip, b.ProducerID())
				} else if !skip[b.ProducerID()] {
					values = append(values, string(it.Record().Value))
				}
			}
			require.NoError(t, it.Err())
			offset = partition.Offset(b.NextOffset())
		}
		r.Lease.Release()
	}
}

func TestTransactionOfAClusterIsWholeWhoeverLeads(t *testing.T) {
	nodes := newNodes(t)
	x := newNodesTxn(t, nodes, "tx")
	_, at := nodes.Coordinator("tx")
	nodes.Lead(t, at, 2)
	for i, commit := range []bool{true, false, true} {
		for _, tp := range ordersTP {
			require.NoError(t, x.send(tp, fmt.Sprint(i)))
		}
		require.NoError(t, x.end(commit))
	}
	x.ended()
	for _, tp := range ordersTP {
		require.Equal(t, []string{"0", "2"}, committed(t, nodes, tp))
	}
	st := nodes.Store(2).Stats().Transactions
	require.EqualValues(t, 2, st.Committed)
	require.EqualValues(t, 1, st.Aborted)
	require.Equal(t, 1, st.IDs)
}

// What is open goes on: its producer is somewhere else and knows nothing of it.
func TestOpenTransactionGoesOnWithTheNextCoordinator(t *testing.T) {
	nodes := newNodes(t)
	x := newNodesTxn(t, nodes, "tx")
	before := x.p
	require.NoError(t, x.send(ordersTP[0], "a"))
	_, at := nodes.Coordinator("tx")
	nodes.Lead(t, at, 1)
	require.NoError(t, x.send(ordersTP[1], "b"))
	nodes.Lead(t, at, 2)
	d, err := nodes.Store(2).DescribeTransactions(t.Context(), []string{"tx"})
	require.NoError(t, err)
	require.Equal(t, partition.TransactionOngoing, d[0].State)
	require.Equal(t, ordersTP[:], d[0].Partitions)
	require.NoError(t, x.end(true))
	require.Equal(t, partition.ProducerID{ID: before.ID, Epoch: before.Epoch + 1}, x.p)
	x.ended()
	require.Equal(t, []string{"a"}, committed(t, nodes, ordersTP[0]))
	require.Equal(t, []string{"b"}, committed(t, nodes, ordersTP[1]))
}

// What is decided happens, though the coordinator that decided it could write no marker.
func TestPreparedTransactionIsCompletedByTheNextCoordinator(t *testing.T) {
	nodes := newNodes(t)
	x := newNodesTxn(t, nodes, "tx")
	for _, tp := range ordersTP {
		require.NoError(t, x.send(tp, "a"))
	}
	nodes.Lead(t, ordersTP[1], -1)
	require.NoError(t, x.end(true))
	_, at := nodes.Coordinator("tx")
	nodes.Lead(t, at, 2)
	d, err := nodes.Store(2).DescribeTransactions(t.Context(), []string{"tx"})
	require.NoError(t, err)
	require.Equal(t, partition.TransactionPrepareCommit, d[0].State)
	nodes.Lead(t, ordersTP[1], 1)
	x.ended()
	for _, tp := range ordersTP {
		require.Equal(t, []string{"a"}, committed(t, nodes, tp))
	}
}

func TestTransactionalIDIsCoordinatedByOneNode(t *testing.T) {
	nodes := newNodes(t)
	x := newNodesTxn(t, nodes, "tx")
	_, at := nodes.Coordinator("tx")
	nodes.Lead(t, at, 2)
	s, ctx := nodes.Store(0), t.Context()
	_, err := s.InitProducerID(ctx, "tx", time.Minute, partition.NoProducerID)
	require.ErrorIs(t, err, partition.ErrNotLeaderOrFollower)
	require.ErrorIs(t, s.AddPartitionsToTxn(ctx, "tx", x.p, ordersTP[:]), partition.ErrNotLeaderOrFollower)
	_, err = s.PartitionsInTxn(ctx, "tx", x.p, ordersTP[:])
	require.ErrorIs(t, err, partition.ErrNotLeaderOrFollower)
	_, err = s.EndTxn(ctx, "tx", x.p, true)
	require.ErrorIs(t, err, partition.ErrNotLeaderOrFollower)
	require.True(t, partition.Retriable(err))
	require.ErrorIs(t, s.AbortTransaction(ctx, "tx"), partition.ErrNotLeaderOrFollower)
	_, err = s.DescribeTransactions(ctx, []string{"tx"})
	require.ErrorIs(t, err, partition.ErrNotLeaderOrFollower)
	list, err := s.ListTransactions(ctx, partition.TransactionFilter{})
	require.NoError(t, err)
	require.Empty(t, list)
	list, err = nodes.Store(2).ListTransactions(ctx, partition.TransactionFilter{})
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "tx", list[0].TransactionalID)
}

// A new instance waits for the end of what it fenced, which does not come here any more.
func TestRequestThatWaitsIsAnsweredWhenTheCoordinatorGoes(t *testing.T) {
	nodes := newNodes(t)
	x := newNodesTxn(t, nodes, "tx")
	require.NoError(t, x.send(ordersTP[1], "a"))
	nodes.Lead(t, ordersTP[1], -1)
	require.NoError(t, x.end(true))
	answer := make(chan error, 1)
	go func() {
		_, err := nodes.Store(0).InitProducerID(context.Background(), "tx", time.Minute, partition.NoProducerID)
		answer <- err
	}()
	_, at := nodes.Coordinator("tx")
	nodes.Lead(t, at, 1)
	require.ErrorIs(t, <-answer, partition.ErrNotLeaderOrFollower)
	nodes.Lead(t, ordersTP[1], 2)
	require.NoError(t, x.init())
	require.Equal(t, []string{"a"}, committed(t, nodes, ordersTP[1]))
}

// A hanging transaction, which no coordinator knows, is ended by hand at the leader of its partition.
func TestHangingTransactionOfAClusterIsAborted(t *testing.T) {
	nodes := newNodes(t)
	x := newNodesTxn(t, nodes, "tx")
	require.NoError(t, x.send(ordersTP[1], "a"))
	s := nodes.Store(1)
	producers, err := s.DescribeProducers(t.Context(), ordersTP[1])
	require.NoError(t, err)
	require.Len(t, producers, 1)
	require.NoError(t, s.AbortHanging(t.Context(), ordersTP[1], producers[0]))
	require.Empty(t, committed(t, nodes, ordersTP[1]))
	require.NoError(t, s.WriteTxnMarker(t.Context(), ordersTP[1], x.p, false, 0))
}

// Transactions go on while coordinators and leaders move: each is whole, in order, and there once.
func TestTransactionsAreWholeWhileEverythingMoves(t *testing.T) {
	nodes := newNodes(t)
	const producers, transactions = 2, 25
	var want [producers][]string
	var work sync.WaitGroup
	for i := range producers {
		x := newNodesTxn(t, nodes, fmt.Sprint("tx", i))
		work.Go(func() {
			for n := range transactions {
				value := fmt.Sprintf("%d-%d", i, n)
				for _, tp := range ordersTP {
					if err := x.send(tp, value); err != nil {
						t.Errorf("send %s: %v", value, err)
						return
					}
				}
				commit := n%3 != 2
				if err := x.end(commit); err != nil {
					t.Errorf("end %s: %v", value, err)
					return
				}
				if commit {
					want[i] = append(want[i], value)
				}
			}
			x.ended()
		})
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		r := rand.New(rand.NewPCG(1, 2))
		for {
			select {
			case <-stop:
				return
			default:
			}
			tp := ordersTP[r.IntN(2)]
			if r.IntN(2) == 0 {
				_, tp = nodes.Coordinator(fmt.Sprint("tx", r.IntN(producers)))
			}
			nodes.Lead(t, tp, int32(r.IntN(3)))
			for range r.IntN(200) {
				runtime.Gosched()
			}
		}
	}()
	work.Wait()
	close(stop)
	<-stopped
	for _, tp := range ordersTP {
		got := committed(t, nodes, tp)
		for i := range producers {
			var mine []string
			for _, v := range got {
				if v[0] == byte('0'+i) {
					mine = append(mine, v)
				}
			}
			require.Equal(t, want[i], mine, "%v", tp)
		}
	}
}
