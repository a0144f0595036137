package consumer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
)

// begin takes the turn for a loop; end gives it back. stop is called when ctx is done, to end a wait.
func (c *Consumer) begin(ctx context.Context) (stop func() bool, err error) {
	if !c.looping.CompareAndSwap(false, true) {
		return nil, ErrConcurrentUse
	}
	if err := c.take(ctx); err != nil {
		c.looping.Store(false)
		return nil, err
	}
	c.signals.Or(changed) // a failure or a Close before this loop ends it as well
	c.settle()
	c.finishPoll()
	return context.AfterFunc(ctx, c.signal), nil
}

func (c *Consumer) finish(stop func() bool) {
	stop()
	c.release()
	c.looping.Store(false)
}

// release gives the turn up. A record that the loop body did not come back from is not acknowledged: it is yielded
// again by the next loop.
func (c *Consumer) release() {
	if !c.held {
		return
	}
	if k := c.hand; k != nil {
		c.hand = nil
		k.jump(c.handFrom)
	}
	c.held = false
	c.returnTurn()
}

// take waits for the turn.
func (c *Consumer) take(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		c.held = true
	case <-ctx.Done():
		return ctx.Err()
	case <-c.life.Done():
		return fmt.Errorf("consumer: %w", ErrClosed)
	}
	return nil
}

// look lets others have the turn and does what they asked for. It returns why the loop must end, if it must.
func (c *Consumer) look(ctx context.Context) error {
	for c.signals.Load() >= 2 { // others wait for the turn: the channel hands it over in order
		c.held = false
		c.returnTurn()
		runtime.Gosched()
		if err := c.take(ctx); err != nil {
			return err
		}
	}
	c.signals.And(^uint32(changed))
	c.mu.Lock()
	commands := c.commands
	c.commands = nil
	closed, failure := c.closed, c.failure
	if c.wait.Err() != nil && c.life.Err() == nil {
		c.wait, c.wake = context.WithCancel(c.life)
	}
	c.mu.Unlock()
	switch {
	case failure != nil:
		return failure
	case closed:
		return fmt.Errorf("consumer: %w", ErrClosed)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return c.obey(commands)
}

// acknowledge finishes the record in hand.
func (c *Consumer) acknowledge() {
	if k := c.hand; k != nil {
		k.finished.Store(int64(c.handNext))
		c.hand = nil
	}
}

// next returns the next record, waiting for it if wait is true; nil and no error if there is none at hand and wait is
// false; io.EOF when every bound is reached. The record is valid until the next call. A *log.CorruptionError with
// Config.OnCorruption Skip does not end the iteration, any other error does.
func (c *Consumer) next(ctx context.Context, wait bool) (*cursor, *batch.Record, error) {
	for {
		if c.signals.Load() != 0 {
			if err := c.look(ctx); err != nil {
				return nil, nil, err
			}
		}
		for c.at < len(c.set.chunks) {
			k := &c.set.chunks[c.at]
			if k.version != k.cursor.version {
				c.at++
				continue
			}
			r, err := k.next(&c.iterator)
			if err != nil {
				c.at++
				return nil, nil, c.corrupt(k, err)
			}
			if r == nil {
				c.tally(k.cursor)
				c.at++
				continue
			}
			if k.cursor.until != noBound && r.Offset >= int64(k.cursor.until) {
				k.cursor.jump(k.cursor.until)
				continue
			}
			return k.cursor, r, nil
		}
		if err := c.refill(ctx, wait); err != nil || !wait && len(c.set.chunks) == 0 {
			return nil, nil, err
		}
	}
}

// corrupt makes the error of a batch that cannot be walked, and goes behind it if that is wanted.
func (c *Consumer) corrupt(k *chunk, cause error) error {
	next := partition.Offset(k.current.NextOffset())
	return c.damage(k.cursor, &log.CorruptionError{
		Path: k.cursor.tp.String(), Offset: k.cursor.position, NextOffset: next, Err: cause,
	}, next)
}

func (c *Consumer) damage(k *cursor, err error, next partition.Offset) error {
	if c.config.OnCorruption == Skip && next > k.position {
		k.jump(next)
		c.skipped.Add(1)
	} else {
		k.jump(k.position)
	}
	return err
}

// skippable reports whether err, of next, leaves the iteration going.
func (c *Consumer) skippable(err error) bool {
	if c.config.OnCorruption != Skip {
		return false
	}
	_, ok := errors.AsType[*log.CorruptionError](err)
	return ok
}

// refill brings the next set of chunks: the one that was read ahead, or one that is fetched now.
func (c *Consumer) refill(ctx context.Context, wait bool) error {
	if len(c.set.faults) == 0 {
		if err := c.bring(wait); err != nil {
			return err
		}
	}
	for len(c.set.faults) > 0 {
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

// waitForRecord is a wait that ends with a record or a signal.
const waitForRecord = time.Hour

func (c *Consumer) bring(wait bool) error {
	c.at = 0
	if f := c.ahead; f != nil {
		c.ahead = nil
		<-f.done // it does not wait for records, and ends with the consumer
		c.set, c.spare = f, c.set
	} else {
		f := c.set
		if !f.prepare(c.cursors, c.rotation, c.config.MaxPartitionBytes) {
			f.chunks, f.faults = f.chunks[:0], f.faults[:0]
			return c.idle(wait)
		}
		c.rotation++
		maxWait := c.config.MaxWait
		if c.config.MinBytes == 1 {
			maxWait = waitForRecord
		}
		if !wait {
			maxWait = 0
		}
		c.mu.Lock()
		ctx := c.wait
		c.mu.Unlock()
		c.waiting.Store(true)
		c.run(ctx, f, c.config.MinBytes, c.config.MaxBytes, maxWait)
		c.waiting.Store(false)
	}
	f := c.set
	if err := f.err; err != nil {
		f.err = nil
		if c.signals.Load() != 0 && errors.Is(err, context.Canceled) {
			return nil // look says what it was
		}
		return err
	}
	f.accept()
	c.readAhead(f.bytes)
	return nil
}

func (c *Consumer) run(ctx context.Context, f *fetch, minBytes, maxBytes int, maxWait time.Duration) {
	begin := c.clock.Now()
	f.run(ctx, c.source, minBytes, maxBytes, maxWait)
	took := int64(c.clock.Now().Sub(begin))
	c.fetches.Add(1)
	c.fetchTime.Add(took)
	if took > c.maxFetchTime.Load() {
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
	if !f.prepare(c.cursors, c.rotation, c.config.MaxPartitionBytes) {
		return
	}
	c.rotation++
	f.done = make(chan struct{})
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.work.Add(1)
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
	bounded := c.member == nil || c.member.bounded()
	finished := bounded && (c.member == nil || !c.member.rebalancing())
	for _, k := range c.cursors {
		finished = finished && (k.done() || k.gone)
	}
	if finished {
		return io.EOF
	}
	if !wait {
		return nil
	}
	c.mu.Lock()
	ctx := c.wait
	c.mu.Unlock()
	c.waiting.Store(true)
	<-ctx.Done() // a signal: resume, an assignment, the end
	c.waiting.Store(false)
	return nil
}
