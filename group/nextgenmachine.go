package group

import (
	"slices"
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
	lookedAt time.Time   // when all topics were looked at for the last time, for the sake of a heartbeat that was accepted
	resolved *topicImage // in which regular expressions were resolved for the last time; nil if they are to be
	assigned time.Time   // when the target assignment was computed

	resolvedAt time.Time // when resolved was

	dirty     bool // the phase of the group, and what classic members must know, may have changed
	assigning bool // the target assignment is to be computed when timerAssign fires

	revoking map[string]MemberEpoch // by member id: the epoch that its revocation timer is for
	joining  map[string]bool        // classic members who have been told to join again, and have not
	synced   map[string]bool        // classic members who have got the assignment of their epoch
	away     map[string]bool        // static members of this process who have left it, and may come back
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
	case deleteGroupEvent:
		if !n.busy() {
			return false
		}
		m.hold(e) // its tombstones come behind what is not on its way yet
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
}
