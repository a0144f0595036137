package group

import (
	"maps"
	"slices"
	"time"

	"github.com/partlog/partlog/internal/mutant"
	"github.com/partlog/partlog/partition"
)

// assign computes the target assignment of the present epoch (TargetAssignmentBuilder), unless that was done so lately
// that it has to wait.
func (n *nextgen) assign() {
	if interval := n.config.AssignmentInterval; !n.assigned.IsZero() && !due(n.m.now, n.assigned, interval) {
		wait := interval - n.m.now.Sub(n.assigned)
		n.assigning = true
		n.m.setTimer(timerAssign, "", wait)
		return
	}
	if n.assigning {
		n.assigning = false
		n.m.stopTimer(timerAssign, "")
	}
	n.assigned = n.m.now
	assignor := n.assignor()
	g := ServerGroup{Partitions: make(map[partition.TopicID]int32)}
	for _, member := range n.live.sorted() {
		s := ServerMember{
			MemberID: member.id, InstanceID: member.instanceID, RackID: member.rackID,
			Topics: n.topics.ids(n.live.subscription(member)), Target: n.live.targets[member.id],
		}
		for _, id := range s.Topics {
			g.Partitions[id] = n.topics.byName[n.topics.names[id]].partitions
		}
		g.Members = append(g.Members, s)
	}
	targets := g.checked(assignor.Assign(g))
	for i, s := range targets {
		id := g.Members[i].MemberID
		if old, ok := n.live.targets[id]; !ok || !s.equal(old) {
			n.change(targetChange(id, s))
		}
	}
	n.change(assignmentEpochChange(n.live.epoch))
	n.m.emit(infoEffect{GenerationInfo{
		Group: n.m.id, Generation: Generation(n.live.epoch), State: Reconciling, Protocol: assignor.Name(), Members: len(g.Members),
	}})
}

// checked returns what an assignor has given, by member, without what it had no right to give.
func (g *ServerGroup) checked(out map[string][]TopicIDPartitions) []partitionSet {
	taken := g.flags(slices.Collect(maps.Keys(g.Partitions)))
	targets := make([]partitionSet, len(g.Members))
	for i := range g.Members {
		m := g.Members[i]
		m.Target = newPartitionSet(out[m.MemberID])
		targets[i] = g.target(&m, taken)
	}
	return targets
}

// assignTimeout computes the target assignment that had to wait: its timer has, whatever the wall clock shows by now.
func (n *nextgen) assignTimeout() {
	n.assigned = time.Time{}
	if n.live.epoch > n.live.assignmentEpoch && len(n.live.members) > 0 {
		n.assign()
	}
}

// assignor is the one that most members are for; among equals, the one that is configured first.
func (n *nextgen) assignor() ServerAssignor {
	votes := make(map[string]int)
	for _, member := range n.live.members {
		if member.assignor != "" {
			votes[member.assignor]++
		}
	}
	all := n.config.Assignors
	best := all[0]
	for _, a := range all {
		if votes[a.Name()] > votes[best.Name()] {
			best = a
		}
	}
	return best
}

// reconcile lets a member take a step towards its target (maybeReconcile), and returns it as it is then.
func (n *nextgen) reconcile(id string, owned []TopicIDPartitions) *consumerMember {
	member := n.live.members[id]
	if member.isReconciledTo(n.live.assignmentEpoch) {
		return member
	}
	next := n.nextAssignment(member, owned)
	if !next.sameAssignment(member) {
		n.change(assignmentChange(next))
		n.watchRevocation(next)
	}
	return n.live.members[id]
}

// nextAssignment is CurrentAssignmentBuilder.
func (n *nextgen) nextAssignment(member *consumerMember, owned []TopicIDPartitions) *consumerMember {
	switch member.state {
	case MemberStable:
		if member.epoch == n.live.assignmentEpoch {
			return member
		}
		return n.step(member, member.epoch, owned)
	case MemberUnrevokedPartitions:
		if owned == nil || member.revoking.touches(owned) {
			return member
		}
		return n.step(member, member.epoch+1, owned)
	case MemberUnreleasedPartitions:
		return n.step(member, member.epoch, owned)
	}
	return n.step(member, n.live.assignmentEpoch, owned) // a state of a later version
}

// step computes the member's next state: first it gives up what it is not to have, and keeps its epoch until it has said
// so; then it gets what it is to have and nobody else has any more.
func (n *nextgen) step(member *consumerMember, epoch MemberEpoch, owned []TopicIDPartitions) *consumerMember {
	target := n.live.targets[member.id]
	kept := member.assigned.filter(target.has)
	revoke := member.assigned.filter(func(id partition.TopicID, p int32) bool { return !kept.has(id, p) })
	unreleased := false
	free := target.filter(func(id partition.TopicID, p int32) bool {
		if kept.has(id, p) {
			return false
		}
		if _, owner := n.live.owner(id, p); owner && !member.revoking.has(id, p) && !mutant.On(mutant.GivenBeforeRevoked) {
			unreleased = true
			return false
		}
		return true
	})
	next := *member
	next.previous, next.revoking = member.epoch, nil
	if len(revoke) > 0 && (owned == nil || revoke.touches(owned)) {
		next.state, next.epoch, next.assigned, next.revoking = MemberUnrevokedPartitions, epoch, kept, revoke
		return &next
	}
	next.state, next.epoch, next.assigned = MemberStable, n.live.assignmentEpoch, kept.union(free)
	if unreleased {
		next.state = MemberUnreleasedPartitions
	}
	return &next
}
