package consumer

import (
	"context"
	"fmt"
	"slices"

	"github.com/partlog/partlog/partition"
)

// command is what another goroutine, or the loop body, wants of the loop: done before its next record.
type command struct {
	tp   partition.TopicPartition
	kind commandKind
	to   Position
}

type commandKind uint8

const (
	pause commandKind = iota
	resume
	seek
	rouse
)

// Pause stops reading these partitions, from the loop's next step on, until Resume. They stay assigned; the others go
// on. What was read ahead of them is read again then. It ends when the assignment is lost. The error is
// partition.ErrUnknownTopicOrPartition for one that is not assigned, and then nothing is paused; or ErrClosed.
func (c *Consumer) Pause(tps ...partition.TopicPartition) error {
	return c.order(pause, Position{}, tps)
}

// Resume reads paused partitions again. Errors as for Pause.
func (c *Consumer) Resume(tps ...partition.TopicPartition) error {
	return c.order(resume, Position{}, tps)
}

// Seek goes to another place in a partition: the loop's next record of it comes from there. What was read ahead is
// dropped. In a group, what follows is committed from there on; it ends when the assignment is lost. One made with
// Position.Epoch is checked against a lost tail. An offset that is
// out of range is for Config.Reset to decide, but a negative one is partition.ErrOffsetOutOfRange. Other errors as for
// Pause.
func (c *Consumer) Seek(tp partition.TopicPartition, to Position) error {
	if err := to.check(tp); err != nil {
		return err
	}
	return c.order(seek, to, []partition.TopicPartition{tp})
}

func (c *Consumer) order(kind commandKind, to Position, tps []partition.TopicPartition) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return fmt.Errorf("consumer: %w", ErrClosed)
	}
	for _, tp := range tps {
		if findCursor(c.assigned, tp) == nil {
			c.mu.Unlock()
			return fmt.Errorf("%s is not assigned: %w", tp, partition.ErrUnknownTopicOrPartition)
		}
	}
	for _, tp := range tps {
		c.commands = append(c.commands, command{tp: tp, kind: kind, to: to})
	}
	c.mu.Unlock()
	c.signal()
	return nil
}

func findCursor(cursors []*cursor, tp partition.TopicPartition) *cursor {
	for _, k := range cursors {
		if k.tp == tp {
			return k
		}
	}
	return nil
}

// obey carries the commands out. What could not be done is tried again by the next loop. The caller has the turn, and
// nothing is in hand.
func (c *Consumer) obey(ctx context.Context, commands []command) error {
	for i, k := range commands {
		cursor := findCursor(c.cursors, k.tp)
		if cursor == nil {
			continue // lost since
		}
		switch k.kind {
		case pause:
			cursor.paused = true
			cursor.jump(cursor.position)
		case resume:
			cursor.paused = false
		case rouse:
			cursor.wakeAt(partition.Offset(k.to.at))
		case seek:
			if err := c.seek(ctx, cursor, k.to); err != nil {
				c.mu.Lock()
				c.commands = slices.Concat(commands[i:], c.commands)
				c.mu.Unlock()
				return err
			}
		}
	}
	return nil
}

// seek moves a cursor. The caller has the turn.
func (c *Consumer) seek(ctx context.Context, k *cursor, to Position) error {
	offset, err := to.resolve(ctx, c.source, k.tp, c.config.Isolation)
	if err != nil {
		return err
	}
	lost, err := validate(ctx, c.source, k.tp, offset, to.leaderEpoch(), k.leader)
	if err != nil {
		return err
	}
	k.detach(true)
	k.begin(offset)
	k.read, k.lost = to.leaderEpoch(), lost
	c.someLost = c.someLost || lost != nil
	return nil
}

// rewind goes back to what is committed, or to where reading began if that is newer. The caller has the turn, and nothing
// is in hand.
func (c *Consumer) rewind() {
	for _, k := range c.cursors {
		if base := partition.Offset(k.base.Load()); base != k.position && k.lost == nil {
			k.detach(true)
			k.begin(base)
		}
	}
}
