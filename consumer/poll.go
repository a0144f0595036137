package consumer

import (
	"context"
	"slices"

	"github.com/partlog/partlog/internal/clock"
)

// Poll returns the next records, at least one and at most Config.MaxPollRecords, and waits until there is one. Calling
// it again, or beginning a loop, acknowledges the records of the call before; until then a rebalance waits, as it does
// for a loop body, and if that takes longer than max.poll.interval the member is expelled. io.EOF says that every bound
// is reached; other errors are those of Records. With Config.OnCorruption Skip, a call after a *log.CorruptionError goes
// on, and unless Reset is ResetNone one after a *TruncationError. If an interceptor panics, nothing counts as returned.
func (c *Consumer) Poll(ctx context.Context) ([]Record, error) {
	called := clock.Elapsed(c.clock)
	stop, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	c.pollBegins(called)
	lent := false
	defer func() {
		c.pollEnds()
		clear(c.polled)
		c.polled = c.polled[:0]
		if lent {
			c.pause(stop)
			return
		}
		if c.held { // else it was lost in a look, when nothing was lent
			c.takeBack()
		}
		c.finish(stop)
	}()
	for len(c.polled) < c.config.MaxPollRecords {
		k, r, err := c.next(ctx, len(c.polled) == 0)
		if err != nil && len(c.polled) == 0 {
			return nil, err
		}
		if err != nil {
			if c.skippable(err) {
				c.late = err // for what comes next: told once, and told. Any other error is met again.
			}
			break
		}
		if r == nil {
			break
		}
		var rec Record
		c.give(k, r, &rec)
		c.lend(k.cursor, &rec)
		c.intercept(&rec)
		c.polled = append(c.polled, rec)
	}
	lent = true
	return slices.Clone(c.polled), nil
}

// lend notes that Poll gives a record away.
func (c *Consumer) lend(k *cursor, r *Record) {
	if k.lentNext < 0 {
		k.lentFrom = r.Offset
		c.lent = append(c.lent, k)
	}
	k.lentNext, k.lentEpoch = r.Offset+1, r.LeaderEpoch
}

// finishLent acknowledges what the Poll before returned.
func (c *Consumer) finishLent() {
	for _, k := range c.lent {
		if k.lentNext >= 0 {
			k.finish(k.lentNext, k.lentEpoch)
			k.lentFrom, k.lentNext = -1, -1
		}
	}
	c.lent = c.lent[:0]
}

// takeBack undoes what a Poll that returns no records has lent.
func (c *Consumer) takeBack() {
	for _, k := range c.lent {
		if k.lentFrom >= 0 {
			k.jump(k.lentFrom)
			k.lentFrom, k.lentNext = -1, -1
		}
	}
	c.lent = c.lent[:0]
}
