package replicationtest

import (
	"slices"

	"github.com/partlog/partlog/internal/simulate"
	"github.com/partlog/partlog/log"
)

// scrub reads all of every replica, so that rot is found before the others are lost.
func (c *cluster) scrub() {
	for _, n := range c.nodes {
		n.do(func(l *life) {
			for _, r := range l.replicas {
				if r.log != nil && !r.offline {
					r.batches(0, int64(r.log.End()))
				}
			}
		})
	}
}

// leaderLog returns the log of whoever leads.
func (c *cluster) leaderLog(part int) *log.Log {
	return c.nodes[c.leaderOf(part).id].life.replicas[part].log
}

// final reads everything, and compares all replicas.
func (c *cluster) final() {
	for _, p := range c.parts {
		if p.deleted {
			c.finallyGone(p)
			continue
		}
		state, _ := c.newest.Partition(p.id.Topic, p.id.Index)
		lead, _ := c.nodes[state.Leader].life.replicas[p.index].batches(0, int64(c.leaderLog(p.index).End()))
		for _, id := range state.Replicas {
			r := c.nodes[id].life.replicas[p.index]
			if list, readable := r.batches(0, int64(r.log.End())); readable && r.log.Start() == c.leaderLog(p.index).Start() && c.keys[p.index] == nil && !slices.Equal(list, lead) {
				c.findings.Report(simulate.Diverged, "%s: node %d and leader %d are not the same at the end", p.name, id, state.Leader)
			}
			c.replicas.Holds(p.index, int(id), r.firstOf(), int64(r.log.End()), simulate.Ever, true, "all is well", r.batches)
			r.checkKeys("all is well")
		}
		if !p.offsets && !p.txns {
			found, err := readAll(c.leaderLog(p.index))
			if err != nil {
				c.findings.Report(simulate.Phantom, "%s cannot be read at the end: %v", p.name, err)
			}
			c.history.Final(p.index, int64(c.leaderLog(p.index).Start()), found)
		}
	}
	c.history.FinalTransactions()
	c.operator.history.check(c)
	for _, x := range c.consumers {
		for _, at := range x.positions {
			if !slices.ContainsFunc(c.parts, func(p *part) bool { return p.index == at.part }) {
				continue
			}
			l := c.nodes[c.leaderOf(c.partitions).id].life
			s, err := l.replicas[c.partitions].coordinator()
			if err != nil {
				c.findings.Report(simulate.Stuck, "the offsets cannot be read at the end: %v", err)
				continue
			}
			offset, _ := s.host(x.group()).m.Committed("data", int32(at.part), "", 0)
			c.offsets.Fetched(x.index, at.part, offset, c.offsets.Acked(x.index, at.part))
		}
	}
}

// finallyGone checks that nothing is left of a partition whose topic was deleted.
func (c *cluster) finallyGone(p *part) {
	for _, n := range c.nodes {
		if n.alive() {
			if r := n.life.replicas[p.index]; r.log != nil || r.exists() && r.isMine() {
				c.findings.Report(simulate.DeletedBack, "%s has files of partition %d, %s, whose topic was deleted", n.name, p.index, p.name)
			}
		}
	}
}
