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
	answer, commands := l.watch.Heartbeat(l.now(), b.Heartbeat)
	for _, c := range commands {
		l.propose(c, func(control.Result, bool) {})
	}
	reply(answer)
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
