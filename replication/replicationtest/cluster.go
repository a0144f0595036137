package replicationtest

import (
	"fmt"
	"slices"
	"time"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/quorum"
	"github.com/partlog/partlog/internal/simulate"
	"github.com/partlog/partlog/internal/vfs"
)

// cluster is one simulated world: nodes, clients, and what is known of both.
type cluster struct {
	setup
	seed      uint64
	sched     *simulate.Scheduler
	net       *simulate.Network
	counts    simulate.Counts // faults, when they took effect
	seen      simulate.Counts // what happened of interest: elections, truncations ...
	trace     *simulate.Trace
	findings  *simulate.Findings
	history   *simulate.History
	replicas  *simulate.Replicas
	offsets   *simulate.Offsets
	ownership *simulate.Ownership

	nodes       []*node
	parts       []*part
	byID        map[control.PartitionID]*part
	producers   []*producer
	consumers   []*consumer
	transactors []*transactor
	members     []*member
	operator    *operator
	tenant      *tenant
	nextPID     int64 // producer ids that the cluster has given out

	applied map[uint64]uint64         // digests of the controller's state, by index
	terms   map[uint64]control.NodeID // active controllers
	newest  *control.Machine          // of the node that has applied most
	floors  []floor                   // what has been deleted, by partition
	keys    []*keyHistory             // of compacted partitions; nil: of others
	hush    time.Duration             // until when nobody writes
	raised  int16                     // the highest feature level that has been
	rate    int64                     // of followers that catch up, bytes a second; 0: no limit
	voting  []bool                    // which nodes are to be voters
	healed  bool
	ended   bool
}

// The topics of every cluster.
var (
	dataTopic    = control.TopicID{15: 1}
	offsetsTopic = control.TopicID{15: 2}
	txnTopic     = control.TopicID{15: 3}
)

// birth is what the clocks of the world show in the beginning.
var birth = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newCluster(o Options) *cluster {
	c := &cluster{setup: draw(o), seed: o.Seed, byID: map[control.PartitionID]*part{}, applied: map[uint64]uint64{}, terms: map[uint64]control.NodeID{}}
	c.sched = simulate.NewScheduler(o.Seed)
	if o.Trace != nil || o.Keep > 0 {
		c.trace = simulate.NewTrace(c.sched, o.Trace, o.Keep)
	}
	c.net = simulate.NewNetwork(c.sched, o.Seed, c.weather, &c.counts)
	c.findings = simulate.NewFindings(c.sched)
	for i := range c.partitions {
		c.newPart(part{id: control.PartitionID{Topic: dataTopic, Index: int32(i)}, topic: "data"})
	}
	c.newPart(part{id: control.PartitionID{Topic: offsetsTopic}, topic: "offsets", offsets: true})
	if c.txnClients > 0 {
		c.newPart(part{id: control.PartitionID{Topic: txnTopic}, topic: "txns", txns: true})
	}
	c.floors, c.keys = make([]floor, len(c.parts)), make([]*keyHistory, len(c.parts))
	for _, p := range c.parts {
		if c.keep.compacts && (p.offsets || p.txns) {
			c.keys[p.index] = newKeyHistory()
		}
	}
	c.history = simulate.NewHistory(len(c.parts), c.findings)
	c.replicas = simulate.NewReplicas(len(c.parts), c.findings)
	c.offsets = simulate.NewOffsets(c.findings)
	c.ownership = simulate.NewOwnership(c.findings)
	c.trace.Say("setup", "%+v", c.setup)
	for i := range c.setup.nodes {
		c.nodes, c.voting = append(c.nodes, newNode(c, i)), append(c.voting, i < c.voters)
	}
	for i := range c.setup.producers {
		c.producers = append(c.producers, newProducer(c, i))
	}
	for i := range c.setup.consumers {
		c.consumers = append(c.consumers, newConsumer(c, i))
	}
	for i := range c.txnClients {
		c.transactors = append(c.transactors, newTransactor(c, i))
	}
	c.newMembers()
	c.operator, c.tenant = newOperator(c), newTenant(c)
	c.bootstrap()
	return c
}

// bootstrap makes a new cluster: its voters begin with the same state, the others join.
func (c *cluster) bootstrap() {
	var voters []quorum.Member
	for i := range c.voters {
		voters = append(voters, quorum.Member{Node: int32(i)})
	}
	state := control.NewAt(c.level)
	for i, n := range c.nodes[:c.started] {
		self := quorum.Member{Node: int32(i)}
		var err error
		if i < c.voters {
			err = quorum.Bootstrap(n.raftConfig(), self, voters, state.Snapshot())
		} else {
			err = quorum.Join(n.raftConfig(), self)
		}
		if err != nil {
			panic(fmt.Sprintf("BUG: bootstrap: %v", err))
		}
	}
	for _, n := range c.nodes[:c.started] {
		n.start()
	}
	for _, p := range c.producers {
		p.start()
	}
	for _, x := range c.consumers {
		x.start()
	}
	for _, x := range c.transactors {
		x.process.Start()
	}
	for _, m := range c.members {
		m.start()
	}
	c.operator.process.Start()
	c.tenant.process.Start()
	c.sched.After(time.Second, c.createTopics)
	c.every(500*time.Millisecond, c.check)
	c.every(c.flush, func() {
		for _, n := range c.nodes {
			n.do(func(l *life) { l.flush() })
		}
	})
}

// every calls f again and again until the run is over.
func (c *cluster) every(d time.Duration, f func()) {
	var again func()
	again = func() {
		if !c.ended {
			f()
			c.sched.After(d, again)
		}
	}
	c.sched.After(d, again)
}

// createTopics asks for the topics until they are there.
func (c *cluster) createTopics() {
	if c.controllerState() != nil {
		missing := false
		for _, topic := range []struct {
			id         control.TopicID
			name       string
			partitions int
		}{{dataTopic, "data", c.partitions}, {offsetsTopic, "offsets", 1}, {txnTopic, "txns", min(c.txnClients, 1)}} {
			if _, ok := c.newest.Topic(topic.id); ok || topic.partitions == 0 {
				continue
			}
			missing = true
			nodes := c.newest.Nodes()
			active := slices.DeleteFunc(nodes, func(n control.Node) bool { return !n.Active() || c.nodes[n.ID].going })
			assignment, code := control.Place(active, int32(topic.partitions), int32(c.factor), c.seed)
			if code != control.OK {
				continue
			}
			c.propose(control.CreateTopic{ID: topic.id, Name: topic.name, Assignment: assignment, Config: control.TopicConfig{MinISR: c.minISR}})
		}
		if !missing {
			return
		}
	}
	c.sched.After(time.Second, c.createTopics)
}

// propose gives a command to whoever is the active controller, as an operator does; it may be lost.
func (c *cluster) propose(cmd control.Command) bool {
	if n := c.controller(); n != nil {
		n.do(func(l *life) { l.propose(cmd, func(control.Result, bool) {}) })
		return true
	}
	return false
}

// controller returns the node that takes itself for the active controller, the one of the latest term.
func (c *cluster) controller() (leads *node) {
	term := uint64(0)
	for _, n := range c.nodes {
		if n.alive() && n.life.role == quorum.Leader && n.life.term >= term {
			leads, term = n, n.life.term
		}
	}
	return leads
}

// controllerState returns the most advanced state that any node has applied, nil before there is one.
func (c *cluster) controllerState() *control.Machine { return c.newest }

// profile is what the disks of the cluster promise.
func (c *cluster) profile() vfs.Profile {
	if c.seed%2 == 0 {
		return vfs.Strict
	}
	return vfs.Ext4Like
}

// clients are all stations that are not nodes.
func (c *cluster) clients() (list []*client) {
	for _, p := range c.producers {
		list = append(list, p.client)
	}
	for _, x := range c.consumers {
		list = append(list, x.client)
	}
	for _, x := range c.transactors {
		list = append(list, x.client)
	}
	for _, m := range c.members {
		list = append(list, m.client)
	}
	if c.tenant != nil {
		list = append(list, c.operator.client, c.tenant.client)
	}
	return list
}
