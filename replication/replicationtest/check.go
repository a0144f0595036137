package replicationtest

import (
	"fmt"
	"slices"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/quorum"
	"github.com/partlog/partlog/internal/simulate"
)

// partitionChanged checks each decision of the controller, as soon as any node has applied it.
func (c *cluster) partitionChanged(command control.Command, change *control.PartitionChange) {
	p := c.partOf(change.Partition)
	if !change.After.Exists() {
		p.deleted = true
		c.seen.Add("partition deleted", 1)
		c.tenant.deleted(p)
		return
	}
	s := change.After
	c.elected(p, command, change)
	if s.Leader >= 0 && s.Leader != change.Before.Leader && !slices.Contains(change.Before.ISR, s.Leader) {
		c.floors[p.index].must = 0 // it was away, and may not have heard of a deletion
	}
	c.replicas.ISR(p.index, int(s.Leader), ints(s.Replicas), ints(s.ISR), ints(s.ELR))
	if s.Leader != change.Before.Leader && s.LeaderEpoch <= change.Before.LeaderEpoch && change.Before.Exists() {
		c.findings.Report(simulate.TwoLeaders, "%s: leader %d follows leader %d in epoch %d, after %d", p.name, s.Leader, change.Before.Leader, s.LeaderEpoch, change.Before.LeaderEpoch)
	}
	for _, id := range s.ISR {
		if len(s.ISR) == 1 && s.Leader == control.NoNode && c.newest.Feature() < control.LevelELR {
			continue // without ELR the last one stays
		}
		if !c.newest.Active(id) || slices.Contains(s.Offline, id) {
			c.findings.Report(simulate.BadISR, "%s: node %d is in the ISR, and fenced, shutting down or failed: %s", p.name, id, s)
		}
	}
	settled := slices.DeleteFunc(slices.Clone(change.Before.Replicas), func(id control.NodeID) bool { return slices.Contains(change.Before.Adding, id) })
	for _, id := range s.Replicas {
		if change.Before.Exists() && !slices.Contains(s.Adding, id) && !slices.Contains(settled, id) && !slices.Contains(s.ISR, id) {
			c.findings.Report(simulate.BadISR, "%s: a reassignment to node %d is complete, which is not in the ISR: %s", p.name, id, s)
		}
	}
	switch command := command.(type) {
	case control.AlterPartitions:
		for _, a := range command.Partitions { // compare and set
			if b := change.Before; a.Partition == change.Partition && (a.LeaderEpoch != b.LeaderEpoch || a.PartitionEpoch != b.PartitionEpoch || command.Node != b.Leader) {
				c.findings.Report(simulate.BadISR, "%s: the ISR of epochs %d, %d was changed by node %d for epochs %d, %d", p.name, b.LeaderEpoch, b.PartitionEpoch,
					command.Node, a.LeaderEpoch, a.PartitionEpoch)
			}
		}
		c.holders(p, change)
		c.checkPart(p, s)
	case control.Fence, control.Unfence, control.BeginShutdown, control.Elect:
		c.holders(p, change)
	}
}

// elected checks who has been elected: somebody of the ISR or the ELR; else it is told, and the topic, or an operator, allows it, or it is the last known leader,
// which must have everything all the same: that is looked at when it begins to lead.
func (c *cluster) elected(p *part, command control.Command, change *control.PartitionChange) {
	before, leader := change.Before, change.After.Leader
	if change.Unclean {
		c.seen.Add("unclean election", 1)
		switch {
		case c.newest.Unclean(p.id.Topic):
			c.seen.Add("unclean election of a topic that allows it", 1)
			if p.last = change.After.LeaderEpoch; !p.gives {
				p.since = p.last
			}
			p.lossy, p.gives = true, true
			c.history.Allow(p.index)
		case !slices.Contains(before.LastKnownELR, leader):
			c.findings.Report(simulate.UncleanElection, "%s: %d is elected, nobody allowed it: %s, before %s", p.name, leader, change.After, before)
		}
		return
	}
	known := slices.Concat(before.ISR, before.ELR)
	if alter, ok := command.(control.AlterPartitions); ok { // it may complete a reassignment, and so move the leadership to who has just joined
		for _, a := range alter.Partitions {
			for _, m := range a.ISR {
				known = append(known, m.Node)
			}
		}
	}
	if before.Exists() && leader != before.Leader && leader != control.NoNode && !slices.Contains(known, leader) {
		c.findings.Report(simulate.UncleanElection, "%s: %d is elected, which is neither in the ISR nor in the ELR, and nobody is told: %s, before %s", p.name, leader, change.After, before)
	}
}

// holders checks that as many as min.insync.replicas stay in the ISR or the ELR, if there were as many: those who have all that is committed.
func (c *cluster) holders(p *part, change *control.PartitionChange) {
	if change.Unclean && p.lossy || c.newest.Feature() < control.LevelELR {
		return
	}
	before, after := len(change.Before.ISR)+len(change.Before.ELR), len(change.After.ISR)+len(change.After.ELR)
	if least := int(change.MinISR); before >= least && after < least {
		c.findings.Report(simulate.BadISR, "%s: %d of at least %d are left who have what was committed: %s, before %s", p.name, after, least, change.After, change.Before)
	}
}

func ints(ids []control.NodeID) []int {
	out := make([]int, len(ids))
	for i, id := range ids {
		out[i] = int(id)
	}
	return out
}

// check looks from inside, again and again, at what must hold at any time: who is in the ISR, or eligible to lead, has what was committed.
func (c *cluster) check() {
	if c.newest == nil {
		return
	}
	for _, n := range c.nodes {
		if n.life == nil {
			continue
		}
		for _, r := range n.life.replicas {
			r.checkStart()
		}
	}
	for _, p := range c.parts {
		if p.deleted {
			continue
		}
		if state, ok := c.newest.Partition(p.id.Topic, p.id.Index); ok {
			c.checkPart(p, state)
		}
	}
}

func (c *cluster) checkPart(p *part, state control.PartitionState) {
	if p.gives {
		return // until the leader that was elected uncleanly says what it has
	}
	for i, holders := range [][]control.NodeID{state.ISR, state.ELR} {
		for _, id := range holders {
			l := c.nodes[id].life
			if l == nil || c.nodes[id].lossy || !l.present() {
				continue
			}
			if n, ok := c.newest.Node(id); !ok || n.Epoch != l.lifecycle.Epoch() {
				continue
			}
			r := l.replicas[p.index]
			if r.log == nil || r.offline {
				continue
			}
			why := [...]string{"it is in the ISR", "it is in the ELR"}[i]
			c.replicas.Holds(p.index, int(id), r.firstOf(), int64(r.log.End()), simulate.Ever, false, why, r.batches)
		}
	}
}

// heal ends all trouble.
func (c *cluster) heal() {
	c.healed = true
	c.trace.Say("heal", "everything is mended")
	c.net.Heal(c.weather)
	c.levels()
	c.setRate(0)
	for _, n := range c.nodes {
		n.disk.Heal()
		n.clock.Drift(1)
		n.process.Unstall()
		n.process.Resume()
		if n.process.Life() > 0 && !n.alive() && !n.retired {
			n.stopped = false
			n.restart()
		}
	}
	for _, m := range c.members {
		m.comeBack()
	}
	c.forget(control.NodeID(len(c.nodes)))
}

// unwell says what is not as it should be, "" if all is well.
func (c *cluster) unwell() string {
	if c.newest == nil {
		return "there is no controller"
	}
	applied := c.newest.Applied()
	for _, n := range c.nodes {
		if n.process.Life() == 0 || n.removed {
			continue
		}
		if n.going {
			return n.name + " is being removed"
		}
		if !n.alive() {
			return n.name + " is down: " + n.failed
		}
		if n.life.ctl.Applied() != applied {
			tasks, stalled := n.process.Backlog()
			return fmt.Sprintf("%s has applied %d of %d: %d tasks wait, stalled until %s: %+v", n.name, n.life.ctl.Applied(), applied, tasks, stalled, n.life.raft.Status())
		}
		if !c.newest.Active(n.id) {
			return n.name + " is not active"
		}
	}
	if leads := c.controller(); leads == nil {
		return "nobody is the active controller"
	} else if status := leads.life.raft.Status(); len(status.Voters) != c.voters || len(leads.life.joined) > 0 {
		return fmt.Sprintf("the quorum has the voters %v", names(status.Voters))
	}
	for _, p := range c.parts {
		if p.deleted {
			continue
		}
		if why := c.unwellPart(p); why != "" {
			return p.name + ": " + why
		}
	}
	for _, p := range append([]*producer{c.tenant.producer}, c.producers...) {
		if why := p.unwell(); why != "" {
			return why
		}
	}
	for _, x := range c.transactors {
		if why := x.unwell(); why != "" {
			return why
		}
	}
	if why := c.unwellMembers(); why != "" {
		return why
	}
	for _, x := range c.consumers {
		for _, at := range x.positions {
			if high := c.leaderLog(at.part).LastStable(); at.next != int64(high) {
				return fmt.Sprintf("%s has read partition %d up to %d of %d", x.name, at.part, at.next, high)
			}
		}
	}
	return ""
}

func names(list []quorum.Progress) (out []string) {
	for _, p := range list {
		out = append(out, p.Member.String())
	}
	return out
}

func (c *cluster) unwellPart(p *part) string {
	state, ok := c.newest.Partition(p.id.Topic, p.id.Index)
	switch {
	case !ok:
		return "there is none"
	case state.Leader < 0:
		return fmt.Sprintf("nobody leads: %s", state)
	case state.Reassigning():
		return fmt.Sprintf("it is being reassigned: %s", state)
	case len(state.ISR) != len(state.Replicas) && state.Leader >= 0 && c.nodes[state.Leader].life.replicas[p.index].leader != nil:
		x := c.nodes[state.Leader].life
		return fmt.Sprintf("the ISR is not whole: %s: %+v, log end %d, pending %v, now %d", state, x.replicas[p.index].leader.Remotes(), x.replicas[p.index].log.End(), x.replicas[p.index].leader.Pending(), x.now())
	case len(state.ISR) != len(state.Replicas):
		return fmt.Sprintf("the ISR is not whole: %s", state)
	}
	r := c.nodes[state.Leader].life.replicas[p.index]
	switch {
	case r.leader == nil || r.leader.Epoch() != state.LeaderEpoch:
		return fmt.Sprintf("node %d does not lead: %s", state.Leader, state)
	case !p.offsets && !p.txns && r.log.LastStable() != r.log.End():
		return fmt.Sprintf("last stable offset %d, end %d: %s", r.log.LastStable(), r.log.End(), state)
	case r.log.Visible() != r.log.End():
		return fmt.Sprintf("high watermark %d, end %d: %s", r.log.Visible(), r.log.End(), state)
	}
	for _, id := range state.Replicas {
		follower := c.nodes[id].life.replicas[p.index]
		if follower.log == nil || follower.log.End() != r.log.End() || follower.log.Visible() != r.log.Visible() {
			return fmt.Sprintf("node %d is behind: %s", id, state)
		}
	}
	return ""
}
