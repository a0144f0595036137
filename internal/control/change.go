package control

import (
	"slices"

	"github.com/partlog/partlog/internal/mutant"
)

// change is one partition being changed, Kafka's PartitionChangeBuilder: whoever makes it sets what is to be, and finish completes a reassignment
// that can be, keeps the ELR, elects a leader and raises the epochs.
type change struct {
	m      *Machine
	t      *Topic
	index  int32
	before PartitionState

	replicas, isr, adding, removing, offline []NodeID
	recovering                               bool
	gone                                     []NodeID // may miss what they had: no longer eligible
	blank                                    []NodeID // have nothing any more: not even as last known leader
	election                                 election
	always                                   bool // raises the partition epoch, whether anything is different or not
	resigns                                  bool // the leader leads no more if another has all that is committed

	elr, last []NodeID
	unclean   bool
}

// election is a kind of election.
type election int8

const (
	online    election = iota // keep the leader, or another in sync
	preferred                 // the first replica if it is in sync
	unclean                   // keep a leader whatever it costs
)

// begin begins a change of a partition, with an election as its topic allows.
func (a *application) begin(t *Topic, index int32) change {
	p := t.partitions[index]
	c := change{m: a.m, t: t, index: index, before: p, replicas: p.Replicas, isr: p.ISR, adding: p.Adding, removing: p.Removing, offline: p.Offline,
		recovering: p.Recovering, elr: p.ELR, last: p.LastKnownELR}
	if a.m.unclean(t) {
		c.election = unclean
	}
	return c
}

// acceptable reports whether a replica may lead at all.
func (c *change) acceptable(id NodeID) bool { return c.m.Active(id) && !slices.Contains(c.offline, id) }

// valid reports whether a replica may lead, having all that is committed.
func (c *change) valid(id NodeID) bool {
	return (slices.Contains(c.isr, id) || len(c.isr) == 0 && slices.Contains(c.elr, id)) && c.acceptable(id)
}

// finish puts the change in force, and returns whether anything is different.
func (a *application) finish(c change) bool {
	c.completeReassignment()
	elr := a.m.feature >= LevelELR
	next := PartitionState{Replicas: c.replicas, Adding: c.adding, Removing: c.removing, Offline: c.offline, LeaderEpoch: c.before.LeaderEpoch,
		PartitionEpoch: c.before.PartitionEpoch, Recovering: c.recovering}
	minISR := a.m.minISR(c.t, next)
	if elr {
		c.populateELR(minISR)
	} else {
		c.elr = nil
	}
	next.Leader = c.elect(elr)
	switch {
	case c.unclean: // what is not in the new leader's log is lost
		c.isr, c.elr, next.Recovering = []NodeID{next.Leader}, nil, true
	case next.Leader != NoNode && slices.Contains(c.elr, next.Leader):
		c.isr, c.elr = []NodeID{next.Leader}, without(c.elr, next.Leader)
		if minISR == 1 { // the high watermark moves from now on
			c.elr = nil
		}
	}
	if len(c.isr) == 0 && !elr {
		c.isr = common(c.before.ISR, c.replicas) // the last one stays
	}
	next.ISR, next.ELR, next.LastKnownELR = c.isr, c.elr, c.lastKnown(next.Leader, elr)
	if next.Equal(c.before) && !c.always {
		return false
	}
	next.PartitionEpoch++
	// A replica that goes, or whose copy has failed, may come back with less: what it has acknowledged in this epoch counts no more.
	left := len(without(c.before.Replicas, next.Replicas...))+len(without(next.Offline, c.before.Offline...)) > 0
	if next.Leader != c.before.Leader && !mutant.On(mutant.ElectionSameEpoch) || left {
		next.LeaderEpoch++
	}
	a.put(c.t, c.index, next, c.unclean && !mutant.On(mutant.SilentUnclean))
	return true
}

// completeReassignment ends a reassignment when all replicas that are to stay are in sync.
func (c *change) completeReassignment() {
	if len(c.adding)+len(c.removing) == 0 {
		return
	}
	isr, replicas := without(c.isr, c.removing...), without(c.replicas, c.removing...)
	if len(isr) == 0 || len(without(replicas, isr...)) > 0 && !mutant.On(mutant.RemovedTooEarly) {
		return
	}
	c.isr, c.replicas, c.adding, c.removing = isr, replicas, nil, nil
	c.offline = common(c.offline, replicas)
}

// populateELR keeps in the ELR who leaves an ISR that is, or becomes, smaller than the minimum: the high watermark cannot move from then on, so
// they have all that is committed.
func (c *change) populateELR(minISR int32) {
	if len(c.isr) >= int(minISR) {
		c.elr = nil
		return
	}
	var elr []NodeID
	for _, ids := range [2][]NodeID{c.elr, c.before.ISR} {
		for _, id := range ids {
			if !slices.Contains(c.isr, id) && !slices.Contains(c.gone, id) && slices.Contains(c.replicas, id) && !slices.Contains(elr, id) {
				elr = append(elr, id)
			}
		}
	}
	slices.Sort(elr)
	c.elr = elr
}

// elect returns who is to lead.
func (c *change) elect(elr bool) NodeID {
	leader := c.before.Leader
	if c.election == preferred && c.valid(c.replicas[0]) {
		return c.replicas[0]
	}
	if leader != NoNode && c.valid(leader) && !c.resigns {
		return leader
	}
	for _, id := range c.replicas {
		if c.valid(id) && !(c.resigns && id == leader) {
			return id
		}
	}
	if elr && len(c.isr) == 0 && len(c.elr) == 0 && len(c.last) == 1 && !slices.Contains(c.blank, c.last[0]) &&
		slices.Contains(c.replicas, c.last[0]) && c.acceptable(c.last[0]) {
		c.unclean = true
		return c.last[0]
	}
	if c.election == unclean || mutant.On(mutant.UncleanAlways) {
		for _, id := range c.replicas {
			if c.acceptable(id) {
				c.unclean = true
				return id
			}
		}
	}
	return NoNode
}

// lastKnown returns who is remembered as the last leader: the one that there was when the ISR ran empty, until there is another.
func (c *change) lastKnown(leader NodeID, elr bool) []NodeID {
	switch {
	case !elr || leader != NoNode:
		return nil
	case len(c.isr) == 0 && len(c.before.ISR) > 0:
		last := c.before.Leader
		if last == NoNode {
			last = c.before.ISR[0]
		}
		return common(without([]NodeID{last}, c.blank...), c.replicas)
	}
	return common(without(c.last, c.blank...), c.replicas)
}

// put replaces a partition's state and tells of it.
func (a *application) put(t *Topic, index int32, next PartitionState, unclean bool) {
	before := t.partitions[index]
	t.partitions[index] = next
	a.m.count(before, -1)
	a.m.count(next, 1)
	a.r.Changed = append(a.r.Changed, PartitionChange{Partition: PartitionID{t.ID, index}, Name: t.Name, Before: before, After: next,
		MinISR: a.m.minISR(t, next), Unclean: unclean})
}

// count keeps the number of partitions by leader.
func (m *Machine) count(p PartitionState, by int) {
	switch {
	case !p.Exists():
	case p.Leader == NoNode:
		m.leaderless += by
	default:
		if m.leads[p.Leader] += by; m.leads[p.Leader] == 0 {
			delete(m.leads, p.Leader)
		}
	}
}

// each calls f for every partition, by topic id and number.
func (m *Machine) each(f func(t *Topic, index int32)) {
	for _, t := range m.topics {
		for i := range t.partitions {
			f(t, int32(i))
		}
	}
}

// common returns those of ids that are among others; ids itself if that is all.
func common(ids, others []NodeID) []NodeID { return without(ids, without(ids, others...)...) }
