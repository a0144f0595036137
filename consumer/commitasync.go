package consumer

import (
	"fmt"
	"slices"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// asyncCommit is a CommitAsync that waits to be made.
type asyncCommit struct {
	request
	done func(map[partition.TopicPartition]group.CommittedOffset, error)
}

// CommitAsync begins to commit these offsets, or what loops have finished by now if offsets is nil, and does not wait
// (commitAsync). Commits are made in the order of the calls, and done, which may be nil, is called after each, in that
// order, on a goroutine of the consumer's; what it waits for, later commits wait for. Nothing is tried again: an older
// commit that came after a newer one would take it back. Close waits for them. An error is returned, and done is not
// called, for the reasons for which CommitOffsets commits nothing.
func (c *Consumer) CommitAsync(offsets map[partition.TopicPartition]group.CommittedOffset, done func(map[partition.TopicPartition]group.CommittedOffset, error)) error {
	if err := c.committable(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	r, err := c.member.request(offsets)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return fmt.Errorf("commit: %w", ErrClosed)
	}
	c.async = append(c.async, asyncCommit{r, done})
	if len(c.async) == 1 {
		c.committing.Add(1) // before Close waits: it has mu between
		go c.commitQueued()
	}
	return nil
}

// commitQueued makes the commits that wait, until there is none.
func (c *Consumer) commitQueued() {
	defer c.committing.Done()
	for {
		c.mu.Lock()
		next := c.async[0]
		c.mu.Unlock()
		m := c.member
		err := m.commitTurn(c.life)
		if err == nil {
			m.renew(&next.request)
			err = m.send(c.life, &next.request)
			<-m.commits
		}
		m.tellCommitted(&next.request, err)
		if next.done != nil {
			event(func() { next.done(next.Offsets, err) })
		}
		c.mu.Lock()
		c.async = c.async[1:]
		over := len(c.async) == 0
		c.mu.Unlock()
		if over {
			return
		}
	}
}

// renew makes a commit one of the present generation, if the member still has all of its partitions.
func (m *member) renew(r *request) {
	c := m.consumer
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range r.cursors {
		if !slices.Contains(c.assigned, k) {
			return
		}
	}
	r.Membership = c.membership
}
