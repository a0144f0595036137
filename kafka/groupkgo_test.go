package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// crowd is the members of one group, which consume the topic "orders" of six partitions until the test ends them.
type crowd struct {
	t    testing.TB
	addr string
	opts []kgo.Opt

	mu      sync.Mutex
	changed *sync.Cond
	seen    map[string]int // values, how often
	owned   map[*crowdMember]map[int32]bool
}

type crowdMember struct {
	*crowd
	client *kgo.Client
	stop   context.CancelFunc
	done   chan struct{}
}

func newCrowd(t testing.TB, addr string, opts ...kgo.Opt) *crowd {
	c := &crowd{t: t, addr: addr, opts: opts, seen: map[string]int{}, owned: map[*crowdMember]map[int32]bool{}}
	c.changed = sync.NewCond(&c.mu)
	return c
}

func (c *crowd) join(opts ...kgo.Opt) *crowdMember {
	m := &crowdMember{crowd: c, done: make(chan struct{})}
	change := func(f func(owned map[int32]bool, p int32)) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, ps map[string][]int32) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.owned[m] == nil {
				c.owned[m] = map[int32]bool{}
			}
			for _, p := range ps["orders"] {
				f(c.owned[m], p)
			}
			c.changed.Broadcast()
		}
	}
	take := change(func(owned map[int32]bool, p int32) { owned[p] = true })
	give := change(func(owned map[int32]bool, p int32) { delete(owned, p) })
	opts = append(slices.Concat(unshaken, []kgo.Opt{
		kgo.SeedBrokers(c.addr), kgo.ConsumerGroup("g"), kgo.SessionTimeout(10 * time.Minute), kgo.RebalanceTimeout(10 * time.Minute), kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.HeartbeatInterval(20 * time.Millisecond), kgo.FetchMaxWait(50 * time.Millisecond), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(take), kgo.OnPartitionsRevoked(give), kgo.OnPartitionsLost(give),
	}), append(c.opts, opts...)...)
	client, err := kgo.NewClient(opts...)
	require.NoError(c.t, err)
	ctx, stop := context.WithCancel(context.Background())
	m.client, m.stop = client, stop
	go m.consume(ctx)
	c.t.Cleanup(m.leave)
	return m
}

// consume commits what it has read before it allows a rebalance, so that nothing is read twice in an orderly one.
func (m *crowdMember) consume(ctx context.Context) {
	defer close(m.done)
	for ctx.Err() == nil {
		fs := m.client.PollFetches(ctx)
		var values []string
		fs.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
		fs.EachError(func(topic string, p int32, err error) {
			if !errors.Is(err, context.Canceled) && !errors.Is(err, kgo.ErrClientClosed) {
				m.t.Errorf("fetch %s-%d: %v", topic, p, err)
			}
		})
		if len(values) > 0 {
			err := m.client.CommitUncommittedOffsets(context.Background())
			for errors.Is(err, kerr.StaleMemberEpoch) { // a heartbeat has brought the next epoch meanwhile (KIP-848)
				err = m.client.CommitUncommittedOffsets(context.Background())
			}
			if err != nil {
				m.t.Errorf("commit: %v", err)
			}
		}
		m.mu.Lock()
		for _, v := range values {
			m.seen[v]++
		}
		m.changed.Broadcast()
		m.mu.Unlock()
		m.client.AllowRebalance()
	}
}

// leave ends the member in an orderly way.
func (m *crowdMember) leave() {
	m.stop()
	<-m.done
	m.client.CloseAllowingRebalance()
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.owned, m)
	m.changed.Broadcast()
}

// settled waits until these members, and nobody else, own all partitions, each once.
func (c *crowd) settled(members ...*crowdMember) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		all, n := map[int32]bool{}, 0
		some := true
		for _, m := range members {
			some = some && len(c.owned[m]) > 0
			n += len(c.owned[m])
			maps.Copy(all, c.owned[m])
		}
		if some && n == 6 && len(all) == 6 {
			return
		}
		c.changed.Wait()
	}
}

// has waits until n different values have been read.
func (c *crowd) has(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.seen) < n {
		c.changed.Wait()
	}
}

// load produces values from..to-1 to "orders", and waits for their acknowledgement.
func load(t testing.TB, p *kgo.Client, from, to int) {
	t.Helper()
	var rs []*kgo.Record
	for i := from; i < to; i++ {
		rs = append(rs, &kgo.Record{Topic: "orders", Key: fmt.Append(nil, i), Value: fmt.Append(nil, i)})
	}
	require.NoError(t, p.ProduceSync(t.Context(), rs...).FirstErr())
}

// quick are settings with which groups form at once, and no member is lost where the machine stands still.
var quick = Config{Properties: map[string]string{
	"group.initial.rebalance.delay.ms": "0", "group.consumer.heartbeat.interval.ms": "20", "group.consumer.min.heartbeat.interval.ms": "10",
	"group.consumer.max.session.timeout.ms": "600000", "group.consumer.session.timeout.ms": "600000"}}

func TestKgoGroupsOfEveryProtocolRebalanceWithoutLossOrRepetition(t *testing.T) {
	for name, opts := range map[string][]kgo.Opt{
		"range":              {kgo.Balancers(kgo.RangeBalancer())},
		"roundrobin":         {kgo.Balancers(kgo.RoundRobinBalancer())},
		"sticky":             {kgo.Balancers(kgo.StickyBalancer())},
		"cooperative-sticky": {kgo.Balancers(kgo.CooperativeStickyBalancer())},
		"consumer-uniform":   {kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer())},
		"consumer-range":     {kgo.ServerSideBalancer(), kgo.Balancers(kgo.RangeBalancer())},
		"static":             {kgo.Balancers(kgo.CooperativeStickyBalancer())},
	} {
		t.Run(name, func(t *testing.T) {
			_, store, addr := serveMemory(t, quick)
			_, err := store.CreateTopic(t.Context(), "orders", partition.TopicConfig{Partitions: 6})
			require.NoError(t, err)
			p := kgoClient(t, addr)
			load(t, p, 0, 300)
			c := newCrowd(t, addr, opts...)
			member := func(i int) *crowdMember {
				if name == "static" {
					return c.join(kgo.InstanceID(fmt.Sprint("instance-", i)))
				}
				return c.join()
			}
			a := member(0)
			c.settled(a)
			c.has(300)
			list, err := kmsg.NewPtrListGroupsRequest().RequestWith(t.Context(), p)
			require.NoError(t, err)
			require.Equal(t, strings.HasPrefix(name, "consumer-"), list.Groups[0].GroupType == "consumer")
			b := member(1)
			c.settled(a, b)
			load(t, p, 300, 600)
			c.has(600)
			a.leave()
			if name == "static" { // it has not said that it goes
				require.NoError(t, remove(t, p, "instance-0"))
			}
			c.settled(b)
			load(t, p, 600, 700)
			c.has(700)
			b.leave()
			for v, n := range c.seen {
				require.Equal(t, 1, n, v)
			}
			require.Equal(t, int64(700), committedSum(t, p))
		})
	}
}

// remove takes a static member out of the group, as kafka-consumer-groups.sh does.
func remove(t testing.TB, c *kgo.Client, instance string) error {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = "g"
	m := kmsg.NewLeaveGroupRequestMember()
	m.InstanceID = &instance
	req.Members = append(req.Members, m)
	resp, err := req.RequestWith(t.Context(), c)
	if err == nil && len(resp.Members) == 1 && resp.Members[0].ErrorCode != 0 {
		err = fmt.Errorf("code %d", resp.Members[0].ErrorCode)
	}
	return err
}

// committedSum adds up what the group "g" has committed.
func committedSum(t testing.TB, c *kgo.Client) (sum int64) {
	t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = "g"
	req.Group, req.Groups = "g", append(req.Groups, g)
	resp, err := req.RequestWith(t.Context(), c)
	require.NoError(t, err)
	require.Len(t, resp.Groups, 1)
	require.Zero(t, resp.Groups[0].ErrorCode)
	for _, topic := range resp.Groups[0].Topics {
		for _, p := range topic.Partitions {
			sum += p.Offset
		}
	}
	return sum
}

func TestAKgoGroupGoesOnWhenItsCoordinatorMoves(t *testing.T) {
	store, err := partition.OpenMemory(partition.Config{})
	require.NoError(t, err)
	defer store.Close()
	s, err := New(store, quick)
	require.NoError(t, err)
	defer s.Close()
	for range 3 {
		_, err := s.AddBroker(BrokerConfig{Listeners: []ListenerConfig{{Listener: listen(t)}}})
		require.NoError(t, err)
	}
	host, port, _ := s.Brokers()[0].Addr("")
	addr := fmt.Sprintf("%s:%d", host, port)
	_, err = store.CreateTopic(t.Context(), "orders", partition.TopicConfig{Partitions: 6})
	require.NoError(t, err)
	p := kgoClient(t, addr)
	c := newCrowd(t, addr, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	a, b := c.join(), c.join()
	c.settled(a, b)
	for i := range 6 {
		load(t, p, 100*i, 100*(i+1))
		c.has(100 * (i + 1))
		at := s.Coordinator(false, "g")
		require.NoError(t, s.MoveCoordinator(t.Context(), false, "g", at%3+1))
	}
	a.leave()
	b.leave()
	for v, n := range c.seen {
		require.Equal(t, 1, n, v)
	}
	require.Equal(t, int64(600), committedSum(t, p))
}

func TestToolsFindTheirWayToAllCoordinators(t *testing.T) {
	store, err := partition.OpenMemory(partition.Config{})
	require.NoError(t, err)
	defer store.Close()
	s, err := New(store, quick)
	require.NoError(t, err)
	defer s.Close()
	for range 3 {
		_, err := s.AddBroker(BrokerConfig{Listeners: []ListenerConfig{{Listener: listen(t)}}})
		require.NoError(t, err)
	}
	host, port, _ := s.Brokers()[0].Addr("")
	_, err = store.CreateTopic(t.Context(), "orders", partition.TopicConfig{Partitions: 6})
	require.NoError(t, err)
	c := kgoClient(t, fmt.Sprintf("%s:%d", host, port))
	ids := []string{"a", "b", "c", "d", "e", "f"}
	coordinators := map[int32]bool{}
	for _, id := range ids {
		req := commitRequest(id, -1, "", map[string][]int32{"orders": {0}})
		resp, err := req.RequestWith(t.Context(), c)
		require.NoError(t, err)
		require.Zero(t, resp.Topics[0].Partitions[0].ErrorCode)
		coordinators[s.Coordinator(false, id)] = true
	}
	require.Len(t, coordinators, 3)
	list, err := kmsg.NewPtrListGroupsRequest().RequestWith(t.Context(), c)
	require.NoError(t, err)
	require.Len(t, list.Groups, len(ids))
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups = ids
	described, err := describe.RequestWith(t.Context(), c)
	require.NoError(t, err)
	for _, g := range described.Groups {
		require.Equal(t, []any{int16(0), "Empty"}, []any{g.ErrorCode, g.State})
	}
	remove := kmsg.NewPtrDeleteGroupsRequest()
	remove.Groups = ids
	removed, err := remove.RequestWith(t.Context(), c)
	require.NoError(t, err)
	require.Len(t, removed.Groups, len(ids))
	for _, g := range removed.Groups {
		require.Zero(t, g.ErrorCode)
	}
	list, err = kmsg.NewPtrListGroupsRequest().RequestWith(t.Context(), c)
	require.NoError(t, err)
	require.Empty(t, list.Groups)
}
