package group

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/partlog/partlog/partition"
)

// resetClassic makes the machine know nothing of a classic group.
func (m *machine) resetClassic() {
	for id := range m.pending {
		m.stopTimer(timerPending, id)
	}
	m.stopTimer(timerJoin, "")
	m.stopTimer(timerSync, "")
	m.adopt(newMachine(m.id, m.config))
}

// adopt takes the classic group of another machine over.
func (m *machine) adopt(t *machine) {
	m.state, m.protocolType, m.protocol, m.leader, m.generation, m.since = t.state, t.protocolType, t.protocol, t.leader, t.generation, t.since
	m.members, m.byID, m.instances, m.pending = t.members, t.byID, t.instances, t.pending
	m.initial, m.company, m.syncAppend, m.metadataUnwritten = false, false, 0, false
}

// beginConsumerGroup makes an empty group a consumer group.
func (m *machine) beginConsumerGroup(e consumerHeartbeatEvent) error {
	n := newNextgen(m)
	m.next = n
	if err := n.heartbeat(e); err != nil {
		m.next = nil
		return err
	}
	if m.generation != 0 || m.protocolType != "" {
		n.open.first = []record{groupTombstone(m.id)}
	}
	unwritten := m.metadataUnwritten
	m.metadataUnwritten = false // the tombstone says more
	n.open.done = func(err error) {
		if err == nil {
			m.resetClassic()
		} else {
			m.restoreUnwritten(unwritten)
		}
	}
	return nil
}

// restoreUnwritten says again that the classic group's record is missing in the log.
func (m *machine) restoreUnwritten(unwritten bool) {
	if unwritten {
		m.metadataUnwritten = true
		m.setTimer(timerRetry, "", m.config.retry)
	}
}

// upgrade makes a classic group with members a consumer group, for the first member of the new protocol
// (convertToConsumerGroup). The classic members join again, and are translated.
func (m *machine) upgrade(e consumerHeartbeatEvent) error {
	full := m.config.consumer.MaxSize
	switch {
	case !m.config.consumer.Migration.upgrades():
		return fmt.Errorf("%w: it is a classic group, and may not be upgraded", ErrGroupIDNotFound)
	case m.protocolType != ProtocolTypeConsumer:
		return fmt.Errorf("%w: it is a classic group, not of consumers", ErrGroupIDNotFound)
	case full > 0 && len(m.members) > full:
		return fmt.Errorf("%w: it is a classic group, and too large for an upgrade", ErrGroupIDNotFound)
	}
	// The request may have waited for the end of another consumer group, and the shell have looked for that one.
	if look, _ := m.topicsNeeded(m.now, topicsWanted{names: e.Topics, joins: true}); !e.topics.covers(look.names) {
		return errLookAgain
	}
	n, err := m.upgraded(e.topics)
	if err == nil {
		err = n.heartbeat(e)
	}
	if err != nil {
		return err
	}
	if m.state != PreparingRebalance {
		m.prepareRebalance("a member of the new protocol joined")
	}
	b := n.open
	n.open, n.sent = &changeBatch{of: n}, b
	b.first = []record{groupTombstone(m.id)}
	unwritten := m.metadataUnwritten
	m.metadataUnwritten = false
	b.done = func(err error) {
		if err != nil { // the classic group goes on with its rebalance
			m.restoreUnwritten(unwritten)
			for id := range n.live.members {
				if m.byID[id] == nil {
					n.forget(id)
				}
			}
			return
		}
		for _, member := range m.members {
			m.answer(member.join, ErrRebalanceInProgress)
			m.answer(member.sync, ErrRebalanceInProgress)
			n.synced[member.id] = true
			n.away[member.id] = member.detached
		}
		for _, member := range n.live.sorted() {
			if member.classic != nil && m.byID[member.id] == nil { // it has cancelled its join meanwhile
				m.hold(leaveEvent{members: []LeavingMember{{MemberID: member.id, Reason: "join was cancelled"}}})
			}
		}
		m.resetClassic()
		m.next = n
		n.startTimers()
	}
	m.converting = &conversion{}
	m.sendChanges(b)
	return nil
}

// upgraded returns the consumer group that a classic group would be (ConsumerGroup.fromClassicGroup): everybody has what
// the last assignment says, at the epoch of the generation.
func (m *machine) upgraded(topics *topicImage) (*nextgen, error) {
	n := newNextgen(m)
	n.see(topics)
	epoch := MemberEpoch(m.generation)
	var members []*consumerMember
	owned := make(map[string][]partition.TopicPartition)
	taken := make(map[topicIDPartition]bool)
	free := func(id partition.TopicID, p int32) bool {
		at := topicIDPartition{id, p}
		is := !taken[at]
		taken[at] = true
		return is
	}
	for _, old := range m.members {
		metadata := old.metadata(m.protocol)
		if m.protocol == "" && len(old.protocols) > 0 {
			metadata = old.protocols[0].Metadata
		}
		s, err := DecodeSubscription(metadata)
		if err != nil {
			return nil, fmt.Errorf("%w: it is a classic group: %w", ErrGroupIDNotFound, err)
		}
		var assigned []partition.TopicPartition
		if old.assignment != nil {
			a, err := DecodeAssignment(old.assignment)
			if err != nil {
				return nil, fmt.Errorf("%w: it is a classic group: %w", ErrGroupIDNotFound, err)
			}
			if len(a.UserData) > 0 {
				return nil, fmt.Errorf("%w: it is a classic group, and the user data of its assignor would be lost", ErrGroupIDNotFound)
			}
			assigned = a.Partitions
		}
		members = append(members, &consumerMember{
			id: old.id, instanceID: old.instanceID, rackID: s.RackID, clientID: old.clientID, clientHost: old.clientHost,
			rebalance: old.rebalance, topics: sortedSet(s.Topics), classic: &classicMember{session: old.session, protocols: old.protocols},
			epoch: epoch, previous: epoch, assigned: n.topics.byTopicID(assigned).filter(free),
		})
		owned[old.id] = s.Owned
	}
	// Who has not got its assignment yet still has what it had when it joined. (Kafka forgets that, and may give it to
	// others at once.) Who has got it has given up the rest and joined again to say so, or will.
	for _, member := range members {
		member.assigned = member.assigned.union(n.topics.byTopicID(owned[member.id]).filter(free))
	}
	for _, member := range members {
		n.change(subscriptionChange(member))
	}
	n.change(epochChange(epoch, n.hash()))
	for _, member := range members {
		n.change(targetChange(member.id, member.assigned))
	}
	n.change(assignmentEpochChange(epoch))
	for _, member := range members {
		n.change(assignmentChange(member))
	}
	return n, nil
}

// becomesClassic reports whether the group is to be a classic one when these members leave it, the last of the new
// protocol among them, while some come instead (validateOnlineDowngradeWithFencedMembers, WithReplacedMember).
func (n *nextgen) becomesClassic(leaving []*consumerMember, instead int) bool {
	if n.looked.IsZero() {
		return false // nobody has looked at topics since the log was read: what members have cannot be named
	}
	rest, last := instead, false
	for id, member := range n.live.members {
		switch {
		case slices.ContainsFunc(leaving, func(l *consumerMember) bool { return l.id == id }):
			last = last || member.classic == nil
		case member.classic == nil:
			return false
		default:
			rest++
		}
	}
	full := n.m.config.maxSize
	return last && rest > 0 && n.config.Migration.downgrades() && (full == 0 || rest <= full)
}

// becomeClassic makes the group a classic one (convertToClassicGroup): without those who leave, with what they have as
// assignments. If a classic member joins for that to happen, its event waits, and is the first that the classic group
// sees; it may take the place of a static member.
func (n *nextgen) becomeClassic(leaving []*consumerMember, replaced *consumerMember, join event) {
	m := n.m
	if n.busy() {
		m.hold(join) // fence is not called when busy
		return
	}
	t := newMachine(m.id, m.config)
	rebalance := len(leaving) > 0 || n.live.epoch > n.live.assignmentEpoch
	for _, old := range n.live.sorted() {
		settled := old.isReconciledTo(n.live.assignmentEpoch) || old == replaced && old.assigned.equal(n.live.targets[old.id])
		rebalance = rebalance || !settled // else it would go on with another assignment than the record says
		if slices.ContainsFunc(leaving, func(l *consumerMember) bool { return l.id == old.id }) {
			continue
		}
		// What it has in its hands, not what it is to have: if the two differ there is a rebalance, and it may be the
		// other protocol's.
		a := Assignment{Partitions: n.topics.byTopicName(old.assigned.union(old.revoking))}
		local := strings.HasPrefix(old.clientHost, localPrefix)
		c := &classicMember{}
		if old == replaced {
			j := join.(joinEvent)
			c.session, c.protocols = max(j.SessionTimeout, m.config.minSession), j.Protocols
			if s, err := DecodeSubscription(j.Protocols[0].Metadata); err != nil || !slices.Equal(sortedSet(s.Topics), n.live.subscription(old)) {
				rebalance = true
			}
			local = false
		} else {
			c = old.classic
		}
		t.add(&member{
			id: old.id, instanceID: old.instanceID, clientID: old.clientID, clientHost: old.clientHost,
			local: local, detached: local && (!m.isHere(old) || n.away[old.id]),
			session: c.session, rebalance: max(old.rebalance, time.Millisecond), protocols: c.protocols, assignment: a.Append(nil), synced: true,
		})
	}
	b := &changeBatch{of: n, changes: n.live.tombstones(), answers: n.open.answers, leaving: n.open.leaving}
	if len(t.members) > 0 {
		t.state, t.protocolType, t.generation, t.since = Stable, ProtocolTypeConsumer, Generation(n.live.epoch), m.now
		t.protocol = t.selectProtocol()
		b.last = []record{t.metadataRecord(nil)}
	}
	b.done = func(err error) {
		if err != nil {
			if join != nil && m.converting.drop(callOf(join)) {
				m.answer(callOf(join), err)
			}
			return
		}
		for id := range n.live.members {
			n.forget(id)
		}
		m.next = nil
		m.adopt(t)
		for _, member := range m.members {
			m.alive(member, member.session)
		}
		if len(m.members) > 0 && rebalance {
			m.prepareRebalance("the last member of the new protocol left")
		}
	}
	n.open, n.sent = &changeBatch{of: n}, b
	m.converting = &conversion{}
	if join != nil {
		m.hold(join)
	}
	m.sendChanges(b)
}
