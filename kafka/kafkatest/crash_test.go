package kafkatest_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/kafka/kafkatest"
	"github.com/partlog/partlog/partition"
)

func values(t testing.TB, c *kafkatest.Cluster, topic string, p int32) (all []string) {
	t.Helper()
	records, err := c.Records(topic, p)
	require.NoError(t, err)
	for _, r := range records {
		all = append(all, string(r.Value))
	}
	return all
}

// consumeUntil reads up to a value. What was not committed before a crash may come again.
func consumeUntil(t testing.TB, k *kgo.Client, value string) {
	t.Helper()
	for consume(t, k, 1)[0] != value {
	}
}

func TestAttachedClientsGoOnAfterACrash(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Brokers(2), kafkatest.Topic("orders", 1), kafkatest.FaultyDisk())
	addrs := c.Addrs()
	k, r := client(t, c), reader(t, c, "orders", kgo.ConsumerGroup("g"))
	produce(t, k, "orders", "a")
	consumeUntil(t, r, "a")
	for i, kind := range []kafkatest.CrashKind{kafkatest.Kill, kafkatest.PowerLoss, kafkatest.Kill} {
		before := c.Server()
		require.NoError(t, c.Crash(kind))
		require.NotSame(t, before, c.Server())
		v := fmt.Sprint("after ", i)
		produce(t, k, "orders", v)
		consumeUntil(t, r, v)
	}
	require.Equal(t, addrs, c.Addrs())
	require.Equal(t, 3, c.Crashes())
}

// What was acknowledged is there, whatever the disk has lost; what was not synced may be gone.
func TestAPowerLossTakesWhatWasNotSynced(t *testing.T) {
	lost := false
	for seed := uint64(0); !lost; seed++ { // a seed may lose nothing
		require.Less(t, seed, uint64(500))
		c := kafkatest.New(t, kafkatest.Topic("durable", 1), kafkatest.TopicConfig("fast", partition.TopicConfig{Partitions: 1, Sync: partition.SyncNever}),
			kafkatest.FaultyDisk(), kafkatest.Seed(seed+1))
		k := client(t, c)
		want := []string{"0", "1", "2", "3"}
		for _, v := range want {
			produce(t, k, "durable", v)
			produce(t, k, "fast", v)
		}
		require.NoError(t, c.Crash(kafkatest.PowerLoss))
		require.Equal(t, want, values(t, c, "durable", 0))
		fast := values(t, c, "fast", 0)
		require.LessOrEqual(t, len(fast), len(want))
		for i, v := range fast {
			require.Equal(t, want[i], v, "a prefix")
		}
		lost = lost || len(fast) < len(want)
	}
}

func TestPowerIsLostOnlyOnADiskThatRemembers(t *testing.T) {
	require.ErrorIs(t, kafkatest.New(t).Crash(kafkatest.PowerLoss), kafkatest.ErrNoPowerLoss)
}

func TestACrashAtAChosenRequest(t *testing.T) {
	for _, apply := range []bool{false, true} {
		t.Run(fmt.Sprint("apply=", apply), func(t *testing.T) {
			c := kafkatest.New(t, kafkatest.Topic("orders", 1))
			c.Inject(kafkatest.Rule{API: "Produce", Nth: 3, Times: 1, Crash: kafkatest.Kill, Apply: apply})
			k := client(t, c)
			produce(t, k, "orders", "1", "2", "3", "4")
			require.NoError(t, c.WaitCrash(bound(t), 1))
			require.Equal(t, []string{"1", "2", "3", "4"}, values(t, c, "orders", 0), "each once: the third was sent again")
		})
	}
}

func TestATornWriteIsCutAndSentAgain(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("orders", 1))
	k := client(t, c)
	produce(t, k, "orders", "1")
	require.NoError(t, c.Crash(kafkatest.TornWrite))
	require.Zero(t, c.Crashes())
	produce(t, k, "orders", "2", "3")
	require.NoError(t, c.WaitCrash(bound(t), 1))
	require.Equal(t, []string{"1", "2", "3"}, values(t, c, "orders", 0))
	require.NotNil(t, c.Store().RecoveryReport())
}

func TestAFullDiskIsAnErrorUntilThereIsSpace(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("orders", 1))
	k := client(t, c, kgo.DisableIdempotentWrite(), kgo.RecordRetries(0))
	produce(t, k, "orders", "1")
	full := c.FillDisk(0)
	require.ErrorIs(t, send(t, k, "orders", 0, "2"), kerr.KafkaStorageError)
	full.Lift()
	produce(t, k, "orders", "3")
	require.Equal(t, []string{"1", "3"}, values(t, c, "orders", 0))
}

func TestAFailedSyncEndsAppendsUntilTheStoreIsReopened(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("orders", 1), kafkatest.Topic("other", 1))
	k := client(t, c, kgo.DisableIdempotentWrite(), kgo.RecordRetries(0))
	produce(t, k, "orders", "1")
	c.FailSync()
	require.ErrorIs(t, send(t, k, "orders", 0, "2"), kerr.KafkaStorageError)
	require.ErrorIs(t, send(t, k, "orders", 0, "3"), kerr.KafkaStorageError)
	require.NoError(t, c.Reopen())
	again := client(t, c)
	produce(t, again, "orders", "4")
	produce(t, again, "other", "5")
	got := values(t, c, "orders", 0)
	require.Equal(t, "1", got[0])
	require.Equal(t, "4", got[len(got)-1])
}

func TestADirectoryIsAnOrdinaryStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	store, err := partition.Open(dir, partition.Config{})
	require.NoError(t, err)
	_, err = store.CreateTopic(t.Context(), "orders", partition.TopicConfig{})
	require.NoError(t, err)
	require.NoError(t, store.Close())

	c, err := kafkatest.Start(kafkatest.Directory(dir))
	require.NoError(t, err)
	defer c.Close()
	produce(t, client(t, c), "orders", "1")
	require.NoError(t, c.Crash(kafkatest.Kill))
	produce(t, client(t, c), "orders", "2")
	require.Equal(t, []string{"1", "2"}, values(t, c, "orders", 0))
	require.NoError(t, c.Close())

	store, err = partition.Open(dir, partition.Config{})
	require.NoError(t, err)
	defer store.Close()
	require.Nil(t, store.RecoveryReport(), "it was closed in good order")
	end, err := store.ListOffsets(t.Context(), partition.TopicPartition{Topic: "orders"}, partition.TimestampLatest)
	require.NoError(t, err)
	require.EqualValues(t, 2, end)
	_, err = os.Stat(dir)
	require.NoError(t, err)
}

func TestAClusterThatHasCrashedCanBeClosed(t *testing.T) {
	c, err := kafkatest.Start(kafkatest.Topic("orders", 1))
	require.NoError(t, err)
	rule := c.Inject(kafkatest.Rule{API: "Produce", Crash: kafkatest.Kill})
	k := client(t, c)
	k.Produce(bound(t), &kgo.Record{Topic: "orders", Value: []byte("x")}, nil)
	require.NoError(t, rule.Wait(bound(t), 1))
	require.NoError(t, c.Close())
	k.Close()
}

func TestABrokerStopsAndStartsOnItsPort(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Brokers(2), kafkatest.Property("default.replication.factor", "2"), kafkatest.Topic("orders", 1))
	k := client(t, c)
	produce(t, k, "orders", "1")
	leader, err := c.Leader("orders", 0)
	require.NoError(t, err)
	require.NoError(t, c.StopBroker(leader))
	produce(t, k, "orders", "2") // by the other one
	moved, err := c.Leader("orders", 0)
	require.NoError(t, err)
	require.NotEqual(t, leader, moved)
	require.NoError(t, c.StartBroker(leader))
	require.NoError(t, c.MoveLeader(bound(t), "orders", 0, leader))
	produce(t, k, "orders", "3")
	require.NoError(t, c.StopBroker(leader))
	require.NoError(t, c.Crash(kafkatest.Kill))
	produce(t, k, "orders", "4")
	require.NoError(t, c.RestartBroker(leader))
	produce(t, k, "orders", "5")
	require.Len(t, values(t, c, "orders", 0), 5)
	require.ErrorIs(t, c.StopBroker(99), kafka.ErrUnknownBroker)
}

// An orderly end before the first answer would be a wrong protocol to some clients, and no broker that is down.
func TestABrokerThatIsDownResetsConnections(t *testing.T) {
	c := kafkatest.New(t)
	addr := c.Addrs()[0]
	require.NoError(t, c.StopBroker(1))
	conn, err := net.Dial("tcp", addr)
	if err == nil {
		defer conn.Close()
		_, err = conn.Read(make([]byte, 1))
	}
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

func TestABrokerIsAddedAndTakesALeader(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("orders", 1))
	k := client(t, c)
	produce(t, k, "orders", "1")
	id, err := c.AddBroker("b")
	require.NoError(t, err)
	require.EqualValues(t, 2, id)
	require.Len(t, c.Addrs(), 2)
	on2 := c.Inject(kafkatest.Rule{API: "Produce", Brokers: []int32{2}})
	require.NoError(t, c.MoveLeader(bound(t), "orders", 0, 2))
	produce(t, k, "orders", "2")
	require.Equal(t, 1, on2.Hits())
}

func TestTooFewReplicasInSyncAreRefused(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Brokers(3), kafkatest.Property("default.replication.factor", "3"), kafkatest.Topic("orders", 1, "min.insync.replicas", "2"))
	k := client(t, c, kgo.DisableIdempotentWrite(), kgo.RecordRetries(0))
	produce(t, k, "orders", "1")
	leader, err := c.Leader("orders", 0)
	require.NoError(t, err)
	require.NoError(t, c.SetISR(bound(t), "orders", 0, leader))
	require.ErrorIs(t, send(t, k, "orders", 0, "2"), kerr.NotEnoughReplicas)
	require.NoError(t, c.SetISR(bound(t), "orders", 0, 1, 2, 3))
	produce(t, k, "orders", "3")
}
