package group

// validateMember finds a member by its id, which must be the one that has the instance id if one is given
// (ClassicGroup.validateMember): whoever comes with an older one has been replaced.
func (m *machine) validateMember(memberID, instanceID string) (*member, error) {
	if instanceID != "" {
		switch owner := m.instances[instanceID]; {
		case owner == nil:
			return nil, ErrUnknownMemberID
		case owner.id != memberID:
			return nil, ErrFencedInstanceID
		}
	}
	known := m.byID[memberID]
	if known == nil {
		return nil, ErrUnknownMemberID
	}
	return known, nil
}

// joinStatic lets a static member in that does not know its member id: it is new, or was restarted
// (classicGroupJoinNewStaticMember).
func (m *machine) joinStatic(e joinEvent) {
	known := m.instances[e.InstanceID]
	if known == nil {
		m.addAndRebalance(e, e.newMemberID)
		return
	}
	m.replace(known, e)
	switch m.state {
	case Stable:
		if m.selectProtocol() != m.protocol {
			known.join = e.call
			m.prepareRebalance("static member " + known.instanceID + " came back with other protocols")
			return
		}
		// Its assignment is still good. The record tells a later coordinator who has the place now; the answer
		// waits for it, so that a member who got an id is never fenced by a restart of the coordinator.
		p := &pendingAppend{call: e.call, metadata: true, replaced: &replacement{known, known.id}}
		m.append(p, []record{m.metadataRecord(nil)})
	case CompletingRebalance:
		// The leader may have assigned to the old member id already: nobody would get that part.
		known.join = e.call
		m.prepareRebalance("static member " + known.instanceID + " came back while the others waited for their assignment")
	default:
		known.join = e.call
		m.maybeCompleteJoin()
	}
}

// replacement is a static member that has taken the place of its former self, under this id.
type replacement struct {
	member *member
	id     string
}

// replace gives a static member's place to the one that comes with its instance id (replaceStaticMember). Whoever waits
// under the old member id is fenced.
func (m *machine) replace(known *member, e joinEvent) {
	m.answer(known.join, ErrFencedInstanceID)
	m.answer(known.sync, ErrFencedInstanceID)
	known.join, known.sync = 0, 0
	m.emit(endedEffect{known.id})
	m.emit(infoEffect{MemberReplacedInfo{Group: m.id, InstanceID: known.instanceID, OldMemberID: known.id, NewMemberID: e.newMemberID}})
	m.rename(known, e.newMemberID)
	known.clientID, known.clientHost = e.ClientID, e.ClientHost
	known.protocols, known.session, known.rebalance = e.Protocols, e.SessionTimeout, e.RebalanceTimeout
	known.local, known.detached, known.isNew = e.Local, false, false
	if known.local {
		known.clientHost = localHost(m.config.incarnation)
	}
	m.alive(known, known.session)
}

// rename gives a member another id. Its timer goes with the old one.
func (m *machine) rename(known *member, id string) {
	m.stopTimer(timerSession, known.id)
	delete(m.byID, known.id)
	if m.leader == known.id {
		m.leader = id
	}
	known.id = id
	m.byID[id] = known
}

// replaced is the log's word on a static member's return into a stable group. If it is bad, the member comes once more,
// and takes the place once more.
func (m *machine) replaced(p *pendingAppend, err error) {
	known, call := p.replaced.member, p.call
	p.call = 0
	switch {
	case m.byID[p.replaced.id] != known:
		if m.instances[known.instanceID] != nil {
			m.answer(call, ErrFencedInstanceID)
		} else {
			m.answer(call, ErrUnknownMemberID)
		}
	case err != nil:
		m.answer(call, err)
	case m.state == PreparingRebalance && known.join == 0 && call != 0:
		known.join = call
		m.maybeCompleteJoin()
	case m.state == PreparingRebalance:
		m.answer(call, ErrRebalanceInProgress)
	default:
		m.answerJoin(known, call, m.state == Stable && known.id == m.leader)
	}
}
