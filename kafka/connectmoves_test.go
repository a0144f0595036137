package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// While leaders and coordinators move from broker to broker and brokers are stopped and started, a producer and a member of a
// group go on: every record is acknowledged, is there once and in the order of its key, and is handled.
func TestProducerAndGroupOutliveMovesOfTheirBrokers(t *testing.T) {
	server, addr := serving(t, 3)
	cluster := connect(t, addr, ConnectConfig{})
	ctx := eventually(t)
	fresh(t, cluster, "moving", 3)
	g, err := group.Open(cluster, "moving", group.Config{})
	require.NoError(t, err)
	c, err := consumer.Join(ctx, g, consumer.Config{Topics: []string{"moving"}, CommitInterval: 10 * time.Millisecond})
	require.NoError(t, err)
	p, err := producer.New(cluster, producer.Config{})
	require.NoError(t, err)

	const records = 300
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	got := make(chan map[int32][]string, 1)
	go func() {
		seen := make(map[int32][]string)
		known := make(map[string]bool)
		for r, err := range c.Records(inner) {
			if err != nil {
				if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				break
			}
			if v := string(r.Value); !known[v] {
				known[v] = true
				seen[r.Partition] = append(seen[r.Partition], v)
			}
			if len(known) == records {
				break
			}
		}
		got <- seen
	}()
	brokers := server.Brokers()
	for i := range records {
		switch i % 30 {
		case 5, 15:
			for n := range int32(3) {
				require.NoError(t, server.MoveLeader(ctx, partition.TopicPartition{Topic: "moving", Partition: n}, brokers[(i/10+int(n))%3].ID()))
			}
		case 20:
			require.NoError(t, server.MoveCoordinator(ctx, false, "moving", brokers[i/30%3].ID()))
		case 25:
			if onNodes(t) {
				break // a node that ends is in node_test.go
			}
			b := brokers[(i/30+1)%3]
			require.NoError(t, b.Stop())
			require.NoError(t, b.Start())
		}
		_, err := p.Send(ctx, producer.Record{Topic: "moving", Partition: producer.To(int32(i % 3)), Value: fmt.Append(nil, i)})
		require.NoError(t, err)
	}
	require.NoError(t, p.Close())
	seen := <-got
	for n := range 3 {
		var want []string
		for i := n; i < records; i += 3 {
			want = append(want, fmt.Sprint(i))
		}
		require.Equal(t, want, seen[int32(n)])
		end, err := cluster.ListOffsets(ctx, partition.TopicPartition{Topic: "moving", Partition: int32(n)}, partition.TimestampLatest)
		require.NoError(t, err)
		require.Equal(t, partition.Offset(records/3), end, "nothing is there twice")
	}
	cancel()
	require.NoError(t, c.Close())
}

// Each mechanism over TLS and over plaintext; with a wrong password, and without trust in the server, Connect says why.
func TestConnectAuthenticatesItselfAndTheBroker(t *testing.T) {
	server, trusted := certificate(t, pkix.Name{CommonName: "broker"})
	for _, protocol := range []SecurityProtocol{SASLPlaintext, SASLTLS, TLS} {
		l := ListenerConfig{Protocol: protocol}
		if protocol.tls() {
			l.TLS = &tls.Config{Certificates: []tls.Certificate{server}}
		}
		if protocol.sasl() {
			l.Mechanisms, l.Users = []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}, map[string]Password{"alice": "secret"}
		}
		f := newFortress(t, Config{}, l)
		mechanisms := []string{""}
		if protocol.sasl() {
			mechanisms = l.Mechanisms
			for _, m := range l.Mechanisms[1:] {
				require.NoError(t, f.server.PutScramUser(t.Context(), ScramUser{Name: "alice", Mechanism: m, Password: "secret", Iterations: 4096}))
			}
		}
		for _, m := range mechanisms {
			config := ConnectConfig{Protocol: protocol, Mechanism: m}
			if protocol.tls() {
				config.TLS = &tls.Config{RootCAs: trusted}
			}
			if m != "" {
				config.Username, config.Password = "alice", "secret"
			}
			cluster := connect(t, f.addr, config)
			fresh(t, cluster, "t", 1)
			p, err := producer.New(cluster, producer.Config{})
			require.NoError(t, err)
			_, err = p.Send(eventually(t), producer.Record{Topic: "t", Value: []byte(m)})
			require.NoError(t, err)
			require.NoError(t, p.Close())
			if m != "" {
				config.Password = "guess"
				_, err = Connect(eventually(t), f.addr, config)
				refused, ok := errors.AsType[*BrokerError](err)
				require.True(t, ok, "%v", err)
				require.Equal(t, "SASL_AUTHENTICATION_FAILED", refused.Name)
				require.False(t, partition.Retriable(err))
			}
			if protocol.tls() {
				config.TLS = nil
				_, err = Connect(eventually(t), f.addr, config)
				unreachable, ok := errors.AsType[*UnreachableError](err)
				require.True(t, ok, "%v", err)
				require.ErrorContains(t, unreachable.Err, "certificate")
			}
		}
	}
}

// With every acks the record arrives; with none the result has no offset.
func TestAcksOverAClusterAreWhatTheProducerSays(t *testing.T) {
	cluster := connect(t, somewhere(t, 1), ConnectConfig{})
	ctx := eventually(t)
	fresh(t, cluster, "acks", 1)
	tp := partition.TopicPartition{Topic: "acks"}
	for i, acks := range []partition.Acks{partition.AcksAll, partition.AcksLeader, partition.AcksNone} {
		p, err := producer.New(cluster, producer.Config{Acks: acks, DisableIdempotence: true})
		require.NoError(t, err)
		r, err := p.Send(ctx, producer.Record{Topic: "acks", Value: []byte("v")})
		require.NoError(t, err)
		require.NoError(t, p.Close())
		if acks == partition.AcksNone {
			require.Equal(t, partition.Offset(-1), r.Offset)
		} else {
			require.Equal(t, partition.Offset(i), r.Offset)
		}
	}
	for {
		rs, err := cluster.Fetch(ctx, partition.FetchRequest{MaxWait: time.Second, Partitions: []partition.FetchPosition{{TopicPartition: tp, Offset: 2, LeaderEpoch: -1}}})
		require.NoError(t, err)
		if len(rs[0].Batches) > 0 {
			break
		}
		if rs[0].Err != nil { // the leader has not got it yet
			require.ErrorIs(t, rs[0].Err, partition.ErrOffsetOutOfRange)
		}
	}
}

// Topics and groups are looked after by the same functions as those of a store.
func TestToolsOverAClusterSeeAndChangeWhatIsThere(t *testing.T) {
	cluster := connect(t, somewhere(t, 2), ConnectConfig{})
	ctx := eventually(t)
	fresh(t, cluster, "tools", 2)
	_, err := cluster.CreateTopic(ctx, "tools", partition.TopicConfig{})
	require.ErrorIs(t, err, partition.ErrTopicAlreadyExists)
	_, err = cluster.CreateTopic(ctx, "no/topic", partition.TopicConfig{})
	require.ErrorIs(t, err, partition.ErrInvalidTopic)
	_, err = cluster.CreateTopic(ctx, "keyed", partition.TopicConfig{KeyIndex: true})
	require.ErrorIs(t, err, partition.ErrUnsupported)
	require.ErrorIs(t, cluster.DeleteTopic(ctx, "no-such-topic"), partition.ErrUnknownTopicOrPartition)
	require.NoError(t, cluster.CreatePartitions(ctx, "tools", 3))
	require.ErrorIs(t, cluster.CreatePartitions(ctx, "tools", 3), partition.ErrInvalidPartitions)
	require.NoError(t, cluster.AlterTopicConfig(ctx, "tools", map[string]string{"max.message.bytes": "2000"}))
	require.ErrorIs(t, cluster.AlterTopicConfig(ctx, "tools", map[string]string{"max.message.bytes": "much"}), partition.ErrInvalidConfig)
	d, err := cluster.DescribeTopic(ctx, "tools")
	require.NoError(t, err)
	require.Equal(t, int32(3), d.Partitions)
	require.Equal(t, map[string]string{"max.message.bytes": "2000"}, map[string]string{"max.message.bytes": d.Overrides["max.message.bytes"]})
	all, err := cluster.ListTopics(ctx)
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(all), "tools")

	p, err := producer.New(cluster, producer.Config{})
	require.NoError(t, err)
	_, err = p.Send(ctx, producer.Record{Topic: "tools", Value: make([]byte, 5000)})
	require.ErrorIs(t, err, partition.ErrMessageTooLarge)
	for range 5 {
		_, err = p.Send(ctx, producer.Record{Topic: "tools", Partition: producer.To(1), Value: []byte("v")})
		require.NoError(t, err)
	}
	require.NoError(t, p.Close())
	tp := partition.TopicPartition{Topic: "tools", Partition: 1}
	start, err := cluster.DeleteRecords(ctx, tp, 2)
	require.NoError(t, err)
	require.Equal(t, partition.Offset(2), start)
	_, err = cluster.DeleteRecords(ctx, tp, 99)
	require.ErrorIs(t, err, partition.ErrOffsetOutOfRange)
	epoch, end, err := cluster.EpochEnd(ctx, tp, 0)
	require.NoError(t, err)
	require.Equal(t, partition.LeaderEpoch(0), epoch)
	require.Equal(t, partition.Offset(5), end)

	g, err := group.Open(cluster, "tools", group.Config{})
	require.NoError(t, err)
	require.NoError(t, g.Commit(ctx, map[partition.TopicPartition]group.CommittedOffset{tp: {Offset: 3, LeaderEpoch: -1, Metadata: "note"}}))
	err = g.Commit(ctx, map[partition.TopicPartition]group.CommittedOffset{{Topic: "no-such-topic"}: {Offset: 3, LeaderEpoch: -1}, tp: {Offset: 4, LeaderEpoch: -1}})
	refused, ok := errors.AsType[*group.CommitError](err)
	require.True(t, ok, "%v", err)
	require.Len(t, refused.Partitions, 1)
	lag, err := g.Lag(ctx)
	require.NoError(t, err)
	require.Equal(t, map[partition.TopicPartition]int64{tp: 1}, lag)
	c, err := consumer.Join(ctx, g, consumer.Config{Topics: []string{"tools"}})
	require.NoError(t, err)
	standings, description, err := g.Standings(ctx)
	require.NoError(t, err)
	require.Equal(t, group.Stable, description.State)
	require.Len(t, standings, 3)
	require.NotNil(t, standings[1].Owner)
	require.ErrorIs(t, g.Commit(ctx, map[partition.TopicPartition]group.CommittedOffset{tp: {Offset: 1, LeaderEpoch: -1}}), group.ErrUnknownMemberID)
	require.ErrorIs(t, group.Delete(ctx, cluster, "tools"), group.ErrGroupNotEmpty)
	require.NoError(t, c.Close())
	listed, err := group.List(ctx, cluster, group.ListGroupsRequest{})
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(listed), "tools")
	require.NoError(t, g.DeleteOffsets(ctx, tp))
	committed, err := g.Committed(ctx)
	require.NoError(t, err)
	require.NotContains(t, committed, tp)
	require.NoError(t, group.Delete(ctx, cluster, "tools"))
	require.ErrorIs(t, group.Delete(ctx, cluster, "tools"), group.ErrGroupIDNotFound)
	require.NoError(t, cluster.DeleteTopic(ctx, "tools"))
}

// Close ends who waits, and a closed cluster says so.
func TestClosedClusterSaysSo(t *testing.T) {
	_, addr := serving(t, 1)
	cluster := connect(t, addr, ConnectConfig{})
	fresh(t, cluster, "t", 1)
	at := []partition.FetchPosition{{TopicPartition: partition.TopicPartition{Topic: "t"}, LeaderEpoch: -1}}
	_, err := cluster.Fetch(t.Context(), partition.FetchRequest{Partitions: at})
	require.NoError(t, err)
	waiting := make(chan error)
	go func() {
		_, err := cluster.Fetch(context.Background(), partition.FetchRequest{MaxWait: time.Hour, Partitions: at})
		waiting <- err
	}()
	require.NoError(t, cluster.Close())
	require.ErrorIs(t, <-waiting, partition.ErrClosed)
	_, err = cluster.Metadata(t.Context(), nil)
	require.ErrorIs(t, err, partition.ErrClosed)
	_, err = group.Open(cluster, "g", group.Config{})
	require.ErrorIs(t, err, partition.ErrClosed)
	require.NoError(t, cluster.Close())
}
