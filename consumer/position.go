package consumer

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/partlog/partlog/partition"
)

// Position says where to begin in a partition. The zero Position is Earliest.
type Position struct {
	kind positionKind
	at   int64
	// epoch is one more than the leader epoch of the record before, 0 if it is not known: the zero Position knows none.
	epoch partition.LeaderEpoch
}

type positionKind uint8

const (
	earliest positionKind = iota
	latest
	atOffset
	atTime
)

// Earliest begins at the log start offset: the oldest record that is still there.
func Earliest() Position { return Position{} }

// Latest begins at the high watermark as it is then, with ReadCommitted at the last stable offset: only new records.
func Latest() Position { return Position{kind: latest} }

// AtOffset begins at the record with this offset. One that is out of range is for Config.Reset to decide.
func AtOffset(o partition.Offset) Position { return Position{kind: atOffset, at: int64(o)} }

// AtTime begins at the first record whose timestamp is not before t, or at the end if there is none.
func AtTime(t time.Time) Position { return Position{kind: atTime, at: t.UnixMilli()} }

// Epoch says, of an AtOffset, that the record before it had this leader epoch (Record.LeaderEpoch, or
// group.CommittedOffset's). If the partition has lost that record since, and others have taken its offset, reading from
// here is told so by a *TruncationError (KIP-320).
func (p Position) Epoch(e partition.LeaderEpoch) Position {
	p.epoch = max(e+1, 0)
	return p
}

// leaderEpoch is what Epoch said, partition.LeaderEpochUnknown if nothing.
func (p Position) leaderEpoch() partition.LeaderEpoch { return p.epoch - 1 }

// String is for people.
func (p Position) String() string {
	switch p.kind {
	case latest:
		return "latest"
	case atOffset:
		return "offset " + strconv.FormatInt(p.at, 10)
	case atTime:
		return time.UnixMilli(p.at).UTC().Format(time.RFC3339Nano)
	}
	return "earliest"
}

// check refuses what can be no place in any partition.
func (p Position) check(tp partition.TopicPartition) error {
	if p.kind == atOffset && p.at < 0 {
		return fmt.Errorf("position of %s: %w: %d", tp, partition.ErrOffsetOutOfRange, p.at)
	}
	return nil
}

// resolve asks the source for the offset that p means to a reader of this isolation.
func (p Position) resolve(ctx context.Context, s Source, tp partition.TopicPartition, i Isolation) (partition.Offset, error) {
	if p.kind == atOffset {
		return partition.Offset(p.at), p.check(tp)
	}
	timestamp := partition.TimestampEarliest
	switch p.kind {
	case latest:
		timestamp = i.end()
	case atTime:
		timestamp = max(p.at, 0)
	}
	return listOffset(ctx, s, tp, timestamp, i)
}

// end is the timestamp that asks for the end of what a reader sees.
func (i Isolation) end() int64 {
	if i == ReadCommitted {
		return partition.TimestampLastStable
	}
	return partition.TimestampLatest
}

// listOffset is the offset for a timestamp, or the end if no record is so young.
func listOffset(ctx context.Context, s Source, tp partition.TopicPartition, timestamp int64, i Isolation) (partition.Offset, error) {
	o, err := s.ListOffsets(ctx, tp, timestamp)
	if err == nil && o == partition.OffsetUnknown {
		o, err = s.ListOffsets(ctx, tp, i.end())
	}
	if err != nil {
		return 0, fmt.Errorf("position of %s: %w", tp, err)
	}
	return o, nil
}

// Bound says where to stop in a partition. The zero Bound never stops.
type Bound struct {
	kind boundKind
	at   int64
}

type boundKind uint8

const (
	unbounded boundKind = iota
	untilOffset
	untilEnd
	untilTime
)

// UntilOffset stops before the record with this offset.
func UntilOffset(o partition.Offset) Bound { return Bound{kind: untilOffset, at: int64(o)} }

// UntilEnd stops at the high watermark as it is when the consumer is made, with ReadCommitted at the last stable offset:
// the records that are there now. It is reached also if nothing that a reader sees is left before it.
func UntilEnd() Bound { return Bound{kind: untilEnd} }

// UntilTime stops before the first record whose timestamp is not before t, or, if there is none, where UntilEnd
// does.
func UntilTime(t time.Time) Bound { return Bound{kind: untilTime, at: t.UnixMilli()} }

// String is for people.
func (b Bound) String() string {
	switch b.kind {
	case untilOffset:
		return "until offset " + strconv.FormatInt(b.at, 10)
	case untilEnd:
		return "until the end"
	case untilTime:
		return "until " + time.UnixMilli(b.at).UTC().Format(time.RFC3339Nano)
	}
	return "unbounded"
}

// noBound is the resolved Bound of a partition that never stops.
const noBound partition.Offset = -1

func (b Bound) resolve(ctx context.Context, s Source, tp partition.TopicPartition, i Isolation) (partition.Offset, error) {
	switch b.kind {
	case untilOffset:
		if b.at < 0 {
			return 0, fmt.Errorf("bound of %s: %w: %d", tp, partition.ErrOffsetOutOfRange, b.at)
		}
		return partition.Offset(b.at), nil
	case untilEnd:
		return listOffset(ctx, s, tp, i.end(), i)
	case untilTime:
		return listOffset(ctx, s, tp, max(b.at, 0), i)
	}
	return noBound, nil
}

// Assignment is one partition to read, from where to where.
type Assignment struct {
	partition.TopicPartition
	From  Position
	Until Bound
}
