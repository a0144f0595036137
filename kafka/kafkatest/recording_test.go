package kafkatest_test

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/partlog/partlog/kafka/kafkatest"
)

// conversation is what a client has with brokers: it produces, and consumes in a group.
func conversation(t testing.TB, addrs ...string) {
	t.Helper()
	ctx := bound(t)
	k, err := kgo.NewClient(kgo.SeedBrokers(addrs...), manual, kgo.ClientID("teller"))
	require.NoError(t, err)
	defer k.Close()
	for i, v := range []string{"a", "b", "c"} {
		require.NoError(t, k.ProduceSync(ctx, &kgo.Record{Topic: "orders", Partition: int32(i % 2), Value: []byte(v)}).FirstErr())
	}
	r, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.ConsumerGroup("billing"), kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.ClientID("listener"))
	require.NoError(t, err)
	defer r.Close()
	require.ElementsMatch(t, []string{"a", "b", "c"}, consume(t, r, 3))
	require.NoError(t, r.CommitUncommittedOffsets(ctx))
}

// recordingOf records what f does with a cluster.
func recordingOf(t testing.TB, c *kafkatest.Cluster, f func(addrs ...string)) []kafkatest.Exchange {
	t.Helper()
	var file bytes.Buffer
	r, err := kafkatest.StartRecorder(kafkatest.RecorderConfig{Brokers: c.Addrs(), Output: &file})
	require.NoError(t, err)
	f(r.Addrs()...)
	require.NoError(t, r.Close())
	all, err := kafkatest.ReadRecording(&file)
	require.NoError(t, err)
	require.NotEmpty(t, all)
	return all
}

func threeBrokers(t testing.TB, opts ...kafkatest.Option) *kafkatest.Cluster {
	return kafkatest.New(t, append(opts, kafkatest.Brokers(3), kafkatest.Topic("orders", 2))...)
}

// No connection reaches the cluster but the recorder's: as many as the recording has.
func TestARecordedClientStaysOnTheRecorder(t *testing.T) {
	c := threeBrokers(t)
	all := recordingOf(t, c, func(addrs ...string) { conversation(t, addrs...) })
	said := map[string]bool{}
	conns, brokers := map[int64]bool{}, map[string]bool{}
	for i, x := range all {
		require.EqualValues(t, i+1, x.Seq)
		api, _, _ := strings.Cut(x.Summary, " ")
		said[api] = true
		conns[x.Connection], brokers[x.Broker] = true, true
	}
	for _, api := range []string{"ApiVersions", "Metadata", "Produce", "Fetch", "FindCoordinator", "JoinGroup", "SyncGroup", "OffsetCommit"} {
		require.True(t, said[api], api)
	}
	seen := map[uint64]bool{}
	for _, call := range c.Calls() {
		seen[call.Conn.ID] = true
		require.Contains(t, []string{"teller", "listener"}, call.ClientID)
	}
	require.LessOrEqual(t, len(seen), len(conns))
	require.GreaterOrEqual(t, len(brokers), 2, "leaders are spread over the brokers")
	for b := range brokers {
		require.Contains(t, c.Addrs(), b)
	}
}

func TestAReplayAnswersAsTheBrokersDid(t *testing.T) {
	c := threeBrokers(t)
	all := recordingOf(t, c, func(addrs ...string) { conversation(t, addrs...) })
	require.NoError(t, c.Close())
	replay, err := kafkatest.NewReplay(all)
	require.NoError(t, err)
	defer replay.Close()
	ctx := bound(t)
	k, err := kgo.NewClient(kgo.SeedBrokers(replay.Addr()), manual, kgo.ClientID("another"))
	require.NoError(t, err)
	defer k.Close()
	for i, v := range []string{"a", "b", "c"} {
		r := &kgo.Record{Topic: "orders", Partition: int32(i % 2), Value: []byte(v)}
		require.NoError(t, k.ProduceSync(ctx, r).FirstErr(), replay.Unknown())
		require.EqualValues(t, i/2, r.Offset)
	}
	require.Empty(t, replay.Unknown())
}

func TestAReplayHandsOutRecordsOnce(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("orders", 1))
	for _, v := range []string{"a", "b", "c"} {
		_, err := c.Produce(t.Context(), "orders", 0, kafkatest.Record{Value: []byte(v)})
		require.NoError(t, err)
	}
	read := func(addrs ...string) {
		k, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"orders": {0: kgo.NewOffset().At(0)}}))
		require.NoError(t, err)
		defer k.Close()
		require.Equal(t, []string{"a", "b", "c"}, consume(t, k, 3))
	}
	all := recordingOf(t, c, read)
	replay, err := kafkatest.NewReplay(all)
	require.NoError(t, err)
	defer replay.Close()
	read(replay.Addr())
}

func TestARequestThatWasNotRecordedClosesTheConnection(t *testing.T) {
	c := threeBrokers(t)
	all := recordingOf(t, c, func(addrs ...string) { conversation(t, addrs...) })
	replay, err := kafkatest.NewReplay(all)
	require.NoError(t, err)
	defer replay.Close()
	k, err := kgo.NewClient(kgo.SeedBrokers(replay.Addr()), kgo.RequestRetries(0))
	require.NoError(t, err)
	defer k.Close()
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = []string{"nobody"}
	_, err = req.RequestWith(bound(t), k)
	require.Error(t, err)
	require.NotEmpty(t, replay.Unknown())
	require.NoError(t, replay.Close())
}

func TestPasswordsAreNotRecorded(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("orders", 1), kafkatest.User("alice", "hush-hush"))
	all := recordingOf(t, c, func(addrs ...string) {
		k, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.SASL(plain.Auth{User: "alice", Pass: "hush-hush"}.AsMechanism()))
		require.NoError(t, err)
		defer k.Close()
		require.NoError(t, k.ProduceSync(bound(t), &kgo.Record{Topic: "orders", Value: []byte("a")}).FirstErr())
	})
	authenticated := false
	for _, x := range all {
		authenticated = authenticated || strings.HasPrefix(x.Summary, "SASLAuthenticate")
		require.NotContains(t, string(x.Request)+string(x.Response)+x.Summary, "hush-hush")
	}
	require.True(t, authenticated)
}

// dialTo connects to one broker, whichever is asked for.
func dialTo(addr string) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
}

func record1(t testing.TB, c *kafkatest.Cluster) []kafkatest.Exchange {
	return recordingOf(t, c, func(addrs ...string) {
		k, err := kgo.NewClient(kgo.SeedBrokers(addrs...), manual)
		require.NoError(t, err)
		defer k.Close()
		ctx := bound(t)
		require.NoError(t, k.ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: []byte("a")}).FirstErr())
		require.NoError(t, k.ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: []byte("b")}).FirstErr())
		list := kmsg.NewPtrListOffsetsRequest()
		topic := kmsg.NewListOffsetsRequestTopic()
		topic.Topic = "orders"
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Timestamp = -1
		topic.Partitions = append(topic.Partitions, p)
		list.Topics = append(list.Topics, topic)
		_, err = list.RequestWith(ctx, k)
		require.NoError(t, err)
	})
}

func TestTheSameBrokerHasNoDifferences(t *testing.T) {
	all := record1(t, kafkatest.New(t, kafkatest.Topic("orders", 1)))
	other := kafkatest.New(t, kafkatest.Topic("orders", 1))
	found, err := kafkatest.Compare(bound(t), all, kafkatest.CompareConfig{Dial: dialTo(other.Addrs()[0])})
	require.NoError(t, err)
	require.Empty(t, found)
	is(t, other).Records("orders", 2)
}

func TestDifferencesAreToldFieldByField(t *testing.T) {
	all := record1(t, kafkatest.New(t, kafkatest.Topic("orders", 1)))
	other := kafkatest.New(t, kafkatest.Topic("orders", 1), kafkatest.As(kafkatest.Kafka39))
	_, err := other.Produce(t.Context(), "orders", 0, kafkatest.Record{Value: []byte("earlier")})
	require.NoError(t, err)
	var seen []string
	found, err := kafkatest.Compare(bound(t), all, kafkatest.CompareConfig{Dial: dialTo(other.Addrs()[0]), Skip: []string{"Metadata", "Produce", "InitProducerID"}})
	require.NoError(t, err)
	for _, d := range found {
		seen = append(seen, strings.Join([]string{d.API, d.Field, d.Recorded, d.Got}, " | "))
	}
	require.Contains(t, strings.Join(seen, "\n"), "ListOffsets v10 | ")
	require.Contains(t, strings.Join(seen, "\n"), ".MaxVersion | 13 | 11")

	// The persona does not serve ListOffsets 10 at all; the plain broker answers with another offset.
	other = kafkatest.New(t, kafkatest.Topic("orders", 1))
	_, err = other.Produce(t.Context(), "orders", 0, kafkatest.Record{Value: []byte("earlier")})
	require.NoError(t, err)
	found, err = kafkatest.Compare(bound(t), all, kafkatest.CompareConfig{Dial: dialTo(other.Addrs()[0]), Ignore: []string{"Partitions.BaseOffset"}})
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, "Topics[0].Partitions[0].Offset", found[0].Field)
	require.Equal(t, []string{"2", "3"}, []string{found[0].Recorded, found[0].Got})
	_, err = kafkatest.Compare(bound(t), all, kafkatest.CompareConfig{Skip: []string{"Nonsense"}})
	require.ErrorContains(t, err, "Nonsense")
}
