package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/txn"
	"github.com/partlog/partlog/partition"
)

// txnPartitions is one transaction of AddPartitionsToTxn, in any version.
type txnPartitions struct {
	id         string
	producer   partition.ProducerID
	verify     bool
	partitions []partition.TopicPartition
	answers    answers
}

func (t *txnPartitions) want(topic string, partitions []int32) {
	for _, p := range partitions {
		t.partitions = append(t.partitions, partition.TopicPartition{Topic: topic, Partition: p})
	}
}

func (t *txnPartitions) fail(code int16) {
	for _, tp := range t.partitions {
		t.answers.add(tp.Topic, tp.Partition, code)
	}
}

// handleAddPartitionsToTxn makes partitions part of transactions, or with VerifyOnly asks whether they are
// (AddPartitionsToTxn): one transaction of a client before version 4, several of a broker from then on (KIP-890).
func handleAddPartitionsToTxn(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.AddPartitionsToTxnRequest)
	resp := req.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
	if c.version < 4 {
		t := &txnPartitions{id: req.TransactionalID, producer: partition.ProducerID{ID: req.ProducerID, Epoch: req.ProducerEpoch}}
		for _, topic := range req.Topics {
			t.want(topic.Topic, topic.Partitions)
		}
		if err := s.addPartitionsToTxn(c, t); err != nil {
			return nil, err
		}
		for _, a := range t.answers.topics {
			topic := kmsg.NewAddPartitionsToTxnResponseTopic()
			topic.Topic = a.topic
			for _, p := range a.partitions {
				one := kmsg.NewAddPartitionsToTxnResponseTopicPartition()
				one.Partition, one.ErrorCode = p.partition, p.code
				topic.Partitions = append(topic.Partitions, one)
			}
			resp.Topics = append(resp.Topics, topic)
		}
		return resp, nil
	}
	if !s.authorizeCluster(opClusterAction) {
		resp.ErrorCode = codeClusterAuthorizationFailed
		return resp, nil
	}
	for i := range req.Transactions {
		x := &req.Transactions[i]
		t := &txnPartitions{id: x.TransactionalID, producer: partition.ProducerID{ID: x.ProducerID, Epoch: x.ProducerEpoch}, verify: x.VerifyOnly}
		for _, topic := range x.Topics {
			t.want(topic.Topic, topic.Partitions)
		}
		if err := s.addPartitionsToTxn(c, t); err != nil {
			return nil, err
		}
		answer := kmsg.NewAddPartitionsToTxnResponseTransaction()
		answer.TransactionalID = t.id
		for _, a := range t.answers.topics {
			topic := kmsg.NewAddPartitionsToTxnResponseTransactionTopic()
			topic.Topic = a.topic
			for _, p := range a.partitions {
				one := kmsg.NewAddPartitionsToTxnResponseTransactionTopicPartition()
				one.Partition, one.ErrorCode = p.partition, p.code
				topic.Partitions = append(topic.Partitions, one)
			}
			answer.Topics = append(answer.Topics, topic)
		}
		resp.Transactions = append(resp.Transactions, answer)
	}
	return resp, nil
}

// addPartitionsToTxn answers one transaction. If one partition is refused at the door, none is added.
func (s *session) addPartitionsToTxn(c *call, t *txnPartitions) error {
	client := c.version < 4
	if client && !s.authorize(opWrite, resourceTransactionalID, t.id) {
		t.fail(codeTransactionalIDAuthFailed)
		return nil
	}
	names := make([]string, len(t.partitions))
	for i, tp := range t.partitions {
		names[i] = tp.Topic
	}
	metadata, err := s.topics(c.ctx, names)
	if err != nil {
		return err
	}
	allowed := make(map[string]bool, len(metadata))
	for name := range metadata {
		// Offsets go through AddOffsetsToTxn.
		allowed[name] = !client || name != group.OffsetsTopic && name != txn.Topic && s.authorize(opWrite, resourceTopic, name)
	}
	codes := make([]int16, len(t.partitions))
	refused := false
	for i, tp := range t.partitions {
		switch {
		case !allowed[tp.Topic]:
			codes[i] = codeTopicAuthorizationFailed
		case !hasPartition(metadata[tp.Topic], tp.Partition):
			codes[i] = codeUnknownTopicOrPartition
		default:
			codes[i] = codeOperationNotAttempted
			continue
		}
		refused = true
	}
	if refused {
		for i, tp := range t.partitions {
			t.answers.add(tp.Topic, tp.Partition, codes[i])
		}
		return nil
	}
	if t.id == "" {
		t.fail(codeInvalidRequest)
		return nil
	}
	ctx, done := s.patient(c)
	defer done()
	if err = s.coordinates(coordinatorTxn, t.id); err == nil {
		switch {
		case t.verify:
			var in []bool
			if in, err = s.server.store.PartitionsInTxn(ctx, t.id, t.producer, t.partitions); err == nil {
				for i, tp := range t.partitions {
					code := codeNone
					if !in[i] {
						code = codeTransactionAbortable
					}
					t.answers.add(tp.Topic, tp.Partition, code)
				}
				return nil
			}
		case c.version >= 5:
			err = s.server.store.AddPartitionsToTxn(ctx, t.id, t.producer, t.partitions)
		default:
			err = s.server.store.AddPartitionsToTxnV1(ctx, t.id, t.producer, t.partitions)
		}
	}
	t.fail(txnCode(err, c.key, c.version))
	return nil
}

// handleAddOffsetsToTxn makes the partition of a group's offsets part of a transaction (AddOffsetsToTxn), for clients before
// transaction.version 2: the others' TxnOffsetCommit does it by itself.
func handleAddOffsetsToTxn(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.AddOffsetsToTxnRequest)
	resp := req.ResponseKind().(*kmsg.AddOffsetsToTxnResponse)
	switch {
	case !s.authorize(opWrite, resourceTransactionalID, req.TransactionalID):
		resp.ErrorCode = codeTransactionalIDAuthFailed
	case !s.authorize(opRead, resourceGroup, req.Group):
		resp.ErrorCode = codeGroupAuthorizationFailed
	case req.TransactionalID == "":
		resp.ErrorCode = codeInvalidRequest
	}
	if resp.ErrorCode != codeNone {
		return resp, nil
	}
	ctx, done := s.patient(c)
	defer done()
	err := s.coordinates(coordinatorTxn, req.TransactionalID)
	if err == nil {
		var t *partition.Topic
		if t, err = s.server.coordinatorTopic(ctx, coordinatorGroup); err == nil {
			tp := partition.TopicPartition{Topic: t.Name(), Partition: group.PartitionFor(req.Group, t.Partitions())}
			p := partition.ProducerID{ID: req.ProducerID, Epoch: req.ProducerEpoch}
			err = s.server.store.AddPartitionsToTxnV1(ctx, req.TransactionalID, p, []partition.TopicPartition{tp})
		}
	}
	resp.ErrorCode = txnCode(err, c.key, c.version)
	return resp, nil
}
