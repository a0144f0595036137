package replicationtest

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/replica"
	"github.com/partlog/partlog/internal/simulate"
)

// client is what producers and consumers have in common: a station, a clock, and what it knows of who leads.
type client struct {
	c       *cluster
	name    string
	rng     *rand.Rand
	process *simulate.Process
	clock   *simulate.Clock
	*caller
	leaders []leaderHint
	asking  bool
}

func newClient(c *cluster, name string) *client {
	x := &client{c: c, name: name, rng: simulate.Stream(c.seed, name)}
	x.process = simulate.NewProcess(c.sched)
	x.clock = simulate.NewClock(x.process, birth)
	station := c.net.Add(x.process, func(m simulate.Message) {
		if r, ok := m.Body.(response); ok {
			x.answered(m, r)
		}
	})
	x.caller = newCaller(station, c.net, x.clock)
	for range c.parts {
		x.leaders = append(x.leaders, leaderHint{-1, -1})
	}
	return x
}

// heard takes news of who leads a partition.
func (x *client) heard(part int, h leaderHint) {
	if h.epoch > x.leaders[part].epoch || h.epoch == x.leaders[part].epoch && h.node != x.leaders[part].node {
		x.leaders[part] = h
	}
}

// refresh asks some node who leads.
func (x *client) refresh() {
	if x.asking {
		return
	}
	x.asking = true
	x.call(x.rng.IntN(len(x.c.nodes)), laneControl, metadataRequest{}, time.Second, func(answer any) {
		x.asking = false
		if a, ok := answer.(metadataAnswer); ok {
			for i, h := range a.leaders {
				x.heard(i, h)
			}
		}
	})
}

// leader returns who is to be asked, as far as is known.
func (x *client) leader(part int) (int, bool) {
	if n := x.leaders[part].node; n >= 0 {
		return int(n), true
	}
	x.refresh()
	return 0, false
}

func (x *client) say(format string, args ...any) {
	if x.c.trace.On() {
		x.c.trace.Say(x.name, format, args...)
	}
}

// moved reports whether a code says that somebody else is to be asked.
func moved(code control.Code) bool {
	return code == replica.NotLeaderOrFollower || code == replica.FencedLeaderEpoch || code == replica.UnknownLeaderEpoch
}

func clientName(kind string, i int) string { return fmt.Sprintf("%s-%d", kind, i) }
