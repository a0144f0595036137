package group

import (
	"maps"
	"slices"
	"time"
)

// topicsNeeded says what the shell is to look at before an event; need is false if the group knows enough.
func (m *machine) topicsNeeded(now time.Time, w topicsWanted) (look topicsLook, need bool) {
	n := m.next
	if n == nil {
		if !w.joins {
			return topicsLook{}, false
		}
		names := slices.Clone(w.names)
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
		return w.first(names), true
	}
	if w.names == nil && w.regex == nil && !w.joins && !due(now, n.looked, min(n.config.MetadataInterval, regexInterval)) {
		return topicsLook{}, false
	}
	if w.resolves {
		regexes := make(map[string]bool)
		if w.regex != nil && *w.regex != "" {
			regexes[*w.regex] = true
		}
		for _, member := range n.live.members {
			if member.regex != "" {
				regexes[member.regex] = true
			}
		}
		unresolved := false
		for regex := range regexes {
			unresolved = unresolved || n.live.regexes[regex] == nil
		}
		if unresolved || len(regexes) > 0 && due(now, n.lookedAt, regexInterval) {
			anew := unresolved || due(now, n.resolvedAt, n.config.RegexRefreshInterval)
			return topicsLook{all: true, regexes: slices.Sorted(maps.Keys(regexes)), due: anew, since: n.resolved}, true
		}
	}
	subscribed := n.known()
	need = w.heartbeat && due(now, n.looked, n.config.MetadataInterval)
	for _, name := range w.names {
		need = need || !subscribed[name]
		subscribed[name] = true
	}
	return topicsLook{names: slices.Collect(maps.Keys(subscribed))}, need
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
