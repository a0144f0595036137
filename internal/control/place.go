package control

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// Place chooses the replicas of count partitions, factor each, under Kafka's rule (StripedReplicaPlacer): racks in an order that is drawn, nodes within a
// rack in a rotation that is drawn; replicas of a partition go round the racks, and the next partition begins at the next rack and, in
// each rack, with the next node. Nodes that are not active get replicas only if there are too few others, and never lead; those that are controllers
// only get none. The seed makes the
// draw; the same arguments give the same answer. Without an active node, or with fewer nodes than factor, the answer is InvalidReplicationFactor.
func Place(nodes []Node, count, factor int32, seed uint64) ([][]NodeID, Code) {
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(n Node) bool { return n.ControllerOnly })
	active := 0
	for _, n := range nodes {
		if n.Active() {
			active++
		}
	}
	switch {
	case count < 1:
		return nil, InvalidPartitions
	case factor < 1 || int(factor) > len(nodes) || active == 0:
		return nil, InvalidReplicationFactor
	}
	p := newPlacer(nodes, active >= int(factor), rand.New(rand.NewPCG(seed, uint64(count)<<32|uint64(uint32(factor)))))
	assignment := make([][]NodeID, count)
	for i := range assignment {
		assignment[i] = p.place(int(factor), i)
	}
	return assignment, OK
}

type placer struct {
	racks  []*rack
	first  int // the rack to begin with
	round  int // partitions since the racks were shuffled
	active int
	draw   *rand.Rand
}

// rack has a rack's nodes; of each list the next one is at (turn + taken) of the present partition.
type rack struct{ active, others rotation }

type rotation struct {
	ids   []NodeID
	turn  int
	taken int
}

func (r *rotation) next() (NodeID, bool) {
	if r.taken == len(r.ids) {
		return NoNode, false
	}
	id := r.ids[(r.turn+r.taken)%len(r.ids)]
	r.taken++
	return id, true
}

func newPlacer(nodes []Node, activeOnly bool, draw *rand.Rand) *placer {
	p := &placer{draw: draw}
	nodes = slices.SortedFunc(slices.Values(nodes), func(a, b Node) int { return cmp.Or(cmp.Compare(a.Rack, b.Rack), cmp.Compare(a.ID, b.ID)) })
	last := ""
	for _, n := range nodes {
		if activeOnly && !n.Active() {
			continue
		}
		if len(p.racks) == 0 || n.Rack != last {
			p.racks, last = append(p.racks, new(rack)), n.Rack
		}
		r := p.racks[len(p.racks)-1]
		if n.Active() {
			r.active.ids = append(r.active.ids, n.ID)
			p.active++
		} else {
			r.others.ids = append(r.others.ids, n.ID)
		}
	}
	p.shuffle()
	return p
}

func (p *placer) shuffle() {
	shuffle := func(ids []NodeID) { p.draw.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] }) }
	for _, r := range p.racks {
		shuffle(r.active.ids)
		shuffle(r.others.ids)
	}
	p.draw.Shuffle(len(p.racks), func(i, j int) { p.racks[i], p.racks[j] = p.racks[j], p.racks[i] })
	p.round = 0
}

func (p *placer) place(factor, turn int) []NodeID {
	if p.round == p.active {
		p.shuffle() // every active node has led as often as the others of its rack
	}
	for _, r := range p.racks {
		r.active.turn, r.active.taken, r.others.turn, r.others.taken = turn, 0, turn, 0
	}
	replicas := make([]NodeID, 0, factor)
	at := p.first % len(p.racks)
	for len(replicas) == 0 { // the leader: of the first rack with an active node
		if id, ok := p.racks[at].active.next(); ok {
			replicas = append(replicas, id)
		}
		at = (at + 1) % len(p.racks)
	}
	for len(replicas) < factor {
		r := p.racks[at]
		id, ok := r.active.next()
		if !ok {
			id, ok = r.others.next()
		}
		if ok {
			replicas = append(replicas, id)
		}
		at = (at + 1) % len(p.racks)
	}
	p.first++
	p.round++
	return replicas
}
