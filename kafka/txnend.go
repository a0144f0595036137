package kafka

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// handleEndTxn commits or aborts a transaction (EndTxn). From version 5 on the client goes by transaction.version 2, and is
// told the producer id and epoch of its next transaction (KIP-890).
func handleEndTxn(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.EndTxnRequest)
	resp := req.ResponseKind().(*kmsg.EndTxnResponse)
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	switch {
	case !s.authorize(opWrite, resourceTransactionalID, req.TransactionalID):
		resp.ErrorCode = codeTransactionalIDAuthFailed
		return resp, nil
	case req.TransactionalID == "":
		resp.ErrorCode = codeInvalidRequest
		return resp, nil
	}
	ctx, done := s.patient(c)
	defer done()
	p := partition.ProducerID{ID: req.ProducerID, Epoch: req.ProducerEpoch}
	err := s.coordinates(coordinatorTxn, req.TransactionalID)
	switch {
	case err != nil:
	case c.version >= 5:
		p, err = s.server.store.EndTxn(ctx, req.TransactionalID, p, req.Commit)
	default:
		err = s.server.store.EndTxnV1(ctx, req.TransactionalID, p, req.Commit)
	}
	if err != nil {
		resp.ErrorCode = txnCode(err, c.key, c.version)
		return resp, nil
	}
	resp.ProducerID, resp.ProducerEpoch = p.ID, p.Epoch
	return resp, nil
}

// handleTxnOffsetCommit commits a group's offsets as part of a producer's transaction (TxnOffsetCommit, KIP-447). Before
// version 5 the client has added them to the transaction with AddOffsetsToTxn.
func handleTxnOffsetCommit(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.TxnOffsetCommitRequest)
	resp := req.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
	o := offsetsToCommit{CommitRequest: group.CommitRequest{
		Membership: group.Membership{Group: req.Group, Generation: group.NoGeneration}, Negative: true,
		Txn: &group.TxnCommit{
			TransactionalID: req.TransactionalID, Producer: partition.ProducerID{ID: req.ProducerID, Epoch: req.ProducerEpoch}, PartitionAdded: c.version < 5,
		},
	}}
	if c.version >= 3 {
		o.Membership = membership(req.Group, req.MemberID, req.Generation, req.InstanceID)
	}
	topics := make([]topicToCommit, len(req.Topics))
	for i := range req.Topics {
		t := &req.Topics[i]
		topics[i].topic = t.Topic
		for _, p := range t.Partitions {
			topics[i].partitions = append(topics[i].partitions, offsetToCommit{p.Partition, group.CommittedOffset{
				Offset: partition.Offset(p.Offset), LeaderEpoch: partition.LeaderEpoch(p.LeaderEpoch), Metadata: stringOf(p.Metadata)}})
		}
	}
	denied := codeNone
	switch {
	case !s.authorize(opWrite, resourceTransactionalID, req.TransactionalID):
		denied = codeTransactionalIDAuthFailed
	case !s.authorize(opRead, resourceGroup, req.Group):
		denied = codeGroupAuthorizationFailed
	}
	if denied != codeNone {
		for _, t := range topics {
			for _, p := range t.partitions {
				o.answers.add(t.topic, p.partition, denied)
			}
		}
	} else if err := o.allow(s, c.ctx, topics); err != nil {
		return nil, err
	} else if req.Group == "" {
		o.fail(codeInvalidGroupID)
	} else if len(o.order) > 0 {
		ctx, done := s.patient(c)
		defer done()
		g, err := s.groupOf(ctx, req.Group)
		if err == nil {
			err = g.Commit(ctx, o.CommitRequest)
		}
		o.committed(err, c.key, c.version, func(err error) int16 {
			switch code := txnCode(err, c.key, c.version); code {
			case codeStaleMemberEpoch:
				return codeIllegalGeneration // which clients before version 6 know
			case codeConcurrentTransactions:
				return codeCoordinatorNotAvailable // as Apache Kafka's NOT_ENOUGH_REPLICAS becomes; clients know no other to retry
			default:
				return code
			}
		})
	}
	for _, t := range o.answers.topics {
		topic := kmsg.NewTxnOffsetCommitResponseTopic()
		topic.Topic = t.topic
		for _, p := range t.partitions {
			one := kmsg.NewTxnOffsetCommitResponseTopicPartition()
			one.Partition, one.ErrorCode = p.partition, p.code
			topic.Partitions = append(topic.Partitions, one)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp, nil
}

// handleWriteTxnMarkers writes transaction markers as they come (WriteTxnMarkers): a broker's API, and a tool's to end a
// transaction that hangs in a partition.
func handleWriteTxnMarkers(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.WriteTxnMarkersRequest)
	resp := req.ResponseKind().(*kmsg.WriteTxnMarkersResponse)
	at := make(map[int64]int) // several markers of one producer are one answer
	allowed := s.authorizeCluster(opAlter) || s.authorizeCluster(opClusterAction)
	for i := range req.Markers {
		m := &req.Markers[i]
		if !slices.ContainsFunc(m.Topics, func(t kmsg.WriteTxnMarkersRequestMarkerTopic) bool { return len(t.Partitions) > 0 }) {
			continue // Kafka leaves it out of the answer
		}
		if allowed && (m.ProducerID < 0 || m.ProducerEpoch < 0) && s.leadsAny(m) {
			return failMarkers(req, resp), nil // Kafka cannot write such a marker, and trips over it
		}
		var a answers
		for _, t := range m.Topics {
			for _, p := range t.Partitions {
				tp := partition.TopicPartition{Topic: t.Topic, Partition: p}
				code := codeClusterAuthorizationFailed
				if allowed {
					code = s.writeTxnMarker(c, tp, m)
				}
				a.add(t.Topic, p, code)
			}
		}
		k, ok := at[m.ProducerID]
		if !ok {
			k = addMarker(resp, m.ProducerID)
			at[m.ProducerID] = k
		}
		resp.Markers[k].Topics = append(resp.Markers[k].Topics, a.ofMarker()...)
	}
	return resp, nil
}

func addMarker(resp *kmsg.WriteTxnMarkersResponse, producer int64) int {
	marker := kmsg.NewWriteTxnMarkersResponseMarker()
	marker.ProducerID = producer
	resp.Markers = append(resp.Markers, marker)
	return len(resp.Markers) - 1
}

func (a *answers) ofMarker() (topics []kmsg.WriteTxnMarkersResponseMarkerTopic) {
	for _, t := range a.topics {
		topic := kmsg.NewWriteTxnMarkersResponseMarkerTopic()
		topic.Topic = t.topic
		for _, p := range t.partitions {
			one := kmsg.NewWriteTxnMarkersResponseMarkerTopicPartition()
			one.Partition, one.ErrorCode = p.partition, p.code
			topic.Partitions = append(topic.Partitions, one)
		}
		topics = append(topics, topic)
	}
	return topics
}

// failMarkers answers a request that has made Kafka's broker fail: what comes before in it has been written all the same.
func failMarkers(req *kmsg.WriteTxnMarkersRequest, resp *kmsg.WriteTxnMarkersResponse) kmsg.Response {
	resp.Markers = nil
	at := make(map[int64]int)
	for i := range req.Markers {
		m := &req.Markers[i]
		var a answers
		for _, t := range m.Topics {
			for _, p := range t.Partitions {
				a.add(t.Topic, p, codeUnknownServerError)
			}
		}
		k, ok := at[m.ProducerID]
		if !ok {
			k = addMarker(resp, m.ProducerID)
			at[m.ProducerID] = k
		}
		resp.Markers[k].Topics = a.ofMarker() // the last of a producer's counts
	}
	return resp
}

// leadsAny reports whether this broker leads any of a marker's partitions.
func (s *session) leadsAny(m *kmsg.WriteTxnMarkersRequestMarker) bool {
	for _, t := range m.Topics {
		for _, p := range t.Partitions {
			if s.leads(partition.TopicPartition{Topic: t.Topic, Partition: p}) == nil {
				return true
			}
		}
	}
	return false
}

func (s *session) writeTxnMarker(c *call, tp partition.TopicPartition, m *kmsg.WriteTxnMarkersRequestMarker) int16 {
	err := s.leads(tp)
	if err == nil {
		err = s.server.store.WriteTxnMarker(c.ctx, tp, partition.ProducerID{ID: m.ProducerID, Epoch: m.ProducerEpoch}, m.Committed, m.CoordinatorEpoch)
	}
	if code := errorCode(err, c.key, c.version); code != codeNotLeaderOrFollower {
		return code
	}
	return codeUnknownTopicOrPartition // as of a partition that the broker does not have
}

// leads returns nil if this broker leads the partition.
func (s *session) leads(tp partition.TopicPartition) error {
	id, err := s.server.Leader(tp)
	if err == nil && id != s.broker.id {
		err = errNotLeader
	}
	return err
}
