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

// Commit commits what the loops have finished, now, and waits until it is durable (commitSync). With CommitFinished,
// members do it by themselves every Config.CommitInterval, at Close, and before a partition is revoked. While a rebalance
// is under way in which the member keeps its partitions, it waits for the new generation. Errors:
// group.ErrIllegalGeneration and group.ErrUnknownMemberID if the group has moved on without the member (whoever has the
// partitions now begins at the last commit), *group.CommitError, ErrClosed, *ExpelledError, ctx's (the offsets may have
// been committed); an error for consumers without a group, or with Config.Start.
func (c *Consumer) Commit(ctx context.Context) error { return c.CommitOffsets(ctx, nil) }

// CommitOffsets commits these offsets, with their metadata and leader epochs, whatever the loops have finished; nil means
// what Commit commits. An offset is that of the next record to read. Other errors than those of Commit:
// partition.ErrUnknownTopicOrPartition if a partition is not assigned (then nothing is committed),
// group.ErrOffsetMetadataTooLarge in a *group.CommitError, group.ErrInvalidCommitOffsetSize (nothing is committed; commit fewer
// partitions at a time).
func (c *Consumer) CommitOffsets(ctx context.Context, offsets map[partition.TopicPartition]group.CommittedOffset) error {
	if err := c.committable(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return c.member.commitSettled(ctx, offsets)
}

// CommitRecord commits that the record, and all before it in its partition, are finished, with metadata of the caller's (at
// most 4096 bytes, unless the coordinator is configured otherwise) and the record's leader epoch. Errors are those of
// CommitOffsets.
func (c *Consumer) CommitRecord(ctx context.Context, r Record, metadata string) error {
	return c.CommitOffsets(ctx, map[partition.TopicPartition]group.CommittedOffset{
		{Topic: r.Topic, Partition: r.Partition}: {Offset: r.Offset + 1, LeaderEpoch: r.LeaderEpoch, Metadata: metadata},
	})
}

// committable returns why the consumer cannot commit, if so.
func (c *Consumer) committable() error {
	switch {
	case c.member == nil:
		return errNoGroup
	case c.config.Start != nil:
		return errHostOffsets
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed && !c.departing {
		return ErrClosed
	}
	return c.failure
}

// request is one commit.
type request struct {
	group.CommitRequest
	cursors []*cursor // of its offsets
}

// request makes a commit of these offsets, or of what is finished and not yet committed if there are none, as of now.
func (m *member) request(offsets map[partition.TopicPartition]group.CommittedOffset) (request, error) {
	c := m.consumer
	c.sweepWork()
	c.mu.Lock()
	// Invariant: these two are of one generation. An old generation's offsets under the next one's name would be
	// accepted, although another member has the partition.
	cursors, membership := c.assigned, c.membership
	c.mu.Unlock()
	r := request{CommitRequest: group.CommitRequest{Membership: membership, Offsets: make(map[partition.TopicPartition]group.CommittedOffset)}}
	for tp, o := range offsets {
		k := findCursor(cursors, tp)
		if k == nil {
			return request{}, fmt.Errorf("commit: %s is not assigned: %w", tp, partition.ErrUnknownTopicOrPartition)
		}
		if o.TopicID.IsZero() {
			_, _, o.TopicID = k.ledger()
		}
		r.cursors = append(r.cursors, k)
		r.Offsets[tp] = o
	}
	if offsets != nil {
		return r, nil
	}
	for _, k := range cursors {
		finished, epoch, id := k.ledger()
		if finished < 0 || int64(finished) == k.committed.Load() || k.gone.Load() {
			continue
		}
		r.cursors = append(r.cursors, k)
		r.Offsets[k.tp] = group.CommittedOffset{Offset: finished, LeaderEpoch: epoch, TopicID: id}
	}
	return r, nil
}

// commit makes one commit, of these offsets or of what is finished.
func (m *member) commit(ctx context.Context, offsets map[partition.TopicPartition]group.CommittedOffset) error {
	if err := m.commitTurn(ctx); err != nil {
		return err
	}
	r, err := m.request(offsets)
	if err == nil {
		err = m.send(ctx, &r)
	}
	<-m.commits
	m.tellCommitted(&r, err)
	return err
}

// commitTurn waits until no other commit is under way, so that offsets do not go back.
func (m *member) commitTurn(ctx context.Context) error {
	select {
	case m.commits <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("commit: %w", ctx.Err())
	}
}

// send makes a commit whose turn it is.
func (m *member) send(ctx context.Context, r *request) error {
	if len(r.cursors) == 0 {
		return nil
	}
	c := m.consumer
	begin := c.clock.Now()
	err := m.coordinator.Commit(ctx, r.CommitRequest)
	took := int64(c.clock.Now().Sub(begin))
	if generationOver(err) && m.entering() != nil {
		return err // it comes again with the new generation
	}
	c.commits.Add(1)
	c.commitTime.Add(took)
	c.maxCommitTime.Store(max(c.maxCommitTime.Load(), took)) // one commit at a time
	if err != nil {
		c.commitErrors.Add(1)
	}
	refused, partial := errors.AsType[*group.CommitError](err)
	for _, k := range r.cursors {
		if err == nil || partial && refused.Partitions[k.tp] == nil {
			k.commit(r.Offsets[k.tp].Offset)
		}
	}
	m.unsettle()
	return err
}

// tellCommitted tells the event of a commit that was tried.
func (m *member) tellCommitted(r *request, err error) {
	if generationOver(err) && m.entering() != nil {
		return
	}
	if tell := m.consumer.config.Events.Committed; tell != nil && len(r.Offsets) > 0 {
		event(func() { tell(r.Offsets, err) })
	}
}

// commitSettled is a commit that does not fail because the member, which keeps its partitions, is about to enter the next
// generation: it waits for that.
func (m *member) commitSettled(ctx context.Context, offsets map[partition.TopicPartition]group.CommittedOffset) error {
	for {
		c := m.consumer
		c.mu.Lock()
		before, had := c.membership, c.assigned
		c.mu.Unlock()
		entering := m.entering()
		err := m.commit(ctx, offsets)
		if !generationOver(err) {
			return err
		}
		if entering == nil {
			entering = m.entering()
		}
		if entering != nil {
			select {
			case <-entering:
			case <-ctx.Done():
				return err
			}
		}
		c.mu.Lock()
		over := c.membership == before // the group has moved on without us
		for tp := range offsets {
			// A partition that has been away and is back may have been read further by another member.
			over = over || findCursor(c.assigned, tp) != findCursor(had, tp)
		}
		c.mu.Unlock()
		if over {
			return err
		}
	}
}

// generationOver reports whether a commit came too late: its partitions belong to others.
func generationOver(err error) bool {
	return errors.Is(err, group.ErrIllegalGeneration) || errors.Is(err, group.ErrUnknownMemberID) || errors.Is(err, group.ErrRebalanceInProgress)
}
