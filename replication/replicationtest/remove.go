package replicationtest

import (
	"slices"
	"time"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/quorum"
	"github.com/partlog/partlog/internal/simulate"
)

// remove takes a node out of the cluster as an operator does: its replicas move to others, it is shut down, it leaves the quorum, where another votes
// instead, and it is unregistered. Later it comes back: as a new one with an empty disk, or with all that it had, by mistake.
func (c *cluster) remove(n *node, a simulate.Action) bool {
	if c.newest == nil || !n.alive() || c.troubled(nil) || slices.ContainsFunc(c.nodes, func(other *node) bool { return other.going }) {
		return false
	}
	able := 0
	for _, other := range c.newest.Nodes() {
		if other.Active() && other.ID != n.id {
			able++
		}
	}
	if able < c.factor || c.voting[n.id] && c.successor() == nil {
		return false
	}
	n.going = true
	n.say("is to be removed")
	c.drain(n, a)
	return true
}

// successor is a node that could vote.
func (c *cluster) successor() *node {
	for _, n := range c.nodes {
		if n.alive() && !c.voting[n.id] && !n.going {
			return n
		}
	}
	return nil
}

// drain does one step of a removal after the other.
func (c *cluster) drain(n *node, a simulate.Action) {
	if c.ended {
		return
	}
	c.sched.After(time.Second, func() {
		switch {
		case !n.retired && c.moveAway(n):
		case !n.retired && c.voting[n.id] && c.successor() == nil: // whoever could vote instead is down now
		case !n.retired && !c.electsWithout(n): // another voter has gone meanwhile
		case !n.retired:
			n.retired = true
			if c.voting[n.id] {
				c.voting[n.id], c.voting[c.successor().id] = false, true
			}
			c.shutDown(n, 0)
		case n.alive(): // shutting down
		case c.isMember(n):
		case c.registered(n):
			c.propose(control.Unregister{ID: n.id})
		default:
			c.removedNode(n, a)
			return
		}
		c.drain(n, a)
	})
}

// electsWithout reports whether the voters that there are would be a majority without a node.
func (c *cluster) electsWithout(n *node) bool {
	leads := c.controller()
	if leads == nil {
		return false
	}
	voters, able, votes := leads.life.raft.Status().Voters, 0, false
	for _, v := range voters {
		switch other := c.nodes[v.Member.Node]; {
		case other == n:
			votes = true
		case other.alive() && other.life.raft != nil && other.life.raft.Status().Self == v.Member: // else it has lost its log, and asks to be another member
			able++
		}
	}
	return !votes || able > len(voters)/2
}

// moveAway has the replicas of a node go to others, and reports whether there are any left.
func (c *cluster) moveAway(n *node) (some bool) {
	for _, p := range c.parts {
		state, ok := c.newest.Partition(p.id.Topic, p.id.Index)
		if !ok || !slices.Contains(state.Replicas, n.id) {
			continue
		}
		some = true
		if !slices.Contains(state.Target(), n.id) {
			continue // it is on its way
		}
		var target []control.NodeID
		for _, id := range state.Target() {
			if id != n.id {
				target = append(target, id)
			}
		}
		for _, other := range c.newest.Nodes() {
			if other.Active() && !slices.Contains(target, other.ID) && !c.nodes[other.ID].going && len(target) < c.factor {
				target = append(target, other.ID)
			}
		}
		if len(target) == c.factor {
			c.propose(control.Reassign{Partitions: []control.Reassignment{{Partition: p.id, Target: target}}})
		}
	}
	return some
}

// isMember reports whether a node is in the quorum, as far as whoever leads it knows; if nobody does, it may be.
func (c *cluster) isMember(n *node) bool {
	leads := c.controller()
	if leads == nil {
		return true
	}
	status := leads.life.raft.Status()
	return slices.ContainsFunc(slices.Concat(status.Voters, status.Observers), func(p quorum.Progress) bool { return p.Member.Node == int32(n.id) })
}

func (c *cluster) registered(n *node) bool {
	_, known := c.newest.Node(n.id)
	return known
}

// removeMember takes a node that was shut down for good out of the quorum, after or before another votes in its place.
func (l *life) removeMember(status quorum.Status) bool {
	for _, p := range slices.Concat(status.Observers, status.Voters) {
		n := l.c.nodes[p.Member.Node]
		votes := slices.ContainsFunc(status.Voters, func(v quorum.Progress) bool { return v.Member == p.Member })
		if !n.retired || n.alive() || votes && len(status.Voters) <= l.c.voters && l.c.seed%2 == 0 {
			continue
		}
		if _, _, err := l.raft.ProposeChange(quorum.Change{Op: quorum.Remove, Member: p.Member}); err == nil {
			l.say("proposes to remove %s", p.Member)
			delete(l.joined, p.Member.Node) // it asked before it was to go
			l.c.seen.Add("change of members", 1)
			l.pump()
			return true
		}
	}
	return false
}

// removedNode ends a removal. The node comes back after a while.
func (c *cluster) removedNode(n *node, a simulate.Action) {
	n.say("is removed")
	c.seen.Add("node removed", 1)
	n.removed, n.lossy, n.rotten, n.unsure = true, false, false, false
	c.sched.After(a.For, func() {
		if c.healed {
			return
		}
		if a.Draw%2 == 0 {
			n.disk.Lose()
			clear(n.marks)
			clear(n.points)
			c.seen.Add("removed node replaced", 1)
		} else {
			c.seen.Add("removed node came back", 1)
		}
		n.going, n.retired, n.removed, n.stopped = false, false, false, false
		n.start()
	})
}
