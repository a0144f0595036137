package replicationtest

import (
	"fmt"

	"github.com/partlog/partlog/internal/control"
)

// part is a partition of the cluster. One of a topic that was deleted stays known; if a topic of the name is created again, its partitions
// are others.
type part struct {
	index   int // of all partitions that there have been
	id      control.PartitionID
	topic   string
	name    string
	offsets bool // it has the offsets of groups
	txns    bool // it has the states of transactions
	guest   bool // of a topic that was created during the run
	deleted bool
	lossy   bool  // an unclean election has been, which its topic allows
	gives   bool  // ... and whoever was elected has not said yet what it has
	since   int32 // the epoch of the first election of which that is so
	last    int32 // the epoch of the last unclean election
}

// newPart adds a partition to those that are known before any node lives.
func (c *cluster) newPart(p part) *part {
	p.index, p.name = len(c.parts), fmt.Sprintf("%s-%d", p.topic, p.id.Index)
	c.parts = append(c.parts, &p)
	c.byID[p.id] = &p
	return &p
}

// partOf returns the partition of an id, nil for another.
func (c *cluster) partOf(id control.PartitionID) *part { return c.byID[id] }

// addPart adds a partition that has been created: whatever has a place for each partition gets one more.
func (c *cluster) addPart(id control.PartitionID, topic string) *part {
	p := c.newPart(part{id: id, topic: topic, guest: true})
	c.history.Grow()
	c.replicas.Grow()
	c.floors, c.keys = append(c.floors, floor{}), append(c.keys, nil)
	for _, n := range c.nodes {
		n.marks, n.points = append(n.marks, 0), append(n.points, 0)
		n.starts, n.cleaned = append(n.starts, 0), append(n.cleaned, 0)
		if l := n.life; l != nil {
			l.dirty, l.replicas = append(l.dirty, false), append(l.replicas, newReplicaState(l, p))
		}
	}
	for _, x := range c.clients() {
		x.leaders = append(x.leaders, leaderHint{-1, -1})
	}
	return p
}

// somePart chooses one of the partitions that there are by a number.
func (c *cluster) somePart(number int) int {
	live := 0
	for _, p := range c.parts {
		if !p.deleted {
			live++
		}
	}
	number %= live
	for _, p := range c.parts {
		if p.deleted {
			continue
		}
		if number == 0 {
			return p.index
		}
		number--
	}
	panic("BUG: there are fewer")
}
