package partition

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// raisedPrefix begins the catalogue's settings that say how often the leader epochs of a topic's partitions were raised
// by RaiseLeaderEpochs: "partition=times", with commas.
const raisedPrefix = "partition/raised/"

// RaiseLeaderEpochs begins a new leader epoch in each of the partitions, as a front end does that gives them another
// leader (KIP-101): readers and writers who go by the old one get ErrFencedLeaderEpoch, fetches that wait included. When
// it returns nil that is durable; after an error some may have been raised. It is for front ends that name several
// brokers as leaders; the store itself has one copy of everything. Errors: ErrUnknownTopicOrPartition, ErrReadOnly,
// ErrNoSpace, ErrUnsupported in a cluster, ErrClosed.
func (s *Store) RaiseLeaderEpochs(ctx context.Context, tps ...TopicPartition) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.config.Cluster != nil {
		return fmt.Errorf("raise leader epoch: %w: the cluster's controller does that", ErrUnsupported)
	}
	byTopic := map[*topic][]*part{}
	for _, tp := range tps {
		p, err := s.part(tp, TopicID{})
		if err != nil {
			return fmt.Errorf("raise leader epoch: %w", s.closedOr(err))
		}
		byTopic[p.t] = append(byTopic[p.t], p)
	}
	s.admin.Lock()
	defer s.admin.Unlock()
	var changes []Setting
	for t, parts := range byTopic {
		if t.deleted.Load() {
			return fmt.Errorf("raise leader epoch: %w: topic %q", ErrUnknownTopicOrPartition, t.name)
		}
		raised := map[int32]int32{}
		for _, p := range *t.parts.Load() {
			if n := p.raised.Load(); n > 0 {
				raised[p.tp.Partition] = n
			}
		}
		for _, p := range parts {
			raised[p.tp.Partition]++
		}
		changes = append(changes, Setting{Key: raisedPrefix + t.id.String(), Value: encodeRaised(raised)})
	}
	if len(changes) == 0 {
		return nil
	}
	if err := s.PutSettings(ctx, changes...); err != nil {
		return fmt.Errorf("raise leader epoch: %w", err)
	}
	for _, parts := range byTopic {
		for _, p := range parts {
			p.raise()
		}
	}
	return nil
}

// raise makes the partition's epoch one more.
func (p *part) raise() {
	p.mu.Lock() // the log is opened under it
	p.raised.Add(1)
	if l := p.log.Load(); l != nil {
		l.SetEpoch(p.epoch())
	}
	p.mu.Unlock()
	p.wakeFetches()
}

// epoch returns the partition's leader epoch.
func (p *part) epoch() LeaderEpoch {
	if r := p.role.Load(); r != nil {
		return r.Epoch
	}
	return p.start.epoch + LeaderEpoch(p.raised.Load())
}

func encodeRaised(m map[int32]int32) []byte {
	var b []byte
	for p := int32(0); len(m) > 0; p++ {
		n, ok := m[p]
		if !ok {
			continue
		}
		delete(m, p)
		if b != nil {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(p), 10)
		b = append(b, '=')
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return b
}

// decodeRaised calls f for what encodeRaised wrote; what cannot be read is left out.
func decodeRaised(text string, f func(partition, times int32)) {
	for item := range strings.SplitSeq(text, ",") {
		p, n, ok := strings.Cut(item, "=")
		i, err := strconv.ParseInt(p, 10, 32)
		k, err2 := strconv.ParseInt(n, 10, 32)
		if ok && err == nil && err2 == nil && i >= 0 && k > 0 {
			f(int32(i), int32(k))
		}
	}
}
