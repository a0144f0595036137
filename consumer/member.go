package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// member keeps a consumer in its group: one goroutine that joins again when a generation ends, commits by time, and
// watches that the loop comes back. It never touches a cursor without the turn.
type member struct {
	consumer    *Consumer
	group       *group.ConsumerGroup
	coordinator group.Coordinator
	ends        map[partition.TopicPartition]end // of Config.Until; nil if there is none

	stopped context.Context    // in which run lives
	stop    context.CancelFunc // ends it
	done    chan struct{}      // closed when run has ended

	// The timers of run; they go from the Join on.
	committing, refreshing, beating *ticker
	held                            *watch

	commits chan struct{} // has a token while a commit is under way

	mu         sync.Mutex // guards what follows
	joined     group.JoinResult
	partitions map[string]int32 // that the leader's assignment is based on
	left       bool
}

// end is where a bounded member stops in a partition of a topic.
type end struct {
	topic  partition.TopicID
	offset partition.Offset
}

// Join makes a member of the group and waits for its first assignment. From then on a goroutine takes part in rebalances,
// also while nobody reads; a rebalance waits for the record that a loop body has in hand, or for those that a Poll has
// returned. Topics may not exist yet. After an error the group has no member of it.
// Errors: *partition.ConfigError, partition.ErrInvalidTopic, ErrNoOffset, partition.ErrClosed, ctx's, and those of
// group.Coordinator's Join.
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
	m := &member{consumer: consumer, group: g, coordinator: coordinator, done: make(chan struct{}), commits: make(chan struct{}, 1)}
	consumer.member = m
	if m.ends, err = ends(ctx, consumer.source, c); err == nil {
		consumer.turn <- struct{}{}
		err = m.rejoin(ctx)
		consumer.returnTurn()
	}
	if err != nil {
		_ = m.leave() // whatever ctx says: a member that nobody speaks for would keep its partitions
		consumer.end()
		return nil, fmt.Errorf("join group %q: %w", g.ID(), err)
	}
	m.stopped, m.stop = context.WithCancel(consumer.life)
	m.committing = newTicker(consumer.clock, max(c.CommitInterval, 0))
	m.refreshing = newTicker(consumer.clock, c.MetadataMaxAge)
	m.beating = newTicker(consumer.clock, m.joined.HeartbeatInterval)
	m.held = newWatch(m)
	go m.run(m.stopped)
	return consumer, nil
}

// ends resolves the bound for every partition of the topics, and refuses topics that can never be.
func ends(ctx context.Context, s Source, c Config) (map[partition.TopicPartition]end, error) {
	metadata, err := s.Metadata(ctx, c.Topics)
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
	ends := make(map[partition.TopicPartition]end)
	for _, t := range metadata {
		for _, p := range t.Partitions {
			tp := partition.TopicPartition{Topic: t.Topic, Partition: p.Partition}
			offset, err := c.Until.resolve(ctx, s, tp)
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
	select {
	case <-m.joined.Rebalance:
		return true
	default:
		return false
	}
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

	over := m.current().Rebalance // closed when the generation is
	var turn chan<- struct{}      // c.turn while we want it; nothing else is done then
	for {
		select {
		case <-ctx.Done():
			m.give(turn)
			return
		case <-held.ticker.c:
			if held.late() {
				m.give(turn)
				m.expel(held.interval)
				return
			}
			continue
		case turn <- struct{}{}:
			m.give(turn)
			turn = nil
			err := m.rejoin(ctx)
			c.returnTurn()
			if err != nil {
				if ctx.Err() == nil {
					_ = m.leave() // the others need not wait for it
					c.fail(fmt.Errorf("group %q: %w", m.group.ID(), err))
				}
				return
			}
			c.signal()
			over = m.current().Rebalance
			continue
		case <-unless(turn, commit.c):
			_ = m.commit(ctx) // Events tell of it; what was not committed is tried again
			commit.again()
			continue
		case <-unless(turn, refresh.c):
			refresh.again()
			if !m.outdated(ctx) {
				continue
			}
		case <-unless(turn, heartbeat.c):
			heartbeat.again()
			if m.coordinator.Heartbeat(ctx, m.current().Membership) == nil {
				continue
			}
		case <-over:
		}
		// The generation is over: get the turn, however long the record in hand takes.
		over, turn = nil, c.turn
		c.wantTurn()
	}
}

// give ends wanting the turn, if that was so: it has been got, or is not needed any more.
func (m *member) give(turn chan<- struct{}) {
	if turn != nil {
		m.consumer.wanted()
	}
}

// unless returns ticks if the turn is not wanted, and nothing to wait for if it is.
func unless(turn chan<- struct{}, ticks <-chan struct{}) <-chan struct{} {
	if turn != nil {
		return nil
	}
	return ticks
}

func (m *member) current() group.JoinResult {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.joined
}

// outdated reports whether this member leads and the topics' partitions are not those that it assigned, or whether a
// topic of its own that was gone is there again.
func (m *member) outdated(ctx context.Context) bool {
	c := m.consumer
	m.mu.Lock()
	leads, partitions := m.joined.IsLeader(), m.partitions
	m.mu.Unlock()
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
	_ = m.lastCommit() // what was finished before
	c.revoked(c.Assignment())
	err := &ExpelledError{Group: m.group.ID(), MemberID: m.current().MemberID, Held: held}
	_ = m.leave()
	c.fail(err)
}

// lastTimeout bounds the last commit of an assignment.
const lastTimeout = 30 * time.Second

// lastCommit is the commit before partitions are given up. A Close that comes meanwhile waits for it.
func (m *member) lastCommit() error {
	c := m.consumer
	ctx, cancel := context.WithCancel(c.life)
	defer cancel()
	defer c.clock.AfterFunc(lastTimeout, cancel)()
	return m.commit(ctx)
}

// close ends the member: what its loop has finished is committed, and the others get its partitions.
func (m *member) close() error {
	c := m.consumer
	m.stop()
	<-m.done
	if m.hasLeft() {
		return nil
	}
	err := m.lastCommit()
	if generationOver(err) {
		err = nil // others have the partitions: they read again what was not committed
	}
	c.revoked(c.Assignment())
	return errors.Join(err, m.leave())
}

func (m *member) hasLeft() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.left
}

// leave leaves the group, once.
func (m *member) leave() error {
	m.mu.Lock()
	id, left := m.joined.MemberID, m.left
	m.left = true
	m.mu.Unlock()
	if left || id == "" {
		return nil
	}
	err := m.coordinator.Leave(m.consumer.life, m.group.ID(), group.LeavingMember{MemberID: id})
	if errors.Is(err, group.ErrUnknownMemberID) || errors.Is(err, partition.ErrClosed) {
		return nil // gone already
	}
	return err
}
