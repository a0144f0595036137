package kafka

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/replication"
)

// A change of configurations may wait for the controller for as long as its client wants: whoever closes the server does not wait for it, nor does what has to be
// brought into force behind it, nor the next change.
func TestCloseDoesNotWaitForAChangeOfConfigurations(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	local, err := replication.StartLocal(ctx, replication.LocalConfig{Nodes: 1, Change: func(c *replication.Config) {
		c.Listeners = []replication.Listener{{Name: "PLAINTEXT", Host: "127.0.0.1", Port: uint16(l.Addr().(*net.TCPAddr).Port)}}
	}})
	require.NoError(t, err)
	defer local.Close()
	s, err := ServeNode(l, local.Node(1), Config{})
	require.NoError(t, err)
	require.NoError(t, s.admin.alter.take(ctx)) // as a change does that is under way
	require.NoError(t, local.Node(1).PutSettings(ctx, partition.Setting{Key: configArea + "broker//message.max.bytes", Value: []byte("4321")}))
	table, err := s.admin.dynamic.get(s.store)
	require.NoError(t, err)
	require.Equal(t, "4321", table[kindBroker][""]["message.max.bytes"])
	followed := make(chan struct{})
	s.work.Go(func() {
		defer close(followed)
		s.followConfigs(s.life) // it has something to bring into force, and cannot
	})
	next, give := context.WithCancel(ctx)
	give()
	require.ErrorIs(t, s.admin.alter.take(next), context.Canceled)
	require.NoError(t, s.Close())
	<-followed
	s.admin.alter.give()
}

// What AddBroker on a node cannot do now it can do later: the other nodes' brokers are not taken for its own.
func TestANodeWhoseBrokerCouldNotBeAddedTakesItLater(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	local, err := replication.StartLocal(ctx, replication.LocalConfig{Nodes: 2, Change: func(c *replication.Config) {
		c.Listeners = []replication.Listener{{Name: "PLAINTEXT", Host: "127.0.0.1", Port: port}}
	}})
	require.NoError(t, err)
	defer local.Close()
	s, err := NewOfNode(local.Node(1), Config{})
	require.NoError(t, err)
	defer s.Close()
	broker := BrokerConfig{Listeners: []ListenerConfig{{Name: "PLAINTEXT", Listener: l}}}
	life := s.life
	over, end := context.WithCancel(ctx)
	end()
	require.NoError(t, s.admin.alter.take(ctx)) // as a change of configurations does, behind which AddBroker waits
	s.life = over
	_, err = s.AddBroker(broker)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, s.ownBrokers())
	s.life = life
	s.admin.alter.give()
	b, err := s.AddBroker(broker)
	require.NoError(t, err)
	require.Equal(t, []*Broker{b}, s.ownBrokers())
}
