package kafka

import (
	"context"

	"github.com/partlog/partlog/partition"
)

// NewTopic describes a topic for Server.CreateTopic.
type NewTopic struct {
	Name              string
	Partitions        int32             // default num.partitions
	ReplicationFactor int16             // default default.replication.factor
	Configs           map[string]string // by Kafka's names; default none
}

// CreateTopic creates a topic as a client's CreateTopics request does, its replicas spread over the brokers. It is durable when
// the call returns nil. Errors: partition.ErrTopicAlreadyExists, and others with Kafka's words.
func (s *Server) CreateTopic(ctx context.Context, n NewTopic) (*partition.Topic, error) {
	if err := checkTopicName(n.Name); err != nil {
		return nil, err
	}
	if _, err := s.store.Topic(n.Name); err == nil {
		return nil, partition.ErrTopicAlreadyExists
	}
	spec := topicSpec{name: n.Name, partitions: n.Partitions, factor: n.ReplicationFactor, configs: n.Configs}
	if spec.partitions == 0 {
		spec.partitions = -1
	}
	if spec.factor == 0 {
		spec.factor = -1
	}
	if err := s.plan(s.settings.Load(), &spec); err != nil {
		return nil, err
	}
	return s.createTopic(ctx, spec)
}
