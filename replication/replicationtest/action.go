package replicationtest

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/quorum"
	"github.com/partlog/partlog/internal/simulate"
)

// act carries out one action. What would destroy more than the cluster promises to survive is not done, and not counted.
func (c *cluster) act(a simulate.Action) {
	rng := rand.New(rand.NewPCG(a.Draw, uint64(a.At)))
	n := c.nodes[a.A%len(c.nodes)]
	switch a.Kind {
	case "produce":
		if c.sched.Now() < c.hush {
			return
		}
		c.producers[a.A].produce(a.B, 1+int(a.Draw%4))
		return
	case "transact":
		c.transactors[a.A].add(a.Draw)
		return
	case "restart-consumer":
		c.consumers[a.A].restart()
		c.counts.Add(a.Kind, 1)
		return
	case "kill-leader", "pause-leader", "cut-leader":
		if n = c.leaderOf(a.B % len(c.parts)); n == nil {
			return
		}
	}
	done := false
	switch a.Kind {
	case "kill", "kill-leader":
		done = c.stop(n, a.For, n.kill)
	case "power":
		if c.survivesPower() || c.mayLose(n) {
			done = c.stop(n, a.For, func() { c.losePower(n) })
		}
	case "power-all", "kill-all":
		done = c.stopAll(a, rng)
	case "pause", "pause-leader":
		done = c.pause(n, a.For)
	case "restart":
		done = c.shutDown(n, a.For)
	case "roll":
		done = c.roll(0, a.For)
	case "replace":
		done = c.replace(n, a.For)
	case "isolate", "cut-leader":
		done = c.cut(a.For, func(x, y int) bool { return (x == int(n.id)) != (y == int(n.id)) })
	case "cut-out":
		done = c.cut(a.For, func(x, y int) bool { return x == int(n.id) })
	case "cut-in":
		done = c.cut(a.For, func(x, y int) bool { return y == int(n.id) })
	case "cut-pair":
		done = a.A != a.B && c.cut(a.For, func(x, y int) bool { return x == a.A && y == a.B || x == a.B && y == a.A })
	case "cut-one-way":
		done = a.A != a.B && c.cut(a.For, func(x, y int) bool { return x == a.A && y == a.B })
	case "split":
		done = c.cut(a.For, func(x, y int) bool { return a.Draw>>x&1 != a.Draw>>y&1 })
	case "clog":
		for y := range c.nodes {
			c.net.Clog(a.A, y, a.For)
		}
	case "clog-clients":
		for _, x := range c.clients() {
			if rng.IntN(2) == 0 {
				c.net.Clog(x.station, a.A, a.For)
			}
		}
	case "swizzle":
		c.swizzle(a, rng)
	case "late-fetch":
		done = c.lateFetch(a, n)
	case "late-change":
		done = c.lateChange(a)
	case "storm":
		done = c.storms(a.For, rng)
	case "weather":
		c.storm(a, rng)
	default:
		done = c.disturb(a, n, rng)
	}
	if done {
		c.counts.Add(a.Kind, 1)
		c.trace.Say("fault", "%s", a)
	}
}

// disturb does to one node's disk and clock, and to the cluster as its operators do, what an action says.
func (c *cluster) disturb(a simulate.Action, n *node, rng *rand.Rand) bool {
	switch a.Kind {
	case "fail-sync":
		if n.alive() && c.mayLose(n) {
			c.trace.Say("fault", "%s", a)
			n.disk.FailSync([]string{"*.log", "*.log", "*"}[rng.IntN(3)])
			n.do(func(l *life) { l.flush() })
			c.sched.After(50*time.Millisecond, n.disk.Mend) // later there may be nobody else who has what is lost
		}
	case "fail-write":
		if n.alive() {
			n.disk.FailWrite([]string{"*.log", "*"}[rng.IntN(2)])
			c.trace.Say("fault", "%s", a)
		}
	case "full-disk":
		if n.alive() {
			n.disk.Fill(int64(rng.IntN(16 << 10)))
			c.sched.After(a.For, n.disk.Empty)
			c.trace.Say("fault", "%s", a)
		}
	case "slow-disk":
		n.disk.Slow(time.Duration(1+rng.IntN(20))*time.Millisecond, time.Duration(20+float64(2000)*a.Force*a.Force)*time.Millisecond)
		c.sched.After(a.For, func() { n.disk.Slow(0, 0) })
		c.trace.Say("fault", "%s", a)
	case "corrupt":
		return c.corrupt(n, a.For)
	case "jump":
		n.clock.Jump(time.Duration((a.Force*2 - 1) * a.Force * float64(2*time.Hour)))
		return true
	case "drift":
		n.clock.Drift(1 + (a.Force-0.5)*0.02)
		return true
	case "reassign":
		return c.reassign(a, rng)
	case "elect":
		return c.propose(control.Elect{Partitions: []control.PartitionID{c.parts[a.B%len(c.parts)].id}})
	case "min-isr":
		if c.troubled(nil) {
			return false
		}
		return c.propose(control.ConfigureTopic{ID: dataTopic, Config: control.TopicConfig{MinISR: int32(1 + rng.IntN(2))}})
	case "add-node":
		return c.addNode()
	case "transfer":
		if n := c.nodes[a.A]; n.alive() {
			n.do(func(l *life) {
				if l.role == quorum.Follower {
					_ = l.raft.Campaign() // what goes wrong comes out of Ready
					l.pump()
				}
			})
			return true
		}
	}
	return false
}

// leaderOf returns the node that leads a partition, by the newest metadata.
func (c *cluster) leaderOf(part int) *node {
	if c.newest == nil {
		return nil
	}
	state, ok := c.newest.Partition(c.parts[part].id.Topic, c.parts[part].id.Index)
	if !ok || state.Leader < 0 {
		return nil
	}
	return c.nodes[state.Leader]
}

// stop ends a node's process by how, for a while.
func (c *cluster) stop(n *node, d time.Duration, how func()) bool {
	if !n.alive() {
		return false
	}
	n.say("is killed")
	how()
	n.stopped = true
	c.startAgain(n, d)
	return true
}

// startAgain starts a node's process after a while, unless somebody else has.
func (c *cluster) startAgain(n *node, d time.Duration) {
	number := n.process.Life()
	c.sched.After(d, func() {
		if n.process.Life() == number && !n.process.Up() {
			n.stopped = false
			n.restart()
		}
	})
}

func (c *cluster) losePower(n *node) {
	if !c.survivesPower() {
		n.lossy = true
	}
	n.losePower()
}

// stopAll ends all processes at one moment.
func (c *cluster) stopAll(a simulate.Action, rng *rand.Rand) bool {
	if a.Kind == "power-all" && !c.survivesPower() {
		return false // more than minISR-1 lossy crashes
	}
	done := false
	for _, n := range c.nodes {
		how := n.kill
		if a.Kind == "power-all" {
			how = func() { c.losePower(n) }
		}
		if c.stop(n, time.Duration(float64(a.For)*rng.Float64()), how) {
			done = true
		}
	}
	return done
}

func (c *cluster) pause(n *node, d time.Duration) bool {
	if !n.alive() || n.process.Paused() {
		return false
	}
	n.say("is paused")
	n.process.Pause()
	c.sched.After(d, func() {
		n.say("goes on")
		n.process.Resume()
	})
	return true
}

// shutDown stops a node in order, and by force if that takes too long.
func (c *cluster) shutDown(n *node, d time.Duration) bool {
	if !n.alive() || n.life.leaving {
		return false
	}
	number := n.life.number
	n.stopped = true
	n.do(func(l *life) {
		l.leaving = true
		l.say("is shutting down")
		l.lifecycle.Shutdown(l.now())
		l.lifecycleMoved()
	})
	var wait func()
	patience := c.sched.Now() + 20*time.Second
	wait = func() {
		switch {
		case n.alive() && n.life.number != number:
			return // it has another life already
		case n.alive() && c.sched.Now() < patience && !c.healed:
			c.sched.After(500*time.Millisecond, wait)
			return
		case n.alive():
			n.kill()
		}
		c.startAgain(n, d)
	}
	wait()
	return true
}

// roll restarts all nodes, one after the other.
func (c *cluster) roll(i int, d time.Duration) bool {
	if i >= len(c.nodes) || c.healed {
		return true
	}
	c.shutDown(c.nodes[i], d)
	c.sched.After(d+15*time.Second, func() { c.roll(i+1, d) })
	return true
}

// replace takes a node away with all that it has; it comes back with an empty disk and the same id.
func (c *cluster) replace(n *node, d time.Duration) bool {
	if !c.mayLose(n) || !c.mayLoseVote(n) {
		return false
	}
	done := c.stop(n, d, n.kill)
	if done {
		n.disk.Lose()
		clear(n.marks)
		clear(n.points)
		n.lossy = true
		c.counts.Add("lost disk", 1)
	}
	return done
}

// corrupt changes a sector of a log while its node is down: of what was synced, so that it is no unfinished write.
func (c *cluster) corrupt(n *node, d time.Duration) bool {
	if !c.mayLose(n) || !n.alive() || n.process.Paused() {
		return false
	}
	if slices.ContainsFunc(n.life.replicas, func(r *replicaState) bool { return r.log == nil && r.exists() }) {
		return false // how far it is on disk is not known
	}
	for range 10 { // each finishes one segment
		if n.life.flush(); !n.alive() {
			return false
		}
	}
	if slices.ContainsFunc(n.life.replicas, func(r *replicaState) bool { return r.log != nil && r.log.RecoveryPoint() != r.log.End() }) {
		return false
	}
	return c.stop(n, d, func() {
		n.kill()
		for _, p := range c.parts {
			if name, at := n.disk.Corrupt("/"+p.name, "*.log"); name != "" {
				n.say("corrupt sector in %s at %d", name, at)
				n.lossy, n.rotten = true, true
				return
			}
		}
	})
}

// cut cuts what cuts says for a while, between nodes.
func (c *cluster) cut(d time.Duration, cuts func(from, to int) bool) bool {
	done := false
	for x := range c.nodes {
		for y := range c.nodes {
			if x != y && cuts(x, y) {
				done = true
				c.net.Cut(x, y)
				c.sched.After(d, func() { c.net.Mend(x, y) })
			}
		}
	}
	return done
}

// swizzle clogs some links one after the other, and lets them go in another order.
func (c *cluster) swizzle(a simulate.Action, rng *rand.Rand) {
	for x := range c.nodes {
		for y := range c.nodes {
			if x != y && rng.IntN(2) == 0 {
				from := time.Duration(rng.Int64N(int64(a.For) + 1))
				lasts := time.Duration(rng.Int64N(int64(a.For) + 1))
				c.sched.After(from, func() {
					if !c.healed {
						c.net.Clog(x, y, lasts)
					}
				})
			}
		}
	}
}

// lateFetch holds up what a follower has sent to a leader, and has the follower lose power, while nobody writes: when it arrives, it is of an earlier life,
// and says that the follower has everything.
func (c *cluster) lateFetch(a simulate.Action, n *node) bool {
	leads, controls := c.leaderOf(a.B%len(c.parts)), c.controller()
	if leads == nil || controls == nil || leads == n || n == controls || leads == controls || !n.alive() || !(c.survivesPower() || c.mayLose(n)) {
		return false
	}
	d := a.For + c.session + 4*time.Second // until it has registered again
	c.net.Clog(int(n.id), int(leads.id), d)
	c.sched.After(700*time.Millisecond, func() {
		if !c.healed && n.alive() && (c.survivesPower() || c.mayLose(n)) {
			c.hush = c.sched.Now() + d
			c.stop(n, 200*time.Millisecond, func() { c.losePower(n) })
		}
	})
	return true
}

// lateChange holds up what a leader has sent to the active controller, and takes a follower away for a while.
func (c *cluster) lateChange(a simulate.Action) bool {
	leads, controls := c.leaderOf(a.B%len(c.parts)), c.controller()
	if leads == nil || controls == nil || leads == controls {
		return false
	}
	c.net.Clog(int(leads.id), int(controls.id), a.For)
	return true
}

// storms has the node that controls die and come back again and again, while the others elect: whoever has forgotten a vote gives it twice.
func (c *cluster) storms(d time.Duration, rng *rand.Rand) bool {
	n := c.controller()
	if n == nil {
		return false
	}
	until := c.sched.Now() + d + 2*time.Second
	var again func()
	again = func() {
		if c.healed || c.sched.Now() > until {
			return
		}
		c.stop(n, time.Millisecond, n.kill)
		c.sched.After(time.Duration(3+rng.IntN(12))*time.Millisecond, again)
	}
	again()
	return true
}

// storm makes the weather between nodes bad for a while.
func (c *cluster) storm(a simulate.Action, rng *rand.Rand) {
	w := c.weather
	some := func(most float64) float64 {
		if rng.IntN(2) == 0 {
			return 0
		}
		return most * rng.Float64()
	}
	w.Loss, w.Duplicate, w.Reorder, w.Replay = some(0.3), some(0.3), some(0.5), some(0.5)
	w.ReorderBy, w.ReplayAfter = time.Duration(rng.IntN(2000))*time.Millisecond, time.Duration(rng.IntN(30))*time.Second
	w.Jitter += time.Duration(some(300)) * time.Millisecond
	for x := range c.nodes {
		for y := range c.nodes {
			if x != y && rng.IntN(3) > 0 {
				c.net.SetWeather(x, y, w)
				c.sched.After(a.For, func() { c.net.SetWeather(x, y, c.weather) })
			}
		}
	}
}

// reassign gives a partition to other nodes, or takes that back.
func (c *cluster) reassign(a simulate.Action, rng *rand.Rand) bool {
	if c.newest == nil {
		return false
	}
	var able []control.NodeID
	for _, n := range c.newest.Nodes() {
		if n.Active() {
			able = append(able, n.ID)
		}
	}
	r := control.Reassignment{Partition: c.parts[a.B%len(c.parts)].id}
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
