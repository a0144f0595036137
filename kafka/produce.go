package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// produceState is what a connection keeps from one Produce to the next, so that none costs memory.
type produceState struct {
	req      kmsg.ProduceRequest
	resp     kmsg.ProduceResponse
	appends  []partition.AppendRequest
	outcomes []partition.AppendOutcome
	places   []producePlace // of appends, in resp
	free     func()         // forget; made once
}

// producePlace says which partition of the answer an append is for.
type producePlace struct{ topic, partition int32 }

func (p *produceState) request() *kmsg.ProduceRequest { return &p.req }

// drop forgets everything.
func (p *produceState) drop() { *p = produceState{} }

// forget lets go of what points into the frame, once the answer has been written.
func (p *produceState) forget() {
	if cap(p.appends) > 64 || cap(p.resp.Topics) > 64 { // an idle connection is to be small
		*p = produceState{free: p.free}
		return
	}
	clear(p.req.Topics)
	p.req.TransactionID = nil
	for i := range p.resp.Topics {
		p.resp.Topics[i].Topic = ""
	}
	clear(p.appends)
	clear(p.outcomes)
}

// handleProduce appends one batch to each partition named. The batches are appended where they are in the frame; all are in
// flight at the same time, so that one sync may serve them all.
func handleProduce(s *session, c *call) (kmsg.Response, error) {
	req, p := c.req.(*kmsg.ProduceRequest), &s.produce
	resp := &p.resp
	if p.free == nil {
		p.free = p.forget
	}
	c.release = p.free
	*resp = kmsg.ProduceResponse{Version: c.version, Topics: resp.Topics[:0]}
	if hasTransactional(req) && (req.TransactionID == nil || !s.authorize(opWrite, resourceTransactionalID, *req.TransactionID)) {
		failAll(req, resp, codeTransactionalIDAuthFailed)
		return s.produced(c, req, resp)
	}
	if err := unreadable(req); err != nil {
		if errors.Is(err, errNoRecords) {
			return nil, err
		}
		failAll(req, resp, codeCorruptMessage)
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				resp.Topics[i].Partitions[j].ErrorMessage = errorMessage(err)
			}
		}
		return s.produced(c, req, resp)
	}
	p.appends, p.places = p.appends[:0], p.places[:0]
	bytes := 0
	for i := range req.Topics {
		t := &req.Topics[i]
		rt := addProduceTopic(resp, t)
		topic, code := s.produceTopic(c, t)
		for j := range t.Partitions {
			rp := &rt.Partitions[j]
			bytes += len(t.Partitions[j].Records)
			if rp.ErrorCode = code; code != codeNone {
				continue
			}
			records, err := s.produceRecords(c, req, &topic, &t.Partitions[j])
			if err != nil {
				s.produceFailed(c, rp, err)
				continue
			}
			p.places = append(p.places, producePlace{int32(i), int32(j)})
			p.appends = append(p.appends, s.appendRequest(c, req, &topic, t.Partitions[j].Partition, records))
		}
	}
	if err := s.appendAll(c, req, resp); err != nil {
		return nil, err
	}
	s.leaderHints(c, req, resp)
	s.throttleProduce(c, bytes)
	return s.produced(c, req, resp)
}

// produced ends a Produce. With acks=0 no answer is sent; as the client cannot be told of an error, its connection closes.
func (s *session) produced(c *call, req *kmsg.ProduceRequest, resp *kmsg.ProduceResponse) (kmsg.Response, error) {
	if req.Acks != 0 {
		return resp, nil
	}
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if p := &resp.Topics[i].Partitions[j]; p.ErrorCode != codeNone {
				return nil, fmt.Errorf("acks=0, and partition %d of topic %q answers error %d", p.Partition, resp.Topics[i].Topic, p.ErrorCode)
			}
		}
	}
	c.quiet = true
	return resp, nil
}

// hasTransactional reports whether any batch is part of a transaction.
func hasTransactional(req *kmsg.ProduceRequest) bool {
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			b := req.Topics[i].Partitions[j].Records
			if len(b) >= batch.HeaderSize && batch.Batch(b).IsTransactional() {
				return true
			}
		}
	}
	return false
}

// addProduceTopic adds a topic with all its partitions to the answer, in the storage of earlier answers.
func addProduceTopic(resp *kmsg.ProduceResponse, t *kmsg.ProduceRequestTopic) *kmsg.ProduceResponseTopic {
	n := len(resp.Topics)
	if n < cap(resp.Topics) {
		resp.Topics = resp.Topics[:n+1]
	} else {
		resp.Topics = append(resp.Topics, kmsg.ProduceResponseTopic{})
	}
	rt := &resp.Topics[n]
	partitions := rt.Partitions[:0]
	if cap(partitions) < len(t.Partitions) {
		partitions = make([]kmsg.ProduceResponseTopicPartition, len(t.Partitions))
	}
	*rt = kmsg.ProduceResponseTopic{Topic: t.Topic, TopicID: t.TopicID, Partitions: partitions[:len(t.Partitions)]}
	for j := range rt.Partitions {
		rp := &rt.Partitions[j]
		*rp = kmsg.ProduceResponseTopicPartition{Partition: t.Partitions[j].Partition, BaseOffset: -1, LogAppendTime: -1, LogStartOffset: -1}
		rp.CurrentLeader.LeaderID, rp.CurrentLeader.LeaderEpoch = -1, -1
	}
	return rt
}

// failAll answers every partition with one error.
func failAll(req *kmsg.ProduceRequest, resp *kmsg.ProduceResponse, code int16) {
	for i := range req.Topics {
		rt := addProduceTopic(resp, &req.Topics[i])
		for j := range rt.Partitions {
			rt.Partitions[j].ErrorCode = code
		}
	}
}

// produceTopic finds a topic of the request that the principal may write to.
func (s *session) produceTopic(c *call, t *kmsg.ProduceRequestTopic) (partition.Topic, int16) {
	name := t.Topic
	if c.version >= 13 {
		topic, err := s.server.store.FindTopic("", partition.TopicID(t.TopicID))
		if err != nil {
			return topic, errorCode(err, c.key, c.version)
		}
		if !s.authorize(opWrite, resourceTopic, topic.Name()) {
			return topic, codeTopicAuthorizationFailed
		}
		return topic, codeNone
	}
	if !s.authorize(opWrite, resourceTopic, name) {
		return partition.Topic{}, codeTopicAuthorizationFailed
	}
	if name == "" {
		return partition.Topic{}, codeUnknownTopicOrPartition
	}
	topic, err := s.server.store.FindTopic(name, partition.TopicID{})
	return topic, errorCode(err, c.key, c.version)
}

func (s *session) appendRequest(c *call, req *kmsg.ProduceRequest, t *partition.Topic, i int32, records []byte) partition.AppendRequest {
	r := partition.AppendRequest{
		TopicPartition: partition.TopicPartition{Topic: t.Name(), Partition: i}, TopicID: t.ID(),
		Batch: records, Acks: partition.AcksLeader, Foreign: true,
	}
	switch req.Acks {
	case -1:
		r.Acks = partition.AcksAll
	case 0:
		r.Acks = partition.AcksNone
	}
	if req.TransactionID != nil && batch.Batch(records).IsTransactional() {
		r.TransactionalID = *req.TransactionID
		r.TxnAdded = c.version < 12 // KIP-890
	}
	return r
}

// appendAll appends the batches and puts their outcomes into the answer.
func (s *session) appendAll(c *call, req *kmsg.ProduceRequest, resp *kmsg.ProduceResponse) error {
	p := &s.produce
	if len(p.appends) == 0 {
		return nil
	}
	if cap(p.outcomes) < len(p.appends) {
		p.outcomes = make([]partition.AppendOutcome, len(p.appends))
	}
	p.outcomes = p.outcomes[:len(p.appends)]
	ctx := context.Background() // what has been sent is appended, also if the broker is about to stop
	if s.server.node != nil {
		ctx = s.broker.waiting // other nodes may not answer for as long as the request says
	}
	if req.TransactionID != nil {
		patient, cancel := s.patient(c)
		defer cancel()
		ctx = patient
	}
	s.server.store.AppendAll(ctx, p.appends, p.outcomes)
	for i := range p.outcomes {
		o, rp := &p.outcomes[i], &resp.Topics[p.places[i].topic].Partitions[p.places[i].partition]
		switch {
		case o.Err == nil:
			rp.BaseOffset, rp.LogAppendTime, rp.LogStartOffset = int64(o.BaseOffset), o.LogAppendTime, int64(o.LogStart)
			if o.Duplicate && o.LogAppendTime < 0 { // Kafka tells the time of the first one, which this one has too
				rp.LogAppendTime = batch.Batch(p.appends[i].Batch).MaxTimestamp()
			}
		case errors.Is(o.Err, partition.ErrClosed):
			return o.Err
		default:
			s.produceFailed(c, rp, o.Err)
			switch rp.ErrorCode {
			case codeCorruptMessage, codeMessageTooLarge, codeRecordListTooLarge, codeKafkaStorageError, codeNotLeaderOrFollower, codeUnknownTopicOrPartition, codeUnknownTopicID:
			default: // Kafka's log has looked at the batch, and says where it begins
				rp.LogStartOffset = s.logStart(p.appends[i].TopicPartition)
			}
		}
	}
	return nil
}

// logStart is for answers about batches that were refused, which have it as Kafka's do.
func (s *session) logStart(tp partition.TopicPartition) int64 {
	found, err := s.server.store.LookUpOffset(context.Background(), tp, partition.TimestampEarliest, partition.LeaderEpochUnknown, false)
	if err != nil {
		return -1
	}
	return int64(found.Offset)
}

// produceFailed puts an error into the answer, with the records that are to blame (KIP-467).
func (s *session) produceFailed(c *call, rp *kmsg.ProduceResponseTopicPartition, err error) {
	rp.ErrorCode = errorCode(err, c.key, c.version)
	if c.version < 12 && errors.Is(err, partition.ErrConcurrentTransactions) {
		rp.ErrorCode = codeNotEnoughReplicas // which older clients take for a reason to try again
	}
	bad, ok := errors.AsType[*batch.InvalidError](err)
	if !ok || len(bad.Records) == 0 || bad.Field != batch.FieldKey && bad.Field != batch.FieldTimestamp {
		return
	}
	message := "One or more records have been rejected due to invalid timestamp"
	if rp.ErrorCode != codeInvalidTimestamp {
		message = fmt.Sprintf("One or more records have been rejected due to %d record errors in total, and only showing the first three errors at most: %v",
			bad.Refused, bad.Records[:min(3, len(bad.Records))])
	}
	rp.ErrorMessage = &message
	for _, r := range bad.Records {
		e := kmsg.NewProduceResponseTopicPartitionErrorRecord()
		reason := fmt.Sprintf("%s: %s", r.Field, r.Reason)
		e.RelativeOffset, e.ErrorMessage = int32(r.Record), &reason
		rp.ErrorRecords = append(rp.ErrorRecords, e)
	}
}

// leaderHints names the leaders of the partitions that this broker does not lead (KIP-951).
func (s *session) leaderHints(c *call, req *kmsg.ProduceRequest, resp *kmsg.ProduceResponse) {
	if c.version < 10 {
		return
	}
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			rp := &resp.Topics[i].Partitions[j]
			if rp.ErrorCode != codeNotLeaderOrFollower {
				continue
			}
			topic, err := s.server.store.FindTopic(req.Topics[i].Topic, partition.TopicID(req.Topics[i].TopicID))
			if err != nil {
				continue
			}
			id, epoch, e := s.leaderHint(&topic, rp.Partition)
			rp.CurrentLeader.LeaderID, rp.CurrentLeader.LeaderEpoch = id, epoch
			if e == nil {
				continue
			}
			known := false
			for k := range resp.Brokers {
				known = known || resp.Brokers[k].NodeID == e.id
			}
			if !known {
				b := kmsg.NewProduceResponseBroker()
				b.NodeID, b.Host, b.Port, b.Rack = e.id, e.host, e.port, e.rack
				resp.Brokers = append(resp.Brokers, b)
			}
		}
	}
}

// leaderHint returns the leader of a partition, its epoch, and where clients of this listener find it; nil if they do not.
func (s *session) leaderHint(t *partition.Topic, i int32) (id, epoch int32, e *endpoint) {
	at, ok := s.server.layout.at(t, i)
	if !ok {
		return -1, -1, nil
	}
	if b := s.server.brokerByID(at.leader); b != nil {
		e = b.endpoint(s.listener.name)
	}
	return at.leader, s.server.leaderEpoch(t, i, at), e
}
