package replicationtest

import (
	"slices"
	"time"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/quorum"
	"github.com/partlog/partlog/internal/simulate"
)

// tick lets raft's time pass.
func (l *life) tick() {
	l.woken()
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
		l.wake()
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
		if !l.knowsLevel() {
			return
		}
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
	if l.leads != out.Leader {
		l.leads, l.deposed = out.Leader, -1
	}
	l.confirmed(out.Confirmed, out.Role != quorum.Leader)
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

// tendMembers takes those into the quorum who have asked: a node that has lost its raft log is another member, which takes the
// old one's place when it has caught up.
func (l *life) tendMembers() {
	status := l.raft.Status()
	has := func(list []quorum.Progress, m quorum.Member) bool {
		return slices.ContainsFunc(list, func(p quorum.Progress) bool { return p.Member == m })
	}
	if l.removeMember(status) {
		return
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
		case l.c.voting[id]:
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

// wanted notes that a member wants to be one.
func (l *life) wanted(m quorum.Member) {
	if l.c.nodes[m.Node].retired {
		return
	}
	status := l.raft.Status()
	for _, p := range status.Voters {
		if p.Member == m {
			return
		}
	}
	for _, p := range status.Observers {
		if p.Member == m && !l.c.voting[m.Node] {
			return
		}
	}
	l.joined[m.Node] = m
}
