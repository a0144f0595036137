package group

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

// ResetTo says where Reset sets committed offsets to. The zero value is ToEarliest.
type ResetTo struct {
	kind   resetKind
	number int64 // an offset or a number of records
	time   time.Time
	ago    time.Duration
}

type resetKind uint8

const (
	resetEarliest resetKind = iota
	resetLatest
	resetOffset
	resetTime
	resetAgo
	resetShift
)

// The ends of the log: what is left of it from the beginning, or only what will come.
var (
	ToEarliest = ResetTo{kind: resetEarliest}
	ToLatest   = ResetTo{kind: resetLatest}
)

// ToOffset is an offset, the same in all partitions, or the end of the log that is nearest to it.
func ToOffset(o partition.Offset) ResetTo { return ResetTo{kind: resetOffset, number: int64(o)} }

// ToTime is the first record with this timestamp or a later one, or the end of the log if there is none.
func ToTime(t time.Time) ResetTo { return ResetTo{kind: resetTime, time: t} }

// ToAgo is ToTime of now less a duration.
func ToAgo(d time.Duration) ResetTo { return ResetTo{kind: resetAgo, ago: d} }

// ShiftBy is n records further on than what is committed, or back if n is negative, but not beyond an end of the log.
func ShiftBy(n int64) ResetTo { return ResetTo{kind: resetShift, number: n} }

// Reset sets the committed offsets of partitions anew, all in one commit, and returns them; without partitions, of all
// that have one. It is kafka-consumer-groups --reset-offsets: allowed only while the group has no members
// (ErrGroupNotEmpty), and never beyond the ends of the log. ShiftBy needs an offset that is committed:
// partition.ErrOffsetOutOfRange where there is none. partition.ErrUnknownTopicOrPartition if a partition is not there;
// nothing is changed then.
func (g *ConsumerGroup) Reset(ctx context.Context, to ResetTo, tps ...partition.TopicPartition) (map[partition.TopicPartition]CommittedOffset, error) {
	plan, err := g.PlanReset(ctx, to, tps...)
	if err != nil || len(plan) == 0 {
		return plan, err
	}
	if err = g.Commit(ctx, plan); errors.Is(err, ErrUnknownMemberID) {
		err = ErrGroupNotEmpty // somebody has come since it was planned
	}
	if err != nil {
		return nil, fmt.Errorf("reset group %q: %w", g.id, err)
	}
	return plan, nil
}

// PlanReset returns what Reset would commit, and commits nothing (--dry-run).
func (g *ConsumerGroup) PlanReset(ctx context.Context, to ResetTo, tps ...partition.TopicPartition) (map[partition.TopicPartition]CommittedOffset, error) {
	d, err := g.Describe(ctx)
	if err != nil {
		return nil, fmt.Errorf("reset group %q: %w", g.id, err)
	}
	if d.State != Empty && d.State != Dead {
		return nil, fmt.Errorf("reset group %q: %w: it is %s", g.id, ErrGroupNotEmpty, d.State)
	}
	if len(tps) == 0 {
		tps = sortedKeys(d.Offsets)
	}
	plan := make(map[partition.TopicPartition]CommittedOffset, len(tps))
	for _, tp := range tps {
		committed, ok := d.Offsets[tp]
		if to.kind == resetShift && !ok {
			return nil, fmt.Errorf("reset group %q: %s has no committed offset to shift: %w", g.id, tp, partition.ErrOffsetOutOfRange)
		}
		o, err := g.resetOffset(ctx, to, tp, committed.Offset)
		if err != nil {
			return nil, fmt.Errorf("reset group %q: %w", g.id, err)
		}
		plan[tp] = CommittedOffset{Offset: o, LeaderEpoch: partition.LeaderEpochUnknown}
	}
	return plan, nil
}

// resetOffset returns the offset of one partition, within its log.
func (g *ConsumerGroup) resetOffset(ctx context.Context, to ResetTo, tp partition.TopicPartition, committed partition.Offset) (partition.Offset, error) {
	start, err := g.backend.ListOffsets(ctx, tp, partition.TimestampEarliest)
	if err != nil {
		return 0, err
	}
	end, err := g.backend.ListOffsets(ctx, tp, partition.TimestampLatest)
	if err != nil {
		return 0, err
	}
	target := start
	switch to.kind {
	case resetLatest:
		target = end
	case resetOffset:
		target = partition.Offset(to.number)
	case resetShift:
		target = committed + partition.Offset(to.number)
		if (target > committed) != (to.number > 0) && to.number != 0 { // it has wrapped
			target = end
			if to.number < 0 {
				target = start
			}
		}
	case resetTime, resetAgo:
		t := to.time
		if to.kind == resetAgo {
			t = g.now().Add(-to.ago)
		}
		if target, err = g.backend.ListOffsets(ctx, tp, max(t.UnixMilli(), 0)); err != nil {
			return 0, err
		}
		if target == partition.OffsetUnknown {
			target = end
		}
	}
	return min(max(target, start), end), nil
}

func (g *ConsumerGroup) now() time.Time {
	if c := g.config.Coordinator.Clock; c != nil {
		return c.Now()
	}
	return clock.System.Now()
}
