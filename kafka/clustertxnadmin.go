package kafka

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// ListTransactions returns the transactional ids that f selects, by id, of all coordinators (KIP-664). An OlderThan needs
// brokers of Kafka 3.8, a Pattern those of Kafka 4.1.
func (c *Cluster) ListTransactions(ctx context.Context, f partition.TransactionFilter) ([]partition.TransactionListing, error) {
	req := kmsg.NewPtrListTransactionsRequest()
	for _, s := range f.States {
		req.StateFilters = append(req.StateFilters, string(s))
	}
	req.ProducerIDFilters, req.DurationFilterMillis = f.ProducerIDs, -1
	if f.OlderThan > 0 {
		req.DurationFilterMillis = f.OlderThan.Milliseconds()
	}
	req.TransactionalIDPattern = optional(f.Pattern)
	resp, err := request[*kmsg.ListTransactionsResponse](ctx, c, req)
	if err == nil {
		err = brokerError("ListTransactions", resp.ErrorCode, nil)
	}
	if err != nil {
		return nil, fmt.Errorf("list transactions: %w", err)
	}
	if len(resp.UnknownStateFilters) > 0 {
		return nil, fmt.Errorf("list transactions: %w", &partition.ConfigError{Key: "States", Value: fmt.Sprint(resp.UnknownStateFilters), Range: "Kafka's states of a transaction"})
	}
	var out []partition.TransactionListing
	for _, t := range resp.TransactionStates {
		out = append(out, partition.TransactionListing{
			TransactionalID: t.TransactionalID, Producer: partition.ProducerID{ID: t.ProducerID}, State: partition.TransactionState(t.TransactionState),
		})
	}
	if len(out) > 0 { // the list has no epochs
		ids := make([]string, len(out))
		for i := range out {
			ids[i] = out[i].TransactionalID
		}
		described, err := c.DescribeTransactions(ctx, ids)
		if err != nil {
			return nil, fmt.Errorf("list transactions: %w", err)
		}
		for i := range out {
			if described[i].Err == nil && described[i].Producer.ID == out[i].Producer.ID {
				out[i].Producer = described[i].Producer
			}
		}
	}
	slices.SortFunc(out, func(a, b partition.TransactionListing) int { return cmp.Compare(a.TransactionalID, b.TransactionalID) })
	return out, nil
}

// DescribeTransactions describes transactional ids, in their order. One that nobody has used has Err.
func (c *Cluster) DescribeTransactions(ctx context.Context, ids []string) ([]partition.TransactionDescription, error) {
	out := make([]partition.TransactionDescription, len(ids))
	if len(ids) == 0 {
		return out, c.alive(ctx)
	}
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = ids
	resp, err := request[*kmsg.DescribeTransactionsResponse](ctx, c, req)
	if err != nil {
		return nil, fmt.Errorf("describe transactions: %w", err)
	}
	for i, id := range ids {
		d := &out[i]
		d.TransactionalID = id
		at := slices.IndexFunc(resp.TransactionStates, func(t kmsg.DescribeTransactionsResponseTransactionState) bool { return t.TransactionalID == id })
		if at < 0 {
			d.Err = brokerError("DescribeTransactions", codeTransactionalIDNotFound, nil)
			continue
		}
		t := &resp.TransactionStates[at]
		if d.Err = brokerError("DescribeTransactions", t.ErrorCode, nil); d.Err != nil {
			continue
		}
		d.Producer, d.State = partition.ProducerID{ID: t.ProducerID, Epoch: t.ProducerEpoch}, partition.TransactionState(t.State)
		d.Timeout = time.Duration(t.TimeoutMillis) * time.Millisecond
		if t.StartTimestamp >= 0 {
			d.Start = time.UnixMilli(t.StartTimestamp)
		}
		for _, topic := range t.Topics {
			for _, p := range topic.Partitions {
				d.Partitions = append(d.Partitions, partition.TopicPartition{Topic: topic.Topic, Partition: p})
			}
		}
		slices.SortFunc(d.Partitions, func(a, b partition.TopicPartition) int {
			return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
		})
	}
	return out, nil
}

// DescribeProducers returns the producers that a partition's leader remembers, by id.
func (c *Cluster) DescribeProducers(ctx context.Context, tp partition.TopicPartition) ([]partition.ProducerState, error) {
	var found *kmsg.DescribeProducersResponseTopicPartition
	err := c.atLeader(ctx, "DescribeProducers", tp, func(leadership) kmsg.Request {
		req := kmsg.NewPtrDescribeProducersRequest()
		t := kmsg.NewDescribeProducersRequestTopic()
		t.Topic, t.Partitions = tp.Topic, []int32{tp.Partition}
		req.Topics = append(req.Topics, t)
		return req
	}, func(resp kmsg.Response) int16 {
		for _, t := range resp.(*kmsg.DescribeProducersResponse).Topics {
			for i := range t.Partitions {
				found = &t.Partitions[i]
				return found.ErrorCode
			}
		}
		return codeUnknownServerError
	})
	if err != nil {
		return nil, fmt.Errorf("describe producers of %s: %w", tp, err)
	}
	var out []partition.ProducerState
	for _, p := range found.ActiveProducers {
		out = append(out, partition.ProducerState{
			Producer: partition.ProducerID{ID: p.ProducerID, Epoch: int16(p.ProducerEpoch)}, LastSequence: p.LastSequence, LastTimestamp: time.UnixMilli(p.LastTimestamp),
			CoordinatorEpoch: p.CoordinatorEpoch, TxnStart: partition.Offset(p.CurrentTxnStartOffset),
		})
	}
	slices.SortFunc(out, func(a, b partition.ProducerState) int { return cmp.Compare(a.Producer.ID, b.Producer.ID) })
	return out, nil
}

// AbortTransaction aborts the open transaction of a transactional id and fences its producer, as Kafka's
// forceTerminateTransaction: by InitProducerId with the transaction's timeout. partition.ErrInvalidTxnState if none is open.
func (c *Cluster) AbortTransaction(ctx context.Context, txnID string) error {
	described, err := c.DescribeTransactions(ctx, []string{txnID})
	if err == nil {
		err = described[0].Err
	}
	if err == nil && described[0].State != partition.TransactionOngoing {
		err = fmt.Errorf("%w: it is %s", partition.ErrInvalidTxnState, described[0].State)
	}
	for attempt := 1; err == nil; attempt++ {
		_, err = c.InitProducerID(ctx, txnID, described[0].Timeout, partition.NoProducerID)
		if err == nil {
			return nil
		}
		if partition.Retriable(err) {
			err = c.pause(ctx, retryPause(attempt))
		}
	}
	return fmt.Errorf("abort transaction of %q: %w", txnID, err)
}

// AbortHanging writes an abort marker for a transaction that is open in one partition and that no coordinator will end. p is
// what DescribeProducers returned.
func (c *Cluster) AbortHanging(ctx context.Context, tp partition.TopicPartition, p partition.ProducerState) error {
	err := c.atLeader(ctx, "WriteTxnMarkers", tp, func(leadership) kmsg.Request {
		req := kmsg.NewPtrWriteTxnMarkersRequest()
		m, t := kmsg.NewWriteTxnMarkersRequestMarker(), kmsg.NewWriteTxnMarkersRequestMarkerTopic()
		t.Topic, t.Partitions = tp.Topic, []int32{tp.Partition}
		m.ProducerID, m.ProducerEpoch, m.CoordinatorEpoch = p.Producer.ID, p.Producer.Epoch, max(p.CoordinatorEpoch, 0)
		m.Topics = append(m.Topics, t)
		req.Markers = append(req.Markers, m)
		return req
	}, func(resp kmsg.Response) int16 {
		for _, m := range resp.(*kmsg.WriteTxnMarkersResponse).Markers {
			for _, t := range m.Topics {
				for _, p := range t.Partitions {
					return p.ErrorCode
				}
			}
		}
		return codeUnknownServerError
	})
	if err != nil {
		return fmt.Errorf("abort hanging transaction in %s: %w", tp, err)
	}
	return nil
}
