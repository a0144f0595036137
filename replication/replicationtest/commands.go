package replicationtest

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/anishathalye/porcupine"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/replica"
	"github.com/partlog/partlog/internal/simulate"
)

// commands is the history of commands on topics, as clients see them: linearizable, by name. What got no answer was done at any time after it was asked
// for, or never.
type commands struct {
	now  int64 // counts calls and answers
	list []*commandNoted
}

// commandNoted is one of them.
type commandNoted struct {
	op           topicOp
	called, over int64
	answer       topicAnswer
	known        bool
}

func newCommands() *commands { return &commands{} }

func (h *commands) call(op topicOp) *commandNoted {
	h.now++
	n := &commandNoted{op: op, called: h.now}
	h.list = append(h.list, n)
	return n
}

func (n *commandNoted) answered(h *commands, a topicAnswer) {
	h.now++
	n.over, n.answer, n.known = h.now, a, true
}

// mostSteps is how many steps a search for an order may take: a history that takes more is not decided, which is counted. A history of one name takes some
// hundreds.
const mostSteps = 1_000_000

// check looks for an order of each name's commands in which each answer is right, and within the time between the call and the answer.
func (h *commands) check(c *cluster) {
	byName := map[string][]porcupine.Operation{}
	for i, n := range h.list {
		end := n.over
		if !n.known {
			if n.op.kind == "describe" {
				continue
			}
			end = h.now + 1
		}
		byName[n.op.name] = append(byName[n.op.name], porcupine.Operation{ClientId: i, Input: n.op, Call: n.called, Output: n, Return: end})
	}
	for _, name := range sortedKeys(byName) {
		ops := byName[name]
		slices.SortFunc(ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
		steps := 0
		switch ok := porcupine.CheckOperations(topicModel(&steps), ops); {
		case steps > mostSteps:
			c.seen.Add("history of a topic not decided", 1)
		case !ok:
			c.findings.Report(simulate.NotLinearizable, "there is no order of the %d commands on topic %s that explains their answers: %s", len(ops), name, describe(ops))
		default:
			c.seen.Add("history of a topic decided", 1)
		}
	}
}

func describe(ops []porcupine.Operation) (text string) {
	for _, o := range ops {
		n := o.Output.(*commandNoted)
		if !n.known {
			text += fmt.Sprintf("\n  %d-   %s: no answer", o.Call, n.op)
			continue
		}
		text += fmt.Sprintf("\n  %d-%d %s: %s %+v", o.Call, o.Return, n.op, n.answer.code, n.answer.topic)
	}
	return text
}

// String is the command for people.
func (op topicOp) String() string {
	return fmt.Sprintf("%s %s id=%x partitions=%d %+v", op.kind, op.name, op.id[:2], op.partitions, op.config)
}

// topicModel is what one name's topic is, and what commands do with it.
func topicModel(steps *int) porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init: func() []any { return []any{topicState{}} },
		Step: func(state, input, output any) []any {
			if *steps++; *steps > mostSteps {
				return nil
			}
			before, n := state.(topicState), output.(*commandNoted)
			after, code := before.apply(input.(topicOp))
			switch {
			case !n.known: // done, or not
				return []any{before, after}
			case n.answer.code != code && !ofNodes(n.answer.code) || n.op.kind == "describe" && n.answer.topic != before:
				return nil
			case n.answer.code != control.OK:
				return []any{before}
			}
			return []any{after}
		},
		Equal: func(a, b any) bool { return a.(topicState) == b.(topicState) },
	}
	return m.ToModel()
}

// ofNodes reports whether a refusal has to do with nodes, or reassignments, rather than with the topic.
func ofNodes(code control.Code) bool {
	return code == control.InvalidReplicationFactor || code == control.InvalidReplicaAssignment || code == control.ReassignmentInProgress
}

// apply returns what a topic is after a command, and what is answered.
func (t topicState) apply(op topicOp) (topicState, control.Code) {
	switch {
	case op.kind == "describe":
		return t, control.OK
	case op.kind == "create" && t.exists:
		return t, control.TopicAlreadyExists
	case op.kind == "create":
		return topicState{exists: true, id: op.id, partitions: op.partitions, config: op.config}, control.OK
	case !t.exists:
		return t, replica.UnknownTopicOrPartition
	case op.kind == "delete":
		return topicState{}, control.OK
	case op.kind == "grow":
		t.partitions += op.partitions
	case op.kind == "alter":
		t.config.MinISR = op.config.MinISR
	}
	return t, control.OK
}
