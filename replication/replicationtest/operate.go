package replicationtest

import (
	"math/rand/v2"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/quorum"
	"github.com/partlog/partlog/internal/simulate"
)

// reassign gives a partition to other nodes, or takes that back.
func (c *cluster) reassign(a simulate.Action, rng *rand.Rand) bool {
	if c.newest == nil {
		return false
	}
	var able []control.NodeID
	for _, n := range c.newest.Nodes() {
		if n.Active() && !c.nodes[n.ID].going {
			able = append(able, n.ID)
		}
	}
	r := control.Reassignment{Partition: c.parts[c.somePart(a.B)].id}
	if rng.IntN(5) > 0 {
		if len(able) < c.factor {
			return false
		}
		rng.Shuffle(len(able), func(i, j int) { able[i], able[j] = able[j], able[i] })
		r.Target = able[:c.factor]
	}
	return c.propose(control.Reassign{Partitions: []control.Reassignment{r}})
}

// addNode starts a node that has not been part of the cluster.
func (c *cluster) addNode() bool {
	for _, n := range c.nodes {
		if n.process.Life() == 0 {
			if err := quorum.Join(n.raftConfig(), quorum.Member{Node: int32(n.id)}); err != nil {
				panic("BUG: join: " + err.Error())
			}
			n.start()
			return true
		}
	}
	return false
}
