package group

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/partlog/partlog/partition"
)

// Local coordinates groups on one node of a cluster: those in partitions of OffsetsTopic that the node leads. All others are ErrNotCoordinator. It is
// a Coordinators and a Coordinator as a store's own is, but for this:
//
//   - A partition comes by Lead and goes by Resign. Loading waits until the node knows that it has everything that was committed; requests wait for
//     it. What a group has on its way when its partition goes is answered with ErrNotCoordinator, and may have happened.
//   - Members of this process are members as any others: they have a session and send heartbeats, so that they go on with the next coordinator. They have
//     all their session from when it has loaded the group. Joins are to be repeated there.
//   - For want of space nothing is kept in memory: the commit fails.
type Local struct{ *coordinator }

// NewLocal returns a Local that coordinates nothing yet. b is the node's own store, which has to have the topic before Lead.
func NewLocal(b Backend, c CoordinatorConfig) (*Local, error) {
	shell, err := newCoordinator(b, c)
	if err != nil {
		return nil, err
	}
	shell.mu.Lock()
	shell.moves = true
	shell.mu.Unlock()
	return &Local{shell}, nil
}

// Lead begins to coordinate the groups of a partition, which this node leads in an epoch; the store is to know that first. The same epoch again
// changes nothing; a later one loads the partition anew. It does not wait.
func (l *Local) Lead(index int32, epoch partition.LeaderEpoch) {
	c := l.coordinator
	c.mu.Lock()
	defer c.release()
	before := c.partitions[index]
	if c.closing || before != nil && epoch <= before.epoch {
		return
	}
	if before == nil {
		before = c.left[index]
	} else {
		c.resignLocked(before)
	}
	delete(c.left, index)
	p := c.beginLocked(index)
	p.epoch, p.before = epoch, before
	p.life, p.end = context.WithCancel(c.life)
	c.count = 0 // the topic is there now, if it was not
	c.wg.Go(func() { c.lead(p) })
}

// Resign ends the coordination of the groups of a partition: whoever waits gets ErrNotCoordinator. It does not wait for what is being written;
// the next Lead does.
func (l *Local) Resign(index int32) {
	c := l.coordinator
	c.mu.Lock()
	defer c.release()
	if p := c.partitions[index]; p != nil && !c.closing {
		c.resignLocked(p)
		c.left[index] = p
	}
}

// Leads returns whether the groups of a partition are coordinated here, or are being loaded.
func (l *Local) Leads(index int32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.partitions[index] != nil
}

func (c *coordinator) resignLocked(p *offsetsPartition) {
	for _, g := range p.groups {
		c.stepLocked(g, stopEvent{ErrNotCoordinator})
		for k := range g.timers {
			g.stopTimer(k)
		}
	}
	for id, call := range c.calls { // of groups that had nothing else
		if call.in == p {
			delete(c.calls, id)
			call.answer <- answerEffect{call: id, err: ErrNotCoordinator}
		}
	}
	if p.tailRetry != nil {
		p.tailRetry()
		p.tailRetry = nil
	}
	p.gone, p.queue, p.txns, p.groups = true, nil, nil, make(map[string]*hosted)
	p.end()
	delete(c.partitions, p.index)
	select {
	case <-p.ready:
	default: // still loading
		p.err = ErrNotCoordinator
		close(p.ready)
	}
}

// The pauses between attempts to load a partition.
const (
	firstLoadRetry = 5 * time.Millisecond
	lastLoadRetry  = time.Second
)

// lead loads a partition, again and again until it works or the partition is gone.
func (c *coordinator) lead(p *offsetsPartition) {
	if p.before != nil {
		p.before.work.Wait() // a write of then must not come after what is read now
		p.before = nil
	}
	for pause := firstLoadRetry; ; pause = min(2*pause, lastLoadRetry) {
		started := c.config.Clock.Now()
		l, err := c.replay(p)
		c.mu.Lock()
		if p.gone {
			c.unlock()
			return
		}
		if err == nil || c.closing {
			if err != nil {
				p.err = fmt.Errorf("load %s-%d: %w", OffsetsTopic, p.index, partition.ErrClosed)
			} else {
				c.loadedLocked(p, l, started)
			}
			close(p.ready)
			c.unlock()
			return
		}
		if pause == lastLoadRetry {
			c.tellLocked(ReadFailedInfo{Partition: p.index, Err: err})
		}
		c.unlock()
		over := make(chan struct{})
		stop := c.config.Clock.AfterFunc(pause, func() { close(over) })
		select {
		case <-over:
		case <-p.life.Done():
			stop()
		}
	}
}

// complete is an error as long as the node may not have everything that was committed in earlier epochs.
func (l *loader) complete(ctx context.Context, tp partition.TopicPartition) error {
	if !l.c.moves {
		return nil
	}
	_, err := l.c.backend.ListOffsets(ctx, tp, partition.TimestampLatest)
	return err
}

// moved gives the log's errors the meaning that they have for who asks a coordinator, as Kafka's does.
func moved(err error) error {
	switch {
	case errors.Is(err, partition.ErrNotLeaderOrFollower), errors.Is(err, partition.ErrStorage):
		return fmt.Errorf("%w: %w", ErrNotCoordinator, err)
	case errors.Is(err, partition.ErrNotEnoughReplicas), errors.Is(err, partition.ErrNotEnoughReplicasAfterAppend),
		errors.Is(err, partition.ErrUnknownTopicOrPartition), errors.Is(err, partition.ErrTimeout):
		return fmt.Errorf("%w: %w", ErrCoordinatorNotAvailable, err)
	}
	return err
}
