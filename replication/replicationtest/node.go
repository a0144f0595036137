package replicationtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/quorum"
	"github.com/partlog/partlog/internal/replica"
	"github.com/partlog/partlog/internal/simulate"
)

// node is one machine: what outlives the process that runs on it.
type node struct {
	c       *cluster
	id      control.NodeID
	name    string
	process *simulate.Process
	clock   *simulate.Clock
	disk    *simulate.Disk
	rng     *rand.Rand
	boots   uint64  // of the machine: raised by a loss of power
	starts  []int64 // log starts, by partition
	cleaned []int64 // checkpoint of compaction, by partition
	marks   []int64 // checkpoint of high watermarks, by partition
	points  []int64 // checkpoint of recovery points, by partition: everything below is on disk
	lossy   bool    // may have lost what it had, and the controller has not been told
	rotten  bool    // has a bad sector that may not have been found yet
	unsure  bool    // has no note of its registration, and would come back as one that may have lost what it had
	stopped bool    // on purpose, or for a while: who stopped it starts it
	life    *life   // nil: the process is down
	failed  string  // why the process ended by itself
	retries int
	level   int16 // the highest feature level that the program on it knows
	going   bool  // an operator is removing it, or has
	retired bool  // it is not to be started
	removed bool  // the cluster does not know it any more
}

func newNode(c *cluster, i int) *node {
	n := &node{c: c, id: control.NodeID(i), name: fmt.Sprintf("node-%d", i), boots: 1, level: c.level}
	n.rng = simulate.Stream(c.seed, n.name)
	n.process = simulate.NewProcess(c.sched)
	n.clock = simulate.NewClock(n.process, birth.Add(time.Duration(n.rng.IntN(2000)-1000)*time.Millisecond))
	n.disk = simulate.NewDisk(n.process, c.profile(), n.clock, simulate.Stream(c.seed, n.name+" disk"), &c.counts)
	n.marks, n.points = make([]int64, len(c.parts)), make([]int64, len(c.parts))
	n.starts, n.cleaned = make([]int64, len(c.parts)), make([]int64, len(c.parts))
	if got := c.net.Add(n.process, func(m simulate.Message) { n.life.receive(m) }); got != i {
		panic("BUG: nodes are not the first stations")
	}
	return n
}

func (n *node) alive() bool { return n.life != nil }

// do has f done in the present life, if there is one.
func (n *node) do(f func(l *life)) {
	if l := n.life; l != nil {
		n.process.Do(func() { f(l) })
	}
}

func (n *node) say(format string, args ...any) {
	if n.c.trace.On() {
		n.c.trace.Say(n.name, format, args...)
	}
}

// life is one process of a node, from its start to its end.
type life struct {
	*node
	number      uint64
	incarnation [16]byte
	directory   [16]byte
	*caller
	raft       *quorum.Raft
	member     quorum.Member
	role       quorum.Role
	term       uint64
	leads      int32         // who is the active controller, as far as raft knows; -1: unknown
	deposed    int32         // who of leads has said that it is not; -1: nobody
	took       time.Duration // when the node did something last, see woken
	ctl        *control.Machine
	watch      *control.Watch
	lifecycle  *control.Lifecycle
	previous   int64 // epoch of the registration before, if nothing is missing of what was written under it
	proposals  map[uint64]proposal
	pumping    bool
	again      bool
	compacted  uint64
	dirty      []bool // partitions whose role is to be looked at
	replicas   []*replicaState
	sessions   *replica.SessionCache
	parked     map[*replica.FetchSession]*parkedFetch
	lastFetch  map[control.NodeID]time.Duration
	fetchers   []*fetcher
	leaving    bool
	confirming map[uint64]func(leads bool)
	joined     map[int32]quorum.Member // who asked to become a member, at the active controller
	throttle   replica.Throttle
	awaiting   []awaited
	level      int16 // the highest feature level that this program knows
	over       bool
}

type proposal struct {
	term uint64
	done func(control.Result, bool)
}

func (n *node) raftConfig() quorum.Config {
	return quorum.Config{
		FS: n.disk.FS(), Dir: "/quorum", ElectionTicks: n.c.electionTicks, HeartbeatTicks: n.c.heartbeatTicks,
		KeepEntries: 50, SegmentBytes: 64 << 10,
	}
}

// start begins a life.
func (n *node) start() {
	n.process.Start()
	n.stopped = false
	l := &life{
		node: n, number: n.process.Life(), caller: newCaller(int(n.id), n.c.net, n.clock), leads: -1, deposed: -1,
		ctl:       control.New(),
		watch:     control.NewWatch(control.WatchConfig{Session: n.c.session, Rebalance: 60 * time.Second, Unclean: 30 * time.Second}),
		lifecycle: control.NewLifecycle(control.LifecycleConfig{Session: n.c.session, Interval: n.c.heartbeat}, n.id),
		proposals: map[uint64]proposal{}, dirty: make([]bool, len(n.c.parts)), replicas: make([]*replicaState, len(n.c.parts)),
		parked: map[*replica.FetchSession]*parkedFetch{}, lastFetch: map[control.NodeID]time.Duration{},
		joined: map[int32]quorum.Member{}, confirming: map[uint64]func(bool){}, previous: control.NoEpoch, level: n.level,
	}
	n.life = l
	l.throttle.SetRate(n.c.rate, n.clock.Elapsed())
	l.sessions = replica.NewSessionCache(replica.SessionCacheConfig{Seed: n.rng.Uint64()})
	for i := range n.c.nodes {
		l.fetchers = append(l.fetchers, &fetcher{life: l, source: control.NodeID(i), plan: replica.NewFetchPlan()})
	}
	for i := range l.replicas {
		l.replicas[i] = newReplicaState(l, n.c.parts[i])
	}
	n.say("starts, life %d", l.number)
	if err := l.openRaft(); err != nil {
		l.fail("raft: %v", err)
		return
	}
	if l.readDirectory(); l.over {
		return
	}
	l.readEpoch()
	if l.writeEpoch(l.previous, false); l.over {
		return
	}
	l.lifecycle.Start(n.clock.Elapsed())
	l.lifecycle.Ready(n.clock.Elapsed())
	l.tick()
	l.pump()
	l.beat()
	l.lagTick()
	l.checkpoint()
	l.retainTick()
}

// openRaft opens the raft log; one that is gone or damaged is made anew for another member of this node, which asks to be taken in.
func (l *life) openRaft() error {
	c := l.raftConfig()
	c.Events = func(e quorum.Event) {
		if e.Kind == quorum.EventFailed {
			l.say("raft failed: %s", e.Detail)
		}
	}
	r, _, err := quorum.Open(c)
	another := quorum.Member{Node: int32(l.id), Directory: uint32(l.boots<<16 | l.number&0xffff)}
	switch {
	case errors.Is(err, quorum.ErrNotFormatted):
		l.c.seen.Add("raft log joined", 1)
		if err = quorum.Join(c, another); err == nil {
			r, _, err = quorum.Open(c)
		}
	case errors.Is(err, quorum.ErrMustRejoin):
		l.say("raft log is damaged: %v", err)
		l.c.seen.Add("raft log set aside", 1)
		if _, err = quorum.Rejoin(c, another); err == nil {
			r, _, err = quorum.Open(c)
		}
	}
	if err != nil {
		return err
	}
	l.raft, l.member = r, r.Self()
	return nil
}

// fail ends the process because it cannot go on. Whoever watches over it starts it again.
func (l *life) fail(format string, args ...any) {
	if l.over {
		return
	}
	why := fmt.Sprintf(format, args...)
	l.say("fails: %s", why)
	l.c.seen.Add("process failed", 1)
	n := l.node
	n.failed = why
	n.kill()
	n.retries++
	n.c.sched.After(time.Duration(1+n.retries%5)*time.Second, n.restart)
}

// restart starts the process again, if it is down and nobody else is going to.
func (n *node) restart() {
	if !n.process.Up() && !n.stopped && !n.retired && !n.c.ended {
		if n.c.healed {
			n.c.levels()
		}
		n.start()
	}
}

// kill ends the process as kill -9 does.
func (n *node) kill() {
	n.end()
	n.disk.Kill()
}

// losePower ends the process, and takes what was not synced.
func (n *node) losePower() {
	n.end()
	n.boots++
	n.disk.PowerLoss()
}

func (n *node) end() {
	if n.life != nil {
		n.life.over = true
		for _, r := range n.life.replicas {
			if r.log != nil {
				r.log.Abandon()
			}
		}
	}
	n.life = nil
	n.process.Kill()
}

// shutDown ends the process in order: leaderships have moved, logs are closed.
func (l *life) shutDown() {
	l.say("shut down")
	l.c.seen.Add("controlled shutdown", 1)
	clean := true
	for _, r := range l.replicas {
		clean = r.close() && clean
	}
	if !clean {
		l.removeEpoch()
	}
	if l.raft != nil {
		_ = l.raft.Close() // all is durable that was handed out
	}
	n := l.node
	n.end()
	n.disk.Kill()
}

// now is the node's own time, for its machines.
func (l *life) now() time.Duration { return l.clock.Elapsed() }

// receive takes what arrives from the network.
func (l *life) receive(m simulate.Message) {
	switch b := m.Body.(type) {
	case datagram:
		if l.raft == nil {
			return
		}
		if err := l.raft.Step(int32(m.From), b.data); err != nil && l.raft.Err() == nil {
			l.c.seen.Add("raft message refused", 1)
		}
		l.pump()
	case response:
		l.answered(m, b)
	case request:
		l.serve(m.From, b.body, func(answer any) {
			if !l.over {
				m.Conn.Send(int(l.id), response{id: b.id, body: answer})
			}
		})
	}
}

// serve answers a request, at once or later.
func (l *life) serve(from int, body any, reply func(any)) {
	switch b := body.(type) {
	case raftSnapshot:
		if l.raft != nil {
			_ = l.raft.Step(int32(from), b.data) // its sender hears of it by raft
			reply(true)
			l.pump()
		}
	case proposeRequest:
		l.serveProposal(b, reply)
	case registerRequest:
		l.serveRegistration(b, reply)
	case heartbeatRequest:
		l.serveHeartbeat(b, reply)
	case replica.FetchRequest:
		l.serveReplicaFetch(&b, reply)
	case produceRequest:
		l.serveProduce(b, reply)
	case consumeRequest:
		l.serveConsume(b, reply)
	case groupRequest:
		l.serveGroup(b, reply)
	case committedRequest:
		l.serveCommitted(b, reply)
	case initRequest, endRequest, addRequest:
		l.serveTxn(b, reply)
	case markerRequest:
		l.serveMarker(b, reply)
	case topicOp:
		l.serveTopic(b, reply)
	case metadataRequest:
		l.serveMetadata(reply)
	default:
		panic(fmt.Sprintf("BUG: request %T", body))
	}
}

// flush syncs all logs, as a node does now and then where appends do not.
func (l *life) flush() {
	for _, r := range l.replicas {
		if r.log == nil {
			continue
		}
		if err := r.log.Sync(); err != nil {
			r.trouble("sync", err)
			continue
		}
		if _, err := r.log.Seal(); err != nil {
			r.trouble("seal", err)
		}
		if r.log != nil {
			l.points[r.p.index] = int64(r.log.RecoveryPoint())
		}
	}
}
