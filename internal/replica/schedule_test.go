package replica

import (
	"slices"
	"time"

	"github.com/stretchr/testify/require"
)

// schedule does one thing after another in a cluster, which draw chooses: draw(what, n) is a number from 0 to n-1.
type schedule struct {
	c       *cluster
	draw    func(what string, n int) int
	damaged map[NodeID]bool // lost what was not synced, and have not registered since
	minISR  int
	weights []int // of likelier
}

func newSchedule(t require.TestingT, draw func(what string, n int) int) *schedule {
	minISR := 1 + draw("min isr", 2)
	s := &schedule{c: newCluster(t, []NodeID{1, 2, 3}, minISR), draw: draw, damaged: map[NodeID]bool{}, minISR: minISR}
	swarm := draw("swarm", 2) == 1 // then each thing happens often, seldom, or not at all
	for _, a := range likelier {
		factor := 4
		if swarm {
			factor = []int{0, 1, 4, 16}[draw(a.name+" is likely", 4)]
		}
		s.weights = append(s.weights, a.times*factor)
	}
	return s
}

func (s *schedule) node() NodeID { return NodeID(1 + s.draw("node", 3)) }

// leader is who leads by the newest metadata, or any.
func (s *schedule) leader() NodeID {
	if l := s.c.control.meta.Leader; l != NoNode {
		return l
	}
	return s.node()
}

// likelier says how often each is drawn.
var likelier = []struct {
	name  string
	times int
	do    func(s *schedule)
}{
	{"append", 2, func(s *schedule) { s.c.append(s.node()) }},
	{"append at the leader", 4, func(s *schedule) { s.c.append(s.leader()) }},
	{"fetch", 8, func(s *schedule) { s.c.fetch(s.node()) }},
	{"fetch without an answer", 3, func(s *schedule) {
		id := s.node()
		if n := s.c.nodes[id]; s.c.ask(id) {
			s.c.serve(id, len(n.asked)-1, false)
		}
	}},
	{"propose and alter", 3, func(s *schedule) {
		id := s.leader()
		if _, ok := s.c.propose(id); ok {
			s.c.alter(id, len(s.c.nodes[id].sent)-1, true, false)
		}
	}},
	{"ask", 2, func(s *schedule) { s.c.ask(s.node()) }},
	{"serve", 3, func(s *schedule) {
		id := s.node()
		if n := len(s.c.nodes[id].asked); n > 0 {
			s.c.serve(id, s.draw("which", n), s.draw("again", 3) == 0)
		}
	}},
	{"take", 3, func(s *schedule) {
		id := s.node()
		if n := len(s.c.nodes[id].answers); n > 0 {
			s.c.take(id, s.draw("which", n))
		}
	}},
	{"learn", 6, func(s *schedule) {
		id := s.node()
		if n := s.c.nodes[id]; n.seen+1 < len(s.c.versions) {
			s.c.learn(id, n.seen+1+s.draw("version", len(s.c.versions)-n.seen-1))
		}
	}},
	{"propose", 4, func(s *schedule) { s.c.propose(s.node()) }},
	{"alter", 4, func(s *schedule) {
		id := s.node()
		if n := len(s.c.nodes[id].sent); n > 0 {
			s.c.alter(id, s.draw("which", n), s.draw("answered", 3) > 0, s.draw("again", 3) == 0)
		}
	}},
	{"tick", 2, func(s *schedule) {
		s.c.now += []time.Duration{time.Second, 20 * time.Second, 40 * time.Second}[s.draw("wait", 3)]
		s.c.tick(s.node())
	}},
	{"move", 1, func(s *schedule) {
		if s.c.control.move(s.node()) {
			s.c.changed()
		}
		s.c.check()
	}},
	{"fence", 1, func(s *schedule) { s.c.fence(s.node()) }},
	{"unfence", 2, func(s *schedule) {
		if id := s.node(); s.c.nodes[id].up {
			s.c.unfence(id)
		}
	}},
	{"sync", 1, func(s *schedule) { n := s.c.nodes[s.node()]; n.synced = n.log.End() }},
	{"crash", 1, func(s *schedule) {
		if id := s.node(); s.c.nodes[id].up {
			s.c.crash(id, false, 0)
		}
	}},
	{"lose power", 2, func(s *schedule) { s.losePower(s.node()) }},
	{"start", 4, func(s *schedule) {
		if id := s.node(); !s.c.nodes[id].up {
			s.c.start(id, !s.damaged[id])
			delete(s.damaged, id)
		}
	}},
}

// losePower ends a node and takes records from it, if the fault model has that: fewer than min.insync.replicas at a time, and never the last
// who has them.
func (s *schedule) losePower(id NodeID) {
	others := 0
	for _, n := range slices.Concat(s.c.control.meta.ISR, s.c.control.elr) {
		if n != id && !s.damaged[n] {
			others++
		}
	}
	if others > 0 && len(s.damaged) < s.minISR-1 && s.c.nodes[id].up {
		s.damaged[id] = true
		s.c.crash(id, true, int64(s.draw("kept", 3)))
	}
}

func (s *schedule) step() {
	total := 0
	for _, times := range s.weights {
		total += times
	}
	if total == 0 {
		return
	}
	for i, a := s.draw("action", total), 0; ; a++ {
		if i -= s.weights[a]; i < 0 {
			likelier[a].do(s)
			return
		}
	}
}

// end heals everything: all replicas are equal, in the ISR, and everything is committed.
func (s *schedule) end(t require.TestingT) {
	for _, id := range s.c.control.meta.Replicas {
		if s.damaged[id] {
			s.c.start(id, false)
		}
	}
	s.c.settle()
	m := s.c.control.meta
	require.Len(t, m.ISR, 3, "not all came back: %s", s.c.describe())
	l := s.c.nodes[m.Leader]
	for _, n := range s.c.nodes {
		require.Equal(t, l.log.describe(), n.log.describe(), "node %d differs from the leader", n.id)
		require.Equal(t, n.log.End(), n.high, "node %d: not all is committed: %s", n.id, s.c.describe())
	}
}
