package kafka

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/replication"
)

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
	for i := range n {
		g.sockets = append(g.sockets, terms.listen(g.t, i))
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
		c.Listeners = nil
		for _, own := range terms.broker(i, g.sockets[i]).Listeners {
			host, port, err := own.check(terms.server.AllowPlaintext)
			require.NoError(g.t, err)
			c.Listeners = append(c.Listeners, replication.Listener{Name: own.Name, Protocol: int16(own.Protocol), Host: host, Port: uint16(port)})
		}
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
