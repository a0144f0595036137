package replicationtest

import (
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/simulate"
	"github.com/partlog/partlog/log"
)

// Report says what a run was and what came of it.
type Report struct {
	Seed      uint64
	Setup     string
	Simulated time.Duration // with trouble and clients: what counts
	Events    uint64
	Hash      uint64
	Faults    simulate.Counts // when they took effect
	Seen      simulate.Counts // what else happened
	Acked     int64           // records, under a promise
	Read      int64
	Schedule  simulate.Schedule
	Violation *simulate.Violation // nil: nothing that was promised broke
	Trace     string              // the last lines of the story, if Options asked for it
}

// begin is when trouble begins: the cluster has had time to come up.
const begin = 15 * time.Second

// Run runs one seed.
func Run(o Options) (report Report) {
	if o.Reseed != nil {
		o.Reseed(o.Seed)
	}
	c := newCluster(o)
	report = Report{Seed: o.Seed, Setup: fmt.Sprintf("%+v", c.setup), Schedule: o.Schedule}
	if !o.Replay {
		menu := Menu(c.setup.nodes, c.partitions, c.setup.producers, c.setup.consumers, c.txnClients, len(c.members))
		menu = append(menu, Plots(c.partitions, c.txnClients)...)
		if o.Quiet {
			menu = menu[:1]
		}
		if o.Only != nil {
			menu = focus(menu, o.Only)
		}
		report.Schedule = simulate.Swarm(o.Seed, menu, begin, begin+c.trouble)
	}
	defer func() {
		if v := recover(); v != nil {
			c.findings.Report(simulate.Broken, "panic: %v\n%s", v, debug.Stack())
		}
		c.report(&report)
	}()
	for _, a := range report.Schedule {
		c.sched.At(a.At, func() {
			if c.findings.First() == nil {
				c.act(a)
			}
		})
	}
	if !c.until(begin + c.trouble) {
		return
	}
	c.heal()
	c.sched.After(4*time.Second, c.scrub)
	c.sched.After(time.Second, func() {
		for _, p := range c.producers {
			for part := range p.lanes {
				p.produce(part, 1)
			}
		}
	})
	why := ""
	for waited := time.Duration(0); waited < c.bound; waited += time.Second {
		if !c.until(c.sched.Now() + time.Second) {
			return
		}
		if waited < 6*time.Second {
			continue
		}
		if why = c.unwell(); why == "" {
			c.ended = true
			c.final()
			return
		}
	}
	c.findings.Report(simulate.Stuck, "%v after everything was mended: %s", c.bound, why)
	return
}

// focus leaves of a menu what clients do, and of the faults some kinds only.
func focus(menu []simulate.Menu, kinds []string) (out []simulate.Menu) {
	for _, m := range menu {
		switch {
		case m.Chance == 1:
			out = append(out, m)
		case slices.Contains(kinds, m.Kind):
			m.Chance, m.Every = 1, m.Every*2/3
			out = append(out, m)
		}
	}
	return out
}

// until lets time pass, and reports whether nothing has broken.
func (c *cluster) until(t time.Duration) bool {
	for c.sched.Now() < t {
		// In pieces, so that what breaks is found where it breaks.
		c.sched.RunUntil(min(c.sched.Now()+50*time.Millisecond, t))
		if c.findings.First() != nil {
			return false
		}
	}
	return true
}

func (c *cluster) report(r *Report) {
	for _, n := range c.nodes {
		n.disk.Heal() // what its rules have hit is counted
	}
	r.Simulated = max(min(c.sched.Now(), begin+c.trouble)-begin, 0)
	r.Events, r.Hash = c.sched.Events(), c.sched.Hash()
	_, untold := c.history.Lost()
	c.seen.Add("records lost by an unclean election, found out at the end", int64(untold))
	r.Faults, r.Seen = c.counts, c.seen
	r.Acked, r.Read = c.history.Acked(), c.history.Reads()
	r.Violation = c.findings.First()
	r.Trace = c.trace.Last()
}

// Shrink finds the smallest part of a failing run's schedule that still makes the same checker report, in so many runs at most, and returns it
// with the report of it.
func Shrink(o Options, failed Report, runs int) (simulate.Schedule, Report) {
	try := func(s simulate.Schedule) Report {
		again := o
		again.Schedule, again.Replay = s, true
		return Run(again)
	}
	least, _ := simulate.Shrink(failed.Schedule, runs, func(s simulate.Schedule) bool {
		r := try(s)
		return r.Violation != nil && r.Violation.Checker == failed.Violation.Checker
	})
	return least, try(least)
}

// readAll reads what readers of committed records can read.
func readAll(l *log.Log) (list []simulate.Found, err error) {
	for at := l.Start(); at < l.Visible(); {
		v, aborted, err := l.ReadCommitted(nil, at, l.Visible(), 1<<20)
		if err != nil || len(v.Bytes) == 0 {
			return list, err
		}
		err = eachCommitted(v.Bytes, aborted, func(r *batch.Record) {
			list = append(list, simulate.Found{Offset: r.Offset, Value: append([]byte(nil), r.Value...)})
		}, func(batch.Batch) {})
		at = v.Next
		v.Release()
		if err != nil {
			return list, err
		}
	}
	return list, nil
}
