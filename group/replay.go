package group

import (
	"slices"
	"strings"

	"github.com/partlog/partlog/internal/mutant"
	"github.com/partlog/partlog/partition"
)

// localPrefix begins the client host of members that live in the coordinator's process; the incarnation follows. A
// broker puts an address there, which begins with a slash.
const localPrefix = "in-process:"

func localHost(incarnation string) string { return localPrefix + incarnation }

// replay applies a record that was read from this place of the log. loadedEvent ends the replay.
func (m *machine) replay(r *groupRecord, at partition.Offset) {
	m.lastAt = at
	switch {
	case r.isOffset && r.offset == nil:
		m.drop(r.tp, at)
	case r.isOffset:
		o := *r.offset
		o.at = at
		m.made = true
		m.put(r.tp, o)
	case r.change != nil:
		m.replayChange(*r.change)
	case r.metadata == nil && m.next != nil: // of the classic group that it was
	default:
		m.next, m.made = nil, r.metadata != nil
		m.members, m.byID, m.instances = nil, make(map[string]*member), make(map[string]*member)
		m.state, m.protocolType, m.protocol, m.leader, m.generation = Empty, "", "", "", 0
		if r.metadata != nil {
			m.replayMetadata(r.metadata)
		}
	}
}

// replayTransactional holds back what a transaction says; only commits are part of transactions.
func (m *machine) replayTransactional(producer int64, r *groupRecord, at partition.Offset) {
	if !r.isOffset || r.offset == nil {
		return
	}
	m.lastAt, m.made = at, true
	o := *r.offset
	o.at = at
	m.await(producer, offsetRecord{r.tp, o})
}

func (m *machine) replayMetadata(g *groupMetadata) {
	m.protocolType, m.protocol, m.leader, m.generation, m.since = g.protocolType, g.protocol, g.leader, g.generation, g.since
	if mutant.On(mutant.GenerationForgotten) {
		m.generation = 0
	}
	for _, v := range g.members {
		restored := &member{
			id: v.id, instanceID: v.instanceID, clientID: v.clientID, clientHost: v.clientHost,
			session: v.session, rebalance: v.rebalance, assignment: v.assignment, synced: true,
			local: strings.HasPrefix(v.clientHost, localPrefix),
			// Of all its protocols only the one that had won is in the record, as in Kafka.
			protocols: []Protocol{{Name: g.protocol, Metadata: v.subscription}},
		}
		if m.byID[v.id] == nil {
			m.add(restored)
		}
	}
	if len(m.members) > 0 {
		m.state = Stable
	}
}

// stepLoaded takes the restored members on: those over the wire, and static ones of a process which has ended, have
// their whole session to report; dynamic ones of such a process are removed at once, and delay nobody. Nothing is written for that: after the next
// open it would happen again in the same way.
func (m *machine) stepLoaded() {
	gone := 0
	for _, member := range slices.Clone(m.members) {
		switch {
		case !member.local:
			m.alive(member, member.session)
		case member.clientHost != localHost(m.config.incarnation) && member.instanceID != "":
			member.detached = true
			m.alive(member, member.session)
		case member.clientHost != localHost(m.config.incarnation):
			m.remove(member, "its process has ended")
			gone++
		}
	}
	switch {
	case gone == 0:
	case len(m.members) == 0:
		m.generation++ // as Kafka does when the last member leaves: old members' commits must not pass
		m.state, m.protocol, m.leader = Empty, "", ""
	default:
		m.prepareRebalance("members of a process that has ended were removed")
	}
}
