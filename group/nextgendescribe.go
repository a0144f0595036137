package group

import (
	"maps"
	"slices"
	"time"
)

// topicsNeeded says what the shell is to look at before an event: these topics, or all of them; need is false if the group
// knows enough.
func (m *machine) topicsNeeded(now time.Time, w topicsWanted) (names []string, all, need bool) {
	n := m.next
	if n == nil {
		if !w.joins {
			return nil, false, false
		}
		names = slices.Clone(w.names)
		for _, member := range m.members { // the group may be made of them
			for _, p := range member.protocols {
				if s, err := DecodeSubscription(p.Metadata); err == nil {
					names = append(names, s.Topics...)
					for _, tp := range s.Owned {
						names = append(names, tp.Topic)
					}
				}
			}
			if a, err := DecodeAssignment(member.assignment); err == nil {
				for _, tp := range a.Partitions {
					names = append(names, tp.Topic)
				}
			}
		}
		return names, w.regex != nil && *w.regex != "", true
	}
	if w.names == nil && w.regex == nil && !w.joins && now.Sub(n.looked) < min(n.config.MetadataInterval, regexInterval) {
		return nil, false, false
	}
	regexes := w.regex != nil && *w.regex != ""
	unresolved := regexes && n.live.regexes[*w.regex] == nil
	for _, member := range n.live.members {
		if member.regex != "" {
			regexes = true
			unresolved = unresolved || n.live.regexes[member.regex] == nil
		}
	}
	if unresolved || regexes && w.heartbeat && now.Sub(n.lookedAt) >= regexInterval {
		return nil, true, true
	}
	subscribed := n.known()
	need = w.heartbeat && now.Sub(n.looked) >= n.config.MetadataInterval
	for _, name := range w.names {
		need = need || !subscribed[name]
		subscribed[name] = true
	}
	return slices.Collect(maps.Keys(subscribed)), false, need
}

// known are the topics that the group must know of: those that are subscribed to, and those of which somebody still has
// partitions.
func (n *nextgen) known() map[string]bool {
	all := n.live.subscribed()
	for id := range n.live.owners {
		if name, ok := n.topics.names[id]; ok {
			all[name] = true
		}
	}
	return all
}

// describe returns a snapshot of the group as the log has it or is about to.
func (n *nextgen) describe() ConsumerGroupDescription {
	d := ConsumerGroupDescription{
		Group: n.m.id, State: n.live.phase(), Epoch: n.live.epoch, AssignmentEpoch: n.live.assignmentEpoch, Assignor: n.assignor().Name(),
	}
	for _, m := range n.live.sorted() {
		d.Members = append(d.Members, ConsumerMemberDescription{
			MemberID: m.id, InstanceID: m.instanceID, RackID: m.rackID, ClientID: m.clientID, ClientHost: m.clientHost,
			Epoch: m.epoch, State: m.state, Topics: m.topics, Regex: m.regex,
			Assignment: m.assigned.clone(), Target: n.live.targets[m.id].clone(), Classic: m.classic != nil,
		})
	}
	return d
}
