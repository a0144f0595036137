package replicationtest

import (
	"math/rand/v2"
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
		if c.sched.Now() < c.hush {
			return
		}
		c.transactors[a.A].add(a.Draw)
		return
	case "restart-consumer":
		c.consumers[a.A].restart()
		c.counts.Add(a.Kind, 1)
		return
	case "member-dies", "member-leaves", "member-pauses":
		c.disturbMember(a)
		return
	case "late-commit":
		c.members[a.A%len(c.members)].late = true
		return
	case "create-topic", "delete-topic", "grow-topic", "alter-topic", "describe-topic":
		c.operator.command(a)
		return
	case "write-topic":
		if c.sched.Now() >= c.hush {
			c.tenant.write(a.Draw)
		}
		return
	case "late-end":
		c.transactors[a.A].late = true
		return
	case "kill-leader", "pause-leader", "cut-leader":
		if n = c.leaderOf(c.somePart(a.B)); n == nil {
			return
		}
	}
	if a.Kind == "delete-records" {
		c.deleteRecords(a)
		return
	}
	if c.plots(a) {
		return
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
	case "remove-node":
		done = c.remove(n, a)
	case "second-process", "copied-directory":
		c.impostor(n, a)
	case "upgrade":
		done = c.upgrade(n, control.MaxLevel, a.For)
	case "downgrade":
		done = c.upgrade(n, control.MinLevel+int16(a.Draw%uint64(control.MaxLevel-control.MinLevel)), a.For)
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
		if n.alive() && !c.troubled(n) {
			n.disk.FailWrite([]string{"*.log", "*"}[rng.IntN(2)])
			c.trace.Say("fault", "%s", a)
		}
	case "full-disk":
		if n.alive() && !c.troubled(n) {
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
		return c.propose(control.Elect{Partitions: []control.PartitionID{c.parts[c.somePart(a.B)].id}})
	case "feature":
		if c.newest == nil || c.newest.Feature() == control.MaxLevel {
			return false
		}
		return c.propose(control.SetFeature{Level: c.newest.Feature() + 1})
	case "throttle":
		c.setRate(100 + int64(a.Force*a.Force*5000))
		c.sched.After(a.For, func() { c.setRate(0) })
		return true
	case "elect-uncleanly":
		return c.electUncleanly(a.B)
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
