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
// *group.CommitError, ErrClosed, *ExpelledError, ctx's (the offsets may have been committed); an error for consumers
// without a group.
func (c *Consumer) Commit(ctx context.Context) error {
	if c.member == nil {
		return fmt.Errorf("commit: %w", errNoGroup)
	}
	c.mu.Lock()
	closed, failure := c.closed, c.failure
	c.mu.Unlock()
	switch {
	case closed:
		return fmt.Errorf("commit: %w", ErrClosed)
	case failure != nil:
		return fmt.Errorf("commit: %w", failure)
	}
	return c.member.commit(ctx)
}

// pending is what a commit carries of one cursor.
type pending struct {
	cursor *cursor
	offset partition.Offset
}

// commit commits what is finished and not yet committed of the current generation.
func (m *member) commit(ctx context.Context) error {
	select { // one at a time, so that offsets do not go back
	case m.commits <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("commit: %w", ctx.Err())
	}
	offsets, err := m.commitFinished(ctx)
	<-m.commits
	if tell := m.consumer.config.Events.Committed; tell != nil && len(offsets) > 0 {
		event(func() { tell(offsets, err) })
	}
	return err
}

func (m *member) commitFinished(ctx context.Context) (map[partition.TopicPartition]group.CommittedOffset, error) {
	c := m.consumer
	c.mu.Lock()
	// Invariant: these two are of one generation. An old generation's offsets under the next one's name would be
	// accepted, although another member has the partition.
	cursors, membership := c.assigned, c.membership
	c.mu.Unlock()
	offsets := make(map[partition.TopicPartition]group.CommittedOffset)
	var tried []pending
	for _, k := range cursors {
		finished, epoch, id := k.ledger()
		if finished < 0 || int64(finished) == k.committed.Load() || k.gone.Load() {
			continue
		}
		tried = append(tried, pending{k, finished})
		offsets[k.tp] = group.CommittedOffset{Offset: finished, LeaderEpoch: epoch, TopicID: id}
	}
	if len(tried) == 0 {
		return nil, nil
	}
	begin := c.clock.Now()
	err := m.coordinator.Commit(ctx, group.CommitRequest{Membership: membership, Offsets: offsets})
	c.commits.Add(1)
	c.commitTime.Add(int64(c.clock.Now().Sub(begin)))
	if err != nil {
		c.commitErrors.Add(1)
	}
	refused, partial := errors.AsType[*group.CommitError](err)
	for _, p := range tried {
		if err == nil || partial && refused.Partitions[p.cursor.tp] == nil {
			p.cursor.committed.Store(int64(p.offset))
		}
	}
	return offsets, err
}

// generationOver reports whether a commit came too late: its partitions belong to others.
func generationOver(err error) bool {
	return errors.Is(err, group.ErrIllegalGeneration) || errors.Is(err, group.ErrUnknownMemberID) || errors.Is(err, group.ErrRebalanceInProgress)
}
