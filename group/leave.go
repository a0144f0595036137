package group

import "strings"

// leave removes members, and then lets the rest rebalance once (classicGroupLeave).
func (m *machine) leave(leaving []LeavingMember) error {
	if m.state == Dead {
		return ErrCoordinatorNotAvailable
	}
	errs := make([]error, len(leaving))
	var removed []string
	failed := false
	for i, l := range leaving {
		known, err := m.leaver(l)
		switch {
		case err != nil:
			errs[i], failed = err, true
		case known == nil:
			delete(m.pending, l.MemberID)
			m.stopTimer(timerPending, l.MemberID)
		case l.Temporary:
			m.detach(known)
		default:
			reason := "left"
			if l.Reason != "" {
				reason += ": " + l.Reason
			}
			m.remove(known, reason)
			removed = append(removed, known.id)
		}
	}
	if len(removed) > 0 {
		m.membersRemoved("left: " + strings.Join(removed, ", "))
	} else {
		m.maybeCompleteJoin() // it may have waited for a pending one
	}
	if failed {
		return &LeaveError{Members: errs}
	}
	return nil
}

// leaver finds who wants to leave: nil without an error is a pending member. A tool may name an instance alone.
func (m *machine) leaver(l LeavingMember) (*member, error) {
	switch {
	case l.MemberID == "" && l.InstanceID != "":
		if known := m.instances[l.InstanceID]; known != nil {
			return known, nil
		}
		return nil, ErrUnknownMemberID
	case m.pending[l.MemberID]:
		return nil, nil
	}
	return m.validateMember(l.MemberID, l.InstanceID)
}

// detach lets a member go that means to come back: nobody sends for it, so its session runs from here on even if it
// belongs to this process. What it had parked is answered.
func (m *machine) detach(known *member) {
	m.answer(known.join, ErrUnknownMemberID)
	m.answer(known.sync, ErrUnknownMemberID)
	known.join, known.sync = 0, 0
	known.detached, known.isNew = true, false
	m.alive(known, known.session)
	m.emit(endedEffect{known.id})
}
