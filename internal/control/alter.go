package control

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/partlog/partlog/internal/mutant"
)

// alterPartitions follows ReplicationControlManager.alterPartition.
func (a *application) alterPartitions(c AlterPartitions) {
	if _, ok := a.registered(c.Node, c.Epoch); !ok {
		a.r.Code = StaleBrokerEpoch // also for a node that nobody knows
		return
	}
	answers := make([]AlterAnswer, len(c.Partitions))
	for i, p := range c.Partitions {
		answers[i].Partition = p.Partition
		answers[i].Code = a.alterPartition(c.Node, p)
		_, answers[i].State, _ = a.find(p.Partition)
	}
	a.r.Answer = answers
	a.tidy()
}

func (a *application) alterPartition(from NodeID, c AlterPartition) Code {
	t, p, ok := a.find(c.Partition)
	switch {
	case t == nil:
		return UnknownTopicID
	case !ok:
		return UnknownTopicOrPartition
	case c.LeaderEpoch > p.LeaderEpoch || c.PartitionEpoch > p.PartitionEpoch:
		return NotController
	case mutant.On(mutant.StaleLeaderAlters):
	case c.LeaderEpoch < p.LeaderEpoch:
		return FencedLeaderEpoch
	case from != p.Leader:
		return InvalidRequest
	case c.PartitionEpoch < p.PartitionEpoch && !mutant.On(mutant.StaleAlterPartition):
		return InvalidUpdateVersion
	case c.Recovering && (!p.Recovering || len(c.ISR) > 1):
		return InvalidRequest
	}
	isr := make([]NodeID, len(c.ISR))
	for i, member := range c.ISR {
		if !slices.Contains(p.Replicas, member.Node) || slices.Contains(isr[:i], member.Node) {
			return InvalidRequest
		}
		isr[i] = member.Node
	}
	if !slices.Contains(isr, p.Leader) && !mutant.On(mutant.StaleLeaderAlters) {
		return InvalidRequest
	}
	for _, member := range c.ISR {
		n, known := a.m.Node(member.Node)
		if !known || !n.Active() && !mutant.On(mutant.FencedJoinsISR) || member.Epoch != NoEpoch && member.Epoch != n.Epoch || slices.Contains(p.Offline, member.Node) {
			return IneligibleReplica
		}
	}
	ch := a.begin(t, c.Partition.Index)
	// The same ISR is a change as well: a leader makes an attempt that it has no answer to void by another one of the same partition epoch.
	ch.isr, ch.recovering, ch.always = isr, c.Recovering, true
	a.finish(ch)
	if t.partitions[c.Partition.Index].Leader != from {
		return NewLeaderElected // the alteration has completed a reassignment, and the leader is not part of it any more
	}
	return OK
}

// tidy sorts the changes of a command that names its partitions, which may be named twice.
func (a *application) tidy() {
	changed := a.r.Changed
	slices.SortStableFunc(changed, func(x, y PartitionChange) int { return comparePartitions(x.Partition, y.Partition) })
	a.r.Changed = changed[:0]
	for _, c := range changed {
		if n := len(a.r.Changed); n > 0 && a.r.Changed[n-1].Partition == c.Partition {
			last := &a.r.Changed[n-1]
			last.After, last.MinISR, last.Unclean = c.After, c.MinISR, last.Unclean || c.Unclean
			continue
		}
		a.r.Changed = append(a.r.Changed, c)
	}
}

func comparePartitions(x, y PartitionID) int {
	return cmp.Or(bytes.Compare(x.Topic[:], y.Topic[:]), cmp.Compare(x.Index, y.Index))
}
