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

// tick lets raft's time pass.
func (l *life) tick() {
	if err := l.raft.Tick(); err == nil {
		l.pump()
	}
	if l.over {
		return
	}
	l.clock.AfterFunc(l.c.tick, l.tick)
}

// pump does what raft wants done, until there is nothing more.
func (l *life) pump() {
	if l.pumping || l.over {
		l.again = true
		return
	}
	l.pumping = true
	for l.again = true; l.again && !l.over; {
		l.again = false
		for !l.over {
			out, ok := l.raft.Ready()
			if !ok {
				break
			}
			l.take(out)
		}
		if l.over {
			break
		}
		if err := l.raft.Err(); err != nil {
			l.pumping = false
			l.fail("raft: %v", err)
			return
		}
		l.changeRoles()
	}
	l.pumping = false
}

func (l *life) take(out quorum.Output) {
	if out.Snapshot != nil && len(out.Snapshot.State) > 0 {
		m, err := control.Restore(out.Snapshot.State)
		if err != nil {
			l.c.findings.Report(simulate.Broken, "%s: snapshot of entry %d: %v", l.name, out.Snapshot.Index, err)
			return
		}
		l.say("takes the snapshot of entry %d", out.Snapshot.Index)
		l.c.seen.Add("snapshot taken", 1)
		l.ctl, l.compacted = m, out.Snapshot.Index
		if l.role == quorum.Leader {
			l.watch.Reset(l.now(), l.ctl)
		}
		for i := range l.dirty {
			l.dirty[i] = true
		}
		l.lifecycle.Applied(l.now(), out.Snapshot.Index)
	}
	for _, e := range out.Committed {
		l.apply(e)
		if l.over {
			return
		}
	}
	for _, m := range out.Messages {
		if m.Snapshot {
			to := m.To
			l.call(int(to), laneControl, raftSnapshot{m.Data}, 5*time.Second, func(answer any) {
				l.raft.ReportSnapshot(to, answer != nil)
				l.pump()
			})
			continue
		}
		l.net.Send(int(l.id), int(m.To), datagram{m.Data})
	}
	if out.Role != l.role || out.Term != l.term {
		l.turn(out)
	}
	l.leads = out.Leader
	if out.SnapshotWanted {
		l.compact()
	}
}

// turn takes a change of raft's role or term.
func (l *life) turn(out quorum.Output) {
	before := l.role
	l.role, l.term = out.Role, out.Term
	if out.Role == quorum.Leader {
		l.say("is the active controller, term %d", out.Term)
		if other, known := l.c.terms[out.Term]; known && other != l.id {
			l.c.findings.Report(simulate.TwoLeaders, "the quorum, term %d: nodes %d and %d", out.Term, other, l.id)
		}
		l.c.terms[out.Term] = l.id
		l.c.seen.Add("controller elected", 1)
		clear(l.joined)
		l.watch.Reset(l.now(), l.ctl)
		l.controllerTick(out.Term)
		return
	}
	if before == quorum.Leader {
		l.watch.Stop()
		for _, index := range sortedKeys(l.proposals) {
			p := l.proposals[index]
			delete(l.proposals, index)
			p.done(control.Result{}, false) // nobody knows
		}
	}
}

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
	for _, c := range l.watch.Tick(l.now()) {
		l.propose(c, func(control.Result, bool) {})
	}
	if l.over {
		return
	}
	l.tendMembers()
	l.clock.AfterFunc(500*time.Millisecond, func() { l.controllerTick(term) })
}

// tendMembers takes those into the quorum who have asked: a node that has lost its raft log is another member, which takes the
// old one's place when it has caught up.
func (l *life) tendMembers() {
	status := l.raft.Status()
	has := func(list []quorum.Progress, m quorum.Member) bool {
		return slices.ContainsFunc(list, func(p quorum.Progress) bool { return p.Member == m })
	}
	for _, id := range sortedKeys(l.joined) {
		m := l.joined[id]
		var change quorum.Change
		old := slices.IndexFunc(status.Voters, func(p quorum.Progress) bool { return p.Member.Node == id && p.Member != m })
		spare := slices.IndexFunc(status.Observers, func(p quorum.Progress) bool { return p.Member.Node == id && p.Member != m })
		switch {
		case has(status.Voters, m):
			delete(l.joined, id)
			continue
		case spare >= 0:
			change = quorum.Change{Op: quorum.Remove, Member: status.Observers[spare].Member}
		case !has(status.Observers, m):
			change = quorum.Change{Op: quorum.AddObserver, Member: m}
		case old >= 0:
			change = quorum.Change{Op: quorum.Remove, Member: status.Voters[old].Member}
		case int(id) < l.c.voters:
			change = quorum.Change{Op: quorum.Promote, Member: m}
		default:
			delete(l.joined, id)
			continue
		}
		if _, _, err := l.raft.ProposeChange(change); err == nil {
			l.say("proposes to %s", change)
			l.c.seen.Add("change of members", 1)
		}
		l.pump()
		return
	}
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
	if e.Change != nil {
		l.say("quorum: %s", e.Change)
	}
	l.c.appliedEntry(l, c, r)
	l.watch.Applied(l.now(), r)
	l.lifecycle.Applied(l.now(), e.Index)
	for i := range r.Changed {
		if p := l.c.partOf(r.Changed[i].Partition); p != nil {
			l.dirty[p.index] = true
		}
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

// compact makes a snapshot of the state as it is.
func (l *life) compact() {
	index := l.ctl.Applied()
	if index <= l.compacted {
		return
	}
	if err := l.raft.Compact(index, l.ctl.Snapshot()); err == nil {
		l.compacted = index
		l.c.seen.Add("snapshot made", 1)
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
			reply(proposeAnswer{code: control.NotController, leads: l.leads})
			return
		}
		reply(proposeAnswer{result: r, code: r.Code})
	})
}

func (l *life) serveRegistration(b registerRequest, reply func(any)) {
	if l.role != quorum.Leader {
		reply(proposeAnswer{code: control.NotController, leads: l.leads})
		return
	}
	l.wanted(b.member)
	admitted, code := l.watch.Admit(l.now(), b.register)
	if code != control.OK {
		reply(proposeAnswer{code: code})
		return
	}
	l.propose(admitted, func(r control.Result, known bool) {
		if !known {
			reply(proposeAnswer{code: control.NotController, leads: l.leads})
			return
		}
		reply(proposeAnswer{result: r, code: r.Code})
	})
}

// wanted notes that a member wants to be one.
func (l *life) wanted(m quorum.Member) {
	status := l.raft.Status()
	for _, p := range status.Voters {
		if p.Member == m {
			return
		}
	}
	for _, p := range status.Observers {
		if p.Member == m && int(m.Node) >= l.c.voters {
			return
		}
	}
	l.joined[m.Node] = m
}

func (l *life) serveHeartbeat(b heartbeatRequest, reply func(any)) {
	if l.role == quorum.Leader {
		l.wanted(b.member)
	}
	answer, commands := l.watch.Heartbeat(l.now(), b.Heartbeat)
	for _, c := range commands {
		l.propose(c, func(control.Result, bool) {})
	}
	reply(answer)
}

// ask sends something to whoever leads, as far as this node knows; else to anybody, who may know more.
func (l *life) ask(body any, done func(answer any)) {
	to := int(l.leads)
	if to < 0 {
		to = l.rng.IntN(len(l.c.nodes))
	}
	if to == int(l.id) {
		l.serve(to, body, done)
		return
	}
	l.call(to, laneControl, body, callTimeout, done)
}

// beat does what the node's registration needs.
func (l *life) beat() {
	if l.over {
		return
	}
	switch l.lifecycle.Poll(l.now()) {
	case control.ActRegister:
		register := control.Register{
			ID: l.id, Incarnation: l.incarnation, Addr: l.name, PreviousEpoch: l.previous,
			MinFeature: control.MinLevel, MaxFeature: control.MaxLevel,
		}
		l.ask(registerRequest{register: register, member: l.member}, l.registered)
	case control.ActHeartbeat:
		l.ask(heartbeatRequest{l.lifecycle.Heartbeat(), l.member}, func(answer any) {
			a, ok := answer.(control.HeartbeatAnswer)
			if !ok {
				l.lifecycle.Lost(l.now())
			} else {
				l.lifecycle.Answered(l.now(), a)
			}
			l.lifecycleMoved()
		})
	}
	if l.over {
		return
	}
	wait := 250 * time.Millisecond
	if at, due := l.lifecycle.Deadline(); due {
		wait = min(max(at-l.now(), 10*time.Millisecond), 250*time.Millisecond)
	}
	l.clock.AfterFunc(wait, l.beat)
}

func (l *life) registered(answer any) {
	a, ok := answer.(proposeAnswer)
	if !ok {
		l.lifecycle.Lost(l.now())
		return
	}
	l.lifecycle.Registered(l.now(), a.code, a.result.Epoch)
	if a.code == control.OK {
		l.say("is registered, epoch %d", a.result.Epoch)
		l.node.lossy = false
		// From now on what is written is written under this epoch.
		l.previous = a.result.Epoch
		l.writeEpoch(a.result.Epoch, true)
		if l.over {
			return
		}
		for i := range l.dirty {
			l.dirty[i] = true
		}
	}
	l.lifecycleMoved()
	l.changeRoles()
}

func (l *life) lifecycleMoved() {
	switch l.lifecycle.Stage() {
	case control.StageFailed:
		l.fail("registration: %s", l.lifecycle.Failure())
	case control.StageDone:
		if !l.over && l.leaving {
			l.shutDown()
		}
	}
}
