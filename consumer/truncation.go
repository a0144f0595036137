package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/partlog/partlog/partition"
)

// ErrTruncated is a position behind a tail that the partition has lost. See *TruncationError.
var ErrTruncated = errors.New("log truncation: records that were read are not there any more")

// TruncationError says that a partition has lost records that had been read: after a power loss in a mode weaker than
// SyncAlways, or when a leader without them took over. Other records may have taken their offsets, so that going on at the
// position would skip those (KIP-320; Kafka's LogTruncationException). It is ErrTruncated.
//
// With ResetNone it is the last pair of every loop until a Seek. Otherwise it is per-record: it is yielded once, and
// reading goes on at DivergedAt, or where Reset says if that is not known; that place is what is committed next.
type TruncationError struct {
	partition.TopicPartition
	Position   partition.Offset      // where reading was to go on
	Epoch      partition.LeaderEpoch // of the last record read before it
	DivergedAt partition.Offset      // the first offset whose record is not the one that was read; −1 if not known
	// DivergedEpoch is the leader epoch of the record before DivergedAt, partition.LeaderEpochUnknown if not known.
	DivergedEpoch partition.LeaderEpoch
}

// Error names the partition and the offsets.
func (e *TruncationError) Error() string {
	return fmt.Sprintf("%s lost the records before the position %d, of leader epoch %d: its log diverges at offset %d", e.TopicPartition, e.Position, e.Epoch, e.DivergedAt)
}

// Is reports whether target is ErrTruncated.
func (e *TruncationError) Is(target error) bool { return target == ErrTruncated }

// validate asks whether the record before offset, of this epoch, is still where it was. leader is the partition's
// leader epoch: while it is still the record's, nothing can have been lost.
func validate(ctx context.Context, s Source, tp partition.TopicPartition, offset partition.Offset, epoch, leader partition.LeaderEpoch) (*TruncationError, error) {
	if epoch < 0 || epoch == leader {
		return nil, nil
	}
	last, end, err := s.EpochEnd(ctx, tp, epoch)
	if err != nil {
		return nil, fmt.Errorf("position of %s: %w", tp, err)
	}
	if last >= 0 && end >= offset {
		return nil, nil
	}
	return &TruncationError{TopicPartition: tp, Position: offset, Epoch: epoch, DivergedAt: end, DivergedEpoch: last}, nil
}

// check validates the cursor's place. The caller has the turn, or the cursor to itself.
func (k *cursor) check(ctx context.Context, s Source, epoch partition.LeaderEpoch) (err error) {
	k.lost, err = validate(ctx, s, k.tp, k.position, epoch, k.leader)
	return err
}

// tellTruncation returns the error of the first cursor that is behind a lost tail, and moves it if that is wanted.
func (c *Consumer) tellTruncation(ctx context.Context) error {
	for _, k := range c.cursors {
		e := k.lost
		if e == nil {
			continue
		}
		c.passed = c.config.Reset != ResetNone
		if !c.passed {
			return e
		}
		to := e.DivergedAt
		if to < 0 {
			var err error
			if to, err = c.config.resetTo(c.clock.Now()).resolve(ctx, c.source, k.tp, c.config.Isolation); err != nil {
				c.passed = false
				return err
			}
		}
		k.begin(to)
		k.finish(to, e.DivergedEpoch)
		c.truncations.Add(1)
		c.tellReset(k.tp, e.Position, to, e)
		return e
	}
	c.someLost = false
	return nil
}

// retryPause is between two attempts at what passes by itself (retry.backoff.ms).
const retryPause = 100 * time.Millisecond

// rest waits for a while, or until ctx is done.
func (c *Consumer) rest(ctx context.Context, d time.Duration) error {
	over := make(chan struct{})
	defer c.clock.AfterFunc(d, func() { close(over) })()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// newLeader learns the partition's leader epoch after a fetch with another one, and whether the new leader has what was
// read (KIP-320).
func (c *Consumer) newLeader(ctx context.Context, k *cursor, cause error) error {
	metadata, err := c.source.Metadata(ctx, []string{k.tp.Topic})
	if err != nil {
		return err
	}
	m, err := topicOf(metadata, k.tp)
	if err != nil {
		return c.follow(ctx, k, err)
	}
	now := m.Partitions[k.tp.Partition].LeaderEpoch
	if now == k.leader { // whom we ask has not heard of it yet
		if err := c.rest(c.asleep(), retryPause); err != nil {
			c.roused()
		}
		return nil
	}
	k.leader = now
	k.jump(k.position)
	if err := k.check(ctx, c.source, k.read); err != nil {
		return errors.Join(cause, err)
	}
	c.someLost = c.someLost || k.lost != nil
	return nil
}
