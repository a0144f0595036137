package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// member keeps a consumer in its group: one goroutine that enters the next generation when one ends, commits by time, and
// watches that the loop comes back. It never touches a cursor without the turn. keeping.go and rejoin.go have the two ways
// from one generation to the next.
type member struct {
	consumer    *Consumer
	group       *group.ConsumerGroup
	coordinator group.Coordinator
	keeps       bool                             // rebalances are cooperative: it keeps its partitions while it joins
	pattern     *regexp.Regexp                   // of Config.Pattern, or nil
	ends        map[partition.TopicPartition]end // of Config.Until; nil if there is none
	origin      origin

	stopped context.Context    // in which run lives
	stop    context.CancelFunc // ends it
	done    chan struct{}      // closed when run has ended
	// departure is the error of the last commit at Close, run's until it has ended.
	departure error

	// The timers of run; they go from the Join on.
	committing, refreshing, beating *ticker
	held                            *watch

	commits chan struct{} // has a token while a commit is under way

	mu         sync.Mutex // guards what follows
	joined     group.JoinResult
	topics     []string                   // of the subscription that it joined with
	last       []partition.TopicPartition // its last assignment
	lastOf     group.Generation           // whose that was
	partitions map[string]int32           // that the leader's assignment is based on
	entry      chan struct{}              // closed when the entry into the next generation, which keeps partitions, is over; or nil
	changing   bool                       // what it has is about to change
	left       bool

	// finished says that the loop was told that every bound is reached: then the member takes part in no other generation, see
	// retire. It is set and cleared with the turn; set with mu, and never while changing.
	finished atomic.Bool
	look     chan struct{} // has a token when a finished member may have become one that can retire, or is not finished any more
}

// end is where a bounded member stops in a partition of a topic.
type end struct {
	topic  partition.TopicID
	offset partition.Offset
}

// Join makes a member of the group and waits for its first assignment, which may be empty while others still have to give
// partitions up. From then on a goroutine takes part in rebalances, also while nobody reads. What has to be given up is
// given up after the record that a loop body has in hand, or those that a Poll has returned. Topics may not exist yet.
// After an error, or a panic of Config.Start or Listener.Assigned, the group has no member of it.
// Errors: *partition.ConfigError, partition.ErrInvalidTopic, ErrNoOffset, partition.ErrClosed, Config.Start's, ctx's, and
// those of group.Coordinator's Join.
func Join(ctx context.Context, g *group.ConsumerGroup, c Config) (*Consumer, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("join group %q: %w", g.ID(), err)
	}
	if err := c.validateTopics(); err != nil {
		return nil, fmt.Errorf("join group %q: %w", g.ID(), err)
	}
	c.Topics = slices.Clone(c.Topics)
	coordinator, err := g.Coordinator(ctx)
	if err != nil {
		return nil, fmt.Errorf("join group %q: %w", g.ID(), err)
	}
	consumer := newConsumer(g.Backend(), c)
	m := &member{
		consumer: consumer, group: g, coordinator: coordinator, keeps: g.Cooperative(),
		done: make(chan struct{}), commits: make(chan struct{}, 1), look: make(chan struct{}, 1), lastOf: group.NoGeneration,
	}
	m.pattern, _ = compilePattern(c.Pattern)
	consumer.member = m
	in := false
	defer func() {
		if !in { // for an error, or a panic of Config.Start or the Listener
			_ = m.leave() // whatever ctx says: a member that nobody speaks for would keep its partitions
			consumer.end()
		}
	}()
	if err = m.learn(ctx); err == nil {
		m.ends, err = m.findEnds(ctx)
	}
	if err == nil {
		err = m.first(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("join group %q: %w", g.ID(), err)
	}
	in = true
	m.stopped, m.stop = context.WithCancel(consumer.life)
	m.committing = newTicker(consumer.clock, c.commitEvery())
	m.refreshing = newTicker(consumer.clock, c.MetadataMaxAge)
	m.beating = newTicker(consumer.clock, m.joined.HeartbeatInterval)
	m.held = newWatch(m)
	go m.run(m.stopped)
	return consumer, nil
}

// first joins the group for the first time, in the place of a loop.
func (m *member) first(ctx context.Context) error {
	m.consumer.turn <- struct{}{}
	defer m.consumer.returnTurn()
	return m.rejoin(ctx)
}

// commitEvery is how often a member commits by itself, 0 for never.
func (c Config) commitEvery() time.Duration {
	if c.Commit == CommitManual || c.Start != nil {
		return 0
	}
	return max(c.CommitInterval, 0)
}

// findEnds resolves the bound for every partition of the topics, and refuses topics that can never be.
func (m *member) findEnds(ctx context.Context) (map[partition.TopicPartition]end, error) {
	c, s := m.consumer.config, m.consumer.source
	topics, err := m.subscription(ctx)
	if err != nil || len(topics) == 0 && c.Until == (Bound{}) {
		return nil, err
	}
	ends := make(map[partition.TopicPartition]end)
	if len(topics) == 0 {
		return ends, nil // a nil list would mean all
	}
	metadata, err := s.Metadata(ctx, topics)
	if err != nil {
		return nil, err
	}
	for _, t := range metadata {
		if errors.Is(t.Err, partition.ErrInvalidTopic) {
			return nil, t.Err
		}
	}
	if c.Until == (Bound{}) {
		return nil, nil
	}
	for _, t := range metadata {
		for _, p := range t.Partitions {
			tp := partition.TopicPartition{Topic: t.Topic, Partition: p.Partition}
			offset, err := c.Until.resolve(ctx, s, tp, c.Isolation)
			if err != nil {
				return nil, err
			}
			ends[tp] = end{t.ID, offset}
		}
	}
	return ends, nil
}

func (m *member) bounded() bool { return m.ends != nil }

// rebalancing reports whether the assignment is about to change.
func (m *member) rebalancing() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rebalancingLocked()
}

func (m *member) rebalancingLocked() bool {
	if m.finished.Load() {
		return false
	}
	select {
	case <-m.joined.Rebalance:
		return true
	default:
		return m.changing
	}
}

// complete reports whether no partition with a bound is on its way from one member to another: it might come to this one.
func (m *member) complete(ctx context.Context) (bool, error) {
	if !m.keeps || len(m.ends) == 0 {
		return true, nil
	}
	d, err := m.coordinator.Describe(ctx, m.group.ID())
	if err != nil || d.State != group.Stable {
		return false, err
	}
	owned := make(map[partition.TopicPartition]bool)
	for _, other := range d.Members {
		a, err := group.DecodeAssignment(other.Assignment)
		if err != nil {
			continue
		}
		for _, tp := range a.Partitions {
			owned[tp] = true
		}
	}
	var unowned []partition.TopicPartition
	for tp := range m.ends {
		if !owned[tp] {
			unowned = append(unowned, tp)
		}
	}
	metadata, err := topicsOf(ctx, m.consumer.source, unowned)
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(unowned, func(tp partition.TopicPartition) bool {
		t, err := topicOf(metadata, tp)
		return err == nil && t.ID == m.ends[tp].topic
	}), nil
}

// run is the member's goroutine.
func (m *member) run(ctx context.Context) {
	defer close(m.done)
	c := m.consumer
	commit, refresh, heartbeat, held := m.committing, m.refreshing, m.beating, m.held
	defer commit.stop()
	defer refresh.stop()
	defer heartbeat.stop()
	defer held.ticker.stop()

	// At most one of these is under way: waiting for the generation to end (over), for an entry into the next one that
	// keeps partitions (entering), for the turn.
	over := m.current().Rebalance // closed when the generation is
	var entering *entering
	var entered *entered         // what the turn is wanted for, if partitions were kept; else to rejoin
	var turn chan<- struct{}     // c.turn while it is wanted
	var draining <-chan struct{} // before that: what work has in flight of what is to be given up
	resting := false             // it would retire, and has records to commit
	busy := func() bool { return turn != nil || draining != nil || resting }
	defer func() {
		m.give(turn)
		entering.abandon()
	}()
	for {
		select {
		case <-ctx.Done():
			m.depart() // before an entry is abandoned: that takes the member out of the group
			return
		case <-held.ticker.c:
			if held.late() {
				m.give(turn)
				turn = nil
				_ = m.lastCommit() // what was finished before
				entering.abandon()
				entering = nil
				m.expel(held.interval)
				return
			}
			continue
		case turn <- struct{}{}:
			m.give(turn)
			turn = nil
			if entered == nil && m.finished.Load() {
				if resting = m.rests(ctx); !resting {
					m.retire(ctx)
				}
				c.returnTurn()
				if resting {
					continue
				}
				c.signal()
				return
			}
			again, err := m.advance(ctx, entered)
			entered = nil
			if err != nil && ctx.Err() == nil {
				c.fail(fmt.Errorf("group %q: %w", m.group.ID(), err)) // before the loop goes on, without partitions
			}
			c.returnTurn()
			if err != nil {
				if ctx.Err() == nil {
					_ = m.leave() // the others need not wait for it
				}
				return
			}
			if !again {
				c.signal()
				over = m.current().Rebalance
				continue
			}
		case e := <-entering.result():
			entering = nil
			if m.needsTurn(&e) {
				entered, draining = &e, c.drain(m.givesUp(&e))
				continue
			}
			m.unchanged()
			over = m.current().Rebalance
			continue
		case <-draining:
			draining, turn = nil, c.turn // however long the record in hand takes
			c.wantTurn()
			continue
		case <-m.look:
			if resting {
				resting, turn = false, c.turn
				c.wantTurn()
			}
			continue
		case <-unless(busy(), commit.c):
			_ = m.commit(ctx, nil) // Events tell of it; what was not committed is tried again
			commit.again()
			continue
		case <-unless(busy(), refresh.c):
			refresh.again()
			if entering != nil || !m.outdated(ctx) {
				continue
			}
		case <-unless(busy() && !resting, heartbeat.c):
			heartbeat.again()
			if entering != nil {
				continue
			}
			if resting {
				if lost(m.coordinator.Heartbeat(ctx, m.current().Membership)) {
					m.unsettle()
				}
				continue
			}
			// A coordinator that cannot be reached has not ended the generation: the next heartbeat finds out.
			if err := m.coordinator.Heartbeat(ctx, m.current().Membership); err == nil || partition.Retriable(err) {
				continue
			}
		case <-over:
		}
		// The generation is over, or is to be.
		over = nil
		if m.change() && m.keeps {
			entering = m.enterKeeping()
			continue
		}
		draining = c.drain(c.Assignment())
	}
}

// advance goes to the next generation. The caller has the turn. It reports whether another is to be entered at once. After an
// error the member has no partitions.
func (m *member) advance(ctx context.Context, e *entered) (again bool, err error) {
	if e == nil {
		return false, m.rejoin(ctx)
	}
	return m.apply(e)
}

// give ends wanting the turn, if that was so: it has been got, or is not needed any more.
func (m *member) give(turn chan<- struct{}) {
	if turn != nil {
		m.consumer.wanted()
	}
}

// unless returns ticks if the member is not busy giving partitions up, and nothing to wait for if it is.
func unless(busy bool, ticks <-chan struct{}) <-chan struct{} {
	if busy {
		return nil
	}
	return ticks
}

func (m *member) current() group.JoinResult {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.joined
}

// outdated reports whether this member leads and the topics' partitions are not those that it assigned, whether other
// topics match its pattern than it subscribes to, or whether a topic of its own that was gone is there again.
func (m *member) outdated(ctx context.Context) bool {
	c := m.consumer
	m.mu.Lock()
	leads, partitions, subscribed := m.joined.IsLeader(), m.partitions, m.topics
	m.mu.Unlock()
	if m.pattern != nil {
		now, err := matching(ctx, c.source, m.pattern)
		if err == nil && !slices.Equal(now, subscribed) {
			return true
		}
	}
	c.mu.Lock()
	gone := slices.DeleteFunc(slices.Clone(c.assigned), func(k *cursor) bool { return !k.gone.Load() })
	c.mu.Unlock()
	var topics []string
	if leads {
		topics = slices.Collect(maps.Keys(partitions))
	}
	for _, k := range gone {
		if !slices.Contains(topics, k.tp.Topic) {
			topics = append(topics, k.tp.Topic)
		}
	}
	if len(topics) == 0 {
		return false
	}
	metadata, err := c.source.Metadata(ctx, topics)
	if err != nil {
		return false
	}
	if leads && slices.ContainsFunc(metadata, func(t partition.Metadata) bool { return partitions[t.Topic] != int32(len(t.Partitions)) }) {
		return true
	}
	return !m.bounded() && slices.ContainsFunc(gone, func(k *cursor) bool {
		_, err := topicOf(metadata, k.tp)
		return err == nil
	})
}

// expel ends a member whose loop does not come back.
func (m *member) expel(held time.Duration) {
	c := m.consumer
	err := &ExpelledError{Group: m.group.ID(), MemberID: m.current().MemberID, Held: held}
	lost := c.Assignment()
	c.loseWork()
	c.tellLost(lost)
	c.fail(err) // before another can have the partitions: nothing of them is yielded any more
	_ = m.leave()
}

// lastTimeout bounds the last commit of an assignment.
const lastTimeout = 30 * time.Second

// lastCommit is the commit before partitions are given up. A Close that comes meanwhile waits for it.
func (m *member) lastCommit() error {
	c := m.consumer
	if c.config.Commit == CommitManual || c.config.Start != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(c.life)
	defer cancel()
	defer c.clock.AfterFunc(lastTimeout, cancel)()
	return m.commitSettled(ctx, nil)
}

// close ends the member: what its loop has finished is committed, and the others get its partitions.
func (m *member) close() error {
	m.stop()
	<-m.done
	if m.hasLeft() {
		return nil
	}
	return errors.Join(m.departure, m.leave())
}

// depart is what comes before the member leaves because it is closed.
func (m *member) depart() {
	<-m.consumer.drain(m.consumer.Assignment())
	m.departure = m.lastCommit()
	if generationOver(m.departure) {
		m.departure = nil // others have the partitions: they read again what was not committed
	}
	m.departing(true)
	m.consumer.tellRevoked(m.consumer.Assignment())
	m.departing(false)
}

func (m *member) departing(now bool) {
	m.consumer.mu.Lock()
	m.consumer.departing = now
	m.consumer.mu.Unlock()
}

func (m *member) hasLeft() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.left
}

// leave leaves the group, once. A static member keeps its place until its session is over.
func (m *member) leave() error { return m.leaveAs(true) }

// leaveAs is leave; with keep false a static member gives its place up too.
func (m *member) leaveAs(keep bool) error {
	m.mu.Lock()
	joined, left := m.joined.Membership, m.left
	m.left = true
	m.mu.Unlock()
	if left || joined.MemberID == "" {
		return nil
	}
	err := m.coordinator.Leave(m.consumer.life, m.group.ID(), group.LeavingMember{
		MemberID: joined.MemberID, InstanceID: joined.InstanceID, Temporary: keep && joined.InstanceID != "",
	})
	if errors.Is(err, group.ErrUnknownMemberID) || errors.Is(err, group.ErrFencedInstanceID) || errors.Is(err, partition.ErrClosed) {
		return nil // gone already
	}
	return err
}
