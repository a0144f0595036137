package kafka

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// handleCreateTopics creates topics (KIP-4, KIP-525, KIP-599), each for itself: one that fails keeps no other from being made.
func handleCreateTopics(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.CreateTopicsRequest)
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	duplicate := map[string]int{}
	total := 0
	for i := range req.Topics {
		t := &req.Topics[i]
		duplicate[t.Topic]++
		switch {
		case len(t.ReplicaAssignment) > 0:
			total += len(t.ReplicaAssignment)
		case t.NumPartitions == -1:
			total += int(s.settings().numPartitions)
		default:
			total += max(int(t.NumPartitions), 0)
		}
	}
	quota := s.mutations(c, c.version >= 6)
	anywhere := s.authorizeCluster(opCreate)
	for i := range req.Topics {
		t := &req.Topics[i]
		out := kmsg.NewCreateTopicsResponseTopic()
		out.Topic = t.Topic
		out.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
		var err error
		switch {
		case duplicate[t.Topic] > 1:
			duplicate[t.Topic] = -1
			err = refusal(codeInvalidRequest, "Duplicate topic name.")
		case duplicate[t.Topic] < 0:
			continue
		case t.Topic == metadataTopic:
			err = refusal(codeInvalidRequest, "Creation of internal topic "+metadataTopic+" is prohibited.")
		case !anywhere && !s.authorize(opCreate, resourceTopic, t.Topic):
			err = standard(codeTopicAuthorizationFailed)
		case total > maxPartitionsPerRequest:
			err = refusal(codePolicyViolation, "Excessively large number of partitions per request.")
		default:
			err = s.createOne(c, t, &out, quota, req.ValidateOnly)
		}
		out.ErrorCode, out.ErrorMessage = c.outcome(err)
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

func (s *session) createOne(c *call, t *kmsg.CreateTopicsRequestTopic, out *kmsg.CreateTopicsResponseTopic, quota mutations, validateOnly bool) error {
	spec, err := s.newTopicSpec(t)
	if err != nil {
		return err
	}
	if err := quota.take(len(spec.replicas)); err != nil {
		return err
	}
	if !validateOnly {
		made, err := s.server.createTopic(c.ctx, *spec)
		if errors.Is(err, partition.ErrTopicAlreadyExists) {
			return refusal(codeTopicAlreadyExists, "Topic '"+t.Topic+"' already exists.")
		}
		if err != nil {
			return err
		}
		out.TopicID = made.ID()
	}
	if validateOnly {
		out.TopicID = someTopicID(s.server)
	}
	if c.version < 5 {
		return nil
	}
	if !s.authorize(opDescribeConfigs, resourceTopic, t.Topic) {
		out.ConfigErrorCode = codeTopicAuthorizationFailed
		return nil
	}
	out.NumPartitions, out.ReplicationFactor = int32(len(spec.replicas)), int16(len(spec.replicas[0]))
	for _, e := range s.broker.topicConfigs(spec.configs) {
		o := kmsg.NewCreateTopicsResponseTopicConfig()
		o.Name, o.Value, o.Source, o.IsSensitive = e.name, e.value, int8(e.source), e.sensitive
		out.Configs = append(out.Configs, o)
	}
	return nil
}

// someTopicID is the id of a topic that was only to be validated: a new one, as Kafka tells it.
func someTopicID(s *Server) (id [16]byte) {
	for i := range id {
		id[i] = byte(s.admin.drawn.Add(1)*0x9e3779b97f4a7c15>>56) | 1
	}
	return id
}

// newTopicSpec reads one topic of the request, checks it in Kafka's order and plans it.
func (s *session) newTopicSpec(t *kmsg.CreateTopicsRequestTopic) (*topicSpec, error) {
	if err := checkTopicName(t.Topic); err != nil {
		return nil, err
	}
	if _, err := s.server.store.FindTopic(t.Topic, partition.TopicID{}); err == nil {
		return nil, refusal(codeTopicAlreadyExists, "Topic '"+t.Topic+"' already exists.")
	}
	if other := s.server.collidesWith(t.Topic); other != "" {
		return nil, refusal(codeInvalidTopic, fmt.Sprintf("Topic '%s' collides with existing topic: %s", t.Topic, other))
	}
	spec := &topicSpec{name: t.Topic, partitions: t.NumPartitions, factor: t.ReplicationFactor, configs: map[string]string{}}
	for _, cfg := range t.Configs {
		if cfg.Value == nil {
			return nil, refusal(codeInvalidConfig, "Null value not supported for topic configs: "+cfg.Name)
		}
		spec.configs[cfg.Name] = *cfg.Value
	}
	if len(t.ReplicaAssignment) == 0 {
		return spec, s.server.plan(s.settings(), spec)
	}
	if err := s.server.checkTopicConfigs(s.settings(), spec.configs); err != nil {
		return nil, err
	}
	switch {
	case t.ReplicationFactor != -1:
		return nil, refusal(codeInvalidRequest, "A manual partition assignment was specified, but replication factor was not set to -1.")
	case t.NumPartitions != -1:
		return nil, refusal(codeInvalidRequest, "A manual partition assignment was specified, but numPartitions was not set to -1.")
	}
	byPartition := map[int32][]int32{}
	factor := 0
	for _, a := range t.ReplicaAssignment {
		if _, twice := byPartition[a.Partition]; twice {
			return nil, refusal(codeInvalidReplicaAssignment, fmt.Sprintf("Found multiple manual partition assignments for partition %d", a.Partition))
		}
		if err := s.server.checkReplicas(a.Replicas, factor); err != nil {
			return nil, err
		}
		byPartition[a.Partition], factor = slices.Clone(a.Replicas), len(a.Replicas)
		if err := s.server.anyRuns(a.Partition, a.Replicas); err != nil {
			return nil, err
		}
	}
	for i, p := range slices.Sorted(maps.Keys(byPartition)) {
		if int32(i) != p {
			return nil, refusal(codeInvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence")
		}
		spec.replicas = append(spec.replicas, byPartition[p])
	}
	return spec, nil
}

// anyRuns says that a new partition would have no leader.
func (s *Server) anyRuns(p int32, ids []int32) error {
	for _, b := range s.alive() {
		if slices.Contains(ids, b.id) {
			return nil
		}
	}
	return refusal(codeInvalidReplicaAssignment, fmt.Sprintf("All brokers specified in the manual partition assignment for partition %d are fenced or in controlled shutdown.", p))
}
