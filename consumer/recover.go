package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
)

// handle does what a partition's error asks for: reset, go on behind the damage, follow a topic that was created again.
// What it returns ends the iteration, but for skipped damage.
func (c *Consumer) handle(ctx context.Context, f fault) error {
	if _, ok := errors.AsType[*log.CorruptionError](f.err); ok {
		return c.damage(f.cursor, f.err, f.next)
	}
	switch {
	case errors.Is(f.err, partition.ErrOffsetOutOfRange):
		return c.reset(ctx, f.cursor, f.err)
	case errors.Is(f.err, partition.ErrUnknownTopicID), errors.Is(f.err, partition.ErrUnknownTopicOrPartition):
		return c.follow(ctx, f.cursor, f.err)
	case errors.Is(f.err, partition.ErrFencedLeaderEpoch), errors.Is(f.err, partition.ErrUnknownLeaderEpoch):
		return c.newLeader(ctx, f.cursor, f.err)
	}
	return fmt.Errorf("fetch %s: %w", f.cursor.tp, f.err)
}

// resetTo is where Reset goes to; not for ResetNone.
func (c Config) resetTo(now time.Time) Position {
	switch c.Reset {
	case ResetLatest:
		return Latest()
	case ResetByDuration:
		return AtTime(now.Add(-c.ResetDuration))
	}
	return Earliest()
}

// reset gives a cursor without a valid position another one.
func (c *Consumer) reset(ctx context.Context, k *cursor, cause error) error {
	if c.config.Reset == ResetNone {
		return fmt.Errorf("fetch %s: %w", k.tp, cause)
	}
	return c.resetAt(ctx, k, c.config.resetTo(c.clock.Now()), cause)
}

func (c *Consumer) resetAt(ctx context.Context, k *cursor, to Position, cause error) error {
	offset, err := to.resolve(ctx, c.source, k.tp, c.config.Isolation)
	if err != nil {
		if c.member != nil && errors.Is(err, partition.ErrUnknownTopicOrPartition) {
			return nil // deleted just now: the next fetch meets it
		}
		return err
	}
	from := k.fetch
	k.begin(offset)
	c.tellReset(k.tp, from, offset, cause)
	return nil
}

func (c *Consumer) tellReset(tp partition.TopicPartition, from, to partition.Offset, cause error) {
	c.resets.Add(1)
	if tell := c.config.Events.Reset; tell != nil {
		event(func() { tell(tp, from, to, cause) })
	}
}

// follow looks what became of a topic. One that was created again is read from its first record: nothing of the old
// one's offsets holds, also not a bound, so that a bounded iteration has no part in it. One that is gone ends an
// assignment's iteration; a group's member stops reading it until it is assigned anew.
func (c *Consumer) follow(ctx context.Context, k *cursor, cause error) error {
	metadata, err := c.source.Metadata(ctx, []string{k.tp.Topic})
	if err != nil {
		return err
	}
	m, err := topicOf(metadata, k.tp)
	if err == nil && m.ID == k.id {
		return fmt.Errorf("fetch %s: %w", k.tp, cause)
	}
	if err == nil && k.until == noBound {
		if c.config.Reset == ResetNone {
			return fmt.Errorf("fetch %s: %w", k.tp, cause)
		}
		k.adopt(m.ID)
		k.leader = m.Partitions[k.tp.Partition].LeaderEpoch
		return c.resetAt(ctx, k, Earliest(), cause)
	}
	if c.member == nil {
		return fmt.Errorf("fetch %s: %w", k.tp, cause)
	}
	k.begin(0)
	k.gone.Store(true)
	return nil
}
