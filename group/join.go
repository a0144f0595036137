package group

import (
	"bytes"
	"slices"
	"time"
)

func (m *machine) stepJoin(e joinEvent) {
	if err := m.checkJoin(&e); err != nil {
		m.emit(answerEffect{call: e.call, err: err, join: &JoinResult{Membership: Membership{Group: m.id, Generation: NoGeneration}}})
		m.maybeCompleteJoin() // the rebalance may have waited for whom it was refused
		return
	}
	m.made = true
	known := m.byID[e.MemberID]
	switch {
	case e.MemberID == "" && e.InstanceID != "":
		m.joinStatic(e)
	case e.MemberID == "" && e.RequireKnownMemberID: // classicGroupJoinNewDynamicMember
		m.pending[e.newMemberID] = true
		m.setTimer(timerPending, e.newMemberID, e.SessionTimeout)
		required := Membership{Group: m.id, MemberID: e.newMemberID, Generation: NoGeneration}
		m.emit(answerEffect{call: e.call, err: ErrMemberIDRequired, join: &JoinResult{Membership: required}})
	case e.MemberID == "":
		m.addAndRebalance(e, e.newMemberID)
	case m.pending[e.MemberID]:
		delete(m.pending, e.MemberID)
		m.stopTimer(timerPending, e.MemberID)
		m.addAndRebalance(e, e.MemberID)
	case m.state == PreparingRebalance:
		m.update(known, e)
		m.maybeCompleteJoin()
	case m.state == CompletingRebalance && known.supportsSame(e.Protocols):
		// The member has not got the answer to its join: the generation is still the one.
		m.answerJoin(known, e.call, false)
	case m.state == Stable && known.id != m.leader && known.supportsSame(e.Protocols):
		m.answerJoin(known, e.call, false)
	case m.state == Stable && known.id == m.leader:
		m.update(known, e)
		m.prepareRebalance(because("leader "+known.id+" joined again", e.Reason))
	default:
		m.update(known, e)
		m.prepareRebalance(because("member "+known.id+" joined with other metadata", e.Reason))
	}
}

// because adds a member's own reason (KIP-800) to ours.
func because(what, reason string) string {
	if reason == "" {
		return what
	}
	return what + ": " + reason
}

// checkJoin refuses what may not join.
func (m *machine) checkJoin(e *joinEvent) error {
	if e.Local && e.SessionTimeout <= 0 {
		e.SessionTimeout = m.config.minSession
	}
	if !e.Local && (e.SessionTimeout < m.config.minSession || e.SessionTimeout > m.config.maxSession) {
		return ErrInvalidSessionTimeout
	}
	if e.RebalanceTimeout <= 0 {
		e.RebalanceTimeout = e.SessionTimeout
	}
	if m.state == Dead {
		return ErrCoordinatorNotAvailable
	}
	known := m.byID[e.MemberID]
	if e.MemberID == "" {
		known = m.instances[e.InstanceID] // takes nobody else's place
	}
	if full := m.config.maxSize; full > 0 && m.state != Empty { // acceptJoiningMember
		size, in := len(m.members), known != nil
		if m.state == PreparingRebalance {
			size, in = m.joined(), known != nil && known.join != 0
		}
		if !in && size >= full {
			if known != nil && e.MemberID != "" {
				m.remove(known, "group is full")
			}
			return ErrGroupMaxSizeReached
		}
	}
	if !m.supportsProtocols(e.ProtocolType, e.Protocols) {
		return ErrInconsistentGroupProtocol
	}
	if e.MemberID == "" || m.pending[e.MemberID] {
		return nil
	}
	_, err := m.validateMember(e.MemberID, e.InstanceID)
	return err
}

// supportsProtocols reports whether somebody with these protocols could be a member beside those there are.
func (m *machine) supportsProtocols(protocolType string, protocols []Protocol) bool {
	if protocolType == "" || len(protocols) == 0 {
		return false
	}
	if len(m.members) == 0 {
		return true
	}
	common := m.commonProtocols()
	return protocolType == m.protocolType && slices.ContainsFunc(protocols, func(p Protocol) bool { return common[p.Name] })
}

// commonProtocols are those that every member supports.
func (m *machine) commonProtocols() map[string]bool {
	count := make(map[string]int)
	for _, member := range m.members {
		for _, p := range member.protocols {
			count[p.Name]++
		}
	}
	common := make(map[string]bool)
	for name, n := range count {
		if n == len(m.members) {
			common[name] = true
		}
	}
	return common
}

func (m *member) supportsSame(protocols []Protocol) bool {
	return slices.EqualFunc(m.protocols, protocols, func(a, b Protocol) bool {
		return a.Name == b.Name && bytes.Equal(a.Metadata, b.Metadata)
	})
}

func (m *machine) addAndRebalance(e joinEvent, id string) {
	if len(m.members) == 0 {
		m.protocolType = e.ProtocolType
	}
	joined := &member{
		id: id, instanceID: e.InstanceID, clientID: e.ClientID, clientHost: e.ClientHost, local: e.Local,
		session: e.SessionTimeout, rebalance: e.RebalanceTimeout, protocols: e.Protocols,
		join: e.call, isNew: true,
	}
	if joined.local {
		joined.clientHost = localHost(m.config.incarnation)
	}
	m.company = true
	m.add(joined)
	m.alive(joined, m.config.newMember)
	if m.state == PreparingRebalance {
		m.maybeCompleteJoin()
	} else {
		m.prepareRebalance(because("member "+id+" joined", e.Reason))
	}
}

// update takes a member's new word, and parks its join.
func (m *machine) update(known *member, e joinEvent) {
	// Only one answer can be useful, the last. The one before is told to try again rather than left waiting.
	m.answer(known.join, ErrRebalanceInProgress)
	known.join = e.call
	known.protocols, known.session, known.rebalance = e.Protocols, e.SessionTimeout, e.RebalanceTimeout
	known.clientID, known.detached = e.ClientID, false
	if !known.local {
		known.clientHost = e.ClientHost
	}
}

// stepWithdraw forgets a caller. A member of this process whose caller gave up joining does not wait for anybody: it
// is taken out, so that the others do not rebalance with a ghost. One over the wire may come back.
func (m *machine) stepWithdraw(e withdrawEvent) {
	for _, member := range m.members {
		switch e.call {
		case member.sync:
			member.sync = 0
			m.alive(member, member.session) // a session that ended while it waited was no reason to expel it; now it is
			return
		case member.join:
			member.join = 0
			m.alive(member, member.session)
			switch {
			case member.local && member.instanceID != "":
				m.detach(member)
			case member.local:
				m.remove(member, "join was cancelled")
				m.membersRemoved("member " + member.id + " cancelled its join")
			}
			return
		}
	}
	for _, a := range m.appends {
		if a.call == e.call {
			a.call = 0
			if r := a.replaced; r != nil && r.member.local && m.byID[r.id] == r.member {
				m.detach(r.member)
			}
		}
	}
}

// prepareRebalance begins a rebalance, from any state but Dead and PreparingRebalance.
func (m *machine) prepareRebalance(reason string) {
	for _, member := range m.members {
		m.answer(member.sync, ErrRebalanceInProgress)
		member.sync = 0
	}
	m.syncAppend = 0
	m.stopTimer(timerSync, "")
	first := m.state == Empty
	if m.state != CompletingRebalance {
		m.began = m.now // else it is the same rebalance that begins again
	}
	m.state = PreparingRebalance
	m.emit(infoEffect{RebalanceInfo{Group: m.id, Generation: m.generation, Reason: reason}})
	for _, member := range m.members {
		if member.join == 0 {
			m.emit(endedEffect{member.id})
		}
	}
	switch {
	case first && m.config.initialDelay > 0:
		m.initial, m.company = true, false
		m.waited = m.config.initialDelay
		m.budget = max(m.rebalanceTimeout()-m.waited, 0)
		m.setTimer(timerJoin, "", m.waited)
	case first || m.allJoined():
		m.completeJoin()
	default:
		m.setTimer(timerJoin, "", m.rebalanceTimeout())
	}
}

// joined counts the members that have joined the next generation.
func (m *machine) joined() (n int) {
	for _, member := range m.members {
		if member.join != 0 {
			n++
		}
	}
	return n
}

func (m *machine) allJoined() bool { return m.joined() == len(m.members) && len(m.pending) == 0 }

func (m *machine) maybeCompleteJoin() {
	if m.state == PreparingRebalance && !m.initial && m.allJoined() {
		m.completeJoin()
	}
}

// joinTimeout ends the wait for joins; the initial one goes on while company comes and its budget lasts
// (tryCompleteInitialRebalanceElseSchedule).
func (m *machine) joinTimeout() {
	if m.state != PreparingRebalance {
		return
	}
	if m.initial && m.company && m.budget > 0 {
		m.company = false
		next := min(m.config.initialDelay, m.budget)
		m.budget = max(m.budget-m.waited, 0)
		m.waited = next
		m.setTimer(timerJoin, "", next)
		return
	}
	m.completeJoin()
}

// completeJoin ends the wait for joins: whoever has not joined is out, the rest are the next generation
// (completeClassicGroupJoin).
func (m *machine) completeJoin() {
	m.initial = false
	m.stopTimer(timerJoin, "")
	for _, member := range slices.Clone(m.members) {
		if member.join == 0 && member.instanceID == "" {
			m.remove(member, "did not join again in time")
		}
	}
	if len(m.members) > 0 && !m.electJoined() {
		m.setTimer(timerJoin, "", m.rebalanceTimeout()) // only static members, and none of them has joined
		return
	}
	m.generation++
	m.since = m.now
	if len(m.members) == 0 {
		m.becomeEmpty()
		return
	}
	m.protocol = m.selectProtocol()
	m.state = CompletingRebalance
	m.emit(infoEffect{GenerationInfo{Group: m.id, Generation: m.generation, State: m.state, Protocol: m.protocol, Members: len(m.members)}})
	for _, member := range m.members {
		member.synced, member.isNew, member.assignment = false, false, nil
		call := member.join
		member.join = 0
		m.alive(member, member.session)
		m.answerJoin(member, call, false)
	}
	m.setTimer(timerSync, "", m.rebalanceTimeout())
}

func (m *machine) becomeEmpty() {
	m.state, m.protocol, m.leader = Empty, "", ""
	m.emit(infoEffect{GenerationInfo{Group: m.id, Generation: m.generation, State: Empty}})
	m.append(&pendingAppend{metadata: true}, []record{m.metadataRecord(nil)})
}

// electJoined makes sure that the leader has joined, and reports whether anybody has.
func (m *machine) electJoined() bool {
	if l := m.byID[m.leader]; l != nil && l.join != 0 {
		return true
	}
	for _, member := range m.members {
		if member.join != 0 {
			m.leader = member.id
			return true
		}
	}
	return false
}

// selectProtocol is the vote: every member is for the first of its protocols that all support. Kafka leaves a tie to
// the order of a hash map; here the leader's order decides.
func (m *machine) selectProtocol() string {
	common := m.commonProtocols()
	votes := make(map[string]int)
	for _, member := range m.members {
		for _, p := range member.protocols {
			if common[p.Name] {
				votes[p.Name]++
				break
			}
		}
	}
	best := ""
	for _, p := range m.byID[m.leader].protocols {
		if common[p.Name] && (best == "" || votes[p.Name] > votes[best]) {
			best = p.Name
		}
	}
	return best
}

// answerJoin tells a member of the current generation; the leader gets everybody's metadata, and is told to skip the
// assignment if there is one already.
func (m *machine) answerJoin(to *member, call callID, skip bool) {
	if call == 0 {
		return
	}
	r := &JoinResult{
		Membership:   Membership{Group: m.id, MemberID: to.id, Generation: m.generation, InstanceID: to.instanceID},
		ProtocolType: m.protocolType, Protocol: m.protocol, LeaderID: m.leader, SkipAssignment: skip,
	}
	if !to.local {
		r.HeartbeatInterval = max(to.session/3, time.Millisecond)
	}
	if to.id == m.leader {
		for _, member := range m.members {
			r.Members = append(r.Members, MemberMetadata{MemberID: member.id, InstanceID: member.instanceID, Metadata: member.metadata(m.protocol)})
		}
	}
	m.emit(answerEffect{call: call, join: r})
}
