package partitiontest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/partlog/partlog/partition"
)

// nodeCluster is one node's view.
type nodeCluster struct {
	n  *Nodes
	id int32
}

// NodeID implements partition.Cluster.
func (c *nodeCluster) NodeID() int32 { return c.id }

// Propose implements partition.Cluster: the change is made on all nodes, one after the other.
func (c *nodeCluster) Propose(ctx context.Context, change partition.SharedChange) error {
	n := c.n
	n.agreeing.Lock()
	defer n.agreeing.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if change.Expect != n.changes {
		return partition.ErrSharedConflict
	}
	n.mu.Lock()
	stores := slices.Clone(n.stores)
	n.mu.Unlock()
	if int(change.ReplicationFactor) > len(stores) {
		return fmt.Errorf("%w: %d, and there are %d nodes", partition.ErrInvalidReplicationFactor, change.ReplicationFactor, len(stores))
	}
	n.changes++
	for _, s := range stores {
		if err := s.ApplyShared(n.changes, change.Kind, change.Payload); err != nil && !errors.Is(err, partition.ErrClosed) {
			return err
		}
	}
	return n.place()
}

// Appended implements partition.Cluster. Somebody who is giving roles may wait for the caller, so it does not wait: whoever has the lock copies before
// giving it up.
func (c *nodeCluster) Appended(tp partition.TopicPartition, _ partition.Offset) {
	n := c.n
	n.grown.Lock()
	if n.more == nil {
		n.more = map[partition.TopicPartition]bool{}
	}
	n.more[tp] = true
	n.grown.Unlock()
	if n.mu.TryLock() {
		n.unlock()
	}
}

// LowWatermark implements partition.Cluster.
func (c *nodeCluster) LowWatermark(_ context.Context, tp partition.TopicPartition, at partition.Offset) error {
	c.n.mu.Lock()
	defer c.n.unlock()
	c.n.copyAll(tp)
	for i, s := range c.n.stores {
		if c.n.down[int32(i)] {
			continue
		}
		r, err := s.Replica(tp, partition.TopicID{})
		if err != nil {
			return err
		}
		if r.Start() < at {
			return fmt.Errorf("%w: node %d has log start %d of %s, not %d", partition.ErrTimeout, i, r.Start(), tp, at)
		}
	}
	return nil
}

// TxnAdd implements partition.Cluster.
func (c *nodeCluster) TxnAdd(ctx context.Context, txnID string, p partition.ProducerID, tps []partition.TopicPartition, version int16, verifyOnly bool) error {
	id, at := c.n.Coordinator(txnID)
	if id < 0 {
		return fmt.Errorf("%w: %s", partition.ErrNotLeaderOrFollower, at)
	}
	s := c.n.Store(id)
	switch {
	case verifyOnly:
		in, err := s.PartitionsInTxn(ctx, txnID, p, tps)
		if err == nil && slices.Contains(in, false) {
			err = partition.ErrTransactionAbortable
		}
		return err
	case version < 2:
		return s.AddPartitionsToTxnV1(ctx, txnID, p, tps)
	}
	return s.AddPartitionsToTxn(ctx, txnID, p, tps)
}

// WriteTxnMarker implements partition.Cluster.
func (c *nodeCluster) WriteTxnMarker(ctx context.Context, m partition.TxnMarker) error {
	c.n.mu.Lock()
	p := c.n.parts[m.TopicPartition]
	var s *partition.Store
	if p != nil && p.leader >= 0 {
		s = c.n.stores[p.leader]
	}
	c.n.mu.Unlock()
	if s == nil {
		return partition.ErrNotLeaderOrFollower
	}
	return s.AppendTxnMarker(ctx, m)
}
