package consumer

import (
	"context"
	"errors"
	"fmt"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// errNoGroup is a Commit of a consumer that Assign made.
var errNoGroup = errors.New("the consumer has no group")

// Commit commits what the loops have finished, now, and waits until it is durable. Members do it by themselves every
// Config.CommitInterval, at Close, and before a partition is revoked. Errors: group.ErrIllegalGeneration and
// group.ErrUnknownMemberID if the group has moved on (the next generation begins at the last commit),
// *group.CommitError, partition.ErrClosed, ctx's; an error for consumers without a group.
func (c *Consumer) Commit(ctx context.Context) error {
	if c.member == nil {
		return fmt.Errorf("commit: %w", errNoGroup)
	}
	return c.member.commit(ctx)
}

// commit commits what is finished and not yet committed of the current generation.
func (m *member) commit(ctx context.Context) error {
	m.commitMu.Lock()
	defer m.commitMu.Unlock()
	c := m.consumer
	c.mu.Lock()
	cursors := c.assigned
	c.mu.Unlock()
	m.mu.Lock()
	membership, left := m.joined.Membership, m.left
	m.mu.Unlock()
	if left {
		return nil
	}
	offsets := make(map[partition.TopicPartition]group.CommittedOffset)
	pending := make(map[*cursor]int64)
	for _, k := range cursors {
		finished := k.finished.Load()
		if finished < 0 || finished == k.committed.Load() || k.gone {
			continue
		}
		pending[k] = finished
		offsets[k.tp] = group.CommittedOffset{
			Offset: partition.Offset(finished), LeaderEpoch: partition.LeaderEpoch(k.epoch.Load()), TopicID: k.id,
		}
	}
	if len(offsets) == 0 {
		return nil
	}
	begin := c.clock.Now()
	err := m.coordinator.Commit(ctx, group.CommitRequest{Membership: membership, Offsets: offsets})
	c.commits.Add(1)
	c.commitTime.Add(int64(c.clock.Now().Sub(begin)))
	if err != nil {
		c.commitErrors.Add(1)
	}
	refused, partial := errors.AsType[*group.CommitError](err)
	for k, offset := range pending {
		if err == nil || partial && refused.Partitions[k.tp] == nil {
			k.committed.Store(offset)
		}
	}
	if tell := c.config.Events.Committed; tell != nil {
		tell(offsets, err)
	}
	return err
}

// generationOver reports whether a commit came too late: its partitions belong to others.
func generationOver(err error) bool {
	return errors.Is(err, group.ErrIllegalGeneration) || errors.Is(err, group.ErrUnknownMemberID) || errors.Is(err, group.ErrRebalanceInProgress)
}
