package consumer

import (
	"errors"
	"fmt"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// txnOffset is an offset that a transaction was given.
type txnOffset struct {
	cursor *cursor
	offset partition.Offset
}

var (
	errCommitsItself = errors.New("the consumer commits by itself: Config.Commit must be CommitManual")
	errHostOffsets   = errors.New("the host keeps the offsets: Config.Start")
)

// TxnOffsets returns what a transaction has to commit so that it reads as processed what the consumer has yielded: for
// each partition the offset behind the last record, that in a loop body's hand and those of the last Poll included, with the
// membership that proves the right to it (producer.Tx.CommitOffsets calls it; sendOffsetsToTransaction, KIP-447). Only
// on the goroutine that reads the consumer. Errors: group.ErrIllegalGeneration if records of a partition were yielded that
// was revoked before they were committed, so that the transaction must be aborted; ErrClosed, *ExpelledError; an error
// without a group, with Config.Start, or unless Config.Commit is CommitManual.
func (c *Consumer) TxnOffsets() (*group.ConsumerGroup, group.Membership, map[partition.TopicPartition]group.CommittedOffset, error) {
	err := c.committable()
	if err == nil && c.config.Commit != CommitManual {
		err = errCommitsItself
	}
	if err != nil {
		return nil, group.Membership{}, nil, fmt.Errorf("offsets for a transaction: %w", err)
	}
	c.sweepWork()
	c.mu.Lock()
	cursors, membership, broken := c.assigned, c.membership, c.broken
	c.mu.Unlock()
	if broken {
		return nil, group.Membership{}, nil, fmt.Errorf("offsets for a transaction: %w: partitions whose records it read were revoked", group.ErrIllegalGeneration)
	}
	offsets := make(map[partition.TopicPartition]group.CommittedOffset)
	var sent []txnOffset
	for _, k := range cursors {
		next, epoch := c.yielded(k)
		if next < 0 || int64(next) == k.committed.Load() || k.gone.Load() {
			continue
		}
		_, _, id := k.ledger()
		offsets[k.tp] = group.CommittedOffset{Offset: next, LeaderEpoch: epoch, TopicID: id}
		sent = append(sent, txnOffset{k, next})
	}
	c.mu.Lock()
	c.sent = sent
	c.mu.Unlock()
	return c.member.group, membership, offsets, nil
}

// yielded returns the offset behind the last record that was yielded of a cursor, −1 if none was. The caller reads the
// consumer.
func (c *Consumer) yielded(k *cursor) (partition.Offset, partition.LeaderEpoch) {
	switch {
	case c.inHand && c.hand == k:
		return c.handNext, c.handEpoch
	case k.lentNext >= 0:
		return k.lentNext, k.lentEpoch
	case c.borrowed != nil && !c.borrowed.released && c.borrowed.cursor == k:
		return c.borrowed.next, c.borrowed.epoch
	}
	next, epoch, _ := k.ledger()
	return next, epoch
}

// TxnEnded tells how the transaction ended that was given TxnOffsets. What it has committed is acknowledged. After an abort the consumer goes back to what was
// last committed, at the loop's next step: the records are yielded again. Safe for concurrent use.
func (c *Consumer) TxnEnded(committed bool) {
	c.mu.Lock()
	sent := c.sent
	c.sent, c.broken = nil, false
	c.rewound = c.rewound || !committed
	c.mu.Unlock()
	if !committed {
		c.signal()
		return
	}
	for _, s := range sent {
		s.cursor.commit(s.offset)
	}
	if c.member != nil {
		c.member.unsettle()
	}
}

// wasSent reports whether the transaction under way has this offset of a cursor.
func (c *Consumer) wasSent(k *cursor, finished int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sent {
		if s.cursor == k {
			return int64(s.offset) == finished
		}
	}
	return false
}
