package replicationtest

import (
	"cmp"
	"hash/fnv"
	"slices"
	"time"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/quorum"
	"github.com/partlog/partlog/internal/simulate"
)

// What nodes ask of the active controller.
type (
	proposeRequest struct{ command []byte }
	proposeAnswer  struct {
		result control.Result
		code   control.Code
		leads  int32 // another one, if that is known
		maybe  bool  // it was proposed, and nobody knows what became of it
	}
	registerRequest struct {
		register control.Register
		member   quorum.Member // of whom the quorum may not have heard
	}
	heartbeatRequest struct {
		control.Heartbeat
		member quorum.Member // likewise
	}
	raftSnapshot struct{ data []byte }
)

// callTimeout is how long a node waits for the active controller.
const callTimeout = 2 * time.Second

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// controllerTick is the active controller's own time.
func (l *life) controllerTick(term uint64) {
	if l.over || l.role != quorum.Leader || l.term != term {
		return
	}
	l.woken()
	for _, c := range l.watch.Tick(l.now()) {
		l.propose(c, func(control.Result, bool) {})
	}
	if l.over {
		return
	}
	l.tendMembers()
	l.clock.AfterFunc(500*time.Millisecond, func() { l.controllerTick(term) })
}

// propose puts a command into the log. done is called with its result, or with false if nobody knows, or if this is not the active controller.
func (l *life) propose(c control.Command, done func(control.Result, bool)) {
	l.proposeBytes(control.Encode(nil, c), done)
}

func (l *life) proposeBytes(data []byte, done func(control.Result, bool)) {
	index, term, err := l.raft.Propose(data)
	if err != nil {
		done(control.Result{Code: control.NotController}, false)
		l.pump()
		return
	}
	l.proposals[index] = proposal{term: term, done: done}
	l.pump()
}

// apply applies one committed entry.
func (l *life) apply(e quorum.Entry) {
	var r control.Result
	var c control.Command = control.NoOp{}
	if len(e.Data) > 0 {
		var err error
		c, err = control.Decode(e.Data)
		if err != nil {
			l.c.findings.Report(simulate.Broken, "%s: entry %d cannot be decoded: %v", l.name, e.Index, err)
			return
		}
		if _, known := l.c.applied[e.Index]; !known && l.c.trace.On() {
			l.say("is the first to apply %d: %T%+v", e.Index, c, c)
		}
	}
	r = l.ctl.Apply(e.Index, c)
	if !l.knowsLevel() {
		return
	}
	for i := range r.Changed {
		if l.c.partOf(r.Changed[i].Partition) == nil {
			l.c.addPart(r.Changed[i].Partition, r.Changed[i].Name)
		}
	}
	if e.Change != nil {
		l.say("quorum: %s", e.Change)
	}
	if register, ok := c.(control.Register); ok && r.Code == control.OK && r.Epoch == int64(r.Index) {
		l.c.oneProcess(l, register, r.Epoch)
	}
	l.c.appliedEntry(l, c, r)
	l.watch.Applied(l.now(), r)
	l.lifecycle.Applied(l.now(), e.Index)
	for i := range r.Changed {
		l.dirty[l.c.partOf(r.Changed[i].Partition).index] = true
	}
	if slices.Contains(r.Nodes, l.id) {
		for i := range l.dirty {
			l.dirty[i] = true
		}
	}
	if p, waits := l.proposals[e.Index]; waits {
		delete(l.proposals, e.Index)
		p.done(r, p.term == e.Term)
	}
	if e.Index-l.compacted >= l.c.compactEvery {
		l.compact()
	}
}

// appliedEntry checks what every node must agree about, and keeps the newest state for the checkers.
func (c *cluster) appliedEntry(l *life, command control.Command, r control.Result) {
	h := fnv.New64a()
	_, _ = h.Write(l.ctl.Snapshot()) // a hash takes everything
	digest := h.Sum64()
	if other, known := c.applied[r.Index]; !known {
		c.applied[r.Index] = digest
		c.sched.Mix(digest)
	} else if other != digest {
		c.findings.Report(simulate.Diverged, "the controller's state after entry %d is another one on %s", r.Index, l.name)
	}
	if len(r.Nodes) > 0 || r.Feature != 0 {
		for _, n := range l.ctl.Nodes() {
			if level := l.ctl.Feature(); level < n.MinFeature || level > n.MaxFeature {
				c.findings.Report(simulate.WrongLevel, "the cluster is at feature level %d, node %d knows %d to %d", level, n.ID, n.MinFeature, n.MaxFeature)
			}
		}
		if r.Feature != 0 && c.raised < r.Feature {
			c.raised = r.Feature
			c.seen.Add("feature level raised", 1)
		}
	}
	if c.newest == nil || l.ctl.Applied() > c.newest.Applied() || l.ctl == c.newest {
		c.newest = l.ctl
		for i := range r.Changed {
			c.partitionChanged(command, &r.Changed[i])
		}
	}
}

// serveProposal answers a node, or an operator.
func (l *life) serveProposal(b proposeRequest, reply func(any)) {
	if l.role != quorum.Leader {
		reply(proposeAnswer{code: control.NotController, leads: l.leads})
		return
	}
	l.proposeBytes(b.command, func(r control.Result, known bool) {
		if !known {
			reply(proposeAnswer{code: control.NotController, leads: l.leads, maybe: true})
			return
		}
		reply(proposeAnswer{result: r, code: r.Code})
	})
}

// ask sends something to whoever leads, as far as this node knows; else to anybody, who may know more. Who was removed from the quorum hears from no new
// leader: the one that it knows may say for ever that it leads no more.
func (l *life) ask(body any, done func(answer any)) { l.askAt(l.controllerNow(), body, done) }

// controllerNow is whom ask asks.
func (l *life) controllerNow() int {
	to := int(l.leads)
	if to < 0 || l.leads == l.deposed {
		to = l.rng.IntN(len(l.c.nodes))
	}
	return to
}

func (l *life) askAt(to int, body any, done func(answer any)) {
	if to == int(l.id) {
		l.serve(to, body, done)
		return
	}
	l.call(to, laneControl, body, callTimeout, done)
}
