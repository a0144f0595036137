package partition

import (
	"context"
	"math"
)

// OffsetsBefore looks offsets up as version 0 of Kafka's ListOffsets does, which clients before 0.10.1 use: at most n, the
// largest first, at which segments begin that were last written at timestamp or before, in milliseconds since 1970. With
// TimestampLatest, or a timestamp that is not past, the first is the high watermark; TimestampEarliest is the log start offset
// alone. When a segment was written is taken from its records. Errors: those of LookUpOffset, but for ErrOffsetNotAvailable.
func (s *Store) OffsetsBefore(ctx context.Context, tp TopicPartition, timestamp int64, n int) ([]Offset, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := s.part(tp, TopicID{})
	if err != nil {
		return nil, s.closedOr(err)
	}
	if err := p.led(); err != nil {
		return nil, err
	}
	l, err := p.open()
	if err != nil || n <= 0 {
		return nil, err
	}
	high := p.highWatermark(l)
	now := s.config.Clock.Now().UnixMilli()
	switch timestamp {
	case TimestampEarliest:
		return []Offset{l.Start()}, nil
	case TimestampLatest:
		timestamp = math.MaxInt64
	}
	all, err := l.OffsetsBefore(timestamp, n)
	if err != nil {
		return nil, p.gone(err)
	}
	for len(all) > 0 && all[0] > high {
		all = all[1:]
	}
	if timestamp >= now && (len(all) == 0 || all[0] < high) {
		all = append([]Offset{high}, all...)
	}
	return all[:min(n, len(all))], nil
}
