package partition

import (
	"context"
	"fmt"

	"github.com/partlog/partlog/log"
)

// DeleteRecords makes all records below an offset unreadable and lets their segments go (KIP-107). An offset of −1
// means the high watermark. It returns the log start offset, which never goes back; when it returns nil that is durable. Errors:
// ErrOffsetOutOfRange above the high watermark, ErrPolicyViolation if the topic is compacted only. In a cluster it is for the leader, and returns
// when all live replicas have done the same (low watermark), or ctx ends.
func (s *Store) DeleteRecords(ctx context.Context, tp TopicPartition, before Offset) (Offset, error) {
	p, err := s.part(tp, TopicID{})
	if err != nil {
		return 0, s.closedOr(err)
	}
	return s.deleteRecords(ctx, p, before)
}

func (s *Store) deleteRecords(ctx context.Context, p *part, before Offset) (Offset, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if s.readOnly {
		return 0, ErrReadOnly
	}
	l, err := p.open()
	if err == nil {
		err = p.led()
	}
	if err != nil {
		return 0, err
	}
	if st := p.t.settings.Load(); st.compacted && !st.deletes {
		return 0, fmt.Errorf("%w: topic %q is compacted only; its records cannot be deleted by offset", ErrPolicyViolation, p.tp.Topic)
	}
	hw := p.highWatermark(l)
	if before == -1 {
		before = hw
	}
	if before < 0 || before > hw {
		return 0, &log.OffsetOutOfRangeError{Offset: before, Start: l.Start(), End: hw}
	}
	if before <= l.Start() && s.config.Cluster == nil {
		return l.Start(), nil
	}
	start, err := s.raiseLogStart(p, l, before)
	if c := s.config.Cluster; err == nil && c != nil {
		err = c.LowWatermark(ctx, p.tp, start)
	}
	return start, p.gone(err)
}

// raiseLogStart makes a log start durable and then true.
func (s *Store) raiseLogStart(p *part, l *log.Log, before Offset) (Offset, error) {
	// The catalogue first: were a segment to go before, a crash between would bring other records back.
	var e encoder
	e.mark(mark{id: p.t.id, partition: p.tp.Partition, offset: before})
	s.mu.Lock()
	err := s.commitLocked(eventLogStart, e.buf)
	s.mu.Unlock()
	if err != nil {
		return 0, fmt.Errorf("delete records of %s: %w", p.tp, err)
	}
	return l.DeleteRecords(before)
}
