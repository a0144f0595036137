package kafkatest_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/partlog/partlog/kafka/kafkatest"
)

// bound ends what would hang: a test that runs into it has failed, however slow the machine.
func bound(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// is asserts as patiently.
func is(t testing.TB, c *kafkatest.Cluster) *kafkatest.Assertions {
	return c.Assert(t).Within(bound(t), 20*time.Minute)
}

// client is kgo, in a hurry, but not to give up: a cluster that crashes may close a connection before its first answer, which
// kgo takes for a wrong protocol unless it is told otherwise, and a slow machine may take long to come back.
func client(t testing.TB, c *kafkatest.Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	all := []kgo.Opt{kgo.SeedBrokers(c.Addrs()...), kgo.Dialer(c.Dialer()), kgo.MetadataMinAge(10 * time.Millisecond), kgo.FetchMaxWait(100 * time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }),
		kgo.AlwaysRetryEOF(), kgo.RequestRetries(10_000), kgo.RequestTimeoutOverhead(10 * time.Minute)}
	if tls := c.TLSConfig(); tls != nil {
		all = append(all[:1], append([]kgo.Opt{kgo.DialTLSConfig(tls)}, all[2:]...)...)
	}
	k, err := kgo.NewClient(append(all, opts...)...)
	require.NoError(t, err)
	t.Cleanup(k.Close)
	return k
}

func produce(t testing.TB, k *kgo.Client, topic string, values ...string) {
	t.Helper()
	for _, v := range values {
		require.NoError(t, k.ProduceSync(bound(t), &kgo.Record{Topic: topic, Value: []byte(v)}).FirstErr())
	}
}

// consume reads until there are n records.
func consume(t testing.TB, k *kgo.Client, n int) (values []string) {
	t.Helper()
	ctx := bound(t)
	for len(values) < n {
		fs := k.PollFetches(ctx)
		require.NoError(t, ctx.Err(), "got %d of %d", len(values), n)
		fs.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

func reader(t testing.TB, c *kafkatest.Cluster, topic string, opts ...kgo.Opt) *kgo.Client {
	return client(t, c, append([]kgo.Opt{kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}, opts...)...)
}

func TestWhatIsProducedIsConsumed(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("orders", 3))
	produce(t, client(t, c), "orders", "a", "b", "c")
	require.ElementsMatch(t, []string{"a", "b", "c"}, consume(t, reader(t, c, "orders"), 3))
}

func TestSeveralBrokersShareTheLeaders(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Brokers(3), kafkatest.Racks("a", "b"), kafkatest.Topic("orders", 6))
	require.Len(t, c.Addrs(), 3)
	led := map[int32]int{}
	for p := range int32(6) {
		leader, err := c.Leader("orders", p)
		require.NoError(t, err)
		led[leader]++
	}
	require.Equal(t, map[int32]int{1: 2, 2: 2, 3: 2}, led)
	require.Equal(t, "b", c.Server().Brokers()[1].Rack())
	k := client(t, c, kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	produce(t, k, "orders", "a", "b", "c", "d", "e", "f")
	require.Len(t, consume(t, reader(t, c, "orders"), 6), 6)
}

func TestUsersAuthenticateOverTLSWithEachMechanism(t *testing.T) {
	c := kafkatest.New(t, kafkatest.TLS(), kafkatest.User("alice", "secret"), kafkatest.User("bob", "other", "SCRAM-SHA-512"))
	alice, bob := scram.Auth{User: "alice", Pass: "secret"}, scram.Auth{User: "bob", Pass: "other"}
	for i, m := range []kgo.Opt{
		kgo.SASL(plain.Auth{User: "alice", Pass: "secret"}.AsMechanism()), kgo.SASL(alice.AsSha256Mechanism()),
		kgo.SASL(alice.AsSha512Mechanism()), kgo.SASL(bob.AsSha512Mechanism()),
	} {
		produce(t, client(t, c, m, kgo.AllowAutoTopicCreation()), fmt.Sprint("topic-", i), "x")
	}
	wrong := client(t, c, kgo.SASL(plain.Auth{User: "bob", Pass: "other"}.AsMechanism()))
	require.Error(t, wrong.Ping(bound(t)))
	require.Contains(t, string(c.CA()), "BEGIN CERTIFICATE")
}

func TestTheNetworkInMemoryWorksInSimulatedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := kafkatest.New(t, kafkatest.MemoryNetwork(), kafkatest.Brokers(2), kafkatest.Topic("orders", 1))
		require.Equal(t, []string{"broker-1:9092", "broker-2:9092"}, c.Addrs())
		k := client(t, c)
		produce(t, k, "orders", "a")
		start := time.Now()
		r := reader(t, c, "orders", kgo.ConsumerGroup("g"), kgo.FetchMaxWait(20*time.Second))
		require.Equal(t, []string{"a"}, consume(t, r, 1))
		time.Sleep(time.Hour) // heartbeats, fetches and metadata requests of an hour
		require.GreaterOrEqual(t, time.Since(start), time.Hour)
		produce(t, k, "orders", "b")
		require.Equal(t, []string{"b"}, consume(t, r, 1))
		r.Close()
		k.Close()
	})
}

func TestTopicsAreMadeOnDemandUnlessForbidden(t *testing.T) {
	c := kafkatest.New(t, kafkatest.AutoCreate(false))
	k := client(t, c, kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(1))
	require.Error(t, k.ProduceSync(bound(t), &kgo.Record{Topic: "no", Value: []byte("x")}).FirstErr())
}

func TestMalformedSettingsAreErrors(t *testing.T) {
	for _, o := range []kafkatest.Option{
		kafkatest.Property("no.such.property", "1"), kafkatest.Topic("orders", 1, "no.such.setting", "1"), kafkatest.Topic("bad name!", 1),
		kafkatest.Rules(kafkatest.Rule{API: "NoSuchAPI"}), kafkatest.Rules(kafkatest.Rule{Topic: "["}),
	} {
		_, err := kafkatest.Start(o)
		require.Error(t, err)
	}
}

func TestCloseIsIdempotentAndEndsEverything(t *testing.T) {
	c, err := kafkatest.Start()
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.NoError(t, c.Close())
	require.ErrorIs(t, c.StopBroker(1), kafkatest.ErrClosed)
	require.ErrorIs(t, c.Crash(kafkatest.Kill), kafkatest.ErrClosed)
	require.ErrorIs(t, c.Reopen(), kafkatest.ErrClosed)
}
