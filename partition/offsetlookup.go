package partition

import (
	"context"
	"errors"
)

// FoundOffset is an answer of LookUpOffset.
type FoundOffset struct {
	Offset      Offset      // OffsetUnknown if there is no such record
	Timestamp   int64       // of the record found, milliseconds since 1970; −1 with special timestamps, and if none is found
	LeaderEpoch LeaderEpoch // that the offset was written under, of TimestampLatest the present one; −1 if not known
}

// LookUpOffset is ListOffsets with what Kafka's protocol says beside the offset. With committed, only records below the
// last stable offset count, and TimestampLatest is that. The leader epoch is checked as a fetch's is; −1 is not.
func (s *Store) LookUpOffset(ctx context.Context, tp TopicPartition, timestamp int64, epoch LeaderEpoch, committed bool) (FoundOffset, error) {
	none := FoundOffset{OffsetUnknown, -1, LeaderEpochUnknown}
	if err := ctx.Err(); err != nil {
		return none, err
	}
	p, err := s.part(tp, TopicID{})
	if err != nil {
		return none, s.closedOr(err)
	}
	if err := p.led(); err != nil {
		return none, err
	}
	if err := p.checkEpoch(epoch); err != nil {
		return none, err
	}
	l, err := p.open()
	if err != nil {
		return none, err
	}
	high := p.highWatermark(l)
	if err := p.latestKnown(timestamp, high); err != nil {
		return none, err
	}
	limit := high
	if committed {
		limit = p.lastStable(l, limit)
	}
	switch timestamp {
	case TimestampLatest:
		return FoundOffset{limit, -1, p.epoch()}, nil
	case TimestampLastStable:
		return FoundOffset{p.lastStable(l, limit), -1, p.epoch()}, nil
	case TimestampEarliest:
		start := l.Start()
		return FoundOffset{start, -1, p.epochAt(start)}, nil
	}
	found := none
	switch {
	case timestamp == TimestampMax:
		found.Offset, found.Timestamp, err = l.OffsetForMaxTimestamp()
	case timestamp < 0:
		return none, errors.Join(ErrUnsupported, &ConfigError{Key: "timestamp", Value: formatInt(timestamp), Range: "0 or more, -1, -2, -3 or -100"})
	default:
		found.Offset, found.Timestamp, err = l.OffsetForTimestamp(timestamp)
	}
	if err != nil {
		return none, p.gone(err)
	}
	if found.Offset < 0 || found.Offset >= limit || found.Timestamp < 0 {
		return none, p.latestKnown(TimestampLatest, high)
	}
	found.LeaderEpoch = p.epochAt(found.Offset)
	return found, nil
}

// epochAt returns the leader epoch of the record at an offset: the partition's own where nothing has been written.
func (p *part) epochAt(o Offset) LeaderEpoch {
	l, err := p.open()
	if err != nil {
		return LeaderEpochUnknown
	}
	e, err := l.EpochAt(o)
	if err == nil && e < 0 && o == l.End() {
		return p.epoch()
	}
	return e
}

// FindTopic returns a handle by value, so that it costs no memory: of the topic with this name or, if name is empty, this
// id. ErrUnknownTopicOrPartition or ErrUnknownTopicID if there is none.
func (s *Store) FindTopic(name string, id TopicID) (Topic, error) {
	if s.closed.Load() {
		return Topic{}, ErrClosed
	}
	x := s.index.Load()
	if name == "" {
		if t := x.byID[id]; t != nil {
			return Topic{s: s, t: t}, nil
		}
		return Topic{}, ErrUnknownTopicID
	}
	if t := x.byName[name]; t != nil {
		return Topic{s: s, t: t}, nil
	}
	return Topic{}, ErrUnknownTopicOrPartition
}
