package consumer

import (
	"context"
	"errors"
	"fmt"

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
	}
	return fmt.Errorf("fetch %s: %w", f.cursor.tp, f.err)
}

// reset gives a cursor without a valid position another one.
func (c *Consumer) reset(ctx context.Context, k *cursor, cause error) error {
	to := Earliest()
	switch c.config.Reset {
	case ResetLatest:
		to = Latest()
	case ResetNone:
		return fmt.Errorf("fetch %s: %w", k.tp, cause)
	}
	offset, err := to.resolve(ctx, c.source, k.tp)
	if err != nil {
		if c.member != nil && errors.Is(err, partition.ErrUnknownTopicOrPartition) {
			return nil // deleted just now: the next fetch meets it
		}
		return err
	}
	from := k.fetch
	k.begin(offset)
	if tell := c.config.Events.Reset; tell != nil {
		event(func() { tell(k.tp, from, offset) })
	}
	return nil
}

// follow looks what became of a topic. One that was created again is read from where Config.Reset says: nothing of the
// old one's offsets holds, also not a bound, so that a bounded iteration has no part in it. One that is gone ends an
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
		k.adopt(m.ID)
		return c.reset(ctx, k, cause)
	}
	if c.member == nil {
		return fmt.Errorf("fetch %s: %w", k.tp, cause)
	}
	k.begin(0)
	k.gone.Store(true)
	return nil
}
