package replicationtest

import (
	"time"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/mutant"
	"github.com/partlog/partlog/internal/replica"
)

// topicOp is a command on a topic, by its name, as an operator gives it to any node.
type topicOp struct {
	kind       string // create, delete, grow, alter, describe
	name       string
	id         control.TopicID // of a new topic
	partitions int32           // of a new topic, or how many more
	config     control.TopicConfig
	draw       uint64 // for the placement
}

// topicState is what a client is told of a topic; the zero value: there is none.
type topicState struct {
	exists     bool
	id         control.TopicID
	partitions int32
	config     control.TopicConfig
}

// topicAnswer answers a topicOp. No answer means that nobody knows whether it was done.
type topicAnswer struct {
	code    control.Code
	topic   topicState // describe
	applied uint64     // by the node that answers
}

// mostTries is how often a node looks again because the catalogue has changed.
const mostTries = 20

// topicCall is a topicOp at the node that was asked, which does as replication.Node does: it decides by what it has applied, has the controller compare (Event.Expect),
// and looks again after a conflict. Before it refuses, it makes sure that it knows all there is to know.
type topicCall struct {
	l       *life
	op      topicOp
	reply   func(any)
	tries   int
	current bool // the node knows all that was decided before it was asked
}

func (l *life) serveTopic(op topicOp, reply func(any)) {
	if !l.present() {
		reply(nil) // it does not know what it knew
		return
	}
	call := &topicCall{l: l, op: op, reply: reply, current: mutant.On(mutant.StaleCatalogue)}
	if op.kind == "describe" && !call.current {
		call.barrier()
		return
	}
	call.look()
}

func (t *topicCall) answer(code control.Code, state topicState) {
	t.reply(topicAnswer{code: code, topic: state, applied: t.l.ctl.Applied()})
}

// look decides by what this node knows.
func (t *topicCall) look() {
	l, op := t.l, t.op
	topic, exists := l.ctl.TopicByName(op.name)
	code := control.OK
	switch {
	case op.kind == "create" && exists:
		code = control.TopicAlreadyExists
	case op.kind != "create" && op.kind != "describe" && !exists:
		code = replica.UnknownTopicOrPartition
	}
	if code != control.OK {
		if t.current {
			t.answer(code, topicState{})
			return
		}
		t.barrier()
		return
	}
	event := control.Event{Kind: 1, Expect: l.ctl.CatalogueIndex()}
	switch op.kind {
	case "describe":
		var s topicState
		if exists {
			s = topicState{exists: true, id: topic.ID, partitions: int32(len(topic.Partitions())), config: topic.Config}
		}
		t.answer(control.OK, s)
	case "create":
		assignment, code := l.c.place(l.ctl, op.partitions, op.draw)
		if code != control.OK {
			t.answer(code, topicState{})
			return
		}
		t.propose(control.CreateTopic{Event: event, ID: op.id, Name: op.name, Assignment: assignment, Config: op.config})
	case "grow":
		assignment, code := l.c.place(l.ctl, op.partitions, op.draw)
		if code != control.OK {
			t.answer(code, topicState{})
			return
		}
		t.propose(control.GrowTopic{Event: event, ID: topic.ID, From: int32(len(topic.Partitions())), Assignment: assignment})
	case "delete":
		t.propose(control.DeleteTopic{Event: event, ID: topic.ID})
	case "alter":
		config := op.config
		config.Unclean = topic.Config.Unclean // what may be lost does not change
		t.propose(control.ConfigureTopic{Event: event, ID: topic.ID, Config: config})
	}
}

// barrier waits until this node has applied all that had been decided when it was asked, and looks then.
func (t *topicCall) barrier() {
	t.ask(control.NoOp{}, func(control.Result) {
		t.current = true
		t.look()
	})
}

// propose has the command decided.
func (t *topicCall) propose(c control.Command) {
	t.ask(c, func(r control.Result) {
		if t.tries++; r.Code == control.Conflict && t.tries < mostTries {
			t.look()
			return
		}
		t.answer(r.Code, topicState{})
	})
}

// ask has the controller decide, wherever it is, and calls done when this node has applied it. If nobody knows, nobody is answered.
func (t *topicCall) ask(c control.Command, done func(control.Result)) {
	l := t.l
	l.ask(proposeRequest{control.Encode(nil, c)}, func(answer any) {
		a, ok := answer.(proposeAnswer)
		switch {
		case !ok || a.maybe:
		case a.code == control.NotController:
			if t.tries++; t.tries < mostTries {
				l.clock.AfterFunc(300*time.Millisecond, func() { t.ask(c, done) })
				return
			}
			t.answer(a.code, topicState{})
		default:
			l.reached(a.result.Index, func() { done(a.result) })
		}
	})
}

// awaited is something to do when an entry has been applied.
type awaited struct {
	index uint64
	do    func()
}

// reached has do called when the node has applied an entry.
func (l *life) reached(index uint64, do func()) {
	l.awaiting = append(l.awaiting, awaited{index, do})
	l.wake()
}

// wake does what has waited for entries that have been applied.
func (l *life) wake() {
	for i := 0; i < len(l.awaiting) && !l.over; {
		if w := l.awaiting[i]; w.index <= l.ctl.Applied() {
			l.awaiting = append(l.awaiting[:i:i], l.awaiting[i+1:]...)
			w.do()
			i = 0
			continue
		}
		i++
	}
}
