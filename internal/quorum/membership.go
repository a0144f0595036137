package quorum

import (
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
)

// ProposeChange adds a change of members to the log, and returns its place, as Propose does. It takes effect when it comes
// out of Ready. The leader alone can, and one at a time. A new member starts by Join or Rejoin, is added as an observer, and
// is promoted when it has caught up; the last voter can be neither removed nor demoted, nor one without whom the voters that the
// leader hears from would be no majority.
//
// Errors: ErrNotLeader, ErrChangePending, ErrNotCaughtUp, ErrMembership, ErrBusy, and those that are ErrFailed.
func (r *Raft) ProposeChange(c Change) (index, term uint64, err error) {
	if err := r.Err(); err != nil {
		return 0, 0, err
	}
	if !r.leads() {
		return 0, 0, ErrNotLeader
	}
	if err := r.drain(); err != nil {
		return 0, 0, err
	}
	if !r.leads() {
		return 0, 0, ErrNotLeader
	}
	if r.applied < r.barrier {
		return 0, 0, fmt.Errorf("%w: entry %d is not applied", ErrChangePending, r.barrier)
	}
	if err := r.checkChange(c); err != nil {
		return 0, 0, err
	}
	index, term, err = r.propose(func() error { return r.node.ProposeConfChange(c.raft()) })
	if err == nil {
		r.barrier = index
	}
	return index, term, err
}

// checkChange says whether a change makes sense for the members there are.
func (r *Raft) checkChange(c Change) error {
	id := c.Member.id()
	voters := membersOf(r.conf.GetVoters())
	votes, observes := slices.Contains(r.conf.GetVoters(), id), slices.Contains(r.conf.GetLearners(), id)
	if !c.Member.valid() {
		return fmt.Errorf("%w: %s: impossible node", ErrMembership, c)
	}
	switch c.Op {
	case AddObserver:
		if votes || observes {
			return fmt.Errorf("%w: %s: it is a member already", ErrMembership, c)
		}
		return nil
	case Promote:
		if !observes {
			return fmt.Errorf("%w: %s: it is no observer", ErrMembership, c)
		}
		for _, v := range voters {
			if v.Node == c.Member.Node {
				return fmt.Errorf("%w: %s: the node votes as %s, which has to be removed first", ErrMembership, c, v)
			}
		}
		status := r.node.Status()
		if p := status.Progress[id]; p.Match+uint64(r.config.PromoteLag) < status.GetCommit() || !r.alive(id) {
			return fmt.Errorf("%w: %s: it has %d of %d entries", ErrNotCaughtUp, c, p.Match, status.GetCommit())
		}
		return r.checkMajority(c, append(slices.Clone(voters), c.Member))
	case Demote:
		switch {
		case !votes:
			return fmt.Errorf("%w: %s: it is no voter", ErrMembership, c)
		case len(voters) == 1:
			return fmt.Errorf("%w: %s: it is the last voter", ErrMembership, c)
		}
		return r.checkMajority(c, without(voters, c.Member))
	case Remove:
		switch {
		case observes:
			return nil
		case !votes:
			return fmt.Errorf("%w: %s: it is no member", ErrMembership, c)
		case len(voters) == 1:
			return fmt.Errorf("%w: %s: it is the last voter", ErrMembership, c)
		}
		return r.checkMajority(c, without(voters, c.Member))
	}
	return fmt.Errorf("%w: %s", ErrMembership, c)
}

// without are the members but one.
func without(all []Member, m Member) []Member {
	return slices.DeleteFunc(slices.Clone(all), func(o Member) bool { return o == m })
}

// checkMajority refuses voters of whom too few are alive to commit anything, the change back included.
func (r *Raft) checkMajority(c Change, voters []Member) error {
	alive := 0
	for _, m := range voters {
		if r.alive(m.id()) {
			alive++
		}
	}
	if alive <= len(voters)/2 {
		return fmt.Errorf("%w: %s: of the %d voters there would be, %d are heard from", ErrMembership, c, len(voters), alive)
	}
	return nil
}

// alive says whether the leader has heard from a member lately.
func (r *Raft) alive(id uint64) bool {
	h := r.heard[id]
	return id == r.self.id() || h.active > 0 && r.ticks-h.active <= 2*int64(r.config.ElectionTicks)
}

// TransferLeader hands leadership to a voter; to the one that has most of the log with node -1. It is over when an Output
// names the new leader, or after Config.ElectionTicks without success; Propose says ErrBusy until then.
func (r *Raft) TransferLeader(node int32) error {
	if err := r.Err(); err != nil {
		return err
	}
	if !r.leads() {
		return ErrNotLeader
	}
	return r.guard("transfer leadership", func() error {
		status := r.node.Status()
		var target uint64
		for _, m := range membersOf(r.conf.GetVoters()) {
			switch id := m.id(); {
			case m == r.self:
			case m.Node == node:
				target = id
			case node == -1 && r.alive(id) && (target == raft.None || status.Progress[id].Match > status.Progress[target].Match):
				target = id
			}
		}
		if target == raft.None {
			return fmt.Errorf("%w: leadership to node %d: no such other voter", ErrMembership, node)
		}
		r.dirty = true
		r.node.TransferLeader(target)
		return nil
	})
}
