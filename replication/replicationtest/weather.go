package replicationtest

import (
	"math/rand/v2"
	"time"

	"github.com/partlog/partlog/internal/simulate"
)

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
	leads, controls := c.leaderOf(c.somePart(a.B)), c.controller()
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
	leads, controls := c.leaderOf(c.somePart(a.B)), c.controller()
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
