package replica

import (
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"
)

// cluster is one partition on several nodes with logs in memory, and a controller. Nothing happens by itself: metadata, requests and
// answers arrive when the test says so, or never, or twice.
type cluster struct {
	t         require.TestingT
	control   *controller
	versions  []version
	nodes     map[NodeID]*node
	now       time.Duration
	committed []string // by offset, as value@epoch, once a leader's high watermark was above it
	written   int
}

type node struct {
	id       NodeID
	up       bool
	log      *memLog
	synced   int64 // what a loss of power leaves
	high     int64 // checkpoint
	epoch    int64 // broker epoch
	seen     int   // version
	leader   *Leader
	follower *Follower
	asked    []asked // requests of this follower on the way, oldest first
	answers  []answered
	sent     []Proposal
}

type asked struct {
	to    NodeID
	fetch Fetch
}

type answered struct {
	fetch  Fetch
	answer Answer
}

func newCluster(t require.TestingT, replicas []NodeID, minISR int) *cluster {
	c := &cluster{t: t, control: newController(replicas, minISR), nodes: map[NodeID]*node{}, now: time.Hour}
	c.versions = []version{c.control.publish()}
	for _, id := range replicas {
		n := &node{id: id, up: true, log: &memLog{}, epoch: c.control.brokers[id].epoch, seen: -1}
		c.nodes[id] = n
		c.learn(id, 0)
	}
	return c
}

func (c *cluster) changed() { c.versions = append(c.versions, c.control.publish()) }

// Broker and LastFetch are what a node knows of others: its version of the metadata.
type view struct {
	c *cluster
	n *node
}

func (v view) Broker(id NodeID) (int64, bool)    { return v.c.versions[v.n.seen].brokers.Broker(id) }
func (v view) LastFetch(id NodeID) time.Duration { return Never }

// learn lets a node have a version of the metadata.
func (c *cluster) learn(id NodeID, to int) {
	n := c.nodes[id]
	if !n.up || to <= n.seen || to >= len(c.versions) {
		return
	}
	n.seen = to
	m := c.versions[to].meta
	if b := c.versions[to].brokers[id]; b.epoch < n.epoch {
		return // of before its registration: nothing that it says is for this process
	}
	state := LogState{Start: n.log.Start(), End: n.log.End(), Durable: n.log.End(), HighWatermark: n.high}
	switch {
	case m.Leader == id && n.leader != nil:
		n.leader.Metadata(m, state, c.now)
	case m.Leader == id:
		n.leader, n.follower = NewLeader(LeaderConfig{Node: id, BrokerEpoch: n.epoch, Brokers: view{c, n}}, m, state, c.now), nil
	case n.follower != nil:
		n.follower.Metadata(m)
	default:
		n.leader, n.follower = nil, NewFollower(m, n.high)
	}
	c.note(n)
}

// note checks what is promised at a node, and takes down what is committed.
func (c *cluster) note(n *node) {
	if n.leader != nil {
		high := n.leader.HighWatermark()
		require.GreaterOrEqual(c.t, high, n.high, "node %d: the high watermark went back", n.id)
		require.LessOrEqual(c.t, high, n.log.End(), "node %d: the high watermark is above the log", n.id)
		n.high = high
	}
	if n.follower != nil {
		n.high = n.follower.HighWatermark()
	}
	for o := n.log.Start(); o < n.high; o++ {
		at := n.log.at(o)
		if o < int64(len(c.committed)) {
			if c.committed[o] != at {
				require.Equal(c.t, c.committed[o], at, "node %d: another record below the high watermark at %d", n.id, o)
			}
			continue
		}
		require.NotNil(c.t, n.leader, "node %d: a follower knows more than any leader", n.id)
		c.committed = append(c.committed, at)
	}
	// Who leads by the newest metadata has all of it, unless it is down and the controller has not noticed.
	if m := c.control.meta; m.Leader != NoNode && c.nodes[m.Leader].up {
		l := c.nodes[m.Leader].log
		for o, want := range c.committed {
			if l.at(int64(o)) == want {
				continue
			}
			require.Equal(c.t, want, l.at(int64(o)), "leader %d of epoch %d has lost the committed record %d", m.Leader, m.LeaderEpoch, o)
		}
	}
}

func (c *cluster) append(id NodeID) bool {
	n := c.nodes[id]
	if !n.up || n.leader == nil {
		return false
	}
	c.written++
	n.log.append(c.t, n.leader.Epoch(), fmt.Sprintf("r%d", c.written))
	n.leader.Appended(n.log.End(), n.log.End())
	c.note(n)
	return true
}

// ask sends a follower's request.
func (c *cluster) ask(id NodeID) bool {
	n := c.nodes[id]
	if !n.up || n.follower == nil || n.follower.Waiting() {
		return false
	}
	at, err := n.follower.Position(n.log)
	require.NoError(c.t, err)
	at.MaxBytes = 200
	n.asked = append(n.asked, asked{n.follower.Leader(), Fetch{Node: id, BrokerEpoch: n.epoch, Position: at}})
	return true
}

// serve lets a request arrive; keep says that it will arrive again.
func (c *cluster) serve(id NodeID, i int, keep bool) (Answer, bool) {
	n := c.nodes[id]
	if i >= len(n.asked) {
		return Answer{}, false
	}
	q := n.asked[i]
	if !keep {
		n.asked = slices.Delete(n.asked, i, i+1)
	}
	l := c.nodes[q.to]
	if !l.up {
		return Answer{}, false
	}
	a := refusal(NotLeaderOrFollower)
	if l.leader != nil {
		var err error
		a, err = l.leader.Check(l.log, &q.fetch)
		require.NoError(c.t, err)
		if a.Code == None && !a.Diverging() {
			l.leader.Fetched(&q.fetch, c.now)
			a.HighWatermark = l.leader.HighWatermark()
			a.Records = l.log.read(q.fetch.Offset, int(q.fetch.MaxBytes))
		}
		c.note(l)
	}
	n.answers = append(n.answers, answered{q.fetch, a})
	return a, true
}

// take lets an answer arrive.
func (c *cluster) take(id NodeID, i int) (Step, bool) {
	n := c.nodes[id]
	if i >= len(n.answers) {
		return Step{}, false
	}
	a := n.answers[i]
	n.answers = slices.Delete(n.answers, i, i+1)
	if !n.up || n.follower == nil || a.fetch.BrokerEpoch != n.epoch {
		return Step{}, false
	}
	step, err := n.follower.Handle(n.log, a.fetch.Position, &a.answer)
	require.NoError(c.t, err, "node %d", id)
	switch step.Kind {
	case StepAppend:
		n.log.appendRaw(c.t, step.Records)
	case StepTruncate:
		n.log.truncate(step.Offset)
	case StepReset:
		n.log.reset(step.Offset)
		n.log.appendRaw(c.t, step.Records)
	}
	n.synced = min(n.synced, n.log.End())
	n.follower.Done(step, n.log.End())
	require.False(c.t, step.Committed, "node %d cuts what was committed: %+v", id, step)
	c.note(n)
	return step, true
}

// fetch is a whole round.
func (c *cluster) fetch(id NodeID) (Answer, Step, bool) {
	n := c.nodes[id]
	if !c.ask(id) {
		return Answer{}, Step{}, false
	}
	a, ok := c.serve(id, len(n.asked)-1, false)
	if !ok {
		return a, Step{}, false
	}
	step, ok := c.take(id, len(n.answers)-1)
	return a, step, ok
}

func (c *cluster) propose(id NodeID) (Proposal, bool) {
	n := c.nodes[id]
	if !n.up || n.leader == nil {
		return Proposal{}, false
	}
	p, ok := n.leader.Proposal()
	if ok {
		n.sent = append(n.sent, p)
	}
	return p, ok
}

// alter lets a proposal arrive at the controller. answer says that the leader hears of it, again that it will arrive once more.
func (c *cluster) alter(id NodeID, i int, answer, again bool) (Altered, bool) {
	n := c.nodes[id]
	if i >= len(n.sent) {
		return Altered{}, false
	}
	p := n.sent[i]
	if !again {
		n.sent = slices.Delete(n.sent, i, i+1)
	}
	a := c.control.alter(id, p)
	if a.Code == None {
		c.changed()
	}
	if n.up && n.leader != nil {
		told := a
		if !answer {
			told = Altered{Code: RequestTimedOut, LeaderEpoch: a.LeaderEpoch, PartitionEpoch: a.PartitionEpoch}
		}
		n.leader.Altered(told)
		c.note(n)
	}
	return a, true
}

func (c *cluster) tick(id NodeID) {
	if n := c.nodes[id]; n.up && n.leader != nil {
		n.leader.Tick(c.now)
		c.note(n)
	}
}

func (c *cluster) fence(id NodeID) {
	c.control.fence(id)
	c.changed()
	c.check()
}

func (c *cluster) unfence(id NodeID) {
	c.control.unfence(id)
	c.changed()
	c.check()
}

// crash ends a node's process; power says that what is not synced may be lost, and keep how much of it stays.
func (c *cluster) crash(id NodeID, power bool, keep int64) {
	n := c.nodes[id]
	n.up, n.leader, n.follower, n.answers = false, nil, nil, nil // what it has sent is still on the way
	if !power {
		return
	}
	left := max(n.synced, min(n.log.End(), n.synced+keep))
	if left < n.log.End() {
		n.log.truncate(left)
	}
	n.high = min(n.high, n.log.End())
}

// start begins it again, and registers it.
func (c *cluster) start(id NodeID, clean bool) {
	n := c.nodes[id]
	n.up, n.epoch = true, c.control.register(id, clean)
	c.changed()
	c.check()
}

func (c *cluster) check() {
	for _, id := range c.control.meta.Replicas {
		c.note(c.nodes[id])
	}
}

// settled: all replicas are in the ISR, have the same log, and know that all of it is committed.
func (c *cluster) settled() bool {
	m := c.control.meta
	if m.Leader == NoNode || len(m.ISR) < len(m.Replicas) {
		return false
	}
	end := c.nodes[m.Leader].log.End()
	for _, n := range c.nodes {
		if n.seen != len(c.versions)-1 || n.log.End() != end || n.high != end || n.follower == nil && n.leader == nil {
			return false
		}
	}
	return true
}

// settle lets everything arrive until nothing changes any more.
func (c *cluster) settle() {
	for i := 0; i < 200 && !c.settled(); i++ {
		for _, id := range c.control.meta.Replicas {
			if !c.nodes[id].up {
				c.start(id, true)
			} else if !c.control.brokers[id].alive {
				c.unfence(id)
			}
			c.nodes[id].asked, c.nodes[id].answers = nil, nil
		}
		for _, id := range c.control.meta.Replicas {
			c.learn(id, len(c.versions)-1)
		}
		for _, id := range c.control.meta.Replicas {
			c.fetch(id)
			c.tick(id)
			c.propose(id)
			for len(c.nodes[id].sent) > 0 {
				c.alter(id, 0, true, false)
			}
		}
		c.now += time.Second
	}
}
