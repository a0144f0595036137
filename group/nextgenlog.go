package group

import (
	"slices"
	"strings"
	"time"
)

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
	n.assigned, n.assigning, n.resolved = time.Time{}, false, nil
	n.startTimers()
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
		m.next, m.made = nil, false
	}
	m.state = Empty
	if m.next != nil {
		m.state = m.next.live.phase()
	}
}
