package replicationtest

import (
	"slices"
	"time"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/quorum"
	"github.com/partlog/partlog/internal/simulate"
)

// A plot is a fault of several scenes, each of which waits for its moment: bugs that take three things to go wrong in one order, which chance brings
// together too seldom. It is counted when it has come to its end.
type plot struct {
	c      *cluster
	action simulate.Action
	scenes []scene
}

type scene struct {
	when   func() bool   // it begins; nil: at once
	within time.Duration // or else the plot is given up
	often  time.Duration // how often to look
	do     func()
}

// then adds a scene.
func (p *plot) then(within, often time.Duration, when func() bool, do func()) {
	p.scenes = append(p.scenes, scene{when, within, often, do})
}

// after adds a scene that begins so long after the one before.
func (p *plot) after(d time.Duration, do func()) {
	var from time.Duration
	p.then(d+time.Second, d/4, func() bool {
		if from == 0 {
			from = p.c.sched.Now() + d
		}
		return p.c.sched.Now() >= from
	}, do)
}

func (p *plot) play() {
	c := p.c
	if len(p.scenes) == 0 {
		c.counts.Add(p.action.Kind, 1)
		c.trace.Say("fault", "%s", p.action)
		return
	}
	s := p.scenes[0]
	until := c.sched.Now() + s.within
	var look func()
	look = func() {
		switch {
		case c.healed:
		case s.when():
			p.scenes = p.scenes[1:]
			s.do()
			p.play()
		case c.sched.Now() < until:
			c.sched.After(max(s.often, 100*time.Microsecond), look)
		default:
			c.trace.Say("plot", "%s is given up, %d scenes before its end", p.action.Kind, len(p.scenes))
			c.seen.Add(p.action.Kind+" given up", 1)
		}
	}
	look()
}

// Plots returns the plots that a swarm draws from. Few seeds have them, but for those that look for one (Options.Only).
func Plots(partitions, transactors int) []simulate.Menu {
	plot := func(kind string) simulate.Menu {
		return simulate.Menu{Kind: kind, Every: 45 * time.Second, Chance: 0.08, B: partitions}
	}
	menu := []simulate.Menu{plot("double-vote"), plot("fenced-join"), plot("stale-join"), plot("stale-fetch")}
	if transactors > 0 {
		menu = append(menu, simulate.Menu{Kind: "late-end", Every: 20 * time.Second, Chance: 0.3, A: transactors})
	}
	return menu
}

// plots begins a plot, and reports whether there is one of that kind. It is given up where the cluster is not as it takes.
func (c *cluster) plots(a simulate.Action) bool {
	p := &plot{c: c, action: a}
	tell := map[string]func(*plot){"double-vote": c.doubleVote, "fenced-join": c.fencedJoin, "stale-join": c.staleJoin, "stale-fetch": c.staleFetch}[a.Kind]
	if tell == nil {
		return false
	}
	if tell(p); len(p.scenes) > 0 {
		p.play()
	}
	return true
}

// cast are the replicas of a partition, who leads first, and the active controller.
func (c *cluster) cast(part int) (state control.PartitionState, leads, controls *node, others []*node) {
	leads, controls = c.leaderOf(part), c.controller()
	if leads == nil || controls == nil {
		return state, nil, nil, nil
	}
	state, _ = c.newest.Partition(c.parts[part].id.Topic, c.parts[part].id.Index)
	for _, id := range state.Replicas {
		if n := c.nodes[id]; n != leads {
			others = append(others, n)
		}
		if !c.nodes[id].alive() || c.nodes[id].process.Paused() {
			return state, nil, nil, nil
		}
	}
	if len(others) != 2 || len(state.ISR) != 3 || state.Reassigning() {
		return state, nil, nil, nil
	}
	return state, leads, controls, others
}

// part looks for a partition for which the cluster is as a plot takes it, the action's first.
func (p *plot) part(fits func(part int) bool) (int, bool) {
	for i := range p.c.partitions {
		if part := (p.action.B + i) % p.c.partitions; fits(part) {
			return part, true
		}
	}
	return 0, false
}

// ledElsewhere reports whether a partition is whole and its leader is not the active controller.
func (c *cluster) ledElsewhere(part int) bool {
	_, leads, controls, _ := c.cast(part)
	return leads != nil && leads != controls
}

func (c *cluster) cutFor(from, to *node, d time.Duration) {
	c.net.Cut(int(from.id), int(to.id))
	c.sched.After(d, func() { c.net.Mend(int(from.id), int(to.id)) })
}

func (c *cluster) cutBoth(x, y *node, d time.Duration) {
	c.cutFor(x, y, d)
	c.cutFor(y, x, d)
}

func (c *cluster) clog(from, to *node, d time.Duration) { c.net.Clog(int(from.id), int(to.id), d) }

func (c *cluster) isr(part int) []control.NodeID {
	state, _ := c.newest.Partition(c.parts[part].id.Topic, c.parts[part].id.Index)
	return state.ISR
}

// at returns a node's replica of a partition, nil if its log is not open.
func (n *node) at(part int) *replicaState {
	if n.life == nil || part >= len(n.life.replicas) || n.life.replicas[part] == nil || n.life.replicas[part].log == nil {
		return nil
	}
	return n.life.replicas[part]
}

// doubleVote has a voter die that has just given its vote, while the one who got it is cut off and the third comes back: a voter who has forgotten elects
// a second leader in the same term.
func (c *cluster) doubleVote(p *plot) {
	gone := c.controller()
	if gone == nil || int(gone.id) >= c.voters {
		return
	}
	var two []*node
	for _, n := range c.nodes[:c.voters] {
		if n != gone && n.alive() && !n.process.Paused() {
			two = append(two, n)
		}
	}
	if len(two) != 2 || !c.stop(gone, time.Minute, gone.kill) {
		return
	}
	back := func() {
		if !gone.process.Up() {
			gone.stopped = false
			gone.restart()
		}
	}
	var elected, voted *node
	p.then(15*time.Second, 100*time.Microsecond, func() bool {
		for i, x := range two {
			y := two[1-i]
			if !x.alive() || !y.alive() {
				return false
			}
			if x.life.role == quorum.Candidate && y.life.term == x.life.term && y.life.role < quorum.Prospective {
				elected, voted = x, y
				return true
			}
		}
		return false
	}, func() {
		c.cutBoth(elected, gone, 12*time.Second)
		c.cutFor(elected, voted, 12*time.Second)
		c.sched.After(10*time.Millisecond, func() { c.cutFor(voted, elected, 12*time.Second) })
		c.stop(voted, time.Millisecond, voted.kill)
		back()
	})
	c.sched.After(16*time.Second, back)
}

// fencedJoin has a follower come back into sight of the leader, who proposes it, just before the controller fences it; the proposal arrives after.
func (c *cluster) fencedJoin(p *plot) {
	part, found := p.part(c.ledElsewhere)
	if !found {
		return
	}
	_, leads, controls, others := c.cast(part)
	out := others[0]
	if out == controls {
		out = others[1]
	}
	apart := func(d time.Duration) { c.cutBoth(leads, out, d) }
	apart(c.lag + 8*time.Second)
	p.then(c.lag+6*time.Second, 20*time.Millisecond, func() bool { return !slices.Contains(c.isr(part), out.id) }, func() {
		apart(c.session - 3*time.Second + c.lag + 8*time.Second) // the others end somewhere before
		c.cutBoth(out, controls, c.session+4*time.Second)
		c.sched.After(c.session-3*time.Second, func() {
			c.net.Join(int(leads.id), int(out.id))
			c.clog(leads, controls, 4500*time.Millisecond)
		})
	})
	p.then(c.session+2*time.Second, 20*time.Millisecond, func() bool { return !c.newest.Active(out.id) }, func() {})
}

// staleJoin has a leader die at the moment in which something is committed, so that the next one does not know that it is, and a follower come back that
// does not have it.
func (c *cluster) staleJoin(p *plot) {
	part, found := p.part(c.ledElsewhere)
	if !found {
		return
	}
	_, leads, controls, others := c.cast(part)
	next, out := others[0], others[1]
	if out == controls {
		next, out = out, next
	}
	c.hush = c.sched.Now() + 2*c.session + 25*time.Second
	for _, n := range c.nodes {
		if n != out {
			c.cutBoth(n, out, c.session+2*time.Second)
		}
	}
	c.cutBoth(leads, out, 2*c.session+20*time.Second)
	p.then(c.session+2*time.Second, 20*time.Millisecond, func() bool {
		return !c.newest.Active(out.id) && len(c.isr(part)) == 2 && slices.Contains(c.isr(part), next.id)
	}, func() {})
	p.then(15*time.Second, 20*time.Millisecond, func() bool {
		at := leads.at(part)
		return c.newest.Active(out.id) && at != nil && at.leader != nil && at.log.Visible() == at.log.End()
	}, func() { c.producers[0].produce(part, 1) })
	epoch := int32(-1)
	p.then(time.Second, time.Millisecond, func() bool {
		l, n, o := leads.at(part), next.at(part), out.at(part)
		return l != nil && n != nil && o != nil && l.leader != nil && l.log.Visible() == l.log.End() && n.log.Visible() < l.log.Visible() && o.log.End() < l.log.End()
	}, func() {
		epoch = leads.at(part).leader.Epoch()
		c.stop(leads, c.session+10*time.Second, leads.kill)
	})
	p.then(c.session+3*time.Second, 200*time.Microsecond, func() bool {
		o := out.at(part)
		return o != nil && o.follower != nil && o.follower.Epoch() > epoch && o.follower.Leader() == next.id
	}, func() { c.clog(next, out, 4*time.Second) })
}

// staleFetch has a follower's fetch arrive when the leader that it was sent to has lost its leadership to another, for whom the follower has cut what it
// fetched, and has it again.
func (c *cluster) staleFetch(p *plot) {
	part, found := p.part(func(part int) bool {
		state, leads, controls, _ := c.cast(part)
		return leads != nil && !slices.Contains(state.Replicas[:2], controls.id)
	})
	if !found {
		return
	}
	state, leads, controls, _ := c.cast(part)
	first, again, follows := c.nodes[state.Replicas[0]], c.nodes[state.Replicas[1]], c.nodes[state.Replicas[2]]
	if leads == first && !c.stop(first, c.session+3*time.Second, first.kill) {
		return
	}
	p.then(3*c.session+20*time.Second, 20*time.Millisecond, func() bool {
		at := again.at(part)
		return at != nil && at.leader != nil && len(c.isr(part)) == 3
	}, func() { c.hush = c.sched.Now() + c.session + 15*time.Second })
	p.after(2*time.Second, func() {})
	p.then(time.Second, time.Millisecond, func() bool {
		l, f, o := again.at(part), follows.at(part), first.at(part)
		return l != nil && f != nil && o != nil && l.leader != nil && f.log.End() == l.log.End() && o.log.End() == l.log.End()
	}, func() {
		follows.life.hold(int(again.id), laneFetch, c.sched.Now()+c.session+3500*time.Millisecond)
		c.cutBoth(again, first, c.session+4*time.Second)
		c.producers[0].produce(part, 1)
	})
	p.then(400*time.Millisecond, time.Millisecond, func() bool {
		f, o := follows.at(part), first.at(part)
		return f != nil && o != nil && f.log.End() > o.log.End()
	}, func() {
		c.cutFor(controls, again, 4*time.Second)
		c.propose(control.Elect{Partitions: []control.PartitionID{c.parts[part].id}})
	})
	p.then(3*time.Second, time.Millisecond, func() bool {
		f, o := follows.at(part), first.at(part)
		return f != nil && o != nil && o.leader != nil && f.log.End() == o.log.End()
	}, func() {
		c.stop(first, c.session+8*time.Second, first.kill)
		c.sched.After(50*time.Millisecond, func() { c.net.Join(int(controls.id), int(again.id)) })
	})
	epoch := int32(-1)
	p.then(c.session+4*time.Second, time.Millisecond, func() bool {
		l := again.at(part)
		if l != nil && l.leader != nil && epoch < 0 {
			epoch = l.leader.Epoch()
		}
		return l != nil && l.leader != nil && l.leader.Epoch() > epoch
	}, func() { c.clog(again, follows, 5*time.Second) })
}
