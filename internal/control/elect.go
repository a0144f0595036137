package control

import "slices"

func (a *application) elect(c Elect) {
	var answers []PartitionAnswer
	if c.Partitions == nil {
		a.m.each(func(t *Topic, index int32) {
			if code := a.electOne(t, index, c.Unclean); code != ElectionNotNeeded {
				answers = append(answers, PartitionAnswer{Partition: PartitionID{t.ID, index}, Code: code})
			}
		})
	}
	for _, id := range c.Partitions {
		code := UnknownTopicOrPartition
		if t, _, ok := a.find(id); ok {
			code = a.electOne(t, id.Index, c.Unclean)
		}
		answers = append(answers, PartitionAnswer{Partition: id, Code: code})
	}
	a.r.Answer = answers
	a.tidy()
}

func (a *application) electOne(t *Topic, index int32, uncleanly bool) Code {
	p := t.partitions[index]
	if !uncleanly && p.Leader == p.Replicas[0] || uncleanly && p.Leader != NoNode {
		return ElectionNotNeeded
	}
	c := a.begin(t, index)
	c.election = preferred
	if uncleanly {
		c.election = unclean
	}
	a.finish(c)
	leader := t.partitions[index].Leader
	switch {
	case uncleanly && leader == NoNode:
		return EligibleLeadersNotAvailable
	case !uncleanly && leader != p.Replicas[0]:
		return PreferredLeaderNotAvailable
	}
	return OK
}

// imbalanced returns partitions that their preferred leader could lead and does not.
func (m *Machine) imbalanced(most int) (ids []PartitionID) {
	m.each(func(t *Topic, index int32) {
		p := &t.partitions[index]
		first := p.Replicas[0]
		if len(ids) < most && p.Leader != first && m.Active(first) && slices.Contains(p.ISR, first) {
			ids = append(ids, PartitionID{t.ID, index})
		}
	})
	return ids
}

// uncleanly returns partitions without a leader that an unclean election would help, and whose topics allow it.
func (m *Machine) uncleanly(most int) (ids []PartitionID) {
	if m.leaderless == 0 {
		return nil
	}
	m.each(func(t *Topic, index int32) {
		p := &t.partitions[index]
		if len(ids) < most && p.Leader == NoNode && m.unclean(t) &&
			slices.ContainsFunc(p.Replicas, func(id NodeID) bool { return m.Active(id) && !slices.Contains(p.Offline, id) }) {
			ids = append(ids, PartitionID{t.ID, index})
		}
	})
	return ids
}
