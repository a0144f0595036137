package kafka

import (
	"errors"
	"regexp"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/txn"
	"github.com/partlog/partlog/partition"
)

// handleListTransactions lists the transactional ids that this broker coordinates and the principal may describe
// (ListTransactions, KIP-664, KIP-994, KIP-1152).
func handleListTransactions(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.ListTransactionsRequest)
	resp := req.ResponseKind().(*kmsg.ListTransactionsResponse)
	f := partition.TransactionFilter{ProducerIDs: req.ProducerIDFilters, Pattern: stringOf(req.TransactionalIDPattern)}
	if c.version >= 1 && req.DurationFilterMillis >= 0 {
		f.OlderThan = max(millis(req.DurationFilterMillis), 1)
	}
	if _, err := regexp.Compile(f.Pattern); err != nil {
		resp.ErrorCode = codeInvalidRegularExpression
		return resp, nil
	}
	for _, name := range req.StateFilters {
		if _, ok := txn.ParseState(name); ok {
			f.States = append(f.States, partition.TransactionState(name))
		} else {
			resp.UnknownStateFilters = append(resp.UnknownStateFilters, name)
		}
	}
	if len(f.States) == 0 && len(req.StateFilters) > 0 {
		return resp, nil // nothing is in a state that there is not
	}
	list, err := s.server.store.ListTransactions(c.ctx, f)
	if err != nil {
		resp.ErrorCode = txnCode(err, c.key, c.version)
		return resp, nil
	}
	several := len(s.server.brokers()) > 1
	for _, l := range list {
		if several && s.coordinates(coordinatorTxn, l.TransactionalID) != nil || !s.authorize(opDescribe, resourceTransactionalID, l.TransactionalID) {
			continue
		}
		one := kmsg.NewListTransactionsResponseTransactionState()
		one.TransactionalID, one.ProducerID, one.TransactionState = l.TransactionalID, l.Producer.ID, string(l.State)
		resp.TransactionStates = append(resp.TransactionStates, one)
	}
	return resp, nil
}

// handleDescribeTransactions describes transactional ids (DescribeTransactions, KIP-664), with those partitions of their open
// transactions that the principal may describe.
func handleDescribeTransactions(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.DescribeTransactionsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeTransactionsResponse)
	for _, id := range req.TransactionalIDs {
		resp.TransactionStates = append(resp.TransactionStates, s.describeTransaction(c, id))
	}
	return resp, nil
}

func (s *session) describeTransaction(c *call, id string) kmsg.DescribeTransactionsResponseTransactionState {
	one := kmsg.NewDescribeTransactionsResponseTransactionState()
	one.TransactionalID = id
	if !s.authorize(opDescribe, resourceTransactionalID, id) {
		one.ErrorCode = codeTransactionalIDAuthFailed
		return one
	}
	if id == "" {
		one.ErrorCode = codeInvalidRequest
		return one
	}
	err := s.coordinates(coordinatorTxn, id)
	var found []partition.TransactionDescription
	if err == nil {
		if found, err = s.server.store.DescribeTransactions(c.ctx, []string{id}); err == nil {
			err = found[0].Err
		}
	}
	if err != nil {
		one.ErrorCode = txnCode(err, c.key, c.version)
		return one
	}
	d := &found[0]
	one.State, one.TimeoutMillis, one.StartTimestamp = string(d.State), int32(d.Timeout.Milliseconds()), -1
	one.ProducerID, one.ProducerEpoch = d.Producer.ID, d.Producer.Epoch
	if !d.Start.IsZero() {
		one.StartTimestamp = d.Start.UnixMilli()
	}
	for _, tp := range d.Partitions { // in order
		n := len(one.Topics)
		if n == 0 || one.Topics[n-1].Topic != tp.Topic {
			if !s.authorize(opDescribe, resourceTopic, tp.Topic) {
				continue
			}
			topic := kmsg.NewDescribeTransactionsResponseTransactionStateTopic()
			topic.Topic = tp.Topic
			one.Topics = append(one.Topics, topic)
			n++
		}
		one.Topics[n-1].Partitions = append(one.Topics[n-1].Partitions, tp.Partition)
	}
	return one
}

// handleDescribeProducers tells which producers partitions remember (DescribeProducers, KIP-664).
func handleDescribeProducers(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.DescribeProducersRequest)
	resp := req.ResponseKind().(*kmsg.DescribeProducersResponse)
	for _, t := range req.Topics {
		topic := kmsg.NewDescribeProducersResponseTopic()
		topic.Topic = t.Topic
		err := checkTopicName(t.Topic)
		if err == nil && !s.authorize(opRead, resourceTopic, t.Topic) {
			err = standard(codeTopicAuthorizationFailed)
		}
		if err == nil {
			if _, missing := s.server.store.Topic(t.Topic); errors.Is(missing, partition.ErrUnknownTopicOrPartition) {
				err = standard(codeUnknownTopicOrPartition)
			}
		}
		for _, p := range t.Partitions {
			one := kmsg.NewDescribeProducersResponseTopicPartition()
			one.Partition = p
			if err == nil {
				s.describeProducers(c, partition.TopicPartition{Topic: t.Topic, Partition: p}, &one)
			} else {
				one.ErrorCode, one.ErrorMessage = c.outcome(err)
			}
			topic.Partitions = append(topic.Partitions, one)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp, nil
}

func (s *session) describeProducers(c *call, tp partition.TopicPartition, one *kmsg.DescribeProducersResponseTopicPartition) {
	err := s.leads(tp)
	var producers []partition.ProducerState
	if err == nil {
		producers, err = s.server.store.DescribeProducers(c.ctx, tp)
	}
	if err != nil {
		one.ErrorCode = errorCode(err, c.key, c.version)
		return
	}
	for _, p := range producers {
		active := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
		active.ProducerID, active.ProducerEpoch, active.LastSequence = p.Producer.ID, int32(p.Producer.Epoch), p.LastSequence
		active.LastTimestamp, active.CoordinatorEpoch, active.CurrentTxnStartOffset = p.LastTimestamp.UnixMilli(), p.CoordinatorEpoch, int64(p.TxnStart)
		one.ActiveProducers = append(one.ActiveProducers, active)
	}
}
