package replication

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// ledger writes numbers, and remembers those that were acknowledged.
type ledger struct {
	t     *testing.T
	topic string

	mu    sync.Mutex
	next  int
	acked []string
}

// write sends n numbers through a producer, one after the other. One that fails is not counted, and may be there.
func (l *ledger) write(ctx context.Context, p *producer.Producer, n int) (failed int, err error) {
	for range n {
		l.mu.Lock()
		l.next++
		v := fmt.Sprint(l.next)
		l.mu.Unlock()
		if _, e := p.Send(ctx, producer.Record{Topic: l.topic, Key: []byte(v), Value: []byte(v)}); e != nil {
			failed, err = failed+1, e
			continue
		}
		l.mu.Lock()
		l.acked = append(l.acked, v)
		l.mu.Unlock()
	}
	return failed, err
}

// check reads the topic to its end through a node, and finds everything that was acknowledged, and nothing twice.
func (l *ledger) check(ctx context.Context, n *Node) {
	l.t.Helper()
	seen := read(ctx, l.t, n, l.topic, consumer.ReadUncommitted)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range l.acked {
		require.Equal(l.t, 1, seen[v], "record %s", v)
	}
	for v, times := range seen {
		require.Equal(l.t, 1, times, "record %s", v)
	}
}

// read reads a topic to its end and counts its values.
func read(ctx context.Context, t *testing.T, n *Node, topic string, isolation consumer.Isolation) map[string]int {
	t.Helper()
	m, err := n.Metadata(ctx, []string{topic})
	require.NoError(t, err)
	require.NoError(t, m[0].Err)
	var all []consumer.Assignment
	for _, p := range m[0].Partitions {
		tp := partition.TopicPartition{Topic: topic, Partition: p.Partition}
		end, err := n.ListOffsets(ctx, tp, partition.TimestampLatest)
		for err != nil && partition.Retriable(err) && ctx.Err() == nil { // a leader that is new
			end, err = n.ListOffsets(ctx, tp, partition.TimestampLatest)
		}
		require.NoError(t, err)
		if end > 0 { // not UntilEnd: what is committed is read when its marker is there, which may be later
			all = append(all, consumer.Assignment{TopicPartition: tp, Until: consumer.UntilOffset(end)})
		}
	}
	if len(all) == 0 {
		return map[string]int{}
	}
	c, err := consumer.Assign(ctx, n, all, consumer.Config{Isolation: isolation})
	require.NoError(t, err)
	defer c.Close()
	seen := map[string]int{}
	for r, err := range c.Records(ctx) {
		require.NoError(t, err)
		seen[string(r.Value)]++
	}
	return seen
}

func produce(t *testing.T, n *Node, c producer.Config) *producer.Producer {
	t.Helper()
	p, err := producer.New(n, c)
	require.NoError(t, err)
	t.Cleanup(func() { p.Close() })
	return p
}

// until asks again and again, with every change of the cluster, until f says yes.
func until(ctx context.Context, t *testing.T, n *Node, what string, f func() bool) {
	t.Helper()
	for {
		changed := n.metadataChanged()
		if f() {
			return
		}
		if err := n.wait(ctx, changed, 20*time.Millisecond); err != nil {
			all, _ := n.PartitionsOf(context.Background())
			t.Fatalf("%s: %v\n%+v", what, err, all)
		}
	}
}

// whole waits until all partitions of a topic have all their replicas in sync.
func whole(ctx context.Context, t *testing.T, n *Node, topic string) {
	t.Helper()
	until(ctx, t, n, topic+" is whole", func() bool {
		all, err := n.PartitionsOf(ctx, topic)
		for _, p := range all {
			if p.Leader < 0 || len(p.ISR) != len(p.Replicas) {
				return false
			}
		}
		return err == nil && len(all) > 0
	})
}

func TestRecordsAreWrittenAndReadThroughAnyNode(t *testing.T) {
	l := local(t, LocalConfig{Change: calm})
	ctx := patient(t)
	_, err := l.Node(1).CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 6})
	require.NoError(t, err)
	book := &ledger{t: t, topic: "orders"}
	for _, n := range l.Nodes() {
		failed, err := book.write(ctx, produce(t, n, producer.Config{}), 50)
		require.NoError(t, err)
		require.Zero(t, failed)
	}
	for _, n := range l.Nodes() {
		book.check(ctx, n)
	}
	whole(ctx, t, l.Node(1), "orders")
}

func TestNothingAcknowledgedIsLostWhenALeaderDies(t *testing.T) {
	l := local(t, LocalConfig{})
	ctx := patient(t)
	_, err := l.Node(1).CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 3})
	require.NoError(t, err)
	book := &ledger{t: t, topic: "orders"}
	p := produce(t, l.Node(1), producer.Config{})
	_, err = book.write(ctx, p, 30)
	require.NoError(t, err)
	for _, victim := range []int32{2, 3} {
		var writing sync.WaitGroup
		begun := make(chan struct{})
		writing.Go(func() {
			_, err := book.write(ctx, p, 5)
			if err != nil {
				t.Error(err)
			}
			close(begun)
			if _, err := book.write(ctx, p, 30); err != nil {
				t.Error(err)
			}
		})
		<-begun
		require.NoError(t, l.Kill(victim))
		writing.Wait() // also what went to partitions of the dead node
		book.check(ctx, l.Node(1))
		back, err := l.Start(victim)
		require.NoError(t, err)
		require.NoError(t, back.Ready(ctx))
		whole(ctx, t, back, "orders") // it has caught up
		book.check(ctx, back)
	}
}

func TestANodeThatIsClosedHandsItsLeadershipOver(t *testing.T) {
	l := local(t, LocalConfig{Change: func(c *Config) { c.SessionTimeout, c.CloseTimeout = time.Hour, 5*time.Minute }}) // nobody is missed: others lead as it hands over
	ctx := patient(t)
	_, err := l.Node(1).CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 6})
	require.NoError(t, err)
	book := &ledger{t: t, topic: "orders"}
	p := produce(t, l.Node(2), producer.Config{})
	_, err = book.write(ctx, p, 20)
	require.NoError(t, err)
	whole(ctx, t, l.Node(1), "orders")
	require.NoError(t, l.Stop(1)) // also the controller, perhaps
	// Who is left hears of it later than who has left.
	until(ctx, t, l.Node(2), "others lead", func() bool {
		all, err := l.Node(2).PartitionsOf(ctx, "orders")
		require.NoError(t, err)
		return !slices.ContainsFunc(all, func(p PartitionInfo) bool { return p.Leader <= 1 || slices.Contains(p.ISR, 1) })
	})
	_, err = book.write(ctx, p, 20)
	require.NoError(t, err)
	back, err := l.Start(1)
	require.NoError(t, err)
	require.NoError(t, back.Ready(ctx))
	whole(ctx, t, back, "orders")
	book.check(ctx, back)
}

func TestALostDiskIsFilledByTheOthers(t *testing.T) {
	l := local(t, LocalConfig{})
	ctx := patient(t)
	_, err := l.Node(1).CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 3})
	require.NoError(t, err)
	book := &ledger{t: t, topic: "orders"}
	p := produce(t, l.Node(1), producer.Config{})
	_, err = book.write(ctx, p, 50)
	require.NoError(t, err)
	whole(ctx, t, l.Node(1), "orders")
	require.NoError(t, l.Kill(3))
	require.NoError(t, l.Wipe(3))
	_, err = book.write(ctx, p, 20)
	require.NoError(t, err)
	back, err := l.Start(3)
	require.NoError(t, err)
	require.NoError(t, back.Ready(ctx))
	whole(ctx, t, back, "orders")
	require.NoError(t, l.voting(ctx, back))
	require.NoError(t, l.Kill(2)) // now its copy counts
	_, err = book.write(ctx, p, 10)
	require.NoError(t, err)
	book.check(ctx, back)
}

func TestAStoresDirectoryBecomesTheFirstNodesAsItIs(t *testing.T) {
	if testing.Short() {
		t.Skip("a disk's syncs")
	}
	ctx := patient(t)
	dir := t.TempDir()
	node1 := dir + "/node-1"
	store, err := partition.Open(node1, partition.Config{})
	require.NoError(t, err)
	_, err = store.CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 2})
	require.NoError(t, err)
	p, err := producer.New(store, producer.Config{})
	require.NoError(t, err)
	for i := range 10 {
		_, err := p.Send(ctx, producer.Record{Topic: "orders", Value: []byte(fmt.Sprint("embedded ", i))})
		require.NoError(t, err)
	}
	billing, err := group.Open(store, "billing", group.Config{})
	require.NoError(t, err)
	c, err := consumer.Join(ctx, billing, consumer.Config{Topics: []string{"orders"}, Until: consumer.UntilEnd()})
	require.NoError(t, err)
	for _, err := range c.Records(ctx) {
		require.NoError(t, err)
	}
	require.NoError(t, c.Close())
	require.NoError(t, billing.Close())
	require.NoError(t, p.Close())
	id := store.ClusterID()
	require.NoError(t, store.Close())

	l := local(t, LocalConfig{Dir: dir, Change: calm})
	require.Equal(t, id, l.Node(1).ClusterID())
	require.Len(t, read(ctx, t, l.Node(3), "orders", consumer.ReadUncommitted), 10)
	_, err = l.Node(2).Reassign(ctx, map[partition.TopicPartition][]int32{
		{Topic: "orders", Partition: 0}: {2, 3, 1}, {Topic: "orders", Partition: 1}: {3, 1, 2},
	})
	require.NoError(t, err)
	until(ctx, t, l.Node(2), "reassigned", func() bool {
		moving, err := l.Node(2).Reassignments(ctx)
		return err == nil && len(moving) == 0
	})
	whole(ctx, t, l.Node(2), "orders")
	require.Len(t, read(ctx, t, l.Node(3), "orders", consumer.ReadUncommitted), 10)
}
