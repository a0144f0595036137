package group

import (
	"slices"
	"strings"
	"time"
)

// nextgen is what a machine has of a group that is a consumer group (KIP-848): Kafka's ConsumerGroup and the part of
// GroupMetadataManager that concerns it. The offsets stay with the machine.
//
// Whatever happens to such a group is a list of changes, which are records: they are applied to live at once, so that
// the next event sees them, and written as one batch, one batch at a time. What is answered meanwhile waits for the
// batches that it rests on. If the log refuses a batch, then all that came after it falls with it, and live is made
// again of what the log has, which is durable.
type nextgen struct {
	m       *machine
	config  ConsumerGroupConfig // of this group
	live    *consumerState
	durable *consumerState // nil until the log knows of the group
	open    *changeBatch   // collects what is to be written next; never nil
	sent    *changeBatch   // is on its way to the log; nil if none

	topics   *topicImage // of the topics subscribed to, at least
	looked   time.Time   // when that was
	unseen   bool        // nobody has looked what is new in it
	lookedAt time.Time   // when all topics were looked at for the last time
	assigned time.Time   // when the target assignment was computed

	dirty     bool // the phase of the group, and what classic members must know, may have changed
	assigning bool // the target assignment is to be computed when timerAssign fires

	revoking map[string]MemberEpoch // by member id: the epoch that its revocation timer is for
	joining  map[string]bool        // classic members who have been told to join again, and have not
	synced   map[string]bool        // classic members who have got the assignment of their epoch
	away     map[string]bool        // static members of this process who have left it, and may come back
}

// changeBatch are changes that are written together, and the answers that wait for them.
type changeBatch struct {
	of      *nextgen
	changes []change
	first   []record // records of another kind, to be written before the changes
	last    []record // and after them
	answers []answerEffect
	leaving []string    // classic members of this process who are removed by it
	done    func(error) // is called first with the log's answer, if not nil
}

// conversion is the time in which a group is between the two protocols, or waits for its changes to be written before
// it can be: other events wait.
type conversion struct{ events []event }

// drop forgets the event of a call, and reports whether it was there.
func (c *conversion) drop(call callID) bool {
	n := len(c.events)
	c.events = slices.DeleteFunc(c.events, func(e event) bool { return callOf(e) == call })
	return len(c.events) < n
}

func newNextgen(m *machine) *nextgen {
	n := &nextgen{
		m: m, config: m.config.consumer.of(m.id), live: newConsumerState(), topics: newTopicImage(nil, false),
		revoking: make(map[string]MemberEpoch), joining: make(map[string]bool), synced: make(map[string]bool), away: make(map[string]bool),
	}
	n.open = &changeBatch{of: n}
	return n
}

// consumerHeartbeatEvent is a ConsumerGroupHeartbeat. newMemberID is what the member is called if it has not said so;
// topics is nil if the shell has not looked.
type consumerHeartbeatEvent struct {
	call        callID
	newMemberID string
	topics      *topicImage
	ConsumerHeartbeatRequest
}

// topicsEvent: the shell has looked at topics.
type topicsEvent struct{ topics *topicImage }

func (consumerHeartbeatEvent) isEvent() {}
func (topicsEvent) isEvent()            {}

// Timers of consumer groups. memberID belongs to all but the last.
const (
	timerRevoke      timerKind = iota + 64 // a member that has not given up its partitions by then is removed
	timerClassicJoin                       // a classic member that has not joined again by then is removed
	timerClassicSync                       // a classic member that has not synced by then is removed
	timerAssign                            // the target assignment may be computed again
)

// stepNextgen steps what concerns a consumer group, and reports false for what does not.
func (m *machine) stepNextgen(e event) bool {
	if m.converting != nil {
		switch e := e.(type) {
		case appendedEvent, stopEvent:
		case withdrawEvent:
			m.converting.drop(e.call)
		default:
			m.hold(e)
			return true
		}
	}
	if e, ok := e.(consumerHeartbeatEvent); ok {
		m.consumerHeartbeat(e)
		m.settle()
		return true
	}
	if e, ok := e.(stopEvent); ok {
		m.stopNextgen(e.err)
		return false
	}
	n := m.next
	if n == nil {
		return false
	}
	switch e := e.(type) {
	case joinEvent:
		n.join(e)
	case syncEvent:
		n.sync(e)
	case heartbeatEvent:
		m.answer(e.call, n.classicHeartbeat(e.Membership))
	case leaveEvent:
		n.leave(e)
	case timerEvent:
		if e.kind == timerRetry {
			return false
		}
		n.timeout(e.timerKey)
	case topicsEvent:
		n.see(e.topics)
	case withdrawEvent:
		n.withdraw(e.call)
		return false
	case loadedEvent:
		n.loaded()
	default:
		return false
	}
	m.settle()
	return true
}

// settle sends what is to be written, and tells classic members of this process what they must know.
func (m *machine) settle() {
	n := m.next
	if n == nil {
		return
	}
	n.flush()
	if n.dirty {
		n.dirty = false
		m.state = n.live.phase()
		n.tellLocals()
	}
}

// hold lets an event wait for the end of the conversion.
func (m *machine) hold(e event) {
	if m.converting == nil {
		m.converting = &conversion{}
	}
	m.converting.events = append(m.converting.events, e)
}

// release ends a conversion and steps what has waited for that.
func (m *machine) release() {
	c := m.converting
	m.converting = nil
	if c == nil {
		return
	}
	for _, e := range c.events {
		m.step(e)
	}
}

func (m *machine) stopNextgen(err error) {
	if m.converting != nil {
		for _, e := range m.converting.events {
			m.answer(callOf(e), err)
		}
		m.converting = nil
	}
	batches := []*changeBatch{}
	if m.next != nil {
		batches = append(batches, m.next.open)
		for _, member := range m.next.live.sorted() {
			if m.isHere(member) {
				m.emit(endedEffect{member.id})
			}
		}
	}
	for _, a := range m.appends {
		if a.changes != nil {
			batches = append(batches, a.changes)
		}
	}
	for _, b := range batches {
		for _, a := range b.answers {
			m.answer(a.call, err)
		}
	}
	m.next = nil
}

// callOf returns the call that an event is to answer, 0 if none.
func callOf(e event) callID {
	switch e := e.(type) {
	case joinEvent:
		return e.call
	case syncEvent:
		return e.call
	case heartbeatEvent:
		return e.call
	case leaveEvent:
		return e.call
	case commitEvent:
		return e.call
	case deleteGroupEvent:
		return e.call
	case deleteOffsetsEvent:
		return e.call
	case consumerHeartbeatEvent:
		return e.call
	}
	return 0
}

// change makes changes: they hold from here on, and are written with the next batch.
func (n *nextgen) change(all ...change) {
	n.dirty = true
	for _, c := range all {
		n.live.apply(c)
	}
	n.open.changes = append(n.open.changes, all...)
}

// reply answers a call as soon as all that it rests on is in the log.
func (n *nextgen) reply(a answerEffect) {
	if a.call != 0 {
		n.open.answers = append(n.open.answers, a)
	}
}

// busy reports whether changes are on their way to the log.
func (n *nextgen) busy() bool {
	return n.sent != nil || len(n.open.changes) > 0
}

// flush sends what is to be written, unless something is on its way; and answers what rests on nothing.
func (n *nextgen) flush() {
	if n.sent != nil {
		return
	}
	b := n.open
	n.open = &changeBatch{of: n}
	if len(b.changes) == 0 {
		for _, a := range b.answers {
			n.m.emit(a)
		}
		return
	}
	n.sent = b
	n.m.sendChanges(b)
}

// sendChanges gives a batch to the log.
func (m *machine) sendChanges(b *changeBatch) {
	records := slices.Clone(b.first)
	for i := range b.changes {
		records = append(records, b.changes[i].record(m.id))
	}
	m.append(&pendingAppend{changes: b}, append(records, b.last...))
}

// changesAppended is the log's answer to a batch. A full disk is a failure here: unlike a commit, a change of the group
// that is only in memory would give partitions away which the next open takes back.
func (m *machine) changesAppended(b *changeBatch, err error) {
	n := b.of
	n.dirty = true
	if b == n.sent {
		n.sent = nil
	}
	if b.done != nil {
		b.done(err)
	}
	if m.next == n {
		if err == nil {
			if n.durable == nil {
				n.durable = newConsumerState()
				n.durable.owners = nil
			}
			for _, c := range b.changes {
				n.durable.apply(c)
			}
		} else {
			n.rollback(b, err)
		}
	}
	for _, a := range b.answers {
		if err != nil {
			a = answerEffect{call: a.call, err: err}
		}
		m.emit(a)
	}
	if m.next == n && m.converting == nil {
		m.settle()
	} else if m.next == n {
		n.flush() // the conversion waits for these too
		m.state = n.live.phase()
	}
	if m.converting != nil && (m.next == nil || !m.next.busy()) {
		m.release()
		m.settle()
	}
}

// rollback makes live again of what the log has; what rested on more is answered with err. A member of this process that
// has left, but not in the log, has a session now, or it would stay for ever.
func (n *nextgen) rollback(sent *changeBatch, err error) {
	fallen := n.open
	for _, id := range slices.Concat(sent.leaving, fallen.leaving) {
		n.away[id] = true
	}
	n.open = &changeBatch{of: n}
	for _, a := range fallen.answers {
		n.m.answer(a.call, err)
	}
	if n.durable == nil { // the group has never been there
		n.m.next, n.m.state = nil, Empty
		return
	}
	for _, member := range n.live.sorted() {
		if n.durable.members[member.id] == nil {
			n.forget(member.id)
		}
	}
	n.live = n.durable.clone()
	n.assigned, n.assigning = time.Time{}, false
	n.startTimers()
}

// startTimers gives every member the whole of its time.
func (n *nextgen) startTimers() {
	for _, member := range n.live.sorted() {
		n.alive(member)
		n.watchRevocation(member)
	}
}

// alive restarts the session of a member. A classic member of this process has none: it lives as long as we do.
func (n *nextgen) alive(member *consumerMember) {
	switch {
	case n.m.isHere(member) && !n.away[member.id]:
		n.m.stopTimer(timerSession, member.id)
	case member.classic != nil:
		n.m.setTimer(timerSession, member.id, member.classic.session)
	default:
		n.m.setTimer(timerSession, member.id, n.config.SessionTimeout)
	}
}

// isLocal reports whether a member lives in this process.
func (m *machine) isLocal(id string) bool {
	if m.next != nil {
		member := m.next.live.members[id]
		return member != nil && m.isHere(member)
	}
	member := m.byID[id]
	return member != nil && member.local
}

// isHere reports whether a member lives in this process. Only classic members do.
func (m *machine) isHere(member *consumerMember) bool {
	return member.classic != nil && member.clientHost == localHost(m.config.incarnation)
}

// watchRevocation bounds the time that a member has to give up partitions. Classic members are bounded by their joins.
func (n *nextgen) watchRevocation(member *consumerMember) {
	if member.classic == nil && member.state == MemberUnrevokedPartitions && member.epoch >= 0 {
		n.revoking[member.id] = member.epoch
		n.m.setTimer(timerRevoke, member.id, max(member.rebalance, time.Millisecond))
	} else if _, watched := n.revoking[member.id]; watched {
		delete(n.revoking, member.id)
		n.m.stopTimer(timerRevoke, member.id)
	}
}

// forget stops all that waits for a member.
func (n *nextgen) forget(id string) {
	for _, k := range []timerKind{timerSession, timerRevoke, timerClassicJoin, timerClassicSync} {
		n.m.stopTimer(k, id)
	}
	delete(n.revoking, id)
	delete(n.joining, id)
	delete(n.synced, id)
	delete(n.away, id)
}

func (n *nextgen) timeout(k timerKey) {
	if k.kind == timerAssign {
		n.assignTimeout()
		return
	}
	member := n.live.members[k.memberID]
	if member == nil {
		return
	}
	reason := ""
	switch k.kind {
	case timerSession:
		reason = "session timed out"
	case timerRevoke:
		if epoch, watched := n.revoking[member.id]; !watched || epoch != member.epoch {
			return
		}
		reason = "did not give up its partitions in time"
	case timerClassicJoin:
		reason = "did not join again in time"
	case timerClassicSync:
		reason = "did not sync in time"
	default:
		return
	}
	n.fenceOr(timerEvent{k}, []*consumerMember{member}, reason)
}

// withdraw forgets a caller. A member of this process whose caller gave up joining is taken out, as in a classic group.
func (n *nextgen) withdraw(call callID) {
	batches := []*changeBatch{n.open}
	if n.sent != nil {
		batches = append(batches, n.sent)
	}
	for _, b := range batches {
		for i, a := range b.answers {
			if a.call != call {
				continue
			}
			b.answers = slices.Delete(b.answers, i, i+1)
			if a.join == nil || a.err != nil {
				return
			}
			member := n.live.members[a.join.MemberID]
			switch {
			case member == nil || !n.m.isHere(member):
			case member.instanceID != "": // it may come back
				n.detach(member)
			default:
				leave := leaveEvent{members: []LeavingMember{{MemberID: member.id, Reason: "join was cancelled"}}}
				if n.m.converting != nil {
					n.m.hold(leave)
				} else {
					n.leave(leave)
					n.m.settle()
				}
			}
			return
		}
	}
}

// loaded takes on what was read from the log. Classic members that lived in a process which has ended are removed at
// once, but for static ones, who may come back within their session.
func (n *nextgen) loaded() {
	n.dirty = true
	// A log that is being compacted may name an owner whose giving up is not there any more, because it has a later
	// record: only at the end is it known who has what.
	n.live = n.live.clone()
	n.durable = n.live.clone()
	n.durable.owners = nil
	var gone []*consumerMember
	for _, member := range n.live.sorted() {
		n.alive(member)
		n.watchRevocation(member)
		n.synced[member.id] = member.classic != nil
		if member.classic != nil && strings.HasPrefix(member.clientHost, localPrefix) && member.instanceID == "" {
			gone = append(gone, member)
		}
	}
	if len(gone) > 0 {
		n.fence(gone, "its process has ended")
	}
}

// replayChange applies a change that was read from the log.
func (m *machine) replayChange(c change) {
	if m.next == nil {
		if c.gone {
			return
		}
		m.resetClassic()
		m.next = newNextgen(m)
	}
	if !m.next.live.apply(c) {
		m.next = nil
	}
	m.state = Empty
	if m.next != nil {
		m.state = m.next.live.phase()
	}
}

// see takes in what the shell has seen of topics.
func (n *nextgen) see(i *topicImage) {
	if i == nil {
		return
	}
	if !i.all {
		// There may be more to know of since the shell was asked to look.
		for name := range n.known() {
			if t, known := n.topics.byName[name]; known && !i.asked[name] {
				i = i.with(name, t)
			}
		}
	}
	n.topics, n.looked, n.unseen = i, n.m.now, true
	if i.all {
		n.lookedAt = n.m.now
	}
}
