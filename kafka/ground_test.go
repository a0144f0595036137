package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
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
	none     bool     // no broker at all
	racks    []string // of the brokers
	listener ListenerConfig
	spread   bool // leaders are anywhere although the test is of one broker
}

// onNodes reports whether a test runs on a cluster of three nodes: with PARTLOG_TEST_NODES=3 all do, else those below TestOnThreeNodes.
func onNodes(t testing.TB) bool {
	return os.Getenv("PARTLOG_TEST_NODES") == "3" || strings.HasPrefix(t.Name(), "TestOnThreeNodes/")
}

// onOneStore skips a test that means nothing on a cluster, and says why.
func onOneStore(t testing.TB, why string) {
	t.Helper()
	if onNodes(t) {
		t.Skip("on one store only: " + why)
	}
}

// TestOnThreeNodes runs tests of the listener on three nodes, one or two of each kind. PARTLOG_TEST_NODES=3 go test ./kafka runs all.
func TestOnThreeNodes(t *testing.T) {
	if os.Getenv("PARTLOG_TEST_NODES") == "3" {
		t.Skip("all tests are on three nodes")
	}
	if testing.Short() {
		t.Skip("clusters take time")
	}
	for name, f := range map[string]func(*testing.T){
		"ProduceErrorsInTheirOrder":                TestProduceErrorsInTheirOrder,
		"FetchErrorsOfPartitions":                  TestFetchErrorsOfPartitions,
		"FetchReadCommitted":                       TestFetchReadCommitted,
		"ListOffsets":                              TestListOffsets,
		"OffsetForLeaderEpoch":                     TestOffsetForLeaderEpoch,
		"DeleteRecords":                            TestDeleteRecords,
		"MetadataOfPartitionsWithoutLeader":        TestMetadataOfPartitionsWithoutLeader,
		"ReplicasByHandAreKept":                    TestReplicasByHandAreKept,
		"AReassignmentEndsWithTheReplicasAsked":    TestAReassignmentEndsWithExactlyTheReplicasAskedFor,
		"ABrokerThatIsNotTheCoordinatorSaysSo":     TestABrokerThatIsNotTheCoordinatorSaysSoInEveryApi,
		"OffsetsOfATransactionAreUnstable":         TestOffsetsOfATransactionAreUnstableUntilItEnds,
		"AnOldClientsTransaction":                  TestAnOldClientsTransaction,
		"ScriptsToThreeBrokers":                    TestScriptsOfAdminRequestsToThreeBrokersAreAnsweredAsByApacheKafka,
		"RulesAreCreatedDescribedActAndAreDeleted": TestRulesAreCreatedDescribedActAndAreDeleted,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // a cluster that starts waits most of the time
			f(t)
		})
	}
}

func newGround(t testing.TB, terms terms) *ground {
	t.Helper()
	g := &ground{t: t}
	if terms.brokers == 0 && !terms.none {
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
		_, err := g.server.AddBroker(terms.broker(i, listen(g.t)))
		require.NoError(g.t, err)
	}
}

// broker is the configuration of the i-th broker, whose own listener is l.
func (terms *terms) broker(i int, l net.Listener) BrokerConfig {
	c := terms.listener
	c.Listener = l
	b := BrokerConfig{Listeners: []ListenerConfig{c}}
	if i < len(terms.racks) {
		b.Rack = terms.racks[i]
	}
	return b
}

// parallel has a test run beside others where all are on nodes: a cluster that starts waits most of the time.
func (g *ground) parallel() {
	t, ok := g.t.(*testing.T)
	if !ok || strings.Contains(t.Name(), "/") {
		return
	}
	if _, again := beside.LoadOrStore(t, true); !again {
		t.Parallel()
	}
}

var beside sync.Map // tests that have called Parallel

// startNodes starts three nodes, or as many as there are brokers. Nodes and elections have the system's clock, stores and groups that of the terms.
func (g *ground) startNodes(terms terms) {
	g.t.Helper()
	g.parallel()
	n := max(3, terms.brokers)
	g.home = terms.brokers == 1 && !terms.spread
	for range n {
		g.sockets = append(g.sockets, listen(g.t))
	}
	set, _, err := parseProperties(terms.server.Properties)
	require.NoError(g.t, err)
	g.local, err = replication.StartLocal(eventually(g.t), replication.LocalConfig{Nodes: n, Change: func(c *replication.Config) {
		i, fs := int(c.NodeID-1), c.Store.FS
		c.Store = terms.store
		c.Store.FS, c.Clock = fs, clock.System
		c.Groups = set.coordinator()
		c.Groups.Clock, c.Groups.Events = terms.server.Clock, terms.server.GroupEvents
		if i < len(terms.racks) {
			c.Rack = terms.racks[i]
		}
		own := terms.listener
		own.Listener = g.sockets[i]
		host, port, err := own.check(terms.server.AllowPlaintext)
		require.NoError(g.t, err)
		c.Listeners = []replication.Listener{{Name: own.Name, Protocol: int16(own.Protocol), Host: host, Port: uint16(port)}}
		// Nobody is fenced, and no leader moves by itself, however slow the machine is.
		c.SessionTimeout, c.LagTimeMax, c.PreferredInterval = 10*time.Minute, time.Hour, partition.Unlimited
	}})
	require.NoError(g.t, err)
	g.t.Cleanup(func() {
		for _, s := range g.servers {
			require.NoError(g.t, s.Close())
		}
		var all sync.WaitGroup
		for id := range g.servers {
			all.Go(func() {
				if g.local.Node(int32(id+1)) != nil {
					if err := g.local.Kill(int32(id + 1)); err != nil {
						g.t.Error(err)
					}
				}
			})
		}
		all.Wait()
		require.NoError(g.t, g.local.Close())
	})
	g.terms, g.servers = terms, make([]*Server, n)
	for i, l := range g.sockets {
		g.serveNode(int32(i+1), l)
	}
	g.server, g.store, g.backend = g.servers[0], g.servers[0].store, g.local.Node(1)
	g.t.Cleanup(func() {
		for _, s := range g.servers {
			grounds.Delete(s)
		}
	})
	g.ready()
}

// serveNode puts a node behind its listener.
func (g *ground) serveNode(id int32, l net.Listener) {
	g.t.Helper()
	s, err := NewOfNode(g.local.Node(id), g.terms.server)
	require.NoError(g.t, err)
	if g.home {
		s.place = g.homeReplicas
	}
	b := g.terms.broker(int(id-1), l)
	b.ID = id
	_, err = s.AddBroker(b)
	require.NoError(g.t, err)
	g.servers[id-1] = s
	grounds.Store(s, g)
}

// ready waits until every node knows all nodes, and that none is fenced.
func (g *ground) ready() {
	for _, s := range g.servers {
		g.await(s.node.node, func() bool { return len(s.alive()) == len(g.servers) })
	}
}

// await waits until a condition holds that can only change with a node's metadata.
func (g *ground) await(n *replication.Node, holds func() bool) {
	g.t.Helper()
	ctx := eventually(g.t)
	for {
		changed := n.MetadataChanged()
		if holds() {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			require.NoError(g.t, ctx.Err())
		}
	}
}

// grounds are those of servers.
var grounds sync.Map

// homeReplicas has the first node lead.
func (g *ground) homeReplicas(partitions, factor int) [][]int32 {
	all := make([][]int32, partitions)
	for p := range all {
		for i := range factor {
			all[p] = append(all[p], int32(i%len(g.servers)+1))
		}
	}
	return all
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

// assign gives the partitions of a topic replicas; the first of each leads.
func (g *ground) assign(topic *partition.Topic, lists [][]int32) {
	g.t.Helper()
	ctx := eventually(g.t)
	if g.local == nil {
		require.NoError(g.t, g.server.layout.assign(ctx, topic, lists))
		return
	}
	n := g.local.Node(1)
	targets := map[partition.TopicPartition][]int32{}
	for i, ids := range lists {
		targets[partition.TopicPartition{Topic: topic.Name(), Partition: int32(i)}] = ids
	}
	errs, err := n.Reassign(ctx, targets)
	require.NoError(g.t, err)
	require.Empty(g.t, errs)
	for tp, ids := range targets {
		require.NoError(g.t, g.server.MoveLeader(ctx, tp, ids[0]))
	}
	g.settle()
}

// raise gives a partition a later leader epoch, with the leader and the replicas that it had.
func (g *ground) raise(tp partition.TopicPartition) {
	g.t.Helper()
	ctx := eventually(g.t)
	if g.local == nil {
		require.NoError(g.t, g.store.RaiseLeaderEpochs(ctx, tp))
		return
	}
	at, err := g.server.node.find(ctx, tp)
	require.NoError(g.t, err)
	for _, id := range []int32{at.Leader%3 + 1, at.Leader} {
		require.NoError(g.t, g.server.MoveLeader(ctx, tp, id))
		g.settle()
	}
	require.NoError(g.t, g.server.node.reassign(ctx, tp, at.Replicas))
	g.settle()
}

// epoch is the leader epoch of a partition.
func (g *ground) epoch(topic *partition.Topic, i int32) int32 {
	at, _ := g.server.layout.at(topic, i)
	return g.server.leaderEpoch(topic, i, at)
}

// stop stops a broker: what it led is led by others, if there are any. Of nodes that is an orderly end; the first has to stay, and another one.
func (g *ground) stop(id int32) {
	g.t.Helper()
	if g.local == nil {
		require.NoError(g.t, g.server.brokerByID(id).Stop())
		return
	}
	require.NoError(g.t, g.servers[id-1].Close())
	require.NoError(g.t, g.local.Stop(id))
	g.await(g.local.Node(1), func() bool { return !g.server.brokerByID(id).running.Load() })
	g.settle()
}

// start has a broker that was stopped run again.
func (g *ground) start(id int32) {
	g.t.Helper()
	if g.local == nil {
		require.NoError(g.t, g.server.brokerByID(id).Start())
		return
	}
	l := listen(g.t)
	g.sockets[id-1] = l
	n, err := g.local.Start(id)
	require.NoError(g.t, err)
	require.NoError(g.t, n.Ready(eventually(g.t)))
	g.serveNode(id, l)
	g.await(g.local.Node(1), func() bool { return g.server.brokerByID(id).running.Load() })
	g.settle()
}

// alone leaves a partition with its leader as the only replica in sync, until end is called.
func (g *ground) alone(tp partition.TopicPartition, leader int32) (end func()) {
	g.t.Helper()
	ctx := eventually(g.t)
	topic, err := g.store.Topic(tp.Topic)
	require.NoError(g.t, err)
	at, _ := g.server.layout.at(topic, tp.Partition)
	if g.local == nil {
		require.NoError(g.t, g.server.SetISR(ctx, tp, leader))
		return func() { require.NoError(g.t, g.server.SetISR(ctx, tp, at.replicas...)) }
	}
	other := 5 - max(leader, 2) // neither the leader nor the first node
	require.NoError(g.t, g.server.node.reassign(ctx, tp, []int32{leader, other}))
	require.NoError(g.t, g.server.MoveLeader(ctx, tp, leader))
	g.settle()
	g.stop(other)
	return func() {
		g.start(other)
		for err = partition.ErrNotEnoughReplicas; errors.Is(err, partition.ErrNotEnoughReplicas); { // the leader has yet to hear of it
			require.NoError(g.t, ctx.Err())
			_, err = g.backend.Append(ctx, partition.AppendRequest{TopicPartition: tp, Batch: records(batch.Options{}, "again")})
		}
		require.NoError(g.t, err)
	}
}

// settle waits until all nodes know the same partitions, whose replicas are in sync and whose leaders lead.
func (g *ground) settle() {
	if g.local == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	ctx := eventually(g.t)
	for {
		n := g.local.Node(1)
		version := n.MetadataVersion()
		if version == g.settled {
			return
		}
		var all []replication.PartitionInfo
		g.await(n, func() bool {
			var err error
			all, err = n.PartitionsOf(ctx)
			require.NoError(g.t, err)
			running := map[int32]bool{}
			for _, b := range g.server.alive() {
				running[b.id] = true
			}
			return !slices.ContainsFunc(all, func(p replication.PartitionInfo) bool {
				canLead := slices.ContainsFunc(p.ISR, func(id int32) bool { return running[id] })
				return len(p.Adding)+len(p.Removing) > 0 || p.Leader < 0 && canLead ||
					slices.ContainsFunc(p.Replicas, func(id int32) bool { return canLead && running[id] && !slices.Contains(p.ISR, id) })
			})
		})
		for _, p := range all {
			if p.Leader < 0 {
				continue
			}
			topic, err := g.local.Node(p.Leader).Store().TopicByID(p.TopicID)
			for err != nil || topic.LeaderEpoch(p.Partition) != p.LeaderEpoch { // the leader has yet to hear of it
				require.NoError(g.t, ctx.Err())
				<-time.After(100 * time.Microsecond)
				topic, err = g.local.Node(p.Leader).Store().TopicByID(p.TopicID)
			}
			_, err = n.ListOffsets(ctx, p.TopicPartition, partition.TimestampLatest)
			require.NoError(g.t, err)
		}
		g.settled = version
	}
}

// replicated waits until all followers have what their leaders have, and the leaders know it: with acks 1 that comes after the answer.
func (g *ground) replicated() {
	ctx := eventually(g.t)
	all, err := g.local.Node(1).PartitionsOf(ctx)
	require.NoError(g.t, err)
	for _, p := range all {
		leader := g.local.Node(p.Leader)
		if leader == nil || len(p.ISR) < int(p.MinISR) { // nothing is visible before there are enough
			continue
		}
		r, err := leader.Store().Replica(p.TopicPartition, p.TopicID)
		require.NoError(g.t, err)
		for r.HighWatermark() < r.End() {
			require.NoError(g.t, ctx.Err())
			<-time.After(100 * time.Microsecond)
		}
	}
}

// settleAfter waits for what a request has begun, for whoever has the server only: tests go on where one store would be then.
func settleAfter(s *Server, req kmsg.Request) {
	g, ok := grounds.Load(s)
	if !ok || g.(*ground).local == nil {
		return
	}
	g.(*ground).settle()
	switch req.Key() {
	case keyProduce, 26, 27: // EndTxn, WriteTxnMarkers
		g.(*ground).replicated()
	}
}
