package partition

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// nodeID is the id of the only node of an embedded store (node.id in meta.properties).
const nodeID = 1

var onlyReplica = []int32{nodeID}

// nodeID returns this node's id.
func (s *Store) nodeID() int32 {
	if c := s.config.Cluster; c != nil {
		return c.NodeID()
	}
	return nodeID
}

// Metadata describes the topics named, in their order, or all topics by name if topics is nil. A topic that does not
// exist, or cannot, has an entry with Err. The answer is the caller's, except Replicas and ISR, which are shared. In a cluster it says what
// SetReplica has told: the leader and its epoch, -1 where it has told nothing, and no replicas.
func (s *Store) Metadata(ctx context.Context, topics []string) ([]Metadata, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.closed.Load() {
		return nil, ErrClosed
	}
	index := s.index.Load()
	if topics == nil {
		topics = slices.Sorted(maps.Keys(index.byName))
	}
	out := make([]Metadata, len(topics))
	for i, name := range topics {
		m := &out[i]
		m.Topic = name
		t := index.byName[name]
		if t == nil {
			if m.Err = validTopicName(name); m.Err == nil {
				m.Err = unknownTopic(name)
			}
			continue
		}
		st := t.settings.Load()
		m.ID, m.Internal, m.MaxMessageBytes, m.Compression = t.id, t.internal, st.log.MaxMessageBytes, st.codec
		parts := *t.parts.Load()
		m.Partitions = make([]PartitionMetadata, len(parts))
		for j, p := range parts {
			m.Partitions[j] = p.metadata()
		}
	}
	return out, nil
}

func (p *part) metadata() PartitionMetadata {
	m := PartitionMetadata{Partition: p.tp.Partition, Leader: nodeID, LeaderEpoch: p.epoch(), Replicas: onlyReplica, ISR: onlyReplica}
	if p.s.config.Cluster != nil {
		m.Leader, m.Replicas, m.ISR = -1, nil, nil
		if r := p.role.Load(); r != nil {
			m.Leader = r.Leader
		}
	}
	return m
}

// ListOffsets returns the offset at a time: the first record whose timestamp is at or after timestamp, in
// milliseconds since 1970, or OffsetUnknown if there is none below the high watermark; or one of the special
// timestamps TimestampLatest, TimestampLastStable, TimestampEarliest and TimestampMax.
func (s *Store) ListOffsets(ctx context.Context, tp TopicPartition, timestamp int64) (Offset, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	p, err := s.part(tp, TopicID{})
	if err != nil {
		return 0, s.closedOr(err)
	}
	return p.offsetFor(timestamp)
}

func (p *part) offsetFor(timestamp int64) (Offset, error) {
	l, err := p.open()
	if err == nil {
		err = p.led()
	}
	if err != nil {
		return 0, err
	}
	hw := p.highWatermark(l)
	if err := p.latestKnown(timestamp, hw); err != nil {
		return 0, err
	}
	switch timestamp {
	case TimestampLatest:
		return hw, nil
	case TimestampLastStable:
		return p.lastStable(l, hw), nil
	case TimestampEarliest:
		return l.Start(), nil
	}
	var o Offset
	switch {
	case timestamp == TimestampMax:
		o, _, err = l.OffsetForMaxTimestamp()
	case timestamp < 0:
		return 0, errors.Join(ErrUnsupported, &ConfigError{Key: "timestamp", Value: formatInt(timestamp), Range: "0 or more, -1, -2, -3 or -100"})
	default:
		o, _, err = l.OffsetForTimestamp(timestamp)
	}
	if err != nil {
		return 0, p.gone(err)
	}
	if o < 0 || o >= hw {
		return OffsetUnknown, p.latestKnown(TimestampLatest, hw)
	}
	return o, nil
}

// latestKnown returns ErrOffsetNotAvailable where a leader that has not seen its high watermark reach the beginning of its epoch is asked for
// the end: its predecessor may have told a higher one (KIP-207).
func (p *part) latestKnown(timestamp int64, high Offset) error {
	if r := p.role.Load(); r != nil && r.Role == RoleLeader && high < r.start && (timestamp == TimestampLatest || timestamp == TimestampLastStable) {
		return fmt.Errorf("%w: %s", ErrOffsetNotAvailable, p.tp)
	}
	return nil
}

// EpochEnd answers OffsetForLeaderEpoch: the largest leader epoch not above epoch that the partition has records of,
// and the offset at which it ends. A reader that was ahead of a lost tail finds with it where to go on (KIP-320).
func (s *Store) EpochEnd(ctx context.Context, tp TopicPartition, epoch LeaderEpoch) (LeaderEpoch, Offset, error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, err
	}
	p, err := s.part(tp, TopicID{})
	if err != nil {
		return 0, 0, s.closedOr(err)
	}
	l, err := p.open()
	if err == nil {
		err = p.led()
	}
	if err != nil {
		return 0, 0, err
	}
	e, end, err := l.EpochEnd(epoch)
	if err == nil && e < 0 && epoch >= 0 && epoch <= p.epoch() {
		// A leader of Kafka enters its epoch with the end of its log when it becomes leader; here the first append does.
		if e, err = l.LastEpoch(); e < 0 || epoch == p.epoch() {
			e = epoch
		}
		end = l.End()
	}
	return e, end, p.gone(err)
}
