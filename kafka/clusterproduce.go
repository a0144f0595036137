package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// sends is the produce side: batches for the same broker that come while a request is on its way go together in the next one.
// There is one request at a time for a broker, so that the batches of a partition arrive in the order of their calls.
type sends struct {
	sendsMu sync.Mutex // guards what follows; a leaf
	queues  map[sendKey]*sendQueue
}

// sendKey is what one Produce request can have together.
type sendKey struct {
	broker int32
	acks   partition.Acks
	txnID  string
}

// sendQueue exists while a goroutine sends what is in it.
type sendQueue struct{ waiting []*sending }

// sending is one batch on its way.
type sending struct {
	partition.TopicPartition
	id    partition.TopicID
	batch []byte
	done  chan struct{}

	result partition.AppendResult
	err    error
}

// maxSendBytes bounds the batches of one request; a single larger one goes alone.
const maxSendBytes = 8 << 20

// Append writes one whole record batch through the partition's leader and waits for its acknowledgement (Produce). Cancelling
// ctx ends the waiting: the batch may be appended nevertheless. A batch of a transaction is acknowledged as with acks=all,
// whatever Acks says. Errors are the store's, among them partition.ErrUnknownTopicOrPartition, ErrUnknownTopicID,
// ErrMessageTooLarge, ErrOutOfOrderSequence and ErrInvalidProducerEpoch; *BrokerError for all codes, *UnreachableError.
func (c *Cluster) Append(ctx context.Context, r partition.AppendRequest) (partition.AppendResult, error) {
	result, err := c.append(ctx, &r)
	if err != nil {
		return partition.AppendResult{}, fmt.Errorf("append to %s: %w", r.TopicPartition, err)
	}
	return result, nil
}

func (c *Cluster) append(ctx context.Context, r *partition.AppendRequest) (partition.AppendResult, error) {
	if err := c.alive(ctx); err != nil {
		return partition.AppendResult{}, err
	}
	if r.Expect != nil {
		return partition.AppendResult{}, fmt.Errorf("%w: Expect: a broker has no conditional append", partition.ErrUnsupported)
	}
	b, err := batch.Peek(r.Batch)
	if err != nil || len(b) != len(r.Batch) {
		return partition.AppendResult{}, fmt.Errorf("%w: %d bytes that are not one batch", partition.ErrCorruptMessage, len(r.Batch))
	}
	own := bytes.Clone(r.Batch) // its caller may give up waiting while it is written
	until := c.config.Clock.Now().Add(c.config.RequestTimeout)
	for attempt := 1; ; attempt++ {
		result, err := c.appendOnce(ctx, r, b, own)
		answered, ok := errors.AsType[*BrokerError](err)
		if !ok || answered.API != "Produce" || !moved(answered.Code) || !answered.Refused() || !c.config.Clock.Now().Before(until) {
			return result, err
		}
		if err := c.pause(ctx, retryPause(attempt)); err != nil { // a leader is about to be known
			return result, err
		}
	}
}

// appendOnce sends a batch to whom is known as the leader.
func (c *Cluster) appendOnce(ctx context.Context, r *partition.AppendRequest, b batch.Batch, own []byte) (partition.AppendResult, error) {
	of, err := c.leader(ctx, r.TopicPartition, r.TopicID)
	if err != nil {
		return partition.AppendResult{}, err
	}
	if of.broker < 0 {
		c.outdated(r.Topic)
		return partition.AppendResult{}, brokerError("Produce", codeLeaderNotAvailable, nil)
	}
	key := sendKey{of.broker, r.Acks, r.TransactionalID}
	if r.TransactionalID != "" {
		key.acks = partition.AcksAll
		if err := c.enlist(ctx, r.TransactionalID, partition.ProducerID{ID: b.ProducerID(), Epoch: b.ProducerEpoch()}, r.TopicPartition); err != nil {
			return partition.AppendResult{}, err
		}
	}
	s := &sending{TopicPartition: r.TopicPartition, id: of.topic, batch: own, done: make(chan struct{})}
	if err := c.send(key, s); err != nil {
		return partition.AppendResult{}, err
	}
	select {
	case <-s.done:
		return s.result, s.err
	case <-ctx.Done():
		c.withdraw(key, s)
		return partition.AppendResult{}, ctx.Err()
	}
}

// send queues a batch, and begins to send if nobody does.
func (c *Cluster) send(key sendKey, s *sending) error {
	c.sendsMu.Lock()
	q := c.queues[key]
	if q != nil {
		q.waiting = append(q.waiting, s)
		c.sendsMu.Unlock()
		return nil
	}
	q = &sendQueue{waiting: []*sending{s}}
	c.queues[key] = q
	c.sendsMu.Unlock()
	if !c.background(func() { c.drain(key, q) }) {
		c.sendsMu.Lock()
		defer c.sendsMu.Unlock()
		delete(c.queues, key)
		for _, other := range q.waiting {
			if other != s {
				other.err = partition.ErrClosed
				close(other.done)
			}
		}
		return partition.ErrClosed
	}
	return nil
}

// withdraw takes a batch out of its queue, if it is still there.
func (c *Cluster) withdraw(key sendKey, s *sending) {
	c.sendsMu.Lock()
	defer c.sendsMu.Unlock()
	if q := c.queues[key]; q != nil {
		q.waiting = slices.DeleteFunc(q.waiting, func(x *sending) bool { return x == s })
	}
}

// drain sends what is queued until nothing is.
func (c *Cluster) drain(key sendKey, q *sendQueue) {
	for {
		c.sendsMu.Lock()
		now := q.take()
		if len(now) == 0 {
			delete(c.queues, key)
		}
		c.sendsMu.Unlock()
		if len(now) == 0 {
			return
		}
		c.produce(key, now)
	}
}

// take removes the batches of the next request: the first of each partition, in their order.
func (q *sendQueue) take() []*sending {
	var now, later []*sending
	has := make(map[partition.TopicPartition]bool, len(q.waiting))
	size := 0
	for _, s := range q.waiting {
		if has[s.TopicPartition] || size > 0 && size+len(s.batch) > maxSendBytes {
			later = append(later, s)
		} else {
			now = append(now, s)
			size += len(s.batch)
		}
		has[s.TopicPartition] = true
	}
	q.waiting = later
	return now
}

// produce makes one request and gives each batch its answer.
func (c *Cluster) produce(key sendKey, now []*sending) {
	defer func() {
		for _, s := range now {
			close(s.done)
		}
	}()
	all := func(err error) {
		for _, s := range now {
			s.err = err
			c.outdated(s.Topic)
		}
	}
	client, err := c.acknowledging(key.acks)
	if err != nil {
		all(err)
		return
	}
	req := kmsg.NewPtrProduceRequest()
	req.TimeoutMillis = int32(c.config.RequestTimeout.Milliseconds())
	if key.txnID != "" {
		req.TransactionID = kmsg.StringPtr(key.txnID)
	}
	topics := make(map[string]int)
	for _, s := range now {
		i, ok := topics[s.Topic]
		if !ok {
			i = len(req.Topics)
			topics[s.Topic] = i
			t := kmsg.NewProduceRequestTopic()
			t.Topic, t.TopicID = s.Topic, s.id
			req.Topics = append(req.Topics, t)
		}
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = s.Partition, s.batch
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
	}
	answer, err := client.Broker(int(key.broker)).Request(c.life, req)
	if err != nil {
		all(c.failure(context.Background(), "Produce", err))
		return
	}
	if key.acks == partition.AcksNone {
		for _, s := range now {
			s.result = partition.AppendResult{BaseOffset: -1, LogAppendTime: -1, LogStart: -1}
		}
		return
	}
	answers := make(map[partition.TopicPartition]*kmsg.ProduceResponseTopicPartition, len(now))
	for _, t := range answer.(*kmsg.ProduceResponse).Topics {
		name := t.Topic
		if name == "" {
			i := slices.IndexFunc(req.Topics, func(r kmsg.ProduceRequestTopic) bool { return r.TopicID == t.TopicID })
			if i < 0 {
				continue
			}
			name = req.Topics[i].Topic
		}
		for i := range t.Partitions {
			answers[partition.TopicPartition{Topic: name, Partition: t.Partitions[i].Partition}] = &t.Partitions[i]
		}
	}
	for _, s := range now {
		if a := answers[s.TopicPartition]; a != nil {
			c.answer(s, a)
		} else {
			s.err = brokerError("Produce", codeUnknownServerError, kmsg.StringPtr("the answer has nothing of the partition"))
		}
	}
}

// answer gives a batch its part of the answer.
func (c *Cluster) answer(s *sending, a *kmsg.ProduceResponseTopicPartition) {
	switch a.ErrorCode {
	case codeNone:
		s.result = partition.AppendResult{BaseOffset: partition.Offset(a.BaseOffset), LogAppendTime: a.LogAppendTime, LogStart: partition.Offset(a.LogStartOffset)}
		return
	case codeDuplicateSequenceNumber: // older than what the leader remembers the place of
		s.result = partition.AppendResult{BaseOffset: -1, LogAppendTime: -1, LogStart: partition.Offset(a.LogStartOffset), Duplicate: true}
		return
	}
	message := a.ErrorMessage
	for _, r := range a.ErrorRecords { // KIP-467
		if r.ErrorMessage != nil {
			message = kmsg.StringPtr(fmt.Sprintf("%srecord %d: %s", prefix(message), r.RelativeOffset, *r.ErrorMessage))
			break
		}
	}
	s.err = brokerError("Produce", a.ErrorCode, message)
	if moved(a.ErrorCode) {
		c.elected(s.TopicPartition, a.CurrentLeader.LeaderID, a.CurrentLeader.LeaderEpoch)
	}
}

func prefix(message *string) string {
	if message == nil {
		return ""
	}
	return *message + ": "
}

// acknowledging returns the client whose requests have these acks. franz-go has one setting for all requests of a client.
func (c *Cluster) acknowledging(acks partition.Acks) (*kgo.Client, error) {
	if acks == partition.AcksAll {
		return c.main, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return nil, partition.ErrClosed
	}
	if client := c.weak[acks]; client != nil {
		return client, nil
	}
	client, err := c.newClient(acks)
	if err == nil {
		c.weak[acks] = client
	}
	return client, err
}
