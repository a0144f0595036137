package kafka

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/partlog/partlog/replication"
)

// ground is what a test of the listener stands on: a server over one store in memory, or, where onNodes says so, one over each of the nodes of a cluster, with
// the store and the server of the first.
//
// A test of one broker asks the first node, and finds all leaders there (home); one of several brokers finds them spread, as clients do.
type ground struct {
	t       testing.TB
	store   *partition.Store
	backend backend
	server  *Server

	// Of a cluster only.
	local   *replication.Local
	terms   terms
	sockets []net.Listener // by node id, from 1 on
	servers []*Server
	home    bool
	settled uint64 // metadata that settle has seen, guarded by mu
	mu      sync.Mutex
}

// backend is the store, or the first node, which does what it is asked for wherever the leader is.
type backend interface {
	partitiontest.Backend
	CreatePartitions(ctx context.Context, name string, count int32) error
	AlterTopicConfig(ctx context.Context, name string, changes map[string]string) error
	DescribeTopic(ctx context.Context, name string) (partition.TopicDescription, error)
	EndTxn(ctx context.Context, txnID string, p partition.ProducerID, commit bool) (partition.ProducerID, error)
	DeleteTopic(ctx context.Context, name string) error
	DeleteRecords(ctx context.Context, tp partition.TopicPartition, before partition.Offset) (partition.Offset, error)
}

// terms say what ground a test needs. The zero value is one broker with a PLAINTEXT listener.
type terms struct {
	brokers  int
	store    partition.Config
	server   Config
	racks    []string // of the brokers
	listener ListenerConfig
	// listeners are those of each broker, where one of the kind of listener is not enough.
	listeners [][]ListenerConfig
	spread    bool // leaders are anywhere although the test is of one broker
}

func newGround(t testing.TB, terms terms) *ground {
	t.Helper()
	g := &ground{t: t}
	if terms.brokers == 0 {
		terms.brokers = 1
	}
	if onNodes(t) {
		g.startNodes(terms)
	} else {
		g.openStore(terms)
	}
	return g
}

func (g *ground) openStore(terms terms) {
	g.t.Helper()
	var err error
	g.store, err = partition.OpenMemory(terms.store)
	require.NoError(g.t, err)
	g.backend = g.store
	g.t.Cleanup(func() { require.NoError(g.t, g.store.Close()) })
	g.server, err = New(g.store, terms.server)
	require.NoError(g.t, err)
	grounds.Store(g.server, g)
	g.t.Cleanup(func() {
		grounds.Delete(g.server)
		require.NoError(g.t, g.server.Close())
	})
	for i := range terms.brokers {
		_, err := g.server.AddBroker(terms.broker(i, terms.listen(g.t, i)))
		require.NoError(g.t, err)
	}
}

// listen opens the i-th broker's own listener, or returns the first of those that the test has opened.
func (terms *terms) listen(t testing.TB, i int) net.Listener {
	t.Helper()
	if i < len(terms.listeners) {
		return terms.listeners[i][0].Listener
	}
	return listen(t)
}

// broker is the configuration of the i-th broker, whose own listener is l.
func (terms *terms) broker(i int, l net.Listener) BrokerConfig {
	c := terms.listener
	c.Listener = l
	b := BrokerConfig{Listeners: []ListenerConfig{c}}
	if i < len(terms.listeners) {
		b.Listeners = terms.listeners[i]
	}
	if i < len(terms.racks) {
		b.Rack = terms.racks[i]
	}
	return b
}

// session is a connection to a broker's first listener.
func (g *ground) newSession(broker int32, id uint64, port int) *session {
	s := g.server
	if g.local != nil {
		s = g.servers[broker-1]
	}
	return s.brokerByID(broker).listeners[0].newSession(id, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
}

// newServer is another server over the store, or the first node.
func (g *ground) newServer(c Config) (*Server, error) {
	if g.local == nil {
		return New(g.store, c)
	}
	return NewOfNode(g.local.Node(1), c)
}

// addr is where clients find the ground.
func (g *ground) addr() string {
	l := g.server.ownBrokers()[0].listeners[0]
	return net.JoinHostPort(l.host, fmt.Sprint(l.port))
}

// createTopic makes a topic past the listener.
func (g *ground) createTopic(name string, c partition.TopicConfig) *partition.Topic {
	g.t.Helper()
	ctx := eventually(g.t)
	var topic *partition.Topic
	var err error
	if g.local == nil {
		topic, err = g.store.CreateTopic(ctx, name, c)
	} else {
		if g.home && c.Assignment == nil {
			c.Assignment = g.homeReplicas(int(max(c.Partitions, 1)), 3)
		}
		topic, err = g.local.Node(1).CreateTopic(ctx, name, c)
	}
	require.NoError(g.t, err)
	g.settle()
	return topic
}

// makeTopic is createTopic for whoever has the server only.
func makeTopic(s *Server, name string, c partition.TopicConfig) *partition.Topic {
	g, _ := grounds.Load(s)
	return g.(*ground).createTopic(name, c)
}
