package replicationtest

import (
	"math/rand/v2"
	"time"

	"github.com/partlog/partlog/internal/simulate"
)

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
		if n.process.Life() == number && !n.process.Up() && !n.retired {
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
		clear(n.starts)
		clear(n.cleaned)
		n.lossy = true
		c.counts.Add("lost disk", 1)
	}
	return done
}
