package kafka

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// txns are the open transactions of producers of this Cluster. Where the cluster has finalized transaction.version 2, brokers add
// partitions by themselves (KIP-890), and there is nothing to know of them.
type txns struct {
	txnsMu sync.Mutex // guards open; a leaf
	open   map[string]*clusterTxn
}

// clusterTxn is what has been added to a transaction.
type clusterTxn struct {
	turn   chan struct{} // held over a request that adds to it
	id     partition.ProducerID
	added  map[partition.TopicPartition]bool
	groups map[string]bool
}

// InitProducerID returns a producer id that nobody else has (KIP-98). With a transactional id it is that of it, with an epoch that
// fences all producers before; what they left open is aborted first, and while that goes on the call is
// partition.ErrConcurrentTransactions. last is partition.NoProducerID for a new instance, or the producer's own id so far (KIP-360).
func (c *Cluster) InitProducerID(ctx context.Context, txnID string, timeout time.Duration, last partition.ProducerID) (partition.ProducerID, error) {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.ProducerID, req.ProducerEpoch = partition.NoProducerID.ID, partition.NoProducerID.Epoch
	if txnID != "" {
		if timeout.Milliseconds() > math.MaxInt32 {
			return partition.NoProducerID, fmt.Errorf("init producer id: %w: %v", partition.ErrInvalidTransactionTimeout, timeout)
		}
		req.TransactionalID, req.TransactionTimeoutMillis = kmsg.StringPtr(txnID), int32(timeout.Milliseconds())
		req.ProducerID, req.ProducerEpoch = last.ID, last.Epoch
	}
	resp, err := request[*kmsg.InitProducerIDResponse](ctx, c, req)
	if err == nil {
		err = brokerError("InitProducerId", resp.ErrorCode, nil)
	}
	if err != nil {
		return partition.NoProducerID, fmt.Errorf("init producer id: %w", err)
	}
	if txnID != "" {
		c.txnsMu.Lock()
		delete(c.open, txnID)
		c.txnsMu.Unlock()
	}
	return partition.ProducerID{ID: resp.ProducerID, Epoch: resp.ProducerEpoch}, nil
}

// transaction returns what is known of a producer's transaction, and holds its turn.
func (c *Cluster) transaction(ctx context.Context, txnID string, id partition.ProducerID) (*clusterTxn, error) {
	c.txnsMu.Lock()
	t := c.open[txnID]
	if t == nil || t.id != id {
		t = &clusterTxn{turn: make(chan struct{}, 1), id: id, added: make(map[partition.TopicPartition]bool), groups: make(map[string]bool)}
		c.open[txnID] = t
	}
	c.txnsMu.Unlock()
	select {
	case t.turn <- struct{}{}:
		return t, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// enlist adds a partition to the transaction before its first batch, where brokers do not do so (AddPartitionsToTxn).
func (c *Cluster) enlist(ctx context.Context, txnID string, id partition.ProducerID, tp partition.TopicPartition) error {
	if c.txnVersion >= 2 {
		return nil
	}
	t, err := c.transaction(ctx, txnID, id)
	if err != nil {
		return err
	}
	defer func() { <-t.turn }()
	if t.added[tp] {
		return nil
	}
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = txnID, id.ID, id.Epoch
	topic := kmsg.NewAddPartitionsToTxnRequestTopic()
	topic.Topic, topic.Partitions = tp.Topic, []int32{tp.Partition}
	req.Topics = append(req.Topics, topic)
	resp, err := request[*kmsg.AddPartitionsToTxnResponse](ctx, c, req)
	if err != nil {
		return err
	}
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			if err := brokerError("AddPartitionsToTxn", p.ErrorCode, nil); err != nil {
				return err
			}
		}
	}
	t.added[tp] = true
	return nil
}

// enlistGroup adds the group's partition of the offsets topic, where brokers do not do so (AddOffsetsToTxn).
func (c *Cluster) enlistGroup(ctx context.Context, txnID string, id partition.ProducerID, group string) error {
	if c.txnVersion >= 2 {
		return nil
	}
	t, err := c.transaction(ctx, txnID, id)
	if err != nil {
		return err
	}
	defer func() { <-t.turn }()
	if t.groups[group] {
		return nil
	}
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = txnID, id.ID, id.Epoch, group
	resp, err := request[*kmsg.AddOffsetsToTxnResponse](ctx, c, req)
	if err == nil {
		err = brokerError("AddOffsetsToTxn", resp.ErrorCode, nil)
	}
	if err == nil {
		t.groups[group] = true
	}
	return err
}

// EndTxn commits or aborts the producer's transaction and returns the producer id for the next one: with transaction.version 2
// its epoch has been bumped (KIP-890), else it is the same, and sequences go on. It may be called again with the same
// arguments until it is answered. Errors are those of partition.Store.EndTxn.
func (c *Cluster) EndTxn(ctx context.Context, txnID string, id partition.ProducerID, commit bool) (partition.ProducerID, error) {
	next, err := c.endTxn(ctx, txnID, id, commit)
	if err != nil {
		return partition.NoProducerID, fmt.Errorf("end transaction of %q: %w", txnID, err)
	}
	return next, nil
}

func (c *Cluster) endTxn(ctx context.Context, txnID string, id partition.ProducerID, commit bool) (partition.ProducerID, error) {
	if c.txnVersion < 2 {
		t, err := c.transaction(ctx, txnID, id)
		if err != nil {
			return partition.NoProducerID, err
		}
		defer func() { <-t.turn }()
		if len(t.added)+len(t.groups) == 0 {
			return id, nil // the coordinator knows of none
		}
	}
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = txnID, id.ID, id.Epoch, commit
	resp, err := request[*kmsg.EndTxnResponse](ctx, c, req)
	if err == nil {
		err = brokerError("EndTxn", resp.ErrorCode, nil)
	}
	if err != nil {
		return partition.NoProducerID, err
	}
	if c.txnVersion < 2 {
		c.txnsMu.Lock()
		delete(c.open, txnID)
		c.txnsMu.Unlock()
		return id, nil
	}
	if resp.ProducerID < 0 {
		return id, nil
	}
	return partition.ProducerID{ID: resp.ProducerID, Epoch: resp.ProducerEpoch}, nil
}
