package replication

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/quorum"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/internal/wire/peer"
	"github.com/partlog/partlog/partition"
)

// controller is this node's part in the quorum. One goroutine, run, owns raft, the Watch and the Lifecycle, and applies what is committed: to
// the machine, to the store's shared catalogue, and then to whoever has to know. Everything else asks it through the inbox, or reads the
// machine under mu.
//
// Lock order: mu and waiting.mu are leaves; no lock is held when the node, the store or a peer is called.
type controller struct {
	id        int32
	config    Config
	clock     clock.Clock
	events    Events
	net       network
	catalogue catalogue
	identity  identity
	fs        vfs.FS
	dir       string
	applied   func(control.Result) // what a command has changed, after the store has it; on run's goroutine
	restored  func()               // everything may have changed
	failed    func(error)          // the node cannot go on
	work      *sync.WaitGroup
	started   bool

	nonce uint64 // of this process, in the entries that it proposes
	seq   atomic.Uint64
	asked atomic.Uint32 // how often everybody was asked who leads
	found sync.Map      // of Config.Servers: by address, who is there

	inbox  inbox
	ctx    context.Context // ends with run
	cancel context.CancelFunc
	done   chan struct{} // closed when run has returned

	mu      sync.RWMutex
	machine *control.Machine // guarded by mu for run's writes; run reads without it

	lead    atomic.Pointer[leadership]
	until   atomic.Int64 // clock.Elapsed when this node is isolated, if it hears nothing until then
	epochs  atomic.Int64 // of the registration
	stopped atomic.Pointer[error]
	stage   atomic.Int32 // control.Stage
	tried   atomic.Bool  // handOver has done what it can
	// withdrawn is ballot.Withdrawn, committed the index of the last entry that is known to be committed.
	withdrawn atomic.Bool
	committed atomic.Uint64

	waiting waiting

	// run's alone
	raft      *quorum.Raft
	pieces    quorum.Assembler
	watch     *control.Watch
	lifecycle *control.Lifecycle
	active    bool // this node leads, and has applied what was committed before
	out       quorum.Output
	took      time.Duration // when the inbox was emptied last: what has come since is not known yet
	index     uint64        // of the last entry applied
	compacted uint64
	stuck     func() error   // what has to succeed before anything else
	result    control.Result // of the last command applied
	alarm     func() bool    // stops the timer of the next deadline
	ticked    atomic.Bool
	joining   joining
	votes     bool // by the entries applied
	// confirming are heartbeats whose answers wait for it to be certain that this node leads.
	confirming map[uint64]chan bool
	isolation  bool   // as told by events
	refusal    string // why the registration was refused
}

// identity is what a node registers with.
type identity struct {
	incarnation [16]byte
	directory   [16]byte
	address     string
	// previous is the epoch of the process before, if it ended cleanly; control.NoEpoch if not.
	previous int64
	// registered notes the epoch durably, before the node does anything under it.
	registered func(epoch int64) error
	// ballot is what the node remembers of its vote; balloted keeps another. Neither is called but by run, and before it by open.
	ballot   ballot
	balloted func(ballot) error
}

// catalogue is the store, as far as the controller is concerned (partition.Store).
type catalogue interface {
	AppliedShared() uint64
	ApplyShared(index uint64, kind uint8, payload []byte) error
	ExportShared() []byte
	ImportShared(index uint64, state []byte) error
}

// leadership is who leads, as far as this node knows. changed is closed when that is over.
type leadership struct {
	node    int32 // -1: nobody is known
	term    uint64
	changed chan struct{}
}

// ticksToElection is into how many ticks of raft an election timeout is divided.
const ticksToElection = 10

// tick is the length of a tick of raft.
func (c *controller) tick() time.Duration {
	return max(c.config.ElectionTimeout/ticksToElection, time.Millisecond)
}

// start lets the node take part.
func (c *controller) start() {
	c.started = true
	for _, p := range c.config.Peers {
		if p.NodeID != c.id {
			c.net.set(p.NodeID, p.Address)
		}
	}
	c.inbox.put(func() {
		if status := c.raft.Status(); len(status.Voters) == 1 && status.Voters[0].Member == status.Self {
			c.check(c.raft.Campaign()) // there is nobody to wait for
		}
		now := c.now()
		c.lifecycle.Start(now)
		if !c.config.ControllerOnly { // else it stays fenced
			c.lifecycle.Ready(now)
		}
		if len(c.config.Servers) > 0 {
			c.joining.silence = helloEvery // who they are is not known
		}
	})
	c.nextTick()
	c.work.Go(c.run)
}

func (c *controller) now() time.Duration { return clock.Elapsed(c.clock) }

// nextTick lets run know when a tick is over. One that run has not seen yet is not counted twice: a node that was held up has not been
// silent for longer than it knows.
func (c *controller) nextTick() {
	c.clock.AfterFunc(c.tick(), func() {
		c.ticked.Store(true)
		c.inbox.wake()
		if c.ctx.Err() == nil {
			c.nextTick()
		}
	})
}

// run is the goroutine.
func (c *controller) run() {
	defer close(c.done)
	defer c.stop()
	for c.ctx.Err() == nil {
		select {
		case <-c.inbox.signal:
		case <-c.ctx.Done():
			return
		}
		if c.stuck != nil && !c.unstick() {
			continue
		}
		c.take()
		if c.ticked.Swap(false) {
			c.check(c.raft.Tick())
			c.everyTick()
		}
		c.advance()
		c.rearm()
	}
}

// take does what is in the inbox.
func (c *controller) take() {
	now := c.now()
	if held := now - c.took; held >= max(c.config.SessionTimeout/4, 2*c.tick()) { // every tick wakes it: the disk or the processor held it up
		c.watch.Held(held)
	}
	c.took = now
	for _, f := range c.inbox.take() {
		f()
	}
}

// unstick tries what failed again, once a tick.
func (c *controller) unstick() bool {
	if !c.ticked.Swap(false) {
		return false
	}
	if err := c.stuck(); err != nil {
		c.check(noSpaceOr(err))
		return false
	}
	c.stuck = nil
	return true
}

// noSpaceOr is nil for an error that ends when there is room again.
func noSpaceOr(err error) error {
	if errors.Is(err, partition.ErrNoSpace) {
		return nil
	}
	return err
}

// stop ends everything that waits.
func (c *controller) stop() {
	c.cancel()
	if c.alarm != nil {
		c.alarm()
	}
	c.active = false
	c.watch.Stop()
	c.setLeader(-1, c.out.Term)
	c.until.Store(math.MinInt64)
	if err := c.raft.Close(); err != nil && c.failure() == nil {
		c.fail(err)
	}
	c.inbox.close()
}

// fail ends the node's part: it can neither apply nor be believed.
func (c *controller) fail(err error) {
	err = fmt.Errorf("controller quorum: %w", err)
	if c.stopped.CompareAndSwap(nil, &err) {
		c.failed(err)
	}
	c.cancel()
}

func (c *controller) failure() error {
	if p := c.stopped.Load(); p != nil {
		return *p
	}
	return nil
}

// check ends the node's part at an error of raft that is one.
func (c *controller) check(err error) bool {
	switch {
	case err == nil:
		return true
	case errors.Is(err, quorum.ErrMalformed), errors.Is(err, quorum.ErrOtherQuorum), errors.Is(err, quorum.ErrNewerVersion):
		return true // told by quorumEvent
	}
	if errors.Is(err, quorum.ErrMustRejoin) {
		err = fmt.Errorf("%w: start the node again: it comes back as a new member", err)
	}
	c.fail(err)
	return false
}

// rearm wakes run when Watch or Lifecycle has something to do.
func (c *controller) rearm() {
	if c.alarm != nil {
		c.alarm()
		c.alarm = nil
	}
	now := c.now()
	c.until.Store(int64(c.lifecycle.Until(now)))
	c.stage.Store(int32(c.lifecycle.Stage()))
	c.tellIsolation(now)
	at, any := c.lifecycle.Deadline()
	if d, some := c.watch.Deadline(now); some && (!any || d < at) {
		at, any = d, true
	}
	if any && c.ctx.Err() == nil {
		c.alarm = c.clock.AfterFunc(max(at-now, 100*time.Microsecond), c.inbox.wake)
	}
}

// tellIsolation tells events when the node stops and begins to acknowledge under acks=all.
func (c *controller) tellIsolation(now time.Duration) {
	isolated := c.lifecycle.Isolated(now)
	if isolated == c.isolation {
		return
	}
	c.isolation = isolated
	switch {
	case !isolated:
		c.events.Fenced(false, "")
	case c.lifecycle.Stage() == control.StageActive:
		c.events.Fenced(true, fmt.Sprintf("the controller has not been reached for %v", c.config.SessionTimeout))
	default:
		c.events.Fenced(true, "the controller has fenced the node, or it shuts down")
	}
}

// isolated reports that the controller may have fenced this node and elected others: a leader acknowledges nothing under acks=all.
func (c *controller) isolated() bool { return int64(c.now()) >= c.until.Load() }

// epoch returns the epoch of the node's registration, control.NoEpoch before there is one.
func (c *controller) epoch() int64 { return c.epochs.Load() }

// leader returns the active controller, -1 if none is known, and its term.
func (c *controller) leader() (node int32, term uint64) {
	l := c.lead.Load()
	return l.node, l.term
}

func (c *controller) setLeader(node int32, term uint64) {
	old := c.lead.Load()
	if old.node == node && old.term == term {
		return
	}
	c.lead.Store(&leadership{node: node, term: term, changed: make(chan struct{})})
	close(old.changed)
	if old.node != node {
		c.events.Controller(node, term)
	}
}

// read calls f with the state as far as this node has applied it. f returns soon, and keeps nothing but what queries return.
func (c *controller) read(f func(m *control.Machine)) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	f(c.machine)
}

// message takes one-way messages.
func (c *controller) message(from int32, kind uint8, body []byte) {
	if kind != kindRaft {
		return
	}
	data := append([]byte(nil), body...)
	c.inbox.offer(func() { c.check(c.raft.Step(from, data)) })
}

// serve answers calls of kinds 1 to lastControlKind.
func (c *controller) serve(ctx context.Context, from int32, kind uint8, body []byte) (peer.Reply, error) {
	var answer []byte
	var err error
	switch kind {
	case kindPropose:
		answer, err = c.servePropose(ctx, body)
	case kindHeartbeat:
		answer, err = c.serveHeartbeat(ctx, from, body)
	case kindSnapshot:
		err = c.servePiece(ctx, from, body)
	case kindMembers:
		answer, err = c.serveMembers(ctx, from, body)
	default:
		err = fmt.Errorf("node %d does not know calls of kind %d", c.id, kind)
	}
	if err != nil {
		return peer.Reply{}, err
	}
	return peer.Reply{Pieces: [][]byte{answer}}, nil
}

// close leaves the cluster's sight: with controlled, leaderships move first, for Config.CloseTimeout at most. It returns why the node's part had
// ended before, if it had.
func (c *controller) close(controlled bool) error {
	if !c.started {
		c.cancel()
		if c.raft == nil {
			return nil
		}
		return c.raft.Close()
	}
	if controlled && !c.tried.Load() {
		ctx, stop := c.bounded(c.config.CloseTimeout)
		defer stop()
		_ = c.handOver(ctx) // who has to end, ends
	}
	c.cancel()
	<-c.done
	return c.failure()
}

// handOver does the controlled shutdown: when it returns nil, others lead what this node led, and all active nodes know it.
func (c *controller) handOver(ctx context.Context) error {
	defer c.tried.Store(true)
	c.inbox.put(func() {
		c.lifecycle.Shutdown(c.now())
		_ = c.raft.TransferLeader(-1) // another voter has time to take over; if there is none, this one goes on
	})
	for heard := c.now(); control.Stage(c.stage.Load()) != control.StageDone; {
		// Without a controller nobody can take over; it may be about to be elected.
		if leader, _ := c.leader(); leader != -1 {
			heard = c.now()
		}
		if c.now()-heard > 3*c.config.ElectionTimeout {
			return ErrNoQuorum
		}
		if !c.pause(ctx, 2*time.Millisecond) {
			return cmp.Or(errors.Join(ctx.Err(), c.failure()), ErrClosed)
		}
	}
	return nil
}

// pause waits, and reports whether ctx and the controller go on.
func (c *controller) pause(ctx context.Context, d time.Duration) bool {
	over := make(chan struct{})
	defer c.clock.AfterFunc(d, func() { close(over) })()
	select {
	case <-over:
		return true
	case <-ctx.Done():
	case <-c.done:
	}
	return false
}
