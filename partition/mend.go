package partition

import (
	"fmt"

	"github.com/partlog/partlog/log"
)

// Mending mends one damaged segment of a copy with batches of the leader, see log.Mending and Replica.BeginMending.
type Mending struct {
	*log.Mending
	r *Replica
}

// Damage lists the ranges of the copy that are known to be unreadable.
func (r *Replica) Damage() []log.Damage { return r.l.Damage() }

// BeginMending begins to mend the first segment of the copy that is known to be damaged. The copy has to have no role (RoleNone). See
// log.Log.BeginMending for the errors.
func (r *Replica) BeginMending() (*Mending, error) {
	if role := r.p.role.Load(); role != nil && role.Role != RoleNone {
		return nil, fmt.Errorf("%w: %s is in use", ErrUnsupported, r.p.tp)
	}
	m, err := r.l.BeginMending()
	if err != nil {
		return nil, r.p.gone(err)
	}
	return &Mending{m, r}, nil
}

// Commit is log.Mending's, after it has been made sure that the next open, also after a crash, looks at all from the mended segment on. The copy is closed by
// it: ReopenReplica opens it again.
func (m *Mending) Commit() error {
	p, s := m.r.p, m.r.p.s
	p.roles.Lock()
	defer p.roles.Unlock()
	if p.log.Load() != m.r.l {
		return p.gone(ErrClosed)
	}
	var e encoder
	e.mark(mark{id: p.t.id, partition: p.tp.Partition, offset: m.Base()})
	s.mu.Lock()
	var err error
	if cp := s.catPart(p); cp != nil && cp.knowsBehind(m.Base()) {
		cleaned := min(cp.cleaned, max(m.Base(), 1)) // what is in front stays compacted; above 0 the gaps there stay lawful, whatever the topic's policy is now
		if err = s.commitLocked(eventTruncated, e.buf); err == nil && cleaned > 0 && cp.cleaned != cleaned {
			err = s.commitCleanedLocked(p, cleaned)
		}
	}
	p.cutting = err == nil // until ReopenReplica no recovery point is persisted
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return p.gone(m.Mending.Commit())
}

// ReopenReplica closes the copy of a partition as a crash does, and opens it again with recovery: what a failed sync has left is read from the disk, and what cannot be
// believed there is cut off or quarantined; a damage that has been mended is gone. The copy has no role afterwards. Borrowed bytes stay readable. Handles of before
// return ErrClosed or ErrNotLeaderOrFollower.
//
// Errors: those of SetReplica and of the open; then RemoveReplica helps.
func (s *Store) ReopenReplica(tp TopicPartition, id TopicID) error {
	p, err := s.replicaPart(tp, id)
	if err != nil {
		return err
	}
	p.roles.Lock()
	defer p.roles.Unlock()
	p.withdraw()
	p.mu.Lock()
	if p.closed || !p.hosted {
		p.mu.Unlock()
		return p.gone(ErrClosed)
	}
	l := p.log.Swap(nil)
	if l != nil {
		l.Abandon()
		s.counters.openPartitions.Add(-1)
	}
	p.broken = nil
	p.recovered()
	s.mu.Lock()
	if cp := s.catPart(p); cp != nil {
		start := &p.start
		start.clean, start.copied = false, false
		start.end, start.recoveryPoint, start.logStart, start.cleaned, start.imprint = cp.end, cp.recoveryPoint, cp.logStart, cp.cleaned, log.Imprint{}
		if start.highWatermark = cp.highWatermark; l != nil {
			start.logStart, start.highWatermark = max(start.logStart, l.Start()), l.Visible()
		}
	}
	p.cutting = false
	s.mu.Unlock()
	p.mu.Unlock()
	_, err = p.open()
	return err
}

// withdraw ends the role. roles is held.
func (p *part) withdraw() {
	r := role{ReplicaState: ReplicaState{Leader: -1, Epoch: -1}}
	if now := p.role.Load(); now != nil {
		r = *now
	}
	r.Role = RoleNone
	p.setRole(&r)
}

// recovered has the next failure of the copy reported again.
func (p *part) recovered() {
	if p.failed.Swap(false) {
		p.s.counters.failedPartitions.Add(-1)
	}
	p.cleaning.uncleanable.Store(false)
}
