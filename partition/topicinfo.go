package partition

import (
	"maps"
	"slices"
)

// TopicInfo is what a front end asks about a topic for each request.
type TopicInfo struct {
	Name              string
	ID                TopicID
	Internal          bool
	Partitions        int32
	MaxMessageBytes   int // max.message.bytes
	MinInsyncReplicas int32
	LogAppendTime     bool // message.timestamp.type
	Compacted         bool // cleanup.policy has compact
}

// Info returns what holds now. It allocates nothing.
func (t *Topic) Info() TopicInfo {
	st := t.t.settings.Load()
	return TopicInfo{
		Name: t.t.name, ID: t.t.id, Internal: t.t.internal, Partitions: t.Partitions(), MaxMessageBytes: st.log.MaxMessageBytes,
		MinInsyncReplicas: st.minISR, LogAppendTime: st.log.LogAppendTime, Compacted: st.compacted,
	}
}

// TopicByID returns a handle of the topic of that id: ErrUnknownTopicID if there is none, as after its deletion.
func (s *Store) TopicByID(id TopicID) (*Topic, error) {
	if s.closed.Load() {
		return nil, ErrClosed
	}
	if t := s.index.Load().byID[id]; t != nil {
		return &Topic{s: s, t: t}, nil
	}
	return nil, ErrUnknownTopicID
}

// LeaderEpoch returns the leader epoch of a partition of the topic, LeaderEpochUnknown outside [0, Partitions).
func (t *Topic) LeaderEpoch(partition int32) LeaderEpoch {
	p, err := t.t.part(partition)
	if err != nil {
		return LeaderEpochUnknown
	}
	return p.epoch()
}

// Clock returns where the store's time comes from, so that what is built on it goes by the same.
func (s *Store) Clock() Clock { return s.config.Clock }

// TopicNames returns the names of all topics, in no order. It is cheaper than ListTopics.
func (s *Store) TopicNames() []string {
	return slices.Collect(maps.Keys(s.index.Load().byName))
}
