package consumer

import (
	"context"
	"errors"
	"fmt"
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
	ends        map[partition.TopicPartition]partition.Offset // of Config.Until; nil if there is none

	stop context.CancelFunc // ends run
	done chan struct{}      // closed when run has ended

	// The timers of run; they go from the Join on.
	committing, refreshing, beating *ticker
	held                            *watch

	commitMu sync.Mutex // one commit at a time, so that offsets do not go back; held over the coordinator's call

	mu         sync.Mutex // guards what follows
	joined     group.JoinResult
	partitions map[string]int32 // that the leader's assignment is based on
	left       bool
}

// Join makes a member of the group and waits for its first assignment. From then on a goroutine takes part in rebalances,
// also while nobody reads; a rebalance waits for the record that a loop body has in hand. Topics may not exist yet.
// Errors: *partition.ConfigError, partition.ErrClosed, ctx's, and those of group.Coordinator's Join.
func Join(ctx context.Context, g *group.ConsumerGroup, c Config) (*Consumer, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("join group %q: %w", g.ID(), err)
	}
	if len(c.Topics) == 0 {
		return nil, fmt.Errorf("join group %q: %w", g.ID(), &partition.ConfigError{Key: "Topics", Value: "none", Range: "one topic or more"})
	}
	c.Topics = slices.Clone(c.Topics)
	coordinator, err := g.Coordinator(ctx)
	if err != nil {
		return nil, fmt.Errorf("join group %q: %w", g.ID(), err)
	}
	consumer := newConsumer(g.Backend(), c)
	m := &member{consumer: consumer, group: g, coordinator: coordinator, done: make(chan struct{})}
	consumer.member = m
	if m.ends, err = ends(ctx, consumer.source, c); err == nil {
		consumer.turn <- struct{}{}
		err = m.rejoin(ctx)
		consumer.returnTurn()
	}
	if err != nil {
		consumer.end()
		m.leave()
		return nil, fmt.Errorf("join group %q: %w", g.ID(), err)
	}
	running, stop := context.WithCancel(consumer.life)
	m.stop = stop
	m.committing = newTicker(consumer.clock, max(c.CommitInterval, 0))
	m.refreshing = newTicker(consumer.clock, c.MetadataMaxAge)
	m.beating = newTicker(consumer.clock, m.joined.HeartbeatInterval)
	m.held = newWatch(m)
	go m.run(running)
	return consumer, nil
}

// ends resolves the bound for every partition of the topics.
func ends(ctx context.Context, s Source, c Config) (map[partition.TopicPartition]partition.Offset, error) {
	if c.Until == (Bound{}) {
		return nil, nil
	}
	metadata, err := s.Metadata(ctx, c.Topics)
	if err != nil {
		return nil, err
	}
	ends := make(map[partition.TopicPartition]partition.Offset)
	for _, t := range metadata {
		for _, p := range t.Partitions {
			tp := partition.TopicPartition{Topic: t.Topic, Partition: p.Partition}
			if ends[tp], err = c.Until.resolve(ctx, s, tp); err != nil {
				return nil, err
			}
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
	var turn chan<- struct{}      // c.turn while we want it
	for {
		select {
		case <-ctx.Done():
			if turn != nil {
				c.signals.Add(^uint32(1)) // minus 2
			}
			return
		case <-commit.c:
			_ = m.commit(ctx) // Events tell of it; what was not committed is tried again
			commit.again()
			continue
		case <-held.ticker.c:
			if held.late() {
				m.expel(held.interval)
				return
			}
			continue
		case <-refresh.c:
			refresh.again()
			if turn != nil || !m.outdated(ctx) {
				continue
			}
		case <-heartbeat.c:
			heartbeat.again()
			if turn != nil || m.coordinator.Heartbeat(ctx, m.current().Membership) == nil {
				continue
			}
		case <-over:
		case turn <- struct{}{}:
			c.signals.Add(^uint32(1)) // minus 2
			turn = nil
			err := m.rejoin(ctx)
			c.returnTurn()
			if err != nil {
				if ctx.Err() == nil {
					c.fail(fmt.Errorf("group %q: %w", m.group.ID(), err))
				}
				return
			}
			c.signal()
			over = m.current().Rebalance
			continue
		}
		// The generation is over: get the turn, however long the record in hand takes.
		over, turn = nil, c.turn
		c.wantTurn()
	}
}

func (m *member) current() group.JoinResult {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.joined
}

// outdated reports whether this member leads and the topics' partitions are not those that it assigned.
func (m *member) outdated(ctx context.Context) bool {
	m.mu.Lock()
	leads, partitions := m.joined.IsLeader(), m.partitions
	m.mu.Unlock()
	if !leads {
		return false
	}
	var topics []string
	for t := range partitions {
		topics = append(topics, t)
	}
	metadata, err := m.consumer.source.Metadata(ctx, topics)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(metadata, func(t partition.Metadata) bool { return partitions[t.Topic] != int32(len(t.Partitions)) })
}

// expel ends a member whose loop does not come back.
func (m *member) expel(held time.Duration) {
	_ = m.commit(m.consumer.life) // what was finished before
	err := &ExpelledError{Group: m.group.ID(), MemberID: m.current().MemberID, Held: held}
	m.leave()
	m.consumer.fail(err)
}

// close ends the member: what its loop has finished is committed, and the others get its partitions.
func (m *member) close() error {
	m.stop()
	<-m.done
	ctx, cancel := context.WithTimeout(m.consumer.life, 30*time.Second)
	defer cancel()
	err := m.commit(ctx)
	if generationOver(err) {
		err = nil // others have the partitions: they read again what was not committed
	}
	return errors.Join(err, m.leave())
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
	err := m.coordinator.Leave(m.consumer.life, m.group.ID(), id)
	if errors.Is(err, group.ErrUnknownMemberID) || errors.Is(err, partition.ErrClosed) {
		return nil // gone already
	}
	return err
}
