package consumer

import (
	"context"
	"errors"
	"io"
	"math"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
)

// acknowledge finishes the record in hand.
func (c *Consumer) acknowledge() {
	if c.inHand {
		c.inHand = false
		c.hand.finish(c.handNext, c.handEpoch)
	}
}

// next returns the next record, waiting for it if wait is true; nil and no error if there is none at hand and wait is
// false; io.EOF when every bound is reached. The record is valid until the next call. A *log.CorruptionError that was
// passed (see skippable) does not end the iteration, any other error does. With wait, nothing may be in hand or lent.
func (c *Consumer) next(ctx context.Context, wait bool) (*chunk, *batch.Record, error) {
	for {
		if c.signals.Load() != 0 {
			if !wait {
				return nil, nil, nil // somebody may want the turn, and records are lent
			}
			if err := c.look(ctx); err != nil {
				return nil, nil, err
			}
		}
		for c.at < len(c.set.chunks) {
			k := &c.set.chunks[c.at]
			if k.version != k.cursor.version {
				c.tally(k.cursor)
				c.at++
				continue
			}
			r, err := k.next(&c.iterator, &c.aborted)
			if err != nil {
				c.tally(k.cursor)
				c.at++
				return nil, nil, c.corrupt(k, err)
			}
			if r == nil {
				k.cursor.pass(k.epoch)
				c.tally(k.cursor)
				c.at++
				continue
			}
			if k.cursor.until != noBound && r.Offset >= int64(k.cursor.until) {
				k.cursor.jump(k.cursor.until)
				continue
			}
			if c.holding && len(r.Headers) > 0 && c.hold(k.cursor, r) {
				continue
			}
			return k, r, nil
		}
		if err := c.refill(ctx, wait); err != nil || !wait && len(c.set.chunks) == 0 {
			return nil, nil, err
		}
	}
}

// corrupt makes the error of a batch that cannot be walked, and goes behind it if that is wanted.
func (c *Consumer) corrupt(k *chunk, cause error) error {
	next := k.damaged()
	return c.damage(k.cursor, &log.CorruptionError{
		Path: k.cursor.tp.String(), Offset: k.cursor.position, NextOffset: next, Err: cause,
	}, next)
}

// damage goes behind damaged records if that is wanted and possible, and returns err.
func (c *Consumer) damage(k *cursor, err error, next partition.Offset) error {
	if c.passed = c.config.OnCorruption == Skip && next > k.position; c.passed {
		k.jump(next)
		c.skipped.Add(1)
	} else {
		k.jump(k.position)
	}
	return err
}

// skippable reports whether err, of next, leaves the iteration going: damage that was gone behind, a lost tail that was
// left.
func (c *Consumer) skippable(err error) bool {
	if !c.passed {
		return false
	}
	_, corrupt := errors.AsType[*log.CorruptionError](err)
	return corrupt || errors.Is(err, ErrTruncated)
}

// refill brings the next set of chunks: the one that was read ahead, or one that is fetched now.
func (c *Consumer) refill(ctx context.Context, wait bool) error {
	if c.someLost {
		if err := c.tellTruncation(ctx); err != nil {
			return err
		}
	}
	if len(c.set.faults) == 0 {
		if err := c.bring(wait); err != nil {
			return err
		}
	}
	for len(c.set.faults) > 0 {
		if c.signals.Load() != 0 {
			return nil // a Seek may have come meanwhile: then the answer for where the cursor was means nothing
		}
		f := c.set.faults[0]
		c.set.faults = c.set.faults[1:]
		if f.version != f.cursor.version {
			continue
		}
		if err := c.handle(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// waitForRecord is a wait that ends with a record or a signal: the longest that Kafka has a number for.
const waitForRecord = math.MaxInt32 * time.Millisecond

func (c *Consumer) bring(wait bool) error {
	c.at = 0
	c.headers = nil
	asleep := c.life
	if f := c.ahead; f != nil {
		c.ahead = nil
		<-f.done // it does not wait for records, and ends with the consumer
		c.set, c.spare = f, c.set
	} else {
		f := c.set
		if !f.prepare(c.cursors, c.first, c.config.MaxPartitionBytes) {
			f.chunks, f.faults = f.chunks[:0], f.faults[:0]
			return c.idle(wait)
		}
		c.readsOn()
		maxWait := c.config.MaxWait
		if c.config.MinBytes == 1 {
			maxWait = waitForRecord
		}
		if !wait || f.atOnce {
			maxWait = 0
		}
		asleep = c.asleep()
		c.waiting.Store(true)
		c.run(asleep, f, c.config.MinBytes, c.config.MaxBytes, maxWait)
		c.waiting.Store(false)
	}
	f := c.set
	if err := f.err; err != nil {
		f.err = nil
		if asleep.Err() != nil && errors.Is(err, context.Canceled) {
			c.roused() // look says what it was
			return nil
		}
		return err
	}
	if len(f.chunks) == 0 && len(f.faults) == 0 && f.atOnce {
		f.nothing(c.config.Isolation)
	}
	if last := f.accept(); last >= 0 {
		c.first = last + 1 // so that one with much to read does not always come before the others
	}
	c.readAhead(f.bytes)
	return nil
}

func (c *Consumer) run(ctx context.Context, f *fetch, minBytes, maxBytes int, maxWait time.Duration) {
	begin := clock.Elapsed(c.clock)
	f.run(ctx, c.source, c.config.Isolation, minBytes, maxBytes, maxWait)
	took := int64(clock.Elapsed(c.clock) - begin)
	c.fetches.Add(1)
	c.fetchTime.Add(took)
	if took > c.maxFetchTime.Load() { // one fetch at a time
		c.maxFetchTime.Store(took)
	}
}

// readAheadFrom is how much a fetch must have brought for the next to be made in the background: a consumer that has
// caught up gains nothing by it.
const readAheadFrom = 64 << 10

func (c *Consumer) readAhead(got int) {
	if got < readAheadFrom || c.config.PrefetchBytes == NoPrefetch {
		return
	}
	f := c.spare
	if !f.prepare(c.cursors, c.first, c.config.MaxPartitionBytes) {
		return
	}
	f.done = make(chan struct{})
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.work.Add(1) // before Close waits: it has mu between
	}
	c.mu.Unlock()
	if closed {
		return
	}
	c.ahead = f
	go func() {
		defer c.work.Done()
		defer close(f.done)
		c.run(c.life, f, 1, c.config.PrefetchBytes, 0)
	}()
}

// idle is the wait of a consumer without anything to fetch: io.EOF if that is because every bound is reached.
func (c *Consumer) idle(wait bool) error {
	asleep := c.asleep()
	finished := c.member == nil || c.member.bounded() && !c.member.rebalancing()
	for _, k := range c.cursors {
		finished = finished && (k.done() || k.gone.Load())
	}
	if finished && c.member != nil {
		var err error
		if finished, err = c.member.finish(asleep, wait && c.workers.Load() == nil); err != nil && asleep.Err() == nil {
			return err
		}
	}
	if finished {
		return io.EOF
	}
	if !wait {
		return nil
	}
	c.waiting.Store(true)
	defer c.waiting.Store(false)
	if err := c.listen(asleep); err != nil {
		return err
	}
	<-asleep.Done() // a signal: resume, an assignment, the end
	c.roused()
	return nil
}

// listen waits with paused partitions for ctx, or for the source to say that it is closed: it asks for more of them than
// one fetch brings.
func (c *Consumer) listen(ctx context.Context) error {
	f := c.set
	f.positions = f.positions[:0]
	for _, k := range c.cursors {
		if k.paused && k.lost == nil && !k.gone.Load() {
			f.positions = append(f.positions, partition.FetchPosition{
				TopicPartition: k.tp, TopicID: k.id, Offset: k.fetch, LeaderEpoch: partition.LeaderEpochUnknown, MaxBytes: 1,
			})
		}
	}
	if len(f.positions) == 0 {
		return nil
	}
	results, err := c.source.Fetch(ctx, partition.FetchRequest{
		Partitions: f.positions, MinBytes: math.MaxInt32, MaxBytes: math.MaxInt32, MaxWait: waitForRecord, Reuse: f.results,
	})
	if err != nil && ctx.Err() == nil {
		return err
	}
	if err == nil {
		f.results = results
		for i := range results {
			results[i].Lease.Release()
		}
	}
	return nil
}
