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
		_ = m.commit(ctx) // Events tell; what was not committed is read again by whoever gets it
		revoked := partitionsOf(c.cursors)
		c.install(nil)
		if tell := c.config.Events.Revoked; tell != nil {
			tell(revoked)
		}
	}
	c.install(nil)
	for {
		cursors, err := m.generation(ctx)
		switch {
		case err == nil:
			c.install(cursors)
			c.rebalances.Add(1)
			if tell := c.config.Events.Assigned; tell != nil {
				tell(partitionsOf(cursors))
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
	assignments := make([]Assignment, len(tps))
	for i, tp := range tps {
		assignments[i].TopicPartition = tp
		if assignments[i].From, err = m.from(tp, committed); err != nil {
			return nil, err
		}
	}
	cursors, err := place(ctx, m.consumer.source, assignments)
	if errors.Is(err, partition.ErrUnknownTopicOrPartition) {
		// Deleted between the leader's look and ours: a generation without it follows.
		return nil, fmt.Errorf("%w: %w", group.ErrRebalanceInProgress, err)
	}
	if err != nil {
		return nil, err
	}
	for _, k := range cursors {
		if m.ends != nil {
			k.until = m.ends[k.tp] // a partition that was not there at the Join has nothing before the bound
		}
		if o, ok := committed[k.tp]; ok {
			k.committed.Store(int64(o.Offset))
		}
	}
	return cursors, nil
}

func (m *member) from(tp partition.TopicPartition, committed map[partition.TopicPartition]group.CommittedOffset) (Position, error) {
	if o, ok := committed[tp]; ok {
		return AtOffset(o.Offset), nil
	}
	switch m.consumer.config.Reset {
	case ResetLatest:
		return Latest(), nil
	case ResetNone:
		return Position{}, fmt.Errorf("%s: %w", tp, ErrNoOffset)
	}
	return Earliest(), nil
}
