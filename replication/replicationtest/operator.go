package replicationtest

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/simulate"
)

// operator is a client that creates, grows, alters, deletes and describes topics, through any node: its requests may be many at a time, and what it hears
// of them is a history that has to be linearizable.
type operator struct {
	*client
	history *commands
	told    map[int]uint64 // the newest state that each node has told of
}

// topicNames is how many names there are for topics that are made during a run: few, so that a name is used again.
const topicNames = 2

// mostGuests is how many topics made during a run there are at a time.
const mostGuests = 2

func newOperator(c *cluster) *operator {
	return &operator{client: newClient(c, "operator"), history: newCommands(), told: map[int]uint64{}}
}

// command carries out an action: it asks some node, and notes what it hears.
func (x *operator) command(a simulate.Action) {
	op := topicOp{name: fmt.Sprintf("guest-%d", a.A), draw: a.Draw, partitions: 1 + int32(a.Draw%2)}
	switch op.kind = topicCommands[a.Kind]; op.kind {
	case "create":
		if x.c.guests() >= mostGuests {
			return
		}
		binary.BigEndian.PutUint64(op.id[:], x.rng.Uint64())
		binary.BigEndian.PutUint64(op.id[8:], x.rng.Uint64())
		op.config = control.TopicConfig{MinISR: x.c.minISR, Unclean: control.No}
		if a.Draw>>8%3 == 0 {
			op.config = control.TopicConfig{MinISR: 1, Unclean: control.Yes}
		}
	case "alter": // never below what is promised to those who have written already
		op.config = control.TopicConfig{MinISR: x.c.minISR + int32(a.Draw>>8%2)}
	}
	noted := x.history.call(op)
	to := x.someNode()
	before := x.told[to]
	x.call(to, laneControl, op, 8*time.Second, func(answer any) {
		t, ok := answer.(topicAnswer)
		if ok && t.applied < before {
			x.c.findings.Report(simulate.MetadataBack, "node %d has told of %d, and now, asked later, of %d", to, before, t.applied)
		}
		x.told[to] = max(x.told[to], t.applied)
		switch {
		case !ok || t.code == control.NotController || t.code == control.Conflict:
			x.c.seen.Add("topic command without answer", 1)
			return // it was done or not
		case t.code == control.OK && op.kind != "describe":
			x.c.counts.Add(a.Kind, 1)
			x.c.trace.Say("fault", "%s", a)
		case t.code == control.OK:
			x.c.seen.Add("topic described", 1)
		default:
			x.c.seen.Add("topic command refused", 1)
		}
		noted.answered(x.history, t)
	})
}

// someNode is a node that has been started.
func (x *operator) someNode() int {
	for {
		if i := x.rng.IntN(len(x.c.nodes)); x.c.nodes[i].process.Life() > 0 {
			return i
		}
	}
}

// topicCommands are the kinds of actions that are an operator's on topics.
var topicCommands = map[string]string{
	"create-topic": "create", "delete-topic": "delete", "grow-topic": "grow", "alter-topic": "alter", "describe-topic": "describe",
}

// guests is how many topics made during the run there are.
func (c *cluster) guests() (n int) {
	for _, p := range c.parts {
		if p.guest && !p.deleted && p.id.Index == 0 {
			n++
		}
	}
	return n
}

// place chooses replicas for new partitions among the nodes that a state has.
func (c *cluster) place(m *control.Machine, partitions int32, draw uint64) ([][]control.NodeID, control.Code) {
	var nodes []control.Node
	for _, n := range m.Nodes() {
		if n.Active() && !c.nodes[n.ID].going {
			nodes = append(nodes, n)
		}
	}
	return control.Place(nodes, partitions, int32(c.factor), draw)
}
