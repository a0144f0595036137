package group

// checkMember is validateMember and the check of the generation.
func (m *machine) checkMember(s Membership) (*member, error) {
	if m.state == Dead {
		return nil, ErrCoordinatorNotAvailable
	}
	known, err := m.validateMember(s.MemberID, s.InstanceID)
	if err != nil {
		return nil, err
	}
	if s.Generation != m.generation {
		return nil, ErrIllegalGeneration
	}
	return known, nil
}

func (m *machine) stepSync(e syncEvent) {
	known, err := m.checkMember(e.Membership)
	switch {
	case err != nil:
	case e.ProtocolType != "" && e.ProtocolType != m.protocolType || e.Protocol != "" && m.protocol != "" && e.Protocol != m.protocol:
		err = ErrInconsistentGroupProtocol
	case m.state == PreparingRebalance:
		err = ErrRebalanceInProgress
	}
	if err != nil {
		m.answer(e.call, err)
		return
	}
	m.hasSynced(known)
	if m.state == Stable {
		m.alive(known, known.session)
		m.answerSync(known, e.call)
		return
	}
	m.answer(known.sync, ErrRebalanceInProgress) // an earlier attempt of the same member
	known.sync = e.call
	if known.id != m.leader || m.syncAppend != 0 {
		return
	}
	assignments := make(map[string][]byte, len(m.members)) // whom the leader has left out gets nothing
	for _, member := range m.members {
		assignments[member.id] = e.Assignments[member.id]
	}
	p := &pendingAppend{assignments: assignments, metadata: true}
	m.syncAppend = m.append(p, []record{m.metadataRecord(assignments)})
}

func (m *machine) hasSynced(known *member) {
	known.synced = true
	for _, member := range m.members {
		if !member.synced {
			return
		}
	}
	m.stopTimer(timerSync, "")
}

// assigned is the log's word on the leader's assignment.
func (m *machine) assigned(p *pendingAppend, err error) {
	m.syncAppend = 0
	if err != nil {
		for _, member := range m.members {
			m.answer(member.sync, err)
			member.sync = 0
		}
		m.prepareRebalance("the assignment could not be written")
		return
	}
	m.state = Stable
	m.emit(infoEffect{AssignedInfo{Group: m.id, Generation: m.generation, Members: len(m.members), Duration: m.now.Sub(m.began)}})
	for _, member := range m.members {
		member.assignment = p.assignments[member.id]
		if member.sync != 0 {
			call := member.sync
			member.sync = 0
			m.alive(member, member.session)
			m.answerSync(member, call)
		}
	}
}

func (m *machine) answerSync(to *member, call callID) {
	m.emit(answerEffect{call: call, sync: &SyncResult{ProtocolType: m.protocolType, Protocol: m.protocol, Assignment: to.assignment}})
}

// syncTimeout removes the members that took their place in a generation and then were not heard of (expirePendingSync).
func (m *machine) syncTimeout() {
	if m.state != CompletingRebalance && m.state != Stable {
		return
	}
	var late []*member
	for _, member := range m.members {
		if !member.synced {
			late = append(late, member)
		}
	}
	for _, member := range late {
		m.remove(member, "did not sync in time")
	}
	if len(late) > 0 {
		m.prepareRebalance("members did not sync in time")
	}
}

func (m *machine) heartbeat(s Membership) error {
	known, err := m.checkMember(s)
	if err != nil {
		return err
	}
	m.alive(known, known.session)
	if m.state == PreparingRebalance {
		return ErrRebalanceInProgress
	}
	return nil
}
