package replicationtest

import (
	"github.com/partlog/partlog/internal/control"
)

// giveUp notes, at a leader that was elected uncleanly, what of the committed records it does not have: these are lost, as its topic allows.
func (r *replicaState) giveUp(epoch int32) {
	c := r.l.c
	if epoch < r.p.since {
		return // it led before, and does not know yet that it does not any more
	}
	r.p.gives, r.p.since = epoch < r.p.last, r.p.last
	to := c.replicas.Common(r.p.index, int64(r.log.Start()), int64(r.log.End()), r.batches)
	c.replicas.Cut(r.p.index, epoch, to)
	if lost := c.history.Lose(r.p.index, to); lost > 0 {
		c.seen.Add("records lost by an unclean election, and told", int64(lost))
		r.l.say("%s: unclean election in epoch %d: %d records from %d on are lost", r.p.name, epoch, lost, to)
	}
}

// electUncleanly asks for a leader whatever it costs, of a topic that allows it.
func (c *cluster) electUncleanly(number int) bool {
	if c.newest == nil {
		return false
	}
	var ids []control.PartitionID
	for _, p := range c.parts {
		if c.newest.Unclean(p.id.Topic) {
			ids = append(ids, p.id)
		}
	}
	return len(ids) > 0 && c.propose(control.Elect{Unclean: true, Partitions: ids[number%len(ids):][:1]})
}
