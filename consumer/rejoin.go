package consumer

import (
	"context"
	"errors"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// rejoin gives up the assignment and takes part in the group's next generation, until it has one (KIP-429 calls it eager).
// A member that keeps its partitions begins with it too. The caller has the turn. After an error the member has no
// partitions.
func (m *member) rejoin(ctx context.Context) error {
	c := m.consumer
	m.giveUp(ctx)
	for {
		tps, err := m.enter(ctx, nil)
		var cursors []*cursor
		if err == nil {
			cursors, err = m.place(ctx, tps)
		}
		switch {
		case err == nil:
			c.replace(cursors, m.current().Membership)
			m.settled()
			c.tellAssigned(partitionsOf(cursors))
			return nil
		case errors.Is(err, group.ErrUnknownMemberID):
			m.forget()
		case !retriable(err):
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// giveUp ends the assignment. The caller has the turn.
func (m *member) giveUp(ctx context.Context) {
	c := m.consumer
	has := partitionsOf(c.cursors)
	switch {
	case len(has) == 0:
	case lost(m.coordinator.Heartbeat(ctx, m.current().Membership)):
		c.replace(nil, group.Membership{})
		c.tellLost(has)
	default:
		_ = m.lastCommit() // Events tell; what was not committed is read again by whoever gets it
		c.tellRevoked(has)
		c.replace(nil, group.Membership{})
	}
}

// lost reports whether an answer of the coordinator means that the member's partitions are not its own any more.
func lost(err error) bool {
	return errors.Is(err, group.ErrUnknownMemberID) || errors.Is(err, group.ErrFencedInstanceID) || errors.Is(err, group.ErrIllegalGeneration)
}

// retriable reports whether entering a generation that failed with err is to be tried again.
func retriable(err error) bool {
	return errors.Is(err, group.ErrRebalanceInProgress) || errors.Is(err, group.ErrIllegalGeneration) || errors.Is(err, group.ErrMemberIDRequired)
}

// forget makes the member come back as a new one: it was removed.
func (m *member) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.joined.MemberID = ""
	if !m.keeps { // sticky assignors may give back what an eager member had
		return
	}
	m.last, m.lastOf = nil, group.NoGeneration
}

// settled counts a rebalance that is complete, and makes what the member has subscribed to known to it.
func (m *member) settled() {
	m.mu.Lock()
	m.changing = false
	topics := m.topics
	m.mu.Unlock()
	m.origin.add(topics)
	m.consumer.rebalances.Add(1)
}

// enter takes part in one generation, assigns if this member leads it, and returns the member's part. owned is what it
// keeps meanwhile.
func (m *member) enter(ctx context.Context, owned []partition.TopicPartition) ([]partition.TopicPartition, error) {
	c, config := m.consumer, m.group.Config()
	topics, err := m.subscription(ctx)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	if !m.keeps {
		owned = m.last
	}
	own := group.Subscription{Topics: topics, Owned: owned, Generation: m.lastOf}
	m.topics, m.changing = topics, true
	m.mu.Unlock()
	begin := c.clock.Now()
	joined, err := m.coordinator.Join(ctx, group.JoinRequest{
		Group: m.group.ID(), MemberID: m.current().MemberID, InstanceID: config.InstanceID, ClientID: config.ClientID, Local: true,
		SessionTimeout: config.SessionTimeout, RebalanceTimeout: patience(config.RebalanceTimeout), ProtocolType: group.ProtocolTypeConsumer,
		Protocols: m.group.Protocols(own),
	})
	m.mu.Lock()
	if err == nil || errors.Is(err, group.ErrMemberIDRequired) {
		m.joined = joined
	}
	m.mu.Unlock()
	if err != nil {
		c.failedRebalances.Add(1)
		return nil, err
	}
	at := c.clock.Now()
	c.joinTime.Add(int64(at.Sub(begin)))
	sync := group.SyncRequest{Membership: joined.Membership, ProtocolType: joined.ProtocolType, Protocol: joined.Protocol}
	if joined.IsLeader() {
		if err := m.assign(ctx, joined, &sync); err != nil {
			return nil, err
		}
	}
	synced, err := m.coordinator.Sync(ctx, sync)
	if err != nil {
		c.failedRebalances.Add(1)
		return nil, err
	}
	end := c.clock.Now()
	c.syncingTime.Add(int64(end.Sub(at)))
	took := int64(end.Sub(begin))
	c.rebalanceTime.Add(took)
	c.maxRebalanceTime.Store(max(c.maxRebalanceTime.Load(), took))
	assignment, err := group.DecodeAssignment(synced.Assignment)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	m.last, m.lastOf = assignment.Partitions, joined.Generation
	m.mu.Unlock()
	return assignment.Partitions, nil
}

// assign does the leader's work. A static leader that has come back finds it done.
func (m *member) assign(ctx context.Context, joined group.JoinResult, sync *group.SyncRequest) error {
	partitions := make(map[string]int32)
	if !joined.SkipAssignment {
		var err error
		if sync.Assignments, partitions, err = m.group.Assign(ctx, joined); err != nil {
			return err
		}
	} else {
		d, err := m.coordinator.Describe(ctx, m.group.ID())
		if err != nil {
			return err
		}
		for _, other := range d.Members {
			if s, err := group.DecodeSubscription(other.Metadata); err == nil {
				for _, t := range s.Topics {
					partitions[t] += 0
				}
			}
			if a, err := group.DecodeAssignment(other.Assignment); err == nil {
				for _, tp := range a.Partitions {
					partitions[tp.Topic]++
				}
			}
		}
	}
	m.mu.Lock()
	m.partitions = partitions
	m.mu.Unlock()
	return nil
}
