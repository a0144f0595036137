package group

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
)

// newStore opens a store in memory with topics of four partitions.
func newStore(t *testing.T, topics ...string) *partition.Store {
	s, err := partition.OpenMemory(partition.Config{Sync: partition.SyncNever})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	createTopics(t, s, topics...)
	return s
}

func createTopics(t *testing.T, s *partition.Store, topics ...string) {
	for _, name := range topics {
		_, err := s.CreateTopic(t.Context(), name, partition.TopicConfig{Partitions: 4})
		require.NoError(t, err)
	}
}

// backend is a store whose coordinator can be started again, as by a new process, and whose appends can be made to
// wait or fail.
type backend struct {
	*partition.Store
	mu      sync.Mutex // guards all below
	service io.Closer
	fail    error
	gate    chan struct{} // if not nil, appends wait until it is closed
	arrived chan struct{} // gets a value for every append that arrives
}

func newBackend(s *partition.Store) *backend {
	b := &backend{Store: s, arrived: make(chan struct{}, 10000)}
	// The store ends it before itself, as it does with its own coordinator. (A closed one has no more services.)
	_, _ = s.Service(fmt.Sprintf("backend %p", b), func() (io.Closer, error) { return closeService{b}, nil })
	return b
}

type closeService struct{ *backend }

func (b closeService) Close() error {
	b.mu.Lock()
	service := b.service
	b.mu.Unlock()
	if service != nil {
		_ = service.Close() // tests that care have looked
	}
	return nil
}

func (b *backend) Service(_ string, start func() (io.Closer, error)) (_ io.Closer, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.service == nil {
		b.service, err = start()
	}
	return b.service, err
}

func (b *backend) Append(ctx context.Context, r partition.AppendRequest) (partition.AppendResult, error) {
	b.mu.Lock()
	fail, gate := b.fail, b.gate
	b.mu.Unlock()
	b.arrived <- struct{}{}
	if gate != nil {
		<-gate
	}
	if fail != nil {
		return partition.AppendResult{}, fail
	}
	return b.Store.Append(ctx, r)
}

func (b *backend) setFail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = err
}

func (b *backend) setGate(gate chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gate = gate
}

func openGroup(t *testing.T, b Backend, id string, c Config) (*ConsumerGroup, Coordinator) {
	g, err := Open(b, id, c)
	require.NoError(t, err)
	coordinator, err := g.Coordinator(t.Context())
	require.NoError(t, err)
	return g, coordinator
}

// client is a consumer as far as the group is concerned.
type client struct {
	g        *ConsumerGroup
	c        Coordinator
	topics   []string
	joined   JoinResult
	assigned []partition.TopicPartition
	request  func(*JoinRequest)
}

func newClient(t *testing.T, g *ConsumerGroup, topics ...string) *client {
	c, err := g.Coordinator(t.Context())
	require.NoError(t, err)
	return &client{g: g, c: c, topics: topics}
}

func (m *client) join(ctx context.Context) (err error) {
	c := m.g.Config()
	r := JoinRequest{
		Group: m.g.ID(), MemberID: m.joined.MemberID, ClientID: c.ClientID, Local: true,
		SessionTimeout: c.SessionTimeout, RebalanceTimeout: c.RebalanceTimeout,
		ProtocolType: ProtocolTypeConsumer, Protocols: m.g.Protocols(Subscription{Topics: m.topics, Generation: NoGeneration}),
	}
	if m.request != nil {
		m.request(&r)
	}
	joined, err := m.c.Join(ctx, r)
	if err == nil {
		m.joined = joined
	}
	return err
}

func (m *client) sync(ctx context.Context) error {
	r := SyncRequest{Membership: m.joined.Membership, ProtocolType: m.joined.ProtocolType, Protocol: m.joined.Protocol}
	if m.joined.IsLeader() {
		var err error
		if r.Assignments, _, err = m.g.Assign(ctx, m.joined); err != nil {
			return err
		}
	}
	s, err := m.c.Sync(ctx, r)
	if err != nil {
		return err
	}
	a, err := DecodeAssignment(s.Assignment)
	m.assigned = a.Partitions
	return err
}

// enter joins and syncs until there is an assignment.
func (m *client) enter(ctx context.Context) error {
	for {
		err := m.join(ctx)
		if err == nil {
			err = m.sync(ctx)
		}
		if !rejoins(err) {
			return err
		}
	}
}

func (m *client) commit(ctx context.Context, tp partition.TopicPartition, offset partition.Offset) error {
	return m.c.Commit(ctx, CommitRequest{Membership: m.joined.Membership, Offsets: map[partition.TopicPartition]CommittedOffset{
		tp: {Offset: offset, LeaderEpoch: partition.LeaderEpochUnknown},
	}})
}

func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// within waits for something that happens elsewhere; the time is only a bound against hanging for ever.
func within[T any](t *testing.T, ch <-chan T) (v T) {
	select {
	case v = <-ch:
	case <-time.After(5 * time.Minute):
		require.FailNow(t, "it does not happen")
	}
	return v
}

// afterwards returns when the step is over that a member, or a function of Events, has been told of: its timers are set then.
func afterwards(t *testing.T, g *ConsumerGroup) {
	t.Helper()
	_, err := g.Describe(t.Context())
	require.NoError(t, err)
}

func tp(topic string, p int32) partition.TopicPartition {
	return partition.TopicPartition{Topic: topic, Partition: p}
}

func rejoins(err error) bool {
	return errors.Is(err, ErrRebalanceInProgress) || errors.Is(err, ErrIllegalGeneration)
}

// lower and higher order two clients by member id, as the assignor does.
func lower(a, b *client) *client {
	if a.joined.MemberID < b.joined.MemberID {
		return a
	}
	return b
}

func higher(a, b *client) *client {
	if lower(a, b) == a {
		return b
	}
	return a
}

// wire is a member of another process, to whom heartbeats matter.
func wire(m *client) *client {
	m.request = func(r *JoinRequest) { r.Local, r.ClientHost = false, "/10.0.0.1" }
	return m
}
