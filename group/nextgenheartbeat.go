package group

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// checkHeartbeat refuses what is no heartbeat (throwIfConsumerGroupHeartbeatRequestIsInvalid).
func (c *ConsumerGroupConfig) checkHeartbeat(r *ConsumerHeartbeatRequest) error {
	invalid := func(what string) error { return fmt.Errorf("%w: %s", ErrInvalidRequest, what) }
	switch {
	case r.MemberEpoch != JoinGroupEpoch && r.MemberID == "":
		return invalid("no member id")
	case r.MemberEpoch < LeaveGroupStaticEpoch:
		return invalid("member epoch below -2")
	case r.MemberEpoch == LeaveGroupStaticEpoch && r.InstanceID == "":
		return invalid("only static members leave with epoch -2")
	case len(r.MemberID) > maxKeyString || r.Regex != nil && len(*r.Regex) > maxKeyString:
		return invalid("member id or regular expression too long")
	}
	if r.MemberEpoch == JoinGroupEpoch {
		switch {
		case r.RebalanceTimeout <= 0:
			return invalid("no rebalance timeout when joining")
		case r.Owned == nil || len(r.Owned) > 0:
			return invalid("owned partitions must be empty, and not nil, when joining")
		case r.Topics == nil && r.Regex == nil:
			return invalid("neither topics nor a regular expression when joining")
		}
	}
	if r.Assignor != "" && c.assignor(r.Assignor) == nil {
		return fmt.Errorf("%w: %q", ErrUnsupportedAssignor, r.Assignor)
	}
	return nil
}

// consumerHeartbeat is consumerGroupHeartbeat of Kafka's GroupMetadataManager.
func (m *machine) consumerHeartbeat(e consumerHeartbeatEvent) {
	err := m.config.consumer.checkHeartbeat(&e.ConsumerHeartbeatRequest)
	switch {
	case m.state == Dead:
		err = ErrCoordinatorNotAvailable
	case err != nil:
	case m.next != nil:
		if err = m.next.heartbeat(e); err == nil {
			return
		}
	case e.MemberEpoch != JoinGroupEpoch:
		err = ErrGroupIDNotFound
	case m.state == Empty:
		if err = m.beginConsumerGroup(e); err == nil {
			return
		}
	default:
		if err = m.upgrade(e); err == nil {
			return
		}
	}
	m.answer(e.call, err)
}

// heartbeat answers a heartbeat; if it returns an error, nothing has changed.
func (n *nextgen) heartbeat(e consumerHeartbeatEvent) error {
	if e.MemberEpoch == LeaveGroupEpoch || e.MemberEpoch == LeaveGroupStaticEpoch {
		return n.consumerLeave(e)
	}
	n.see(e.topics)
	if full := n.config.MaxSize; full > 0 && len(n.live.members) >= full && n.live.members[e.MemberID] == nil {
		return ErrGroupMaxSizeReached
	}
	id := e.MemberID
	if id == "" {
		id = e.newMemberID
	}
	member, replaced, err := n.subscriber(id, &e.ConsumerHeartbeatRequest)
	if err != nil {
		return err
	}
	if e.Regex != nil && *e.Regex != "" && *e.Regex != member.regex && n.live.subscribers(*e.Regex) == 0 {
		if _, err := compileRegex(*e.Regex); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalidRegularExpression, err)
		}
	}
	if member.state < MemberStable || member.state > MemberUnreleasedPartitions {
		// A later version wrote the state: the member begins anew (CurrentAssignmentBuilder).
		if e.Owned == nil || len(e.Owned) > 0 {
			return ErrFencedMemberEpoch
		}
	}

	before := *member
	if replaced != nil {
		n.replace(replaced, member)
	}
	updated := *member
	if e.InstanceID != "" {
		updated.instanceID = e.InstanceID
	}
	if e.RackID != "" {
		updated.rackID = e.RackID
	}
	if e.RebalanceTimeout > 0 {
		updated.rebalance = e.RebalanceTimeout
	}
	if e.Assignor != "" {
		updated.assignor = e.Assignor
	}
	if e.Topics != nil {
		updated.topics = sortedSet(e.Topics)
	}
	if e.Regex != nil {
		updated.regex = *e.Regex
	}
	updated.clientID, updated.clientHost, updated.classic = e.ClientID, e.ClientHost, nil

	n.subscribe(&before, &updated, e.topics, n.live.epoch == 0, "member "+id+" joined or has another subscription")
	now := n.reconcile(id, e.Owned)
	n.alive(now)
	if before.classic != nil { // it has changed its protocol
		for _, k := range []timerKind{timerClassicJoin, timerClassicSync} {
			n.m.stopTimer(k, id)
		}
		delete(n.joining, id)
		delete(n.synced, id)
	}

	result := &ConsumerHeartbeatResult{MemberID: id, MemberEpoch: now.epoch, HeartbeatInterval: n.config.HeartbeatInterval}
	full := e.RebalanceTimeout > 0 && (e.Topics != nil || e.Regex != nil) && e.Owned != nil
	if e.MemberEpoch == JoinGroupEpoch || full || !before.assigned.equal(now.assigned) {
		result.Assignment = now.assigned.clone()
	}
	n.reply(answerEffect{call: e.call, consumer: result})
	return nil
}

// subscriber finds the member that a heartbeat is of, or makes a new one; replaced is the static member whose place it
// takes (getOrMaybeSubscribe{Dynamic,Static}ConsumerGroupMember).
func (n *nextgen) subscriber(id string, r *ConsumerHeartbeatRequest) (member, replaced *consumerMember, err error) {
	joins := r.MemberEpoch == JoinGroupEpoch
	fresh := &consumerMember{id: id, previous: -1, rebalance: -1}
	if r.InstanceID == "" {
		member = n.live.members[id]
		switch {
		case member == nil && !joins:
			return nil, nil, ErrUnknownMemberID
		case member == nil:
			return fresh, nil, nil
		}
		return member, nil, checkEpoch(member, r)
	}
	static := n.live.static(r.InstanceID)
	switch {
	case joins && static == nil:
		if member = n.live.members[id]; member == nil {
			member = fresh
		}
		return member, nil, nil
	case joins:
		if static.classic == nil && static.epoch != LeaveGroupStaticEpoch {
			return nil, nil, ErrUnreleasedInstanceID
		}
		return static.as(id), static, nil
	case static == nil:
		return nil, nil, ErrUnknownMemberID
	case static.id != id:
		return nil, nil, ErrFencedInstanceID
	}
	return static, nil, checkEpoch(static, r)
}

// as returns the member that takes the place of a static one under its own id.
func (m *consumerMember) as(id string) *consumerMember {
	c := *m
	c.id, c.epoch, c.previous = id, 0, 0
	return &c
}

// checkEpoch fences a member that is not where we think it is. One that comes with the epoch before, and has nothing
// that is not its own, has not got the last answer (throwIfConsumerGroupMemberEpochIsInvalid).
func checkEpoch(member *consumerMember, r *ConsumerHeartbeatRequest) error {
	switch {
	case r.MemberEpoch > member.epoch:
		return ErrFencedMemberEpoch
	case r.MemberEpoch < member.epoch && (r.MemberEpoch != member.previous || r.Owned == nil || !member.assigned.contains(r.Owned)):
		return ErrFencedMemberEpoch
	}
	return nil
}

// replace gives a static member's place to another member id.
func (n *nextgen) replace(old, by *consumerMember) {
	target := n.live.targets[old.id]
	n.change(removal(old.id)...)
	n.change(subscriptionChange(by), targetChange(by.id, target), assignmentChange(by))
	if n.m.isHere(old) {
		n.m.emit(endedEffect{old.id})
	}
	if old.id != by.id {
		n.forget(old.id)
	}
	n.m.emit(infoEffect{MemberReplacedInfo{Group: n.m.id, InstanceID: old.instanceID, OldMemberID: old.id, NewMemberID: by.id}})
}

// subscribe takes a member's new subscription, and lets the group have another epoch and another target if that
// changes anything, or if its topics have changed. seen is what the shell has looked at for the sake of this very event, nil if
// it has not: expressions are resolved by the rights of whose event it is.
func (n *nextgen) subscribe(before, updated *consumerMember, seen *topicImage, bump bool, reason string) {
	changed := n.live.members[updated.id] == nil || !before.sameSubscription(updated)
	if changed {
		n.change(subscriptionChange(updated))
		bump = bump || !slices.Equal(before.topics, updated.topics)
	}
	if (changed || n.unseen) && n.resolve(before.regex, updated.regex, seen) && !bump {
		bump = true
		if before.regex == updated.regex {
			reason = "regular expressions stand for other topics"
		}
	}
	if (changed || n.unseen) && !bump && n.hash() != n.live.hash {
		bump, reason = true, "its topics have changed"
	}
	n.unseen = false
	if bump {
		n.bump(reason)
	}
	if n.live.epoch > n.live.assignmentEpoch {
		n.assign()
	}
}

// bump begins another epoch of the group.
func (n *nextgen) bump(reason string) {
	n.m.emit(infoEffect{RebalanceInfo{Group: n.m.id, Generation: Generation(n.live.epoch), Reason: reason}})
	n.change(epochChange(n.live.epoch+1, n.hash()))
}

// hash is the one of the topics that are subscribed to; before they have been looked at, that of the log.
func (n *nextgen) hash() int64 {
	if n.looked.IsZero() {
		return n.live.hash
	}
	return n.topics.hash(n.live.subscribed())
}

// compileRegex compiles a regular expression that must match a whole name.
func compileRegex(regex string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(regex); err != nil { // on its own, or its parentheses might pair with ours
		return nil, err
	}
	return regexp.Compile(`\A(?:` + regex + `)\z`)
}

// resolve takes over what regular expressions stand for, if the event has brought that, and reports whether the subscription of
// anybody has changed (maybeUpdateRegularExpressions, handleRegularExpressionsResult). An expression that nobody has any more
// is dropped.
func (n *nextgen) resolve(before, now string, seen *topicImage) (bump bool) {
	if before != now {
		if before != "" && n.live.regexes[before] != nil && n.live.subscribers(before) == 0 {
			n.change(goneChange(keyConsumerRegex, before))
		}
		bump = now == "" || n.live.regexes[now] != nil
	}
	if seen == nil || !seen.all {
		return bump // the next heartbeat will have more to look at
	}
	n.lookedAt = n.m.now
	if seen.regexes == nil {
		return bump // there are no new topics
	}
	n.resolved, n.resolvedAt = seen, n.m.now
	subscribed := make(map[string]bool)
	for _, member := range n.live.members {
		subscribed[member.regex] = true
	}
	for _, regex := range slices.Sorted(maps.Keys(seen.regexes)) {
		if !subscribed[regex] {
			continue // its member has gone meanwhile
		}
		topics, old := seen.regexes[regex], n.live.regexes[regex]
		same := old != nil && slices.Equal(old.topics, topics)
		if same && n.m.now.Sub(old.time) < n.config.RegexRefreshInterval {
			continue
		}
		n.change(regexChange(regex, &resolvedRegex{topics: topics, time: n.m.now.Truncate(time.Millisecond)}))
		bump = bump || !same && (old != nil || len(topics) > 0)
	}
	return bump
}

// consumerLeave lets a member of the new protocol go (consumerGroupLeave).
func (n *nextgen) consumerLeave(e consumerHeartbeatEvent) error {
	member := n.live.members[e.MemberID]
	if e.InstanceID != "" {
		member = n.live.static(e.InstanceID)
		if member != nil && member.id != e.MemberID {
			return ErrFencedInstanceID
		}
	}
	if member == nil {
		return ErrUnknownMemberID
	}
	answer := answerEffect{call: e.call, consumer: &ConsumerHeartbeatResult{MemberID: e.MemberID, MemberEpoch: e.MemberEpoch}}
	if e.MemberEpoch == LeaveGroupStaticEpoch {
		left := *member
		left.epoch, left.revoking = LeaveGroupStaticEpoch, nil
		n.change(assignmentChange(&left))
		n.watchRevocation(&consumerMember{id: left.id})
		n.reply(answer)
		return nil
	}
	if n.mustWait([]*consumerMember{member}) {
		n.m.hold(e)
		return nil
	}
	n.reply(answer)
	n.fence([]*consumerMember{member}, "left")
	return nil
}

// fenceOr fences members, or lets the event wait if that makes a conversion and changes are on their way.
func (n *nextgen) fenceOr(e event, members []*consumerMember, reason string) {
	if n.mustWait(members) {
		n.m.hold(e)
		return
	}
	n.fence(members, reason)
}

// mustWait reports whether fencing members turns the group into a classic one, and cannot be done now because its
// changes are still on their way to the log.
func (n *nextgen) mustWait(members []*consumerMember) bool {
	return n.busy() && n.becomesClassic(members, 0)
}

// fence removes members (consumerGroupFenceMembers). If only classic ones are left, the group is a classic one again.
func (n *nextgen) fence(members []*consumerMember, reason string) {
	var ids []string
	for _, member := range members {
		ids = append(ids, member.id)
		n.forget(member.id)
		if n.m.isHere(member) {
			n.m.emit(endedEffect{member.id})
			n.open.leaving = append(n.open.leaving, member.id)
		}
		n.m.emit(infoEffect{MemberRemovedInfo{Group: n.m.id, MemberID: member.id, Reason: reason}})
	}
	if n.becomesClassic(members, 0) {
		n.becomeClassic(members, nil, nil)
		return
	}
	for _, member := range members {
		n.change(removal(member.id)...)
	}
	for _, member := range members {
		if member.regex != "" && n.live.regexes[member.regex] != nil && n.live.subscribers(member.regex) == 0 {
			n.change(goneChange(keyConsumerRegex, member.regex))
		}
	}
	n.bump(strings.Join(ids, ", ") + ": " + reason)
}
