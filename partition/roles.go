package partition

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"path/filepath"

	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/log"
)

// role is what this node is to a partition since SetReplica has said so. It is never changed, only replaced.
//
// An append is acknowledged by this proof. It was written under a role whose epoch is e. The high watermark is seen above it, and after that
// the role is seen to have epoch e still: epochs only grow, so this node led in e all the time, and what the high watermark passed was its
// own batch, not another one that came in its place.
type role struct {
	ReplicaState
	start Offset // of a leader: its log end offset when its epoch began
}

// SetReplica tells the store what it is to a partition. A leader's epoch begins with it; a leader or a follower gets a directory if it has
// none. Whoever waits for the partition looks again: appends that can no longer be acknowledged return ErrNotLeaderOrFollower or
// ErrNotEnoughReplicasAfterAppend. Only calls for one partition must come one after the other.
//
// Errors: ErrFencedLeaderEpoch for an epoch below the present one, which changes nothing; ErrUnknownTopicOrPartition, ErrUnknownTopicID,
// ErrUnsupported for a store that is alone; and why the copy could not be opened: then the role is RoleNone.
func (s *Store) SetReplica(tp TopicPartition, id TopicID, st ReplicaState) error {
	p, err := s.replicaPart(tp, id)
	if err != nil {
		return err
	}
	p.roles.Lock()
	defer p.roles.Unlock()
	before := p.role.Load()
	if before != nil && st.Epoch < before.Epoch {
		return fmt.Errorf("%w: epoch %d of %s, and it has %d", ErrFencedLeaderEpoch, st.Epoch, tp, before.Epoch)
	}
	next := &role{ReplicaState: st}
	if st.Role == RoleNone {
		p.setRole(next)
		return nil
	}
	l, err := p.host()
	if err == nil && st.Role == RoleLeader {
		if before != nil && before.Role == RoleLeader && before.Epoch == st.Epoch {
			next.start = before.start
		} else if err = l.Lead(st.Epoch); err == nil {
			next.start = l.End()
		}
	}
	if err != nil {
		next.Role = RoleNone
		p.setRole(next)
		return p.gone(err)
	}
	p.setRole(next)
	return nil
}

// setRole publishes a role and wakes everybody. roles is held.
func (p *part) setRole(r *role) {
	p.role.Store(r)
	p.wakeAcks(math.MaxInt64)
	p.wakeFetches()
	if l := p.log.Load(); l != nil && r.Role != RoleLeader {
		l.Follow() // which waits for what is being written
	}
}

// RemoveReplica removes the copy of a partition that this node has; its files go in the background, and borrowed bytes stay readable.
// Nothing happens if there is none. When it returns nil that is durable. The partition may be copied here again, from its beginning. It also helps where
// SetReplica fails because the files cannot be opened.
func (s *Store) RemoveReplica(tp TopicPartition, id TopicID) error {
	p, err := s.replicaPart(tp, id)
	if err != nil {
		return err
	}
	p.roles.Lock()
	defer p.roles.Unlock()
	p.withdraw()
	if err := p.forget(); err != nil {
		return fmt.Errorf("remove replica %s: %w", tp, err)
	}
	return nil
}

func (s *Store) replicaPart(tp TopicPartition, id TopicID) (*part, error) {
	switch {
	case s.config.Cluster == nil:
		return nil, fmt.Errorf("%w: the store is alone", ErrUnsupported)
	case s.readOnly:
		return nil, ErrReadOnly
	}
	p, err := s.part(tp, id)
	return p, s.closedOr(err)
}

// host opens the copy, making its directory if there is none: then nothing that the catalogue knows of an earlier copy holds.
func (p *part) host() (*log.Log, error) {
	p.mu.Lock()
	hosted := p.hosted
	p.mu.Unlock()
	if !hosted {
		if err := p.resetCatalogue(); err != nil {
			return nil, err
		}
		p.mu.Lock()
		p.resetStart()
		p.hosted = true
		p.mu.Unlock()
	}
	l, err := p.open()
	if err == nil && !hosted {
		err = p.s.fs.SyncDir(filepath.Join(p.s.root, dataDirName))
	}
	return l, err
}

// resetStart has the next open find nothing. The epoch is read without a lock and stays. mu is held.
func (p *part) resetStart() {
	s := &p.start
	s.clean, s.copied = true, false
	s.end, s.recoveryPoint, s.logStart, s.cleaned, s.highWatermark, s.imprint = 0, 0, 0, 0, 0, log.Imprint{}
}

// resetCatalogue has the catalogue forget what it knows of a copy.
func (p *part) resetCatalogue() error {
	s := p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	cp := s.catPart(p)
	if cp == nil || *cp == (catPart{}) {
		return nil
	}
	var e encoder
	e.mark(mark{id: p.t.id, partition: p.tp.Partition})
	return s.commitLocked(eventReplicaRemoved, e.buf)
}

// forget closes the copy and removes it. roles is held.
func (p *part) forget() error {
	if err := p.resetCatalogue(); err != nil {
		return err
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return p.gone(ErrClosed)
	}
	l := p.log.Swap(nil)
	p.hosted, p.broken = false, nil
	p.resetStart()
	p.recovered()
	p.s.mu.Lock()
	p.cutting = false // of a mending that has come to nothing
	p.s.mu.Unlock()
	if l != nil {
		l.Abandon()
		p.s.counters.openPartitions.Add(-1)
	}
	p.mu.Unlock()
	s := p.s
	live := segment.PartitionDirName(p.tp.Topic, p.tp.Partition)
	if _, err := s.fs.Stat(filepath.Join(s.root, dataDirName, live)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return s.retire(p.t.id, p.tp.Topic, p.tp.Partition+1, map[string]bool{live: true})
}

// catPart returns what the catalogue knows of p, nil if it has been deleted. mu is held.
func (s *Store) catPart(p *part) *catPart {
	ct := s.cat.topics[p.tp.Topic]
	if ct == nil || ct.id != p.t.id || int(p.tp.Partition) >= len(ct.parts) {
		return nil
	}
	return &ct.parts[p.tp.Partition]
}

// led returns ErrNotLeaderOrFollower if another node leads the partition.
func (p *part) led() error { return p.answers(false) }

// answers says whether this node may answer a reader: as the leader, or as a follower if that will do.
func (p *part) answers(follower bool) error {
	if p.s.config.Cluster == nil {
		return nil
	}
	if r := p.role.Load(); r != nil && (r.Role == RoleLeader || follower && r.Role == RoleFollower) {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrNotLeaderOrFollower, p.tp)
}

// CleanOpen says whether this open has found everything that was ever acknowledged by this copy: the store was closed cleanly, or each partition that
// was not has SyncAlways and no damage. Otherwise the node has to say so when it registers (KIP-966): what is synced in the background, or never, may be
// lost.
func (s *Store) CleanOpen() bool { return s.cleanOpen }

// lostTail says whether any of the partitions that were not closed may have lost records.
func (s *Store) lostTail(dirty []*part) bool {
	for _, p := range dirty {
		l := p.log.Load()
		if l == nil {
			return true // could not be opened
		}
		if p.t.settings.Load().log.Sync != SyncAlways {
			return true // all of it, even
		}
		for _, f := range l.Report().Findings {
			if f.Kind == log.CorruptMiddle || f.Kind == log.MissingSegment || f.Kind == log.Foreign {
				return true
			}
		}
	}
	return false
}

// leaveCluster makes the leader epochs of a store that was a node of a cluster, and is alone now, ones that are above all that its
// partitions have seen: the catalogue does not know those.
func (s *Store) leaveCluster() error {
	if s.config.Cluster != nil || s.readOnly || s.cat.shared == 0 {
		return nil
	}
	for _, name := range s.cat.names() {
		t := s.index.Load().byName[name]
		raised := map[int32]int32{}
		changed := false
		for _, p := range *t.parts.Load() {
			times := p.raised.Load()
			if p.hosted {
				l, err := p.open()
				if err != nil {
					continue // reported by open
				}
				last, err := l.LastEpoch()
				if err = errors.Join(err, l.Park()); err != nil {
					return fmt.Errorf("open partition %s: %w", p.tp, err)
				}
				if last > p.epoch() {
					times, changed = int32(last-p.start.epoch)+1, true
				}
			}
			if times > 0 {
				raised[p.tp.Partition] = times
			}
		}
		if !changed {
			continue
		}
		if err := s.PutSettings(context.Background(), Setting{Key: raisedPrefix + t.id.String(), Value: encodeRaised(maps.Clone(raised))}); err != nil {
			return fmt.Errorf("raise leader epochs: %w", err)
		}
		for _, p := range *t.parts.Load() {
			if times := raised[p.tp.Partition]; times > p.raised.Load() {
				p.raised.Store(times)
				if l := p.log.Load(); l != nil {
					l.SetEpoch(p.epoch())
				}
			}
		}
	}
	return nil
}
