package kafka

import (
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// handleMetadata describes brokers and topics as clients of this listener see them (KIP-4, KIP-516). A topic that is to be
// created is there before the answer: Kafka answers UNKNOWN_TOPIC_OR_PARTITION first, which some clients never get over.
func handleMetadata(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.MetadataRequest)
	resp := kmsg.NewPtrMetadataResponse()
	if c.version < 12 && slices.ContainsFunc(req.Topics, func(t kmsg.MetadataRequestTopic) bool { return t.Topic == nil || t.TopicID != [16]byte{} }) {
		for _, t := range req.Topics {
			name := ""
			if t.Topic != nil {
				name = *t.Topic
			}
			resp.Topics = append(resp.Topics, metadataFailure(&name, [16]byte{}, codeInvalidRequest))
		}
		return resp, nil
	}
	m := metadataAnswer{s: s, c: c, req: req, resp: resp}
	m.cluster()
	if req.Topics == nil || len(req.Topics) == 0 && c.version == 0 {
		return resp, m.all()
	}
	return resp, m.named()
}

// metadataAnswer is one answer in the making.
type metadataAnswer struct {
	s    *session
	c    *call
	req  *kmsg.MetadataRequest
	resp *kmsg.MetadataResponse
}

func (m *metadataAnswer) cluster() {
	s, resp := m.s, m.resp
	for _, b := range s.server.alive() {
		if e := b.endpoint(s.listener.name); e != nil {
			n := kmsg.NewMetadataResponseBroker()
			n.NodeID, n.Host, n.Port, n.Rack = e.id, e.host, e.port, e.rack
			resp.Brokers = append(resp.Brokers, n)
		}
	}
	resp.ClusterID = &s.server.config.ClusterID
	resp.ControllerID = s.server.controller()
	if m.req.IncludeClusterAuthorizedOperations && m.c.version >= 8 && m.c.version <= 10 {
		if resp.AuthorizedOperations = 0; s.authorizeCluster(opDescribe) {
			resp.AuthorizedOperations = s.authorizedOperations(resourceCluster, clusterName)
		}
	}
}

// all describes every topic that the principal may see; the others are left out.
func (m *metadataAnswer) all() error {
	all, err := m.s.server.store.Metadata(m.c.ctx, nil)
	if err != nil {
		return err
	}
	for i := range all {
		if m.s.authorize(opDescribe, resourceTopic, all[i].Topic) {
			m.describe(&all[i])
		}
	}
	return nil
}

// named describes the topics asked for. Whoever may not see a topic does not learn whether there is one.
func (m *metadataAnswer) named() error {
	s, store := m.s, m.s.server.store
	byID := slices.ContainsFunc(m.req.Topics, func(t kmsg.MetadataRequestTopic) bool { return t.TopicID != [16]byte{} })
	create := m.c.version < 4 || m.req.AllowAutoTopicCreation
	seen := map[string]bool{}
	for _, t := range m.req.Topics {
		var name string
		if byID {
			if t.TopicID == [16]byte{} {
				continue
			}
			topic, err := store.FindTopic("", partition.TopicID(t.TopicID))
			if err != nil {
				m.resp.Topics = append(m.resp.Topics, metadataFailure(nil, t.TopicID, codeUnknownTopicID))
				continue
			}
			name = topic.Name()
		} else if t.Topic != nil {
			name = *t.Topic
		}
		if seen[name] {
			continue
		}
		seen[name] = true
		if !s.authorize(opDescribe, resourceTopic, name) {
			if byID {
				m.resp.Topics = append(m.resp.Topics, metadataFailure(nil, t.TopicID, codeTopicAuthorizationFailed))
			} else {
				m.resp.Topics = append(m.resp.Topics, metadataFailure(&name, [16]byte{}, codeTopicAuthorizationFailed))
			}
			continue
		}
		if err := m.one(name, create); err != nil {
			return err
		}
	}
	return nil
}

// one describes one topic, creating it if that is wanted and allowed.
func (m *metadataAnswer) one(name string, create bool) error {
	s := m.s
	found, err := s.server.store.Metadata(m.c.ctx, []string{name})
	if err != nil {
		return err
	}
	if errors.Is(found[0].Err, partition.ErrUnknownTopicOrPartition) && create && s.settings().autoCreateTopics {
		if !s.authorizeCluster(opCreate) && !s.authorize(opCreate, resourceTopic, name) {
			m.resp.Topics = append(m.resp.Topics, metadataFailure(&name, [16]byte{}, codeTopicAuthorizationFailed))
			return nil
		}
		if err := s.createDefault(m.c, name); err != nil {
			m.resp.Topics = append(m.resp.Topics, metadataFailure(&name, [16]byte{}, errorCode(err, m.c.key, m.c.version)))
			return nil
		}
		if found, err = s.server.store.Metadata(m.c.ctx, []string{name}); err != nil {
			return err
		}
	}
	m.describe(&found[0])
	return nil
}

func (m *metadataAnswer) describe(t *partition.Metadata) {
	if t.Err != nil {
		f := metadataFailure(&t.Topic, [16]byte{}, errorCode(t.Err, m.c.key, m.c.version))
		f.IsInternal = t.Topic == offsetsTopic || t.Topic == transactionsTopic
		m.operations(&f)
		m.resp.Topics = append(m.resp.Topics, f)
		return
	}
	out := kmsg.NewMetadataResponseTopic()
	out.Topic, out.TopicID, out.IsInternal = kmsg.StringPtr(t.Topic), t.ID, t.Internal
	m.operations(&out)
	topic, err := m.s.server.store.FindTopic(t.Topic, t.ID)
	if err != nil || topic.ID() != t.ID {
		m.resp.Topics = append(m.resp.Topics, metadataFailure(&t.Topic, [16]byte{}, codeUnknownTopicOrPartition))
		return // deleted meanwhile
	}
	places := m.s.server.layout.of(&topic)
	out.Partitions = make([]kmsg.MetadataResponseTopicPartition, len(t.Partitions))
	for i := range t.Partitions {
		m.partition(&out.Partitions[i], t.Partitions[i], places.partitions[i])
	}
	m.resp.Topics = append(m.resp.Topics, out)
}

func (m *metadataAnswer) partition(out *kmsg.MetadataResponseTopicPartition, p partition.PartitionMetadata, at placed) {
	s := m.s.server
	out.Default()
	out.Partition, out.LeaderEpoch = p.Partition, int32(p.LeaderEpoch)
	if s.node != nil {
		out.LeaderEpoch = at.epoch
	}
	out.Replicas, out.ISR, out.OfflineReplicas = at.replicas, at.isr, s.offline(at.replicas, m.s.listener.name)
	out.ErrorCode, out.Leader = s.availability(at, m.s.listener.name, m.c.version >= 6)
	if m.c.version == 0 && len(out.OfflineReplicas) > 0 { // whose clients want only what is there
		here := func(ids []int32) []int32 {
			return slices.DeleteFunc(slices.Clone(ids), func(id int32) bool { return slices.Contains(out.OfflineReplicas, id) })
		}
		out.Replicas, out.ISR = here(at.replicas), here(at.isr)
		if out.ErrorCode == codeNone {
			out.ErrorCode = codeReplicaNotAvailable
		}
	}
}

// operations fills in the authorized operations, if they were asked for (KIP-430).
func (m *metadataAnswer) operations(t *kmsg.MetadataResponseTopic) {
	if m.req.IncludeTopicAuthorizedOperations && m.c.version >= 8 && t.Topic != nil {
		t.AuthorizedOperations = m.s.authorizedOperations(resourceTopic, *t.Topic)
	}
}

func metadataFailure(name *string, id [16]byte, code int16) kmsg.MetadataResponseTopic {
	t := kmsg.NewMetadataResponseTopic()
	t.Topic, t.TopicID, t.ErrorCode = name, id, code
	return t
}

// availability returns the leader as clients of a listener's name reach it, or -1 and why not.
func (s *Server) availability(at placed, listener string, newer bool) (code int16, leader int32) {
	b := s.brokerByID(at.leader)
	switch {
	case b == nil || !b.running.Load():
		return codeLeaderNotAvailable, -1
	case b.endpoint(listener) != nil:
		return codeNone, at.leader
	case newer:
		return codeListenerNotFound, -1
	}
	return codeLeaderNotAvailable, -1
}

// offline returns those of ids whose brokers do not run or have no listener of that name.
func (s *Server) offline(ids []int32, listener string) (out []int32) {
	for _, id := range ids {
		if b := s.brokerByID(id); b == nil || !b.running.Load() || b.endpoint(listener) == nil {
			out = append(out, id)
		}
	}
	return out
}
