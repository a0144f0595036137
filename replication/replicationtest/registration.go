package replicationtest

import (
	"time"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/quorum"
)

func (l *life) serveRegistration(b registerRequest, reply func(any)) {
	if l.role != quorum.Leader {
		reply(proposeAnswer{code: control.NotController, leads: l.leads})
		return
	}
	l.woken()
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

func (l *life) serveHeartbeat(b heartbeatRequest, reply func(any)) {
	if l.role == quorum.Leader {
		l.wanted(b.member)
	}
	l.woken()
	answer, commands := l.watch.Heartbeat(l.now(), b.Heartbeat)
	for _, c := range commands {
		l.propose(c, func(control.Result, bool) {})
	}
	refuse := func() { reply(control.HeartbeatAnswer{Code: control.NotController}) }
	if l.over || answer.Code == control.NotController {
		refuse()
		return
	}
	// A controller that has been replaced, and does not know it yet, must not keep nodes from noticing that they are isolated: a majority has to say
	// that it still leads.
	id, err := l.raft.Confirm()
	if err != nil {
		refuse()
		return
	}
	l.confirming[id] = func(leads bool) {
		if !leads {
			refuse()
			return
		}
		reply(answer)
	}
	l.pump()
}

// confirmed answers the heartbeats of which raft says that this node still led when they came, or, when it leads no more, all.
func (l *life) confirmed(ids []uint64, over bool) {
	for _, id := range ids {
		if answer := l.confirming[id]; answer != nil {
			delete(l.confirming, id)
			answer(true)
		}
	}
	if over && len(l.confirming) > 0 {
		for _, id := range sortedKeys(l.confirming) {
			answer := l.confirming[id]
			delete(l.confirming, id)
			answer(false)
		}
	}
}

// beat does what the node's registration needs.
func (l *life) beat() {
	if l.over {
		return
	}
	switch l.lifecycle.Poll(l.now()) {
	case control.ActRegister:
		register := control.Register{
			ID: l.id, Incarnation: l.incarnation, DirectoryID: l.directory, Addr: l.name, PreviousEpoch: l.previous,
			MinFeature: control.MinLevel, MaxFeature: l.level,
		}
		to := l.controllerNow()
		l.askAt(to, registerRequest{register: register, member: l.member}, func(answer any) { l.registered(to, answer) })
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

// woken tells the Watch for how long the node has done nothing, as it could hear nobody meanwhile: the shell of a node does so before it takes what has
// come.
func (l *life) woken() {
	now := l.now()
	if held := now - l.took; held >= max(l.c.session/4, 2*l.c.tick) {
		l.watch.Held(held)
	}
	l.took = now
}

func (l *life) registered(from int, answer any) {
	a, ok := answer.(proposeAnswer)
	if !ok {
		l.lifecycle.Lost(l.now())
		return
	}
	l.lifecycle.Registered(l.now(), a.code, a.result.Epoch)
	switch {
	case a.code == control.NotController && from != int(l.id):
		l.deposed = int32(from)
	case int(l.deposed) == from:
		l.deposed = -1 // it leads after all
	}
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
