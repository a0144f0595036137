package kafkatest_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/kafka/kafkatest"
	"github.com/partlog/partlog/partition"
)

// prepared is a cluster with records, committed offsets and an idempotent producer, on each kind of disk.
func prepared(t *testing.T, run func(t *testing.T, c *kafkatest.Cluster)) {
	for name, o := range map[string][]kafkatest.Option{
		"memory": nil, "faulty": {kafkatest.FaultyDisk()}, "directory": {kafkatest.Directory(filepath.Join(t.TempDir(), "store"))},
	} {
		t.Run(name, func(t *testing.T) {
			c := kafkatest.New(t, append(o, kafkatest.Brokers(2), kafkatest.Topic("orders", 2), kafkatest.Topic("keys", 1, "cleanup.policy", "compact"))...)
			k := client(t, c, manual)
			for i := range 20 {
				require.NoError(t, send(t, k, "orders", int32(i%2), fmt.Sprint(i)))
				require.NoError(t, k.ProduceSync(bound(t), &kgo.Record{Topic: "keys", Key: []byte("k"), Value: []byte(fmt.Sprint(i))}).FirstErr())
			}
			r := reader(t, c, "orders", kgo.ConsumerGroup("g"), kgo.DisableAutoCommit())
			consume(t, r, 20)
			require.NoError(t, r.CommitUncommittedOffsets(bound(t)))
			r.Close()
			run(t, c)
		})
	}
}

func TestForksHaveEverythingAndAreIndependent(t *testing.T) {
	prepared(t, func(t *testing.T, c *kafkatest.Cluster) {
		snap, err := c.Snapshot(bound(t))
		require.NoError(t, err)
		defer snap.Close()
		produce(t, client(t, c), "orders", "only in the first one")
		var wg sync.WaitGroup
		for i := range 4 {
			f := snap.Fork(t)
			wg.Go(func() {
				want := [2][]string{}
				for v := range 20 {
					want[v%2] = append(want[v%2], fmt.Sprint(v))
				}
				for p := range int32(2) {
					requireThat(t, fmt.Sprint(want[p]), fmt.Sprint(values(t, f, "orders", p)))
				}
				mine := fmt.Sprint("of fork ", i)
				produce(t, client(t, f), "orders", mine)
				got := consume(t, reader(t, f, "orders", kgo.ConsumerGroup("g")), 1)
				requireThat(t, fmt.Sprint([]string{mine}), fmt.Sprint(got)) // the committed offsets are there
				if err := f.Crash(kafkatest.Kill); err != nil {
					t.Error(err)
				}
				requireThat(t, "21", fmt.Sprint(len(values(t, f, "orders", 0))+len(values(t, f, "orders", 1))))
			})
		}
		wg.Wait()
		require.Len(t, append(values(t, c, "orders", 0), values(t, c, "orders", 1)...), 21)
	})
}

func requireThat(t *testing.T, want, got string) {
	if want != got {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Compaction, retention, deletion of records and of topics, and crashes in forks leave the snapshot's files as they are.
func TestForksNeverChangeWhatTheyShare(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	c := kafkatest.New(t, kafkatest.Directory(dir), kafkatest.Topic("orders", 1), kafkatest.Topic("keys", 1, "cleanup.policy", "compact"))
	k := client(t, c)
	for i := range 50 {
		require.NoError(t, k.ProduceSync(bound(t), &kgo.Record{Topic: "keys", Key: []byte("k"), Value: []byte(fmt.Sprint(i))}).FirstErr())
		produce(t, k, "orders", fmt.Sprint(i))
	}
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	snap, err := c.Snapshot(bound(t))
	require.NoError(t, err)
	before := contents(t, tmp)
	require.NotEmpty(t, before)
	for i := range 3 {
		f := snap.Fork(t)
		fk := client(t, f)
		require.NoError(t, fk.ProduceSync(bound(t), &kgo.Record{Topic: "keys", Key: []byte("k"), Value: []byte("new")}).FirstErr())
		require.NoError(t, f.Store().Compact(bound(t), partition.TopicPartition{Topic: "keys"}))
		require.Equal(t, []string{"new"}, values(t, f, "keys", 0))
		req := kmsg.NewPtrDeleteRecordsRequest()
		rt := kmsg.NewDeleteRecordsRequestTopic()
		rt.Topic = "orders"
		rp := kmsg.NewDeleteRecordsRequestTopicPartition()
		rp.Offset = 50
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics, req.TimeoutMillis = append(req.Topics, rt), 10000
		_, err := req.RequestWith(bound(t), fk)
		require.NoError(t, err)
		require.Empty(t, values(t, f, "orders", 0))
		require.NoError(t, f.Crash(kafkatest.Kill))
		produce(t, fk, "orders", "after")
		require.NoError(t, f.Store().DeleteTopic(bound(t), "orders"))
		if i == 1 {
			require.NoError(t, f.Close())
		}
	}
	for name, sum := range before {
		require.Equal(t, sum, sumOf(t, name), name)
	}
	last := snap.Fork(t)
	require.Len(t, values(t, last, "orders", 0), 50)
	require.NoError(t, snap.Close())
	require.Len(t, values(t, last, "orders", 0), 50)
	require.NoError(t, last.Close())
}

func contents(t *testing.T, dir string) map[string]string {
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			all[path] = sumOf(t, path)
		}
		return err
	}))
	return all
}

func sumOf(t *testing.T, path string) string {
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

func TestAForkOfAForkAndWithOtherOptions(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("orders", 1), kafkatest.User("alice", "secret", "SCRAM-SHA-256"))
	_, err := c.Produce(bound(t), "orders", 0, kafkatest.Record{Value: []byte("1")})
	require.NoError(t, err)
	snap, err := c.Snapshot(bound(t))
	require.NoError(t, err)
	f := snap.Fork(t, kafkatest.Brokers(3))
	require.Len(t, f.Addrs(), 3)
	_, err = f.Produce(bound(t), "orders", 0, kafkatest.Record{Value: []byte("2")})
	require.NoError(t, err)
	again, err := f.Snapshot(bound(t))
	require.NoError(t, err)
	g := again.Fork(t)
	require.Equal(t, []string{"1", "2"}, values(t, g, "orders", 0))
	require.NoError(t, snap.Close())
	_, err = snap.Start()
	require.ErrorIs(t, err, kafkatest.ErrClosed)
}
