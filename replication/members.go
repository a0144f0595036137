package replication

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/quorum"
	"github.com/partlog/partlog/internal/wire/peer"
)

// A call of kindMembers.
type membersRequest struct {
	// Op is "hello" (here I am; who leads?), "join" (make me a member), "remove" (remove a node), "promote" and "demote" (make a node a voter, or an
	// observer), "transfer" (leadership) or "describe".
	Op      string        `json:"op"`
	Address string        `json:"address,omitempty"` // of who asks
	Member  quorum.Member `json:"member"`            // of join
	Voter   bool          `json:"voter,omitempty"`   // of join
	Node    int32         `json:"node"`              // of remove, promote, demote and transfer
}

type membersAnswer struct {
	Leader int32  `json:"leader"` // -1: not known
	Nodes  []Peer `json:"nodes,omitempty"`
	// Done: of join and remove, it is as it was asked for. Else Reason says what is missing, and asking again helps, unless it is Refused.
	Done    bool           `json:"done,omitempty"`
	Reason  string         `json:"reason,omitempty"`
	Refused bool           `json:"refused,omitempty"`
	Status  *quorum.Status `json:"status,omitempty"`
	TickMS  float64        `json:"tickMs,omitempty"`
}

// joining is a node's way into the quorum.
type joining struct {
	wanted   bool // it is no member, or no voter yet
	asking   bool
	ticks    int
	silence  int // ticks without a leader
	greeting bool
}

// joinEvery and helloEvery are in ticks.
const (
	joinEvery  = 2
	helloEvery = 3
)

// everyTick looks for a leader that is not known, and asks it for membership.
func (c *controller) everyTick() {
	j := &c.joining
	leader, _ := c.leader()
	if leader != -1 {
		j.silence = 0
	} else if j.silence++; j.silence >= helloEvery && !j.greeting {
		j.silence, j.greeting = 0, true
		c.hello()
	}
	if !j.wanted || j.asking {
		return
	}
	if j.ticks++; j.ticks < joinEvery {
		return
	}
	status := c.raft.Status()
	if status.Role != quorum.Observer || !c.asksForVote() && contains(status.Observers, status.Self) {
		j.wanted = false
		return
	}
	j.ticks, j.asking = 0, true
	request := membersRequest{Op: "join", Address: c.identity.address, Member: c.raft.Self(), Voter: c.asksForVote()}
	c.work.Go(func() {
		ctx, stop := c.bounded(c.config.ElectionTimeout)
		defer stop()
		c.askAll(ctx, leader, request)
		c.inbox.put(func() { c.joining.asking = false })
	})
}

func contains(list []quorum.Progress, m quorum.Member) bool {
	for _, p := range list {
		if p.Member == m {
			return true
		}
	}
	return false
}

// bounded is the controller's context, for d.
func (c *controller) bounded(d time.Duration) (context.Context, func()) {
	ctx, cancel := context.WithCancel(c.ctx)
	stop := c.clock.AfterFunc(d, cancel)
	return ctx, func() { stop(); cancel() }
}

// hello tells those whose addresses are known where this node is: one that has come back with another address would not hear from them. All are told at a time:
// one that hangs costs the others nothing.
func (c *controller) hello() {
	request := membersRequest{Op: "hello", Address: c.identity.address}
	known := c.known()
	var asked []string
	for _, address := range c.config.Servers {
		if _, found := c.found.Load(address); !found && address != c.identity.address {
			asked = append(asked, address)
		}
	}
	c.work.Go(func() {
		ctx, stop := c.bounded(c.config.ElectionTimeout)
		defer stop()
		var all sync.WaitGroup
		for _, node := range known {
			all.Go(func() { _, _ = c.members(ctx, node, request) }) // who does not answer is asked again
		}
		for _, address := range asked {
			all.Go(func() {
				node, err := c.discover(ctx, address)
				if err != nil || node == c.id || slices.Contains(known, node) {
					return
				}
				c.net.set(node, address)
				_, _ = c.members(ctx, node, request)
			})
		}
		all.Wait()
		c.inbox.put(func() { c.joining.greeting = false })
	})
}

// discover asks who is there at an address of Config.Servers, and notes it.
func (c *controller) discover(ctx context.Context, address string) (int32, error) {
	node, err := c.net.discover(ctx, address)
	if errors.Is(err, peer.ErrDuplicateNode) {
		node, err = c.id, nil // it is this one
	}
	if err == nil {
		c.found.Store(address, node)
	}
	return node, err
}

// known are the other nodes that the node has heard of.
func (c *controller) known() (nodes []int32) {
	seen := map[int32]bool{c.id: true}
	add := func(node int32) {
		if !seen[node] {
			seen[node] = true
			nodes = append(nodes, node)
		}
	}
	for _, p := range c.config.Peers {
		add(p.NodeID)
	}
	for _, address := range c.config.Servers {
		if node, found := c.found.Load(address); found {
			add(node.(int32))
		}
	}
	c.read(func(m *control.Machine) {
		for _, n := range m.Nodes() {
			add(int32(n.ID))
		}
	})
	return nodes
}

// askAll asks the leader, if it is known, and else everybody until one knows it, each time beginning with another: one that hangs may use up ctx.
func (c *controller) askAll(ctx context.Context, leader int32, request membersRequest) (membersAnswer, error) {
	nodes := []int32{leader}
	if leader == -1 {
		nodes = c.known()
		if n := len(nodes); n > 1 {
			first := int(c.asked.Add(1) % uint32(n))
			nodes = slices.Concat(nodes[first:], nodes[:first])
		}
	}
	var failed error = ErrNoQuorum
	for i := 0; i < len(nodes) && i < 100; i++ {
		answer, err := c.members(ctx, nodes[i], request)
		if err != nil {
			failed = err
			continue
		}
		if answer.Leader == nodes[i] {
			return answer, nil
		}
		if answer.Leader != -1 && answer.Leader != c.id && i < 10 {
			nodes = append(nodes[:i+1:i+1], answer.Leader)
		}
	}
	return membersAnswer{Leader: -1}, failed
}

// members makes a call, and notes the addresses that come with the answer.
func (c *controller) members(ctx context.Context, node int32, request membersRequest) (answer membersAnswer, err error) {
	if node == c.id {
		var own membersAnswer // not read when do did not wait for it
		if err = c.do(ctx, func() { own = c.answerMembers(c.id, request) }); err != nil {
			return answer, err
		}
		return own, nil
	}
	body, err := json.Marshal(request)
	if err != nil {
		return answer, err
	}
	err = c.net.call(ctx, node, kindMembers, body, func(body []byte) error { return json.Unmarshal(body, &answer) })
	if err == nil {
		for _, p := range answer.Nodes {
			if p.NodeID != c.id && p.Address != "" {
				c.net.set(p.NodeID, p.Address)
			}
		}
	}
	return answer, err
}

// serveMembers answers another node's call.
func (c *controller) serveMembers(ctx context.Context, from int32, body []byte) ([]byte, error) {
	var request membersRequest
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, err
	}
	if request.Address != "" {
		c.net.set(from, request.Address)
	}
	var answer membersAnswer
	if err := c.do(ctx, func() { answer = c.answerMembers(from, request) }); err != nil {
		return nil, err
	}
	return json.Marshal(answer)
}

// answerMembers does one step of what is asked for, on run's goroutine.
func (c *controller) answerMembers(from int32, request membersRequest) membersAnswer {
	leader, _ := c.leader()
	answer := membersAnswer{Leader: leader}
	for _, n := range c.machine.Nodes() {
		answer.Nodes = append(answer.Nodes, Peer{NodeID: int32(n.ID), Address: n.Addr})
	}
	if leader != c.id || !c.active {
		if leader == c.id {
			answer.Leader = -1 // not quite yet
		}
		return answer
	}
	status := c.raft.Status()
	var err error
	switch request.Op {
	case "join":
		if request.Member.Node != from {
			err = fmt.Errorf("node %d asks for node %d", from, request.Member.Node)
			break
		}
		answer.Done, err = c.stepJoin(status, request)
	case "remove":
		answer.Done, err = c.stepRemove(status, request.Node)
	case "promote":
		answer.Done, err = c.stepPromote(status, request.Node)
		answer.Refused = errors.Is(err, quorum.ErrMembership)
	case "demote":
		answer.Done, err = c.stepDemote(status, request.Node)
		answer.Refused = errors.Is(err, quorum.ErrMembership)
	case "transfer":
		if request.Node != c.id {
			err = c.raft.TransferLeader(request.Node)
		}
		answer.Done = err == nil
	case "describe":
		answer.Status, answer.TickMS = &status, float64(c.tick())/float64(time.Millisecond)
	case "hello":
	default:
		err = fmt.Errorf("unknown operation %q", request.Op)
	}
	if err != nil {
		answer.Reason = err.Error()
		if errors.Is(err, quorum.ErrFailed) {
			c.check(err)
		}
	}
	return answer
}

// stepJoin brings a member one change nearer to where it wants to be: the node's lost directories go, it observes, it votes.
func (c *controller) stepJoin(status quorum.Status, request membersRequest) (done bool, err error) {
	me := request.Member
	change := quorum.Change{Op: quorum.AddObserver, Member: me}
	for _, p := range append(append([]quorum.Progress{}, status.Voters...), status.Observers...) {
		if p.Member.Node == me.Node && p.Member != me {
			change = quorum.Change{Op: quorum.Remove, Member: p.Member}
			_, _, err = c.raft.ProposeChange(change)
			return false, err
		}
	}
	switch {
	case contains(status.Voters, me):
		return true, nil
	case !contains(status.Observers, me):
	case !request.Voter:
		return true, nil
	default:
		change.Op = quorum.Promote
	}
	_, _, err = c.raft.ProposeChange(change)
	return false, err
}

// stepRemove removes the members of a node. The leader hands leadership to another first.
func (c *controller) stepRemove(status quorum.Status, node int32) (done bool, err error) {
	for _, p := range append(append([]quorum.Progress{}, status.Observers...), status.Voters...) {
		if p.Member.Node != node {
			continue
		}
		if node == c.id && len(status.Voters) > 1 && contains(status.Voters, p.Member) {
			return false, c.raft.TransferLeader(-1)
		}
		_, _, err = c.raft.ProposeChange(quorum.Change{Op: quorum.Remove, Member: p.Member})
		return false, err
	}
	return true, nil
}

// removeMember takes a node out of the quorum, until ctx ends: it votes and observes no more. Its registration is another matter (control.Unregister).
func (c *controller) removeMember(ctx context.Context, node int32) error {
	return c.untilDone(ctx, membersRequest{Op: "remove", Node: node})
}

// transferLeader hands the quorum's leadership to a node, -1: to the one that has most.
func (c *controller) transferLeader(ctx context.Context, node int32) error {
	return c.untilDone(ctx, membersRequest{Op: "transfer", Node: node})
}

// membersWords are what the operations are to who asked for them.
var membersWords = map[string]string{"promote": "make node %d a voter", "demote": "make node %d an observer", "remove": "remove node %d from the quorum", "transfer": "hand the quorum over to node %d"}

// errUnderWay says that a change of the quorum has been proposed, and is not in force yet.
var errUnderWay = errors.New("the quorum has not committed the change yet")

// untilDone asks the leader again and again, until it is done. One attempt ends after a while, as whoever is asked may hang.
func (c *controller) untilDone(ctx context.Context, request membersRequest) error {
	failed := func(format string, args ...any) error {
		return fmt.Errorf(membersWords[request.Op]+": %w", request.Node, fmt.Errorf(format, args...))
	}
	var last error = ErrNoQuorum
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		leader, _ := c.leader()
		attempt, end := context.WithCancelCause(ctx)
		stop := c.clock.AfterFunc(2*c.config.ElectionTimeout, func() { end(ErrNodeNotAvailable) })
		answer, err := c.askAll(attempt, leader, request)
		switch {
		case err != nil && attempt.Err() != nil && errors.Is(err, attempt.Err()):
			if ctx.Err() == nil {
				last = fmt.Errorf("%w: the leader of the quorum does not answer", context.Cause(attempt))
			}
		case err != nil && leader == -1 && !errors.Is(err, ErrNoQuorum):
			last = fmt.Errorf("%w: %w", ErrNoQuorum, err)
		case err != nil:
			last = err
		case answer.Done:
		case answer.Refused:
			err = failed("%w: %s", ErrVoterChange, answer.Reason)
		case answer.Reason != "":
			last = errors.New(answer.Reason)
		default:
			last = errUnderWay
		}
		stop()
		end(nil)
		if answer.Done || answer.Refused {
			return err
		}
		if !c.pause(ctx, pause) {
			if ctx.Err() == nil {
				return ErrClosed
			}
			return failed("%w: %w", context.Cause(ctx), last)
		}
	}
}
