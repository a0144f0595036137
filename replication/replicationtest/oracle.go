package replicationtest

import (
	"slices"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/log"
)

// survivesPower reports whether what is acknowledged has been synced.
func (c *cluster) survivesPower() bool { return c.sync == log.SyncAlways }

// mayLose says whether a node may lose what it has, without more being lost than the cluster promises to survive: min.insync.replicas - 1 nodes,
// one here, until it is whole again. All who are in the ISR or eligible to lead (ELR) have what was committed, which is what the checkers
// find out; with min.insync.replicas of 2 there are two of them.
func (c *cluster) mayLose(n *node) bool {
	if c.newest == nil || c.troubled(n) || c.newest.Feature() < control.LevelELR { // the last of an ISR stays in it, whatever it has
		return false
	}
	for _, p := range c.parts {
		state, ok := c.newest.Partition(p.id.Topic, p.id.Index)
		if !ok || c.newest.Unclean(p.id.Topic) {
			continue
		}
		if c.newest.MinISR(p.id.Topic, p.id.Index) < 2 {
			return false
		}
		rest := 0
		for _, holders := range [][]control.NodeID{state.ISR, state.ELR} {
			for _, id := range holders {
				if id != n.id {
					rest++
				}
			}
		}
		if rest == 0 {
			return false
		}
	}
	return true
}

// troubled reports whether a node other than n has lost something, and is not whole again, or would not be believed that it has not: it could not write
// that it ended cleanly, or may not be able to.
func (c *cluster) troubled(n *node) bool {
	return slices.ContainsFunc(c.nodes, func(other *node) bool {
		return other != n && (other.lossy || other.rotten || other.unsure || other.disk.Troubled() ||
			other.life != nil && slices.ContainsFunc(other.life.replicas, func(r *replicaState) bool { return r.offline }))
	})
}

// mayLoseVote says whether a node may lose its vote: all other voters are there and sound, and nobody else is being taken in.
func (c *cluster) mayLoseVote(n *node) bool {
	leads := c.controller()
	if leads == nil || leads == n || !n.alive() {
		return false
	}
	if len(leads.life.joined) > 0 {
		return false
	}
	status := leads.life.raft.Status()
	if len(status.Voters) < c.voters {
		return false
	}
	for _, v := range status.Voters {
		other := c.nodes[v.Member.Node]
		if !other.alive() || other.process.Paused() || other.life.member != v.Member || other.lossy {
			return false
		}
		if v.Member.Node != int32(leads.id) && (v.ActiveTicks < 0 || v.ActiveTicks > 10) {
			return false
		}
	}
	return true
}
