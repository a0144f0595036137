package group

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"sync"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

// coordinator is the shell around the machines of a store's groups: it has their lock, their timers, their goroutines
// and the log. It implements Coordinators and Coordinator.
//
// A group lives in the partition of OffsetsTopic that its id hashes to. A partition is read when the first of its groups
// is asked for. What a machine wants written is queued at its partition, and one goroutine a partition, which exists
// only while there is something to write, appends everything that is queued as one batch: however many commit at
// the same time, they share its sync.
type coordinator struct {
	backend Backend
	config  CoordinatorConfig
	machine machineConfig
	moves   bool            // partitions come by Lead and go by Resign: see Local
	wg      sync.WaitGroup  // writers, loaders, tails
	life    context.Context // ends with Close: what waits for others' transactions
	end     context.CancelFunc

	randomMu sync.Mutex // one reader of config.Random at a time; taken alone

	mu          sync.Mutex // guards all below, and everything in the partitions
	closing     bool       // no request is taken any more
	closeErr    error
	done        chan struct{} // closed when Close has finished
	count       int32         // partitions of OffsetsTopic, 0 while not known
	partitions  map[int32]*offsetsPartition
	left        map[int32]*offsetsPartition // that are gone, and may still be written to
	calls       map[callID]pendingCall
	lastCall    callID
	caller      bool              // a request is being stepped, and can write what comes of it
	work        *offsetsPartition // which it is to write
	expiry      func() bool       // stops the timer of the next expiry, nil if there is none
	infos       []any             // for Events
	dispatching bool
	stats       Stats
}

// offsetsPartition is a partition of OffsetsTopic with the groups in it.
type offsetsPartition struct {
	index  int32
	ready  chan struct{} // closed when it has been loaded
	err    error         // why it could not be; it is not in coordinator.partitions then
	groups map[string]*hosted

	queue   []queued
	writing bool          // there is a writer
	builder batch.Builder // the writer's

	// txns are the groups that wait for a marker, by producer id. While there is one, a tail reads the partition from
	// tailNext on, or tailRetry starts one again.
	txns      map[int64]map[*hosted]bool
	tailing   bool
	tailNext  partition.Offset
	tailRetry func() bool // stops the timer

	// Of a coordinator that moves. life is the coordinator's own otherwise.
	epoch  partition.LeaderEpoch // in which this node leads it
	gone   bool                  // it leads it no more: nothing is stepped, and nothing written
	life   context.Context       // ends when it is gone
	end    context.CancelFunc
	work   sync.WaitGroup    // writers; added to under mu while gone is false
	before *offsetsPartition // which was here in an earlier epoch
}

// pendingCall is a request that waits for its answer.
type pendingCall struct {
	answer chan answerEffect
	in     *offsetsPartition
}

// hosted is a group in its shell.
type hosted struct {
	*machine
	in     *offsetsPartition
	timers map[timerKey]*runningTimer
	ended  map[string]chan struct{} // by member id: JoinResult.Rebalance of members of this process
}

// Start returns the backend's coordinator service, and starts it with c if it has none. Open does that by itself; a
// listener that wants another configuration than the default's calls Start first. Errors: *partition.ConfigError,
// partition.ErrClosed.
func Start(b Backend, c CoordinatorConfig) (Coordinators, error) {
	s, err := b.Service("group", func() (io.Closer, error) { return newCoordinator(b, c) })
	if err != nil {
		return nil, fmt.Errorf("start group coordinator: %w", err)
	}
	coordinators, ok := s.(Coordinators)
	if !ok {
		return nil, fmt.Errorf("start group coordinator: %w: service is a %T", partition.ErrUnsupported, s)
	}
	return coordinators, nil
}

func newCoordinator(b Backend, c CoordinatorConfig) (*coordinator, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	if c.Clock == nil {
		c.Clock = clock.System
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	incarnation, err := newUUID(c.Random)
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.Background())
	shell := &coordinator{
		backend: b, config: c, life: life, end: end,
		machine: machineConfig{
			initialDelay: c.InitialRebalanceDelay, minSession: c.MinSessionTimeout, maxSession: c.MaxSessionTimeout,
			newMember: c.NewMemberTimeout, maxSize: c.MaxSize, maxMetadata: c.MaxMetadataBytes, retry: c.RetryInterval,
			consumer: c.ConsumerGroups, incarnation: incarnation,
		},
		done:       make(chan struct{}),
		partitions: make(map[int32]*offsetsPartition),
		left:       make(map[int32]*offsetsPartition),
		calls:      make(map[callID]pendingCall),
	}
	shell.mu.Lock()
	shell.scheduleExpiryLocked()
	shell.mu.Unlock()
	return shell, nil
}

// Find returns the coordinator itself: it coordinates every group of the store.
func (c *coordinator) Find(_ context.Context, _ string) (Coordinator, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return nil, fmt.Errorf("group coordinator: %w", partition.ErrClosed)
	}
	return c, nil
}

// request steps a group with the event of a new call, and waits for its answer.
func (c *coordinator) request(ctx context.Context, group string, event func(callID) event) (answerEffect, error) {
	p, err := c.partition(ctx, group)
	if err != nil {
		return answerEffect{}, err
	}
	c.mu.Lock()
	if err := c.openLocked(p); err != nil {
		c.mu.Unlock()
		return answerEffect{}, err
	}
	c.lastCall++
	call, answer := c.lastCall, make(chan answerEffect, 1)
	c.calls[call] = pendingCall{answer, p}
	g := c.hostLocked(p, group)
	c.caller = true
	c.stepLocked(g, event(call))
	work := c.work
	c.caller, c.work = false, nil
	if work == nil {
		c.unlock()
	} else {
		c.mu.Unlock()
		c.write(work, true)
		c.mu.Lock() // Events only now: they may call the group, which may wait for the writer that we were
		c.unlock()
	}

	select {
	case a := <-answer:
		return a, a.err
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.unlock()
	delete(c.calls, call)
	select {
	case a := <-answer: // it was answered meanwhile
		return a, a.err
	default:
	}
	if !c.closing {
		c.stepLocked(g, withdrawEvent{call})
	}
	return answerEffect{}, ctx.Err()
}

// openLocked returns why a partition takes no requests, nil if it does.
func (c *coordinator) openLocked(p *offsetsPartition) error {
	switch {
	case c.closing:
		return partition.ErrClosed
	case p.gone:
		return ErrNotCoordinator
	}
	return nil
}

// hostLocked returns a group, which a step makes stay if there is anything to know about it.
func (c *coordinator) hostLocked(p *offsetsPartition, id string) *hosted {
	if g := p.groups[id]; g != nil {
		return g
	}
	return c.newHosted(p, id)
}

func (c *coordinator) newHosted(p *offsetsPartition, id string) *hosted {
	return &hosted{machine: newMachine(id, c.machine), in: p, timers: make(map[timerKey]*runningTimer), ended: make(map[string]chan struct{})}
}

// stepLocked steps a group and carries out the effects.
func (c *coordinator) stepLocked(g *hosted, e event) {
	if g.in.gone {
		return
	}
	now := c.config.Clock.Now()
	for _, e := range g.Step(now, e) {
		switch e := e.(type) {
		case answerEffect:
			if p, waits := c.calls[e.call]; waits {
				delete(c.calls, e.call)
				if e.join != nil && e.err == nil && e.join.HeartbeatInterval == 0 {
					e.join.Rebalance = g.endOf(e.join.MemberID)
				}
				p.answer <- e // never blocks: there is room for the one answer of a call
			}
		case setTimerEffect:
			g.stopTimer(e.timerKey)
			key := e.timerKey
			g.timers[key] = newRunningTimer(c.config.Clock, e.after, func(t *runningTimer) { c.tick(g, key, t) })
		case stopTimerEffect:
			g.stopTimer(e.timerKey)
		case appendEffect:
			if e.txn != nil {
				g.in.work.Add(1)
				c.wg.Go(func() {
					defer g.in.work.Done()
					c.appendTxn(g, e)
				})
			} else {
				c.enqueueLocked(queued{g, e.id, e.records, now})
			}
		case watchEffect:
			c.watchLocked(g, e.producer, e.from)
		case endedEffect:
			if ended := g.ended[e.memberID]; ended != nil {
				close(ended)
				delete(g.ended, e.memberID)
			}
		case infoEffect:
			c.tellLocked(e.info)
		}
	}
	if !g.blank() {
		g.in.groups[g.id] = g
	} else if g.in.groups[g.id] == g {
		delete(g.in.groups, g.id)
	}
}

// endOf is closed when the member's present generation ends for it.
func (g *hosted) endOf(memberID string) <-chan struct{} {
	if !g.isLocal(memberID) { // it was removed while the answer waited for the log
		ended := make(chan struct{})
		close(ended)
		return ended
	}
	if g.ended[memberID] == nil {
		g.ended[memberID] = make(chan struct{})
	}
	return g.ended[memberID]
}

func (g *hosted) stopTimer(k timerKey) {
	if t := g.timers[k]; t != nil {
		t.stop()
		delete(g.timers, k)
	}
}

// tick is the end of a timer's slice.
func (c *coordinator) tick(g *hosted, k timerKey, t *runningTimer) {
	c.mu.Lock()
	defer c.unlock()
	if g.timers[k] != t || c.closing {
		return // it was stopped while it was about to fire
	}
	if t.tick() {
		delete(g.timers, k)
		c.stepLocked(g, timerEvent{k})
	}
}

// Close answers everybody who waits with partition.ErrClosed, after what has been accepted is written. It fails if
// committed offsets are in memory only because there is still no space for them. It may be called twice.
func (c *coordinator) Close() error {
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		<-c.done
		return c.closeErr
	}
	c.closing = true
	c.end()
	c.stopTimersLocked()
	for g := range c.groupsLocked() {
		for k := range g.timers {
			g.stopTimer(k)
		}
		c.stepLocked(g, timerEvent{timerKey{kind: timerRetry}}) // the last chance
	}
	c.unlock()
	c.wg.Wait()

	c.mu.Lock()
	unwritten := 0
	for g := range c.groupsLocked() {
		unwritten += len(g.unwritten)
		c.stepLocked(g, stopEvent{partition.ErrClosed})
		for k := range g.timers {
			g.stopTimer(k)
		}
	}
	if unwritten > 0 {
		c.closeErr = fmt.Errorf("close group coordinator: %d committed offsets could not be written: %w", unwritten, partition.ErrNoSpace)
	}
	c.unlock()
	close(c.done)
	return c.closeErr
}

// groupsLocked yields the groups; the yielded one may be removed.
func (c *coordinator) groupsLocked() func(func(*hosted) bool) {
	return func(yield func(*hosted) bool) {
		for _, p := range c.partitions {
			for _, g := range p.groups {
				if !yield(g) {
					return
				}
			}
		}
	}
}

// tellLocked queues something for Events.
func (c *coordinator) tellLocked(info any) {
	c.stats.count(info)
	c.infos = append(c.infos, info)
}

// unlock unlocks mu, and then tells Events what happened, unless another goroutine is doing that: it will find ours.
func (c *coordinator) unlock() {
	if !c.dispatching {
		c.dispatching = true
		for len(c.infos) > 0 {
			infos := c.infos
			c.infos = nil
			c.mu.Unlock()
			for _, info := range infos {
				c.config.Events.tell(info)
			}
			c.mu.Lock()
		}
		c.dispatching = false
	}
	c.mu.Unlock()
}

// release unlocks mu and tells nobody: a goroutine of its own does, because Events may call the group, and that may wait
// for the one who calls this.
func (c *coordinator) release() {
	if len(c.infos) > 0 && !c.dispatching {
		c.wg.Add(1)
		go func() {
			defer c.wg.Done()
			c.mu.Lock()
			c.unlock()
		}()
	}
	c.mu.Unlock()
}

// newUUID returns a random UUID, version 4, as Kafka appends to client ids.
func newUUID(random io.Reader) (string, error) {
	var u [16]byte
	if _, err := io.ReadFull(random, u[:]); err != nil {
		return "", fmt.Errorf("read random bytes: %w", err)
	}
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:]), nil
}
