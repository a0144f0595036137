package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/partlog/partlog/producer"
	"github.com/partlog/partlog/producer/txn"
)

var (
	_ producer.Backend      = (*Cluster)(nil)
	_ group.Backend         = (*Cluster)(nil)
	_ consumer.Source       = (*Cluster)(nil)
	_ txn.Backend           = (*Cluster)(nil)
	_ partitiontest.Backend = (*Cluster)(nil)
)

// serving is a server with brokers on real connections.
func serving(t testing.TB, brokers int) (*Server, string) {
	server, _, addr := newCluster(t, brokers, partition.Config{}, Config{Properties: map[string]string{"group.initial.rebalance.delay.ms": "0"}})
	return server, addr
}

// somewhere is the address of such a server, or of the Apache Kafka of -kafka.
func somewhere(t testing.TB, brokers int) string {
	if *oracle != "" {
		return *oracle
	}
	_, addr := serving(t, brokers)
	return addr
}

// fresh makes a topic without records.
func fresh(t testing.TB, c *Cluster, topic string, partitions int32) {
	t.Helper()
	err := c.DeleteTopic(eventually(t), topic)
	if !errors.Is(err, partition.ErrUnknownTopicOrPartition) {
		require.NoError(t, err)
	}
	_, err = c.CreateTopic(eventually(t), topic, partition.TopicConfig{Partitions: partitions})
	require.NoError(t, err)
}

func connect(t testing.TB, addr string, c ConnectConfig) *Cluster {
	t.Helper()
	if c.HeartbeatInterval == 0 {
		c.HeartbeatInterval = 20 * time.Millisecond
	}
	cluster, err := Connect(eventually(t), addr, c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Close()) })
	return cluster
}

// A cluster keeps the contract that a store keeps, with one broker and with leaders on three.
func TestClusterConforms(t *testing.T) {
	for _, brokers := range []int{1, 3} {
		t.Run(fmt.Sprint(brokers), func(t *testing.T) {
			partitiontest.Conformance(t, func(t *testing.T, topic string, partitions int32) partitiontest.Backend {
				cluster := connect(t, somewhere(t, brokers), ConnectConfig{})
				fresh(t, cluster, topic, partitions)
				return cluster
			})
		})
	}
}

type order struct{ Cents int }

// The contract snippet of the architecture, with one line changed.
func TestContractSnippetRunsOverACluster(t *testing.T) {
	addr := somewhere(t, 1)
	ctx, cancel := context.WithCancel(eventually(t))
	var charged []int
	before := connect(t, addr, ConnectConfig{})
	fresh(t, before, "orders", 8)
	require.NoError(t, before.DeleteTopic(ctx, "orders"))
	err := func() error {
		store, err := Connect(ctx, addr, ConnectConfig{})
		if err != nil {
			return err
		}
		defer store.Close()

		_, err = store.CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 8})
		if err != nil && !errors.Is(err, partition.ErrTopicAlreadyExists) {
			return err
		}

		p, err := producer.New(store, producer.Config{})
		if err != nil {
			return err
		}
		defer p.Close()
		orders := producer.For(p, "orders", producer.String, producer.JSON[order])
		if _, err := orders.Send(ctx, "customer-42", order{Cents: 1999}); err != nil {
			return err
		}

		billing, err := group.Open(store, "billing", group.Config{})
		if err != nil {
			return err
		}
		defer billing.Close()
		c, err := consumer.Join(ctx, billing, consumer.Config{Topics: []string{"orders"}})
		if err != nil {
			return err
		}
		defer c.Close()

		for rec, err := range consumer.Records(ctx, c, consumer.String, consumer.JSON[order]) {
			if err != nil {
				return err
			}
			charged = append(charged, rec.Value.Cents)
			cancel()
		}
		return nil
	}()
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []int{1999}, charged)
}

// What was acknowledged is committed, and the next member of the group begins behind it.
func TestGroupOverAClusterGoesOnWhereItWas(t *testing.T) {
	cluster := connect(t, somewhere(t, 3), ConnectConfig{})
	ctx := eventually(t)
	fresh(t, cluster, "goes-on", 6)
	p, err := producer.New(cluster, producer.Config{})
	require.NoError(t, err)
	for i := range 200 {
		_, err := p.Send(ctx, producer.Record{Topic: "goes-on", Key: fmt.Append(nil, i), Value: fmt.Append(nil, i)})
		require.NoError(t, err)
	}
	require.NoError(t, p.Close())
	g, err := group.Open(cluster, "goes-on", group.Config{})
	require.NoError(t, err)
	var got []string
	for len(got) < 200 {
		c, err := consumer.Join(ctx, g, consumer.Config{Topics: []string{"goes-on"}})
		require.NoError(t, err)
		n := 0
		for r, err := range c.Records(ctx) {
			require.NoError(t, err)
			if n++; n > 50 { // not acknowledged
				break
			}
			got = append(got, string(r.Value))
			if len(got) == 200 {
				break
			}
		}
		require.NoError(t, c.Close())
	}
	slices.Sort(got)
	require.Len(t, slices.Compact(got), 200)
}

// Two members of this process share a group with one of franz-go over the wire; each record is handled, and while nobody
// fails, once.
func TestMembersOverAClusterShareAGroupWithOthers(t *testing.T) {
	addr := somewhere(t, 3)
	cluster := connect(t, addr, ConnectConfig{})
	ctx := eventually(t)
	fresh(t, cluster, "orders", 6)
	g, err := group.Open(cluster, "g", group.Config{Assignors: []group.Assignor{group.CooperativeSticky}})
	require.NoError(t, err)
	w := newCrowd(t, addr)
	var loops sync.WaitGroup
	inner, cancel := context.WithCancel(ctx)
	var members []*consumer.Consumer
	for range 2 {
		c, err := consumer.Join(ctx, g, consumer.Config{Topics: []string{"orders"}})
		require.NoError(t, err)
		members = append(members, c)
		loops.Go(func() {
			for r, err := range c.Records(inner) {
				if err != nil {
					if !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
					return
				}
				w.mu.Lock()
				w.seen[string(r.Value)]++
				w.changed.Broadcast()
				w.mu.Unlock()
			}
		})
	}
	other := w.join()
	w.mu.Lock()
	for len(w.owned[other]) != 2 { // six partitions, three members
		w.changed.Wait()
	}
	w.mu.Unlock()
	p, err := producer.New(cluster, producer.Config{})
	require.NoError(t, err)
	for i := range 600 {
		p.SendAsync(ctx, producer.Record{Topic: "orders", Key: fmt.Append(nil, i), Value: fmt.Append(nil, i)}, func(r producer.Result) {
			if r.Err != nil {
				t.Error(r.Err)
			}
		})
	}
	require.NoError(t, p.Flush(ctx))
	require.NoError(t, p.Close())
	w.mu.Lock()
	for len(w.seen) < 600 {
		w.changed.Wait()
	}
	w.mu.Unlock()
	cancel()
	loops.Wait()
	for _, c := range members {
		require.NoError(t, c.Close())
	}
}

func TestUnreachableClusterIsATypedErrorThatNamesItsAddresses(t *testing.T) {
	const addr = "127.0.0.1:1" // one that was free a moment ago may be somebody else's
	_, err := Connect(eventually(t), addr, ConnectConfig{})
	unreachable, ok := errors.AsType[*UnreachableError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, []string{addr}, unreachable.Addresses)
	require.True(t, partition.Retriable(err))
	require.Contains(t, err.Error(), addr)
	for key, c := range map[string]ConnectConfig{
		"sasl.mechanism": {Mechanism: "GSSAPI"}, "security.protocol": {Protocol: 9}, "request.timeout.ms": {RequestTimeout: -1},
	} {
		_, err := Connect(t.Context(), addr, c)
		wrong, ok := errors.AsType[*partition.ConfigError](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, key, wrong.Key)
	}
	_, err = Connect(t.Context(), " , ", ConnectConfig{})
	require.ErrorIs(t, err, partition.ErrInvalidConfig)
}
