package group

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// errMalformed is a classic member whose subscription cannot be read.
var errMalformed = errors.New("malformed subscription")

// join lets a classic member into a consumer group, or lets it join again (classicGroupJoinToConsumerGroup). It never
// waits for others: its answer is its own next step.
func (n *nextgen) join(e joinEvent) {
	if len(n.live.members) == 0 {
		n.becomeClassic(nil, nil, e)
		return
	}
	if err := n.tryJoin(e); err != nil {
		refused := Membership{Group: n.m.id, Generation: NoGeneration}
		if errors.Is(err, ErrMemberIDRequired) {
			refused.MemberID = e.newMemberID
		}
		n.m.emit(answerEffect{call: e.call, err: err, join: &JoinResult{Membership: refused}})
	}
}

func (n *nextgen) tryJoin(e joinEvent) error {
	if e.Local && e.SessionTimeout <= 0 {
		e.SessionTimeout = n.m.config.minSession
	}
	if !e.Local && (e.SessionTimeout < n.m.config.minSession || e.SessionTimeout > n.m.config.maxSession) {
		return ErrInvalidSessionTimeout
	}
	if e.RebalanceTimeout <= 0 {
		e.RebalanceTimeout = e.SessionTimeout
	}
	if full := n.config.MaxSize; full > 0 && len(n.live.members) >= full && n.live.members[e.MemberID] == nil {
		return ErrGroupMaxSizeReached
	}
	if !n.supports(e.ProtocolType, e.Protocols) {
		return ErrInconsistentGroupProtocol
	}
	if e.RequireKnownMemberID && e.MemberID == "" && e.InstanceID == "" {
		return ErrMemberIDRequired
	}
	subscription, err := DecodeSubscription(e.Protocols[0].Metadata)
	if err != nil {
		return errors.Join(ErrInconsistentGroupProtocol, errMalformed)
	}
	id := e.MemberID
	if id == "" {
		id = e.newMemberID
	}
	member := n.live.members[id]
	static := n.live.static(e.InstanceID)
	var replaced *consumerMember
	switch {
	case e.InstanceID == "":
	case e.MemberID != "" && static == nil:
		return ErrUnknownMemberID
	case e.MemberID != "" && static.id != e.MemberID:
		return ErrFencedInstanceID
	case e.MemberID == "" && static != nil:
		member, replaced = static.as(id), static
		if n.becomesClassic([]*consumerMember{static}, 1) { // it was the last one of the new protocol
			n.becomeClassic(nil, static, e)
			return nil
		}
	}
	if member == nil {
		member = &consumerMember{id: id, previous: -1, rebalance: -1}
	}

	before := *member
	if replaced != nil {
		n.replace(replaced, member)
	}
	updated := *member
	updated.rebalance, updated.topics, updated.regex = e.RebalanceTimeout, sortedSet(subscription.Topics), ""
	if e.InstanceID != "" {
		updated.instanceID = e.InstanceID
	}
	if subscription.RackID != "" {
		updated.rackID = subscription.RackID
	}
	updated.clientID, updated.clientHost = e.ClientID, e.ClientHost
	if e.Local {
		updated.clientHost = localHost(n.m.config.incarnation)
	}
	updated.classic = &classicMember{session: e.SessionTimeout, protocols: e.Protocols}
	n.subscribe(&before, &updated, nil, before.regex != "", because("member "+id+" joined or has another subscription", e.Reason))
	owned := append([]TopicIDPartitions{}, n.topics.byTopicID(subscription.Owned)...)
	now := n.reconcile(id, owned)

	delete(n.away, id)
	n.watchRevocation(now)
	n.m.stopTimer(timerClassicJoin, id)
	n.alive(now)
	n.m.setTimer(timerClassicSync, id, e.RebalanceTimeout)
	delete(n.joining, id)
	delete(n.synced, id)
	r := &JoinResult{
		Membership:   Membership{Group: n.m.id, MemberID: id, Generation: Generation(now.epoch), InstanceID: now.instanceID},
		ProtocolType: ProtocolTypeConsumer, Protocol: e.Protocols[0].Name,
	}
	if !e.Local {
		r.HeartbeatInterval = max(e.SessionTimeout/3, time.Millisecond)
	}
	n.reply(answerEffect{call: e.call, join: r})
	return nil
}

// supports reports whether all classic members support one of these protocols.
func (n *nextgen) supports(protocolType string, protocols []Protocol) bool {
	if protocolType != ProtocolTypeConsumer {
		return false
	}
	classic, count := 0, make(map[string]int)
	for _, member := range n.live.members {
		if member.classic == nil {
			continue
		}
		classic++
		for _, p := range member.classic.protocols {
			count[p.Name]++
		}
	}
	return slices.ContainsFunc(protocols, func(p Protocol) bool { return count[p.Name] == classic })
}

// classicMember finds a classic member (validateConsumerGroupMember and what Kafka asks of it in Sync and Heartbeat).
func (n *nextgen) classicMember(s Membership) (*consumerMember, error) {
	member := n.live.members[s.MemberID]
	if s.InstanceID != "" {
		member = n.live.static(s.InstanceID)
		if member != nil && member.id != s.MemberID {
			return nil, ErrFencedInstanceID
		}
	}
	switch {
	case member == nil || member.classic == nil:
		return nil, ErrUnknownMemberID
	case s.Generation != Generation(member.epoch):
		return nil, ErrIllegalGeneration
	}
	return member, nil
}

// sync tells a classic member what it has (classicGroupSyncToConsumerGroup).
func (n *nextgen) sync(e syncEvent) {
	member, err := n.classicMember(e.Membership)
	switch {
	case err != nil:
	case e.ProtocolType != "" && e.ProtocolType != ProtocolTypeConsumer,
		e.Protocol != "" && e.Protocol != member.classic.protocol():
		err = ErrInconsistentGroupProtocol
	case n.isBehind(member) && member.state != MemberUnrevokedPartitions:
		n.expectJoin(member)
		err = ErrRebalanceInProgress
	}
	if err != nil {
		n.m.answer(e.call, err)
		return
	}
	n.m.stopTimer(timerClassicSync, member.id)
	n.alive(member)
	n.synced[member.id], n.dirty = true, true
	a := Assignment{Partitions: n.topics.byTopicName(member.assigned)}
	n.reply(answerEffect{call: e.call, sync: &SyncResult{ProtocolType: ProtocolTypeConsumer, Protocol: member.classic.protocol(), Assignment: a.Append(nil)}})
}

// classicHeartbeat is classicGroupHeartbeatToConsumerGroup.
func (n *nextgen) classicHeartbeat(s Membership) error {
	member, err := n.classicMember(s)
	if err != nil {
		return err
	}
	n.alive(member)
	if n.mustRejoin(member) {
		n.expectJoin(member)
		return ErrRebalanceInProgress
	}
	return nil
}

// mustRejoin reports whether a classic member has something to gain, or to give up, by joining again: the group has moved
// on, partitions are to be given up, or partitions that it waits for are free.
func (n *nextgen) mustRejoin(member *consumerMember) bool {
	return n.isBehind(member) || member.state == MemberUnrevokedPartitions ||
		member.state == MemberUnreleasedPartitions && !n.live.waiting(member)
}

// isBehind reports whether the group has an epoch that the member can reach by joining again.
func (n *nextgen) isBehind(member *consumerMember) bool {
	return member.epoch < n.live.assignmentEpoch || member.epoch < n.live.epoch && !n.assigning
}

// expectJoin bounds the time that a classic member has to join again.
func (n *nextgen) expectJoin(member *consumerMember) {
	if !n.joining[member.id] {
		n.joining[member.id] = true
		n.m.setTimer(timerClassicJoin, member.id, member.rebalance)
	}
}

// tellLocals tells the classic members of this process, who send no heartbeats, what a heartbeat would tell them. One that
// has not got the assignment of its epoch hears of it when it asks for that.
func (n *nextgen) tellLocals() {
	if len(n.synced) == 0 {
		return
	}
	for _, member := range n.live.sorted() {
		if n.m.isHere(member) && n.synced[member.id] && !n.away[member.id] && !n.joining[member.id] && n.mustRejoin(member) {
			n.expectJoin(member)
			n.m.emit(endedEffect{member.id})
		}
	}
}

// leave lets members go by the classic API: classic ones, and by a tool also others (classicGroupLeaveToConsumerGroup).
func (n *nextgen) leave(e leaveEvent) {
	if n.m.state == Dead {
		n.m.answer(e.call, ErrCoordinatorNotAvailable)
		return
	}
	errs := make([]error, len(e.members))
	var gone []*consumerMember
	var reasons []string
	failed := false
	for i, l := range e.members {
		member := n.live.members[l.MemberID]
		if l.InstanceID != "" {
			member = n.live.static(l.InstanceID)
			if member != nil && l.MemberID != "" && member.id != l.MemberID {
				errs[i], failed = ErrFencedInstanceID, true
				continue
			}
		}
		switch {
		case member == nil:
			errs[i], failed = ErrUnknownMemberID, true
		case slices.Contains(gone, member):
		case l.Temporary && member.classic != nil:
			n.detach(member)
		default:
			gone = append(gone, member)
			if l.Reason != "" {
				reasons = append(reasons, l.Reason)
			}
		}
	}
	var err error
	if failed {
		err = &LeaveError{Members: errs}
	}
	if len(gone) == 0 {
		n.m.answer(e.call, err)
		return
	}
	if n.mustWait(gone) {
		n.m.hold(e)
		return
	}
	n.reply(answerEffect{call: e.call, err: err})
	n.fence(gone, because("left", strings.Join(reasons, ", ")))
}

// detach lets a static classic member go that means to come back.
func (n *nextgen) detach(member *consumerMember) {
	n.away[member.id] = true
	n.alive(member)
	n.m.emit(endedEffect{member.id})
}

// checkCommit is ConsumerGroup.validateOffsetCommit.
func (n *nextgen) checkCommit(s Membership, transactional bool) error {
	switch {
	case s.Generation < 0 && len(n.live.members) == 0:
		return nil // from outside: a tool, or a consumer that assigns by hand
	case transactional && s.Generation == NoGeneration && s.MemberID == "" && s.InstanceID == "":
		return nil // of a producer that knows nothing of the group
	}
	return n.checkEpochOf(s.MemberID, MemberEpoch(s.Generation))
}

// checkEpochOf is validateMemberEpoch.
func (n *nextgen) checkEpochOf(memberID string, epoch MemberEpoch) error {
	member := n.live.members[memberID]
	switch {
	case member == nil:
		return ErrUnknownMemberID
	case epoch == member.epoch:
		return nil
	case member.classic != nil:
		return ErrIllegalGeneration
	}
	return ErrStaleMemberEpoch
}

// describeClassic describes the members in the words of the classic protocol.
func (n *nextgen) describeClassic() (out []MemberDescription) {
	for _, member := range n.live.sorted() {
		s := Subscription{Topics: n.live.subscription(member), Generation: Generation(member.epoch), RackID: member.rackID}
		a := Assignment{Partitions: n.topics.byTopicName(member.assigned)}
		out = append(out, MemberDescription{
			MemberID: member.id, InstanceID: member.instanceID, ClientID: member.clientID, ClientHost: member.clientHost,
			Local: n.m.isHere(member), Metadata: s.Append(nil), Assignment: a.Append(nil),
		})
	}
	return out
}
