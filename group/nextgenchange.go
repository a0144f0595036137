package group

// change is a change of a consumerState, which is a record of OffsetsTopic. Changes that are made together are written
// as one batch.
type change struct {
	kind   int16  // the type of the key
	member string // of types 5, 7 and 8; the regular expression of type 16
	gone   bool   // a tombstone

	epoch        MemberEpoch // of types 3 and 6
	hash         int64       // of type 3
	subscription *consumerMember
	target       partitionSet
	assignment   *consumerMember
	regex        *resolvedRegex
}

// Changes, as Kafka's GroupCoordinatorRecordHelpers makes them.
func epochChange(e MemberEpoch, hash int64) change {
	return change{kind: keyConsumerGroup, epoch: e, hash: hash}
}

func subscriptionChange(m *consumerMember) change {
	return change{kind: keyConsumerMember, member: m.id, subscription: m}
}

func assignmentEpochChange(e MemberEpoch) change {
	return change{kind: keyConsumerTarget, epoch: e}
}

func targetChange(member string, s partitionSet) change {
	return change{kind: keyConsumerTargetMember, member: member, target: s}
}

func assignmentChange(m *consumerMember) change {
	return change{kind: keyConsumerAssignment, member: m.id, assignment: m}
}

func regexChange(regex string, r *resolvedRegex) change {
	return change{kind: keyConsumerRegex, member: regex, regex: r}
}

func goneChange(kind int16, member string) change {
	return change{kind: kind, member: member, gone: true}
}

// apply applies a change. Whatever a damaged or compacted log brings in whatever order, the state stays whole; it
// reports false when the group is gone.
func (s *consumerState) apply(c change) bool {
	switch c.kind {
	case keyConsumerGroup:
		if c.gone {
			return false
		}
		s.epoch, s.hash = c.epoch, c.hash
	case keyConsumerTopics:
		s.legacy = !c.gone
	case keyConsumerMember:
		if c.gone {
			s.remove(c.member)
			return true
		}
		m := *c.subscription
		m.id = c.member
		if old := s.members[c.member]; old != nil {
			m.epoch, m.previous, m.state, m.assigned, m.revoking = old.epoch, old.previous, old.state, old.assigned, old.revoking
		} else {
			m.epoch, m.previous, m.state, m.assigned, m.revoking = 0, -1, MemberStable, nil, nil
		}
		s.put(&m)
	case keyConsumerTarget:
		s.assignmentEpoch = c.epoch
		if c.gone {
			s.assignmentEpoch = -1
		}
	case keyConsumerTargetMember:
		if c.gone {
			delete(s.targets, c.member)
		} else {
			s.targets[c.member] = c.target
		}
	case keyConsumerAssignment:
		old := s.members[c.member]
		if c.gone && old == nil {
			return true
		}
		m := consumerMember{id: c.member, rebalance: -1}
		if old != nil {
			m = *old
		}
		if c.gone {
			m.epoch, m.previous, m.assigned, m.revoking = -1, -1, nil, nil
		} else {
			a := c.assignment
			m.epoch, m.previous, m.state, m.assigned, m.revoking = a.epoch, a.previous, a.state, a.assigned, a.revoking
		}
		s.put(&m)
	case keyConsumerRegex:
		if c.gone {
			delete(s.regexes, c.member)
		} else {
			s.regexes[c.member] = c.regex
		}
	}
	return true
}

// removal are the changes that take a member out. The order matters to Kafka when it reads them.
func removal(id string) []change {
	return []change{goneChange(keyConsumerAssignment, id), goneChange(keyConsumerTargetMember, id), goneChange(keyConsumerMember, id)}
}

// tombstones are the changes after which the log knows nothing of the group.
func (s *consumerState) tombstones() (all []change) {
	members := s.sorted()
	for _, kind := range []int16{keyConsumerAssignment, keyConsumerTargetMember} {
		for _, m := range members {
			all = append(all, goneChange(kind, m.id))
		}
	}
	all = append(all, goneChange(keyConsumerTarget, ""))
	for _, m := range members {
		all = append(all, goneChange(keyConsumerMember, m.id))
	}
	for _, regex := range s.sortedRegexes() {
		all = append(all, goneChange(keyConsumerRegex, regex))
	}
	if s.legacy {
		all = append(all, goneChange(keyConsumerTopics, ""))
	}
	return append(all, goneChange(keyConsumerGroup, ""))
}
