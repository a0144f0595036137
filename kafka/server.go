package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/wire"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/replication"
)

// Server serves a store by Kafka's protocol, as one broker or as several. Any number of goroutines may use it.
type Server struct {
	store    *partition.Store
	config   Config
	clock    partition.Clock
	settings atomic.Pointer[settings] // of all brokers
	versions map[int16]Range          // what is served; never changed
	keys     []int16                  // of versions, sorted
	layout   layout
	node     *nodeView                              // of a node of a cluster; nil: the brokers share one store
	place    func(partitions, factor int) [][]int32 // replicas of new topics, where tests choose them; nil: they are spread
	fetches  fetchCache
	counters counters
	memory   *wire.Budget // frames and answers of all brokers
	guard    *guard       // access rules, credentials, quotas
	logins   *logins
	groups   group.Coordinators
	admin    admin // configurations and features

	members atomic.Pointer[[]*Broker] // by id; replaced under mu

	life context.Context // ends with Close
	stop context.CancelFunc
	work sync.WaitGroup // followConfigs

	mu     sync.Mutex // guards changes of brokers; held while one starts or stops
	closed bool
}

// New makes a server without brokers; AddBroker opens one. The store stays the caller's, who closes it after the server.
func New(store *partition.Store, c Config) (*Server, error) {
	if store == nil {
		return nil, &partition.ConfigError{Key: "store", Value: "nil", Range: "a store"}
	}
	return newServer(store, nil, c)
}

func newServer(store *partition.Store, node *replication.Node, c Config) (*Server, error) {
	if c.ClusterID == "" {
		c.ClusterID = store.ClusterID()
	}
	if c.Clock == nil {
		c.Clock = store.Clock()
	}
	for c.Seed == 0 {
		c.Seed = rand.Uint64()
	}
	if err := c.LoginLimits.check(); err != nil {
		return nil, err
	}
	s := &Server{store: store, config: c, clock: c.Clock, logins: newLogins(c.LoginLimits)}
	s.life, s.stop = context.WithCancel(context.Background())
	if node != nil {
		s.node = &nodeView{node: node}
	}
	set, warnings, err := parseProperties(c.Properties)
	if err != nil {
		return nil, err
	}
	if err := needNoQuorum(set.properties); err != nil && node == nil {
		return nil, err
	}
	s.settings.Store(set)
	if err := s.warn(warnings); err != nil {
		return nil, err
	}
	prepareAPIs()
	s.versions = servedVersions(c.Versions, c.OldVersions, c.ClientMetrics != nil)
	if node != nil {
		s.versions = maps.Clone(s.versions)
		for _, key := range ofNodes {
			if _, narrowed := c.Versions[key]; !narrowed {
				s.versions[key] = apis[key].Range
			}
		}
	}
	s.keys = keysOf(s.versions)
	s.admin.alter = make(turn, 1)
	s.layout.server = s
	s.fetches.server = s
	if s.guard, err = newGuard(store, s.clock); err != nil {
		return nil, err
	}
	s.members.Store(&[]*Broker{})
	s.memory = wire.NewBudget(memoryLimit(set))
	if s.groups, err = s.startGroups(); err != nil {
		return nil, err
	}
	if err := s.startAdmin(); err != nil {
		return nil, err
	}
	return s, nil
}

// Serve puts store behind Kafka's protocol on l, as one broker with the id 1, and returns at once. Close ends it, and
// closes l; the store stays the caller's, who closes it afterwards.
func Serve(l net.Listener, store *partition.Store, c Config) (*Server, error) {
	s, err := New(store, c)
	if err != nil {
		return nil, err
	}
	id := max(s.settings.Load().nodeID, 0)
	if _, err := s.AddBroker(BrokerConfig{ID: id, Rack: s.settings.Load().rack, Listeners: []ListenerConfig{{Listener: l}}}); err != nil {
		return nil, err
	}
	return s, nil
}

// memoryLimit is what all frames and answers in hand may take (queued.max.request.bytes, 512 MiB where Kafka has no bound).
func memoryLimit(s *settings) int64 {
	if s.queuedMaxRequestBytes > 0 {
		return s.queuedMaxRequestBytes
	}
	return 512 << 20
}

// warn tells what is unusual about properties; a name that Kafka does not know is an error, unless they are welcome.
func (s *Server) warn(ws []Warning) error {
	for _, w := range ws {
		if w.Unknown && !s.config.UnknownProperties {
			return &PropertyError{Name: w.Property, Value: "[not looked at]", Reason: w.Text}
		}
		if f := s.config.Events.Warning; f != nil {
			f(w)
		}
	}
	return nil
}

// Store returns the store that is served.
func (s *Server) Store() *partition.Store { return s.store }

// ClusterID returns what clients are told.
func (s *Server) ClusterID() string { return s.config.ClusterID }

// Brokers returns all brokers, stopped ones included, by id.
func (s *Server) Brokers() []*Broker { return slices.Clone(s.brokers()) }

// AddBroker opens a broker, which takes connections when it returns. Topics that are there keep their replicas; those of
// brokers that the server does not have go to this one and the others.
func (s *Server) AddBroker(c BrokerConfig) (*Broker, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if s.node != nil {
		return s.addNode(c)
	}
	zero := c.ID == 0 && (c.Properties["node.id"] == "0" || c.Properties["broker.id"] == "0") // which is an id in Kafka
	for !zero && c.ID <= 0 {
		if c.ID < 0 {
			return nil, &partition.ConfigError{Key: "node.id", Value: fmt.Sprint(c.ID), Range: "0 or more"}
		}
		for c.ID = 1; s.brokerByID(c.ID) != nil; c.ID++ {
		}
	}
	if s.brokerByID(c.ID) != nil {
		return nil, fmt.Errorf("%w: %d", ErrBrokerIDInUse, c.ID)
	}
	b, err := s.newBroker(c)
	if err != nil {
		return nil, err
	}
	all := append(s.Brokers(), b)
	slices.SortFunc(all, func(a, b *Broker) int { return int(a.id) - int(b.id) })
	b.running.Store(true)
	s.members.Store(&all)
	if err := s.layout.brokerAdded(context.Background(), b.id); err != nil {
		s.drop(b)
		return nil, err
	}
	if s.hasDynamic(b) { // what it sets for topics may count now
		err := s.admin.alter.take(s.life)
		if err == nil {
			err = s.refresh(s.life)
			s.admin.alter.give()
		}
		if err != nil {
			s.drop(b)
			return nil, err
		}
	}
	b.serve()
	return b, nil
}

// drop takes a broker off the list, with mu held. A node's has no other nodes' brokers.
func (s *Server) drop(b *Broker) {
	all := slices.DeleteFunc(slices.Clone(s.ownBrokers()), func(o *Broker) bool { return o == b })
	b.running.Store(false)
	s.members.Store(&all)
}

// RemoveBroker stops a broker for good; what it led goes to others. Errors: ErrUnknownBroker; partition.ErrUnsupported on a node, whose broker ends
// with Close (replication.Node.RemoveNode takes nodes out of a cluster).
func (s *Server) RemoveBroker(id int32) error {
	if s.node != nil {
		return fmt.Errorf("remove broker %d: %w on a node", id, partition.ErrUnsupported)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.brokerByID(id)
	if b == nil || b.server == nil {
		return fmt.Errorf("%w: %d", ErrUnknownBroker, id)
	}
	s.drop(b)
	err := s.layout.rebalance(context.Background())
	b.halt(nil)
	return err
}

// MoveLeader makes a broker the leader of a partition; it joins the replicas if it is none. Its clients are told by
// NOT_LEADER_OR_FOLLOWER, a higher leader epoch and, where they understand that, the new leader's address (KIP-951).
// On a node it waits until a new replica is in sync, and the leader known here; ctx ends the waiting.
// Errors: ErrUnknownBroker, also for one that is stopped, partition.ErrUnknownTopicOrPartition; on a node those of replication.Node's Reassign and Elect.
func (s *Server) MoveLeader(ctx context.Context, tp partition.TopicPartition, broker int32) error {
	b := s.brokerByID(broker)
	if b == nil || !b.running.Load() {
		return fmt.Errorf("%w: %d", ErrUnknownBroker, broker)
	}
	t, err := s.topicOf(tp)
	if err != nil {
		return err
	}
	if s.node != nil {
		return s.node.move(ctx, tp, broker)
	}
	return s.layout.update(ctx, func(at partition.TopicPartition, p placed) placed {
		if at != tp {
			return p
		}
		if !slices.Contains(p.replicas, broker) {
			p.replicas = append(slices.Clone(p.replicas), broker)
		}
		if !slices.Contains(p.isr, broker) {
			p.isr = append(slices.Clone(p.isr), broker)
		}
		p.leader = broker
		return p
	}, t)
}

// SetISR says which replicas of a partition are in sync. It changes what clients are told and what acks=all with
// min.insync.replicas takes; the store has one copy as before. Errors: those of MoveLeader, *partition.ConfigError for a
// broker that is no replica, and partition.ErrUnsupported on a node, whose replicas are in sync or not.
func (s *Server) SetISR(ctx context.Context, tp partition.TopicPartition, ids ...int32) error {
	if s.node != nil {
		return fmt.Errorf("set the ISR of %v: %w on a node: its replicas are in sync or not", tp, partition.ErrUnsupported)
	}
	t, err := s.topicOf(tp)
	if err != nil {
		return err
	}
	at, _ := s.layout.at(t, tp.Partition)
	for _, id := range ids {
		if !slices.Contains(at.replicas, id) {
			return &partition.ConfigError{Key: "isr", Value: fmt.Sprint(id), Range: fmt.Sprint("replicas ", at.replicas)}
		}
	}
	return s.layout.update(ctx, func(at partition.TopicPartition, p placed) placed {
		if at != tp {
			return p
		}
		p.isr = slices.Clone(ids)
		return s.layout.elect(int(tp.Partition), p, false)
	}, t)
}

// Leader returns the broker that leads a partition, -1 if none does. Errors: partition.ErrUnknownTopicOrPartition.
func (s *Server) Leader(tp partition.TopicPartition) (int32, error) {
	t, err := s.topicOf(tp)
	if err != nil {
		return -1, err
	}
	p, _ := s.layout.at(t, tp.Partition)
	return p.leader, nil
}

// topicOf returns the topic of a partition that exists.
func (s *Server) topicOf(tp partition.TopicPartition) (*partition.Topic, error) {
	t, err := s.store.Topic(tp.Topic)
	if err == nil {
		_, err = t.Partition(tp.Partition)
	}
	return t, err
}

// Shutdown ends the server gracefully: no connection is accepted any more, requests that wait answer with what there is,
// and those in hand are finished until ctx ends. Then it is Close. The first error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	return s.end(func(w *wire.Server) error { return w.Shutdown(ctx) })
}

// Close ends the server at once: listeners and connections are closed, requests in hand come to their end in the store, and
// their answers are lost. On a node, what waits for other replicas is given up: it may be written. Close waits for the connections, as
// Broker.Stop does. A change of configurations or features that waits for the controller is given up as well: it may be made. The store stays open. Later calls do nothing.
func (s *Server) Close() error { return s.end(nil) }

// end closes all brokers, after before.
func (s *Server) end(before func(*wire.Server) error) error {
	s.stop() // what AddBroker waits for, with mu held, too
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var wg sync.WaitGroup
	own := s.ownBrokers()
	errs := make([]error, len(own))
	for i, b := range own {
		wg.Go(func() { errs[i] = b.halt(before) })
	}
	wg.Wait()
	s.work.Wait()
	return errors.Join(errs...)
}
