package control

import "slices"

func (a *application) reassign(c Reassign) {
	answers := make([]PartitionAnswer, len(c.Partitions))
	for i, r := range c.Partitions {
		answers[i].Partition = r.Partition
		t, p, ok := a.find(r.Partition)
		switch {
		case !ok:
			answers[i].Code = UnknownTopicOrPartition
		case r.Target == nil:
			answers[i].Code, answers[i].Detail = a.cancelReassignment(t, r.Partition.Index, p)
		default:
			answers[i].Code, answers[i].Detail = a.reassignTo(t, r.Partition.Index, p, r.Target, c.KeepFactor)
		}
	}
	a.r.Answer = answers
	a.tidy()
}

// reassignTo makes the replicas the target and all of before, until those of the target are in sync. What is in progress is replaced.
func (a *application) reassignTo(t *Topic, index int32, p PartitionState, target []NodeID, keep bool) (Code, string) {
	before := p.Original()
	switch {
	case !a.validReplicas(target):
		return InvalidReplicaAssignment, "a replica is named twice, or is no registered broker"
	case keep && len(target) != len(before):
		return InvalidReplicationFactor, "the number of replicas would change"
	}
	c := a.begin(t, index)
	c.removing, c.adding = sorted(without(before, target...)), sorted(without(target, before...))
	c.replicas = append(slices.Clone(target), c.removing...)
	// Replicas that a replaced reassignment was adding go.
	c.isr, c.offline = common(c.isr, c.replicas), common(c.offline, c.replicas)
	if c.loses() {
		return InvalidReplicaAssignment, "no replica that has what is committed would be left"
	}
	if len(c.adding)+len(c.removing) == 0 {
		c.adding, c.removing = nil, nil
	}
	a.finish(c)
	return OK, ""
}

func sorted(ids []NodeID) []NodeID {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return ids
}

// cancelReassignment goes back to the replicas of before.
func (a *application) cancelReassignment(t *Topic, index int32, p PartitionState) (Code, string) {
	if !p.Reassigning() {
		return NoReassignmentInProgress, ""
	}
	c := a.begin(t, index)
	c.replicas, c.adding, c.removing = p.Original(), nil, nil
	c.isr, c.offline = common(c.isr, c.replicas), common(c.offline, c.replicas)
	if c.loses() {
		return InvalidReplicaAssignment, "no replica that has what is committed would be left"
	}
	a.finish(c)
	return OK, ""
}

// loses reports whether nobody would be left who has all that is committed. Then the replicas may only go by themselves: Kafka asks for an unclean
// election here.
func (c *change) loses() bool {
	held := len(c.before.ISR) + len(c.before.ELR)
	return held > 0 && len(c.isr) == 0 && len(common(c.before.ELR, c.replicas)) == 0
}
