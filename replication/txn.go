package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/txn"
	"github.com/partlog/partlog/partition"
)

// Transactional ids are coordinated by the leader of a partition of __transaction_state; the operations below go there.

type initProducerID struct {
	TxnID   string
	Timeout time.Duration
	Last    partition.ProducerID
}

type endTxn struct {
	TxnID    string
	Producer partition.ProducerID
	Commit   bool
}

type txnPartitions struct {
	TxnID      string
	Producer   partition.ProducerID
	Partitions []partition.TopicPartition
	Version    int16
	VerifyOnly bool
}

type describedTransaction struct {
	Description partition.TransactionDescription
	Error       *wireError
}

var (
	opInitProducerID       = remote[initProducerID, partition.ProducerID]{"InitProducerID"}
	opEndTxn               = remote[endTxn, partition.ProducerID]{"EndTxn"}
	opEndTxnV1             = remote[endTxn, struct{}]{"EndTxnV1"}
	opTxnAdd               = remote[txnPartitions, struct{}]{"TxnAdd"}
	opPartitionsInTxn      = remote[txnPartitions, []bool]{"PartitionsInTxn"}
	opAbortTransaction     = remote[endTxn, struct{}]{"AbortTransaction"}
	opDescribeTransactions = remote[[]string, []describedTransaction]{"DescribeTransactions"}
	opListTransactions     = remote[partition.TransactionFilter, []partition.TransactionListing]{"ListTransactions"}
	opWriteTxnMarker       = remote[partition.TxnMarker, struct{}]{"WriteTxnMarker"}
)

func init() {
	define(opInitProducerID, func(ctx context.Context, n *Node, a initProducerID) (partition.ProducerID, error) {
		return n.store.InitProducerID(ctx, a.TxnID, a.Timeout, a.Last)
	})
	define(opEndTxn, func(ctx context.Context, n *Node, a endTxn) (partition.ProducerID, error) {
		return n.store.EndTxn(ctx, a.TxnID, a.Producer, a.Commit)
	})
	define(opEndTxnV1, func(ctx context.Context, n *Node, a endTxn) (struct{}, error) {
		return struct{}{}, n.store.EndTxnV1(ctx, a.TxnID, a.Producer, a.Commit)
	})
	define(opTxnAdd, func(ctx context.Context, n *Node, a txnPartitions) (struct{}, error) {
		switch {
		case a.VerifyOnly:
			in, err := n.store.PartitionsInTxn(ctx, a.TxnID, a.Producer, a.Partitions)
			if err == nil && slices.Contains(in, false) {
				err = fmt.Errorf("transactional id %q: %w: a partition is not part of it", a.TxnID, partition.ErrTransactionAbortable)
			}
			return struct{}{}, err
		case a.Version >= 2:
			return struct{}{}, n.store.AddPartitionsToTxn(ctx, a.TxnID, a.Producer, a.Partitions)
		}
		return struct{}{}, n.store.AddPartitionsToTxnV1(ctx, a.TxnID, a.Producer, a.Partitions)
	})
	define(opPartitionsInTxn, func(ctx context.Context, n *Node, a txnPartitions) ([]bool, error) {
		return n.store.PartitionsInTxn(ctx, a.TxnID, a.Producer, a.Partitions)
	})
	define(opAbortTransaction, func(ctx context.Context, n *Node, a endTxn) (struct{}, error) {
		return struct{}{}, n.store.AbortTransaction(ctx, a.TxnID)
	})
	define(opDescribeTransactions, func(ctx context.Context, n *Node, ids []string) ([]describedTransaction, error) {
		all, err := n.store.DescribeTransactions(ctx, ids)
		described := make([]describedTransaction, len(all))
		for i, d := range all {
			described[i].Error = toWire(d.Err)
			d.Err = nil
			described[i].Description = d
		}
		return described, err
	})
	define(opListTransactions, func(ctx context.Context, n *Node, f partition.TransactionFilter) ([]partition.TransactionListing, error) {
		return n.store.ListTransactions(ctx, f)
	})
	define(opWriteTxnMarker, func(ctx context.Context, n *Node, m partition.TxnMarker) (struct{}, error) {
		return struct{}{}, n.store.AppendTxnMarker(ctx, m)
	})
}

// coordinator finds the node that coordinates a name (a group, a transactional id) by its partition of an internal topic. While there is no such topic it is
// this node, whose coordinator makes it.
func (n *Node) coordinator(ctx context.Context, topic string, partitionFor func(count int32) int32) func() (int32, error) {
	return func() (int32, error) {
		count := int32(0)
		n.control.read(func(m *control.Machine) { _, count, _ = m.TopicID(topic) })
		if count == 0 {
			return n.id, nil
		}
		return n.leader(partition.TopicPartition{Topic: topic, Partition: partitionFor(count)}, partition.TopicID{})
	}
}

// atTxnCoordinator does an operation at the coordinator of a transactional id, and again at the next one: all of them may be repeated.
func atTxnCoordinator[A, R any](ctx context.Context, n *Node, txnID string, o remote[A, R], a A) (result R, err error) {
	if err := n.open(ctx); err != nil {
		return result, err
	}
	find := n.coordinator(ctx, txn.Topic, func(count int32) int32 { return txn.PartitionFor(txnID, count) })
	err = n.atLeader(ctx, find, func(ctx context.Context, node int32) (err error) {
		result, err = o.at(ctx, n, node, a)
		return err
	}, lostToo)
	if err != nil && (lostToo(err) || errors.Is(err, partition.ErrNotEnoughReplicas) || errors.Is(err, partition.ErrNotEnoughReplicasAfterAppend)) {
		// Kafka's coordinator says so too: its clients ask again who it is, and repeat the request.
		err = fmt.Errorf("transactional id %q: %w: %w", txnID, group.ErrCoordinatorNotAvailable, err)
	}
	return result, err
}

// InitProducerID returns a producer id that nobody else in the cluster has; see partition.Store.InitProducerID. With a transactional id it is its
// coordinator's.
func (n *Node) InitProducerID(ctx context.Context, txnID string, timeout time.Duration, last partition.ProducerID) (partition.ProducerID, error) {
	if txnID == "" {
		if err := n.open(ctx); err != nil {
			return partition.NoProducerID, err
		}
		ctx, cancel := n.bounded(ctx)
		defer cancel()
		return n.store.InitProducerID(ctx, txnID, timeout, last)
	}
	id, err := atTxnCoordinator(ctx, n, txnID, opInitProducerID, initProducerID{txnID, timeout, last})
	if err != nil {
		id = partition.NoProducerID
	}
	return id, err
}

// EndTxn commits or aborts a producer's transaction at its coordinator; see partition.Store.EndTxn.
func (n *Node) EndTxn(ctx context.Context, txnID string, id partition.ProducerID, commit bool) (next partition.ProducerID, err error) {
	return atTxnCoordinator(ctx, n, txnID, opEndTxn, endTxn{txnID, id, commit})
}

// EndTxnV1 is EndTxn for clients before transaction.version 2; see partition.Store.EndTxnV1.
func (n *Node) EndTxnV1(ctx context.Context, txnID string, id partition.ProducerID, commit bool) error {
	_, err := atTxnCoordinator(ctx, n, txnID, opEndTxnV1, endTxn{txnID, id, commit})
	return err
}

// AddPartitionsToTxn adds partitions to a transaction at its coordinator; see partition.Store.AddPartitionsToTxn.
func (n *Node) AddPartitionsToTxn(ctx context.Context, txnID string, p partition.ProducerID, tps []partition.TopicPartition) error {
	_, err := atTxnCoordinator(ctx, n, txnID, opTxnAdd, txnPartitions{TxnID: txnID, Producer: p, Partitions: tps, Version: 2})
	return err
}

// AddPartitionsToTxnV1 is AddPartitionsToTxn for clients before transaction.version 2.
func (n *Node) AddPartitionsToTxnV1(ctx context.Context, txnID string, p partition.ProducerID, tps []partition.TopicPartition) error {
	_, err := atTxnCoordinator(ctx, n, txnID, opTxnAdd, txnPartitions{TxnID: txnID, Producer: p, Partitions: tps, Version: 1})
	return err
}

// PartitionsInTxn reports which partitions are part of a transaction; see partition.Store.PartitionsInTxn.
func (n *Node) PartitionsInTxn(ctx context.Context, txnID string, p partition.ProducerID, tps []partition.TopicPartition) ([]bool, error) {
	return atTxnCoordinator(ctx, n, txnID, opPartitionsInTxn, txnPartitions{TxnID: txnID, Producer: p, Partitions: tps})
}

// AbortTransaction ends a transaction from outside; see partition.Store.AbortTransaction.
func (n *Node) AbortTransaction(ctx context.Context, txnID string) error {
	_, err := atTxnCoordinator(ctx, n, txnID, opAbortTransaction, endTxn{TxnID: txnID})
	return err
}

// DescribeTransactions describes transactional ids, each at its coordinator; see partition.Store.DescribeTransactions.
func (n *Node) DescribeTransactions(ctx context.Context, ids []string) ([]partition.TransactionDescription, error) {
	all := make([]partition.TransactionDescription, len(ids))
	for i, id := range ids {
		d, err := atTxnCoordinator(ctx, n, id, opDescribeTransactions, []string{id})
		if err == nil && len(d) != 1 {
			err = fmt.Errorf("transactional id %q: %d descriptions", id, len(d))
		}
		if err != nil {
			return nil, err
		}
		all[i] = d[0].Description
		all[i].Err = d[0].Error.err()
	}
	return all, nil
}

// ListTransactions lists the transactional ids of all coordinators; see partition.Store.ListTransactions. Coordinators that cannot be reached are an error.
func (n *Node) ListTransactions(ctx context.Context, f partition.TransactionFilter) (all []partition.TransactionListing, err error) {
	if err := n.open(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	for _, node := range n.leaders(txn.Topic) {
		some, err := opListTransactions.at(ctx, n, node, f)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	slices.SortFunc(all, func(a, b partition.TransactionListing) int {
		return strings.Compare(a.TransactionalID, b.TransactionalID)
	})
	return all, nil
}

// leaders returns who leads partitions of a topic.
func (n *Node) leaders(topic string) (nodes []int32) {
	n.control.read(func(m *control.Machine) {
		id, count, _ := m.TopicID(topic)
		for i := range count {
			if p, ok := m.Partition(id, i); ok && p.Leader != control.NoNode {
				nodes = append(nodes, int32(p.Leader))
			}
		}
	})
	slices.Sort(nodes)
	return slices.Compact(nodes)
}

// TxnAdd implements partition.Cluster.
func (s seam) TxnAdd(ctx context.Context, txnID string, p partition.ProducerID, tps []partition.TopicPartition, version int16, verifyOnly bool) error {
	_, err := atTxnCoordinator(ctx, s.n, txnID, opTxnAdd, txnPartitions{txnID, p, tps, version, verifyOnly})
	return err
}

// WriteTxnMarker implements partition.Cluster.
func (s seam) WriteTxnMarker(ctx context.Context, m partition.TxnMarker) error {
	_, err := onPartition(ctx, s.n, m.TopicPartition, opWriteTxnMarker, m)
	return err
}
