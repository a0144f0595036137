package consumer

import (
	"context"
	"errors"
	"fmt"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// rejoin gives up the assignment and takes part in the group's next generation, until it has one. The caller has the
// turn. After an error the member has no partitions.
func (m *member) rejoin(ctx context.Context) error {
	c := m.consumer
	if len(c.cursors) > 0 {
		_ = m.lastCommit() // Events tell; what was not committed is read again by whoever gets it
		revoked := partitionsOf(c.cursors)
		c.install(nil, group.Membership{})
		c.revoked(revoked)
	}
	for {
		cursors, err := m.generation(ctx)
		switch {
		case err == nil:
			c.install(cursors, m.current().Membership)
			c.rebalances.Add(1)
			if tell := c.config.Events.Assigned; tell != nil {
				event(func() { tell(partitionsOf(cursors)) })
			}
			return nil
		case errors.Is(err, group.ErrUnknownMemberID):
			m.mu.Lock()
			m.joined.MemberID = "" // removed since: come back as a new one
			m.mu.Unlock()
		case errors.Is(err, group.ErrRebalanceInProgress), errors.Is(err, group.ErrIllegalGeneration), errors.Is(err, group.ErrMemberIDRequired):
		default:
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// revoked tells the event.
func (c *Consumer) revoked(tps []partition.TopicPartition) {
	if tell := c.config.Events.Revoked; tell != nil && len(tps) > 0 {
		event(func() { tell(tps) })
	}
}

// generation joins one generation, and assigns if this member leads it.
func (m *member) generation(ctx context.Context) ([]*cursor, error) {
	config := m.group.Config()
	joined, err := m.coordinator.Join(ctx, group.JoinRequest{
		Group: m.group.ID(), MemberID: m.current().MemberID, ClientID: config.ClientID, Local: true,
		SessionTimeout: config.SessionTimeout, RebalanceTimeout: config.RebalanceTimeout, ProtocolType: group.ProtocolTypeConsumer,
		Protocols: m.group.Protocols(group.Subscription{Topics: m.consumer.config.Topics, Generation: group.NoGeneration}),
	})
	m.mu.Lock()
	if err == nil || errors.Is(err, group.ErrMemberIDRequired) {
		m.joined = joined
	}
	m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	sync := group.SyncRequest{Membership: joined.Membership, ProtocolType: joined.ProtocolType, Protocol: joined.Protocol}
	if joined.IsLeader() {
		assignments, partitions, err := m.group.Assign(ctx, joined)
		if err != nil {
			return nil, err
		}
		sync.Assignments = assignments
		m.mu.Lock()
		m.partitions = partitions
		m.mu.Unlock()
	}
	synced, err := m.coordinator.Sync(ctx, sync)
	if err != nil {
		return nil, err
	}
	assignment, err := group.DecodeAssignment(synced.Assignment)
	if err != nil {
		return nil, err
	}
	return m.place(ctx, assignment.Partitions)
}

// place makes a cursor for each partition, at its committed offset, or where Config.Reset says.
func (m *member) place(ctx context.Context, tps []partition.TopicPartition) ([]*cursor, error) {
	if len(tps) == 0 {
		return nil, nil
	}
	committed, err := m.coordinator.Offsets(ctx, group.OffsetsRequest{Group: m.group.ID(), Partitions: tps})
	if err != nil {
		return nil, err
	}
	metadata, err := topicsOf(ctx, m.consumer.source, tps)
	if err != nil {
		return nil, err
	}
	cursors := make([]*cursor, len(tps))
	for i, tp := range tps {
		k, err := m.cursor(ctx, metadata, tp, committed)
		if errors.Is(err, partition.ErrUnknownTopicOrPartition) {
			// Deleted between the leader's look and ours: as if it had been there and were deleted now.
			k, err = newCursor(tp, partition.TopicID{}, 0, noBound), nil
			k.gone.Store(true)
		}
		if err != nil {
			return nil, err
		}
		cursors[i] = k
	}
	return cursors, nil
}

func (m *member) cursor(ctx context.Context, metadata []partition.Metadata, tp partition.TopicPartition,
	committed map[partition.TopicPartition]group.CommittedOffset) (*cursor, error) {
	topic, err := topicOf(metadata, tp)
	if err != nil {
		return nil, err
	}
	last, ok := committed[tp]
	ok = ok && last.TopicID == topic.ID // another topic of the name has come between the two looks
	from := AtOffset(last.Offset)
	if !ok {
		if from, err = m.from(tp); err != nil {
			return nil, err
		}
	}
	at, err := from.resolve(ctx, m.consumer.source, tp)
	if err != nil {
		return nil, err
	}
	k := newCursor(tp, topic.ID, at, noBound)
	if ok {
		k.committed.Store(int64(last.Offset))
	}
	if m.ends != nil {
		k.until = 0 // a topic or partition that was not there at the Join has nothing before the bound
		if end := m.ends[tp]; end.topic == topic.ID {
			k.until = end.offset
		}
	}
	return k, nil
}

// from is where to begin without a committed offset.
func (m *member) from(tp partition.TopicPartition) (Position, error) {
	switch m.consumer.config.Reset {
	case ResetLatest:
		return Latest(), nil
	case ResetNone:
		return Position{}, fmt.Errorf("%s: %w", tp, ErrNoOffset)
	}
	return Earliest(), nil
}
