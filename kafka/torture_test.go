package kafka

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// torture is a cluster of three brokers that is never left in peace, and its clients.
type torture struct {
	*testing.T
	ctx    context.Context
	server *Server
	store  *partition.Store
	opts   []kgo.Opt
	tool   *kgo.Client
	rng    *rand.Rand
	sent   map[string][]int // by key, what was acknowledged, in order
}

// Everything at once: idempotent producers, sessions that consume and produce in transactions, members of a group of the new
// protocol, topics that come, grow and go, leaders and coordinators that move, brokers that stop and start, in-sync replicas
// that shrink, quotas that change, tools that look. Of what was acknowledged nothing is lost and nothing is there twice, in
// the order of each key, before the transactions and behind them; and when all is closed, nothing is held any more.
func TestNothingIsLostOrRepeatedWhateverHappensAtOnce(t *testing.T) {
	steps := 32
	if testing.Short() {
		steps = 8
	}
	x := newTorture(t)
	var others sync.WaitGroup
	running, stop := context.WithCancel(x.ctx)
	defer func() { stop(); others.Wait() }()
	others.Go(func() { x.copyInTransactions(running, "copier-1", 0) })
	others.Go(func() {
		x.copyInTransactions(running, "copier-2", 5) // leaves
		x.copyInTransactions(running, "copier-3", 0)
	})
	seen := make(chan string, 1000)
	for i := range 2 {
		others.Go(func() { x.watch(running, seen, i == 0) })
	}
	ticks := make([]chan struct{}, 2)
	sent := make([]map[string][]int, len(ticks))
	var producers sync.WaitGroup
	for i := range ticks {
		ticks[i] = make(chan struct{}, steps)
		producers.Go(func() { sent[i] = x.produce(fmt.Sprint("producer-", i), ticks[i]) })
	}
	for i := range steps {
		for _, c := range ticks {
			c <- struct{}{}
		}
		x.disturb(i)
	}
	for _, c := range ticks {
		close(c)
	}
	producers.Wait()
	for _, m := range sent {
		maps.Copy(x.sent, m)
	}
	x.heal()

	n, missed := 0, map[string]bool{}
	for key, values := range x.sent {
		n += len(values)
		for _, v := range values {
			missed[key+"/"+strconv.Itoa(v)] = true
		}
	}
	for len(missed) > 0 { // the group of the new protocol sees everything at least once
		select {
		case record := <-seen:
			delete(missed, record)
		case <-x.ctx.Done():
			require.FailNow(t, "not seen by the group of the new protocol", "%v", missed)
		}
	}
	x.read("bills", n, stop, &others)
	x.read("orders", n, func() {}, &sync.WaitGroup{})
	x.tool.Close()
	require.NoError(t, x.server.Close())
	stats := x.server.Stats()
	require.Zero(t, stats.Connections)
	require.Zero(t, stats.MemoryInUse)
	require.Zero(t, x.store.Stats().Total.Leases)
}

func newTorture(t *testing.T) *torture {
	onOneStore(t, "brokers stop and ISRs are set at any moment; replication/replicationtest and examples/cluster torture nodes")
	properties := map[string]string{"default.replication.factor": "3", "offsets.topic.num.partitions": "4", "transaction.state.log.num.partitions": "4"}
	maps.Copy(properties, quick.Properties)
	s, store, _ := newCluster(t, 3, partition.Config{}, Config{Properties: properties})
	x := &torture{T: t, ctx: eventually(t), server: s, store: store, rng: rand.New(rand.NewPCG(1, 2)), sent: map[string][]int{}}
	var seeds []string
	for _, b := range s.Brokers() {
		host, port, _ := b.Addr("")
		seeds = append(seeds, net.JoinHostPort(host, fmt.Sprint(port)))
	}
	x.opts = append(slices.Clone(unshaken),
		kgo.SeedBrokers(seeds...), kgo.MetadataMinAge(10*time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }),
		kgo.RequestRetries(1<<20), kgo.RetryTimeout(time.Hour), kgo.UnknownTopicRetries(-1), // until the test ends
		kgo.FetchMaxWait(50*time.Millisecond), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(20*time.Millisecond),
	)
	for _, name := range []string{"orders", "bills"} {
		_, err := s.CreateTopic(x.ctx, NewTopic{Name: name, Partitions: 6, ReplicationFactor: 3})
		require.NoError(t, err)
	}
	x.tool = x.client()
	return x
}

func (x *torture) client(opts ...kgo.Opt) *kgo.Client {
	return kgoClient(x, "", append(append([]kgo.Opt(nil), x.opts...), opts...)...)
}

// produce sends ten records for each tick, and returns what was acknowledged: everything, or the test fails.
func (x *torture) produce(id string, ticks <-chan struct{}) map[string][]int {
	p := x.client(kgo.DefaultProduceTopic("orders"))
	sent := map[string][]int{}
	n := 0
	for range ticks {
		for range 10 {
			key := fmt.Sprint(id, ".", n%7)
			sent[key] = append(sent[key], n)
			p.Produce(x.ctx, &kgo.Record{Key: []byte(key), Value: []byte(strconv.Itoa(n))}, func(_ *kgo.Record, err error) {
				if err != nil {
					x.Errorf("%s: %v", id, err)
				}
			})
			n++
		}
	}
	if err := p.Flush(x.ctx); err != nil {
		x.Errorf("%s: flush: %v", id, err)
	}
	return sent
}

// copyInTransactions copies orders to bills, for some rounds or, if they are none, until ctx ends. Every fourth transaction is
// aborted. What breaks a session begins the next one.
func (x *torture) copyInTransactions(ctx context.Context, id string, rounds int) {
	for n := 0; ctx.Err() == nil && (rounds == 0 || n < rounds); {
		s, err := kgo.NewGroupTransactSession(append(append([]kgo.Opt(nil), x.opts...), kgo.TransactionalID(id), kgo.ConsumerGroup("copiers"),
			kgo.ConsumeTopics("orders"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.Balancers(kgo.CooperativeStickyBalancer()))...)
		if err != nil {
			x.Errorf("%s: %v", id, err)
			return
		}
		for ; err == nil && ctx.Err() == nil && (rounds == 0 || n < rounds); n++ {
			fs := s.PollRecords(ctx, 25)
			if err = s.Begin(); err != nil {
				break
			}
			fs.EachRecord(func(r *kgo.Record) { s.Produce(ctx, &kgo.Record{Topic: "bills", Key: r.Key, Value: r.Value}, nil) })
			_, err = s.End(x.ctx, kgo.TransactionEndTry(n%4 != 3))
		}
		s.Close()
	}
}

// watch is a member of a group of the new protocol, which tells what it reads.
func (x *torture) watch(ctx context.Context, seen chan<- string, leaves bool) {
	c := x.client(kgo.ConsumerGroup("watchers"), kgo.ConsumeTopics("orders"), kgo.ServerSideBalancer(), kgo.DisableAutoCommit())
	for n := 0; ctx.Err() == nil && (!leaves || n < 10); n++ {
		c.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			select {
			case seen <- string(r.Key) + "/" + string(r.Value):
			case <-ctx.Done():
			}
		})
		_ = c.CommitUncommittedOffsets(x.ctx) // what is not committed is read again
	}
	c.Close()
}

// disturb does the i-th of the things that must not disturb anybody.
func (x *torture) disturb(i int) {
	ctx, s := x.ctx, x.server
	at := x.rng.Int32N(3) + 1
	p := x.rng.Int32N(6)
	noise := fmt.Sprint("noise-", i/8)
	var err error
	switch i % 8 {
	case 0:
		_, err = s.CreateTopic(ctx, NewTopic{Name: noise, Partitions: 2, ReplicationFactor: 2})
		require.NoError(x, err)
		err = s.MoveLeader(ctx, tpOf("orders", p), at)
	case 1:
		err = s.MoveCoordinator(ctx, false, []string{"copiers", "watchers"}[p%2], at)
	case 2:
		err = s.MoveCoordinator(ctx, true, "copier-1", at)
	case 3:
		require.NoError(x, s.brokerByID(at).Stop())
		err = s.brokerByID(at).Start()
	case 4:
		err = s.SetISR(ctx, tpOf("bills", p), at)
		req := kmsg.NewPtrCreatePartitionsRequest()
		req.TimeoutMillis = 10_000
		t := kmsg.NewCreatePartitionsRequestTopic()
		t.Topic, t.Count = noise, 5
		req.Topics = append(req.Topics, t)
		x.ask(req)
	case 5:
		x.quota(float64(1_000_000 + i))
		err = s.SetISR(ctx, tpOf("bills", p), 1, 2, 3)
	case 6:
		x.look()
		err = s.MoveLeader(ctx, tpOf("bills", p), at)
	default:
		var gone sync.WaitGroup // a topic goes while a broker does
		gone.Go(func() {
			req := kmsg.NewPtrDeleteTopicsRequest()
			req.TimeoutMillis = 10_000
			t := kmsg.NewDeleteTopicsRequestTopic()
			t.Topic = &noise
			req.Topics, req.TopicNames = append(req.Topics, t), append(req.TopicNames, noise)
			x.ask(req)
		})
		require.NoError(x, s.brokerByID(at).Stop())
		err = s.brokerByID(at).Start()
		gone.Wait()
	}
	require.NoError(x, err)
}

// ask sends a request of which only counts that it is answered: brokers stop meanwhile.
func (x *torture) ask(req kmsg.Request) {
	_, _ = x.tool.Request(x.ctx, req)
	require.NoError(x, x.ctx.Err())
}

// quota gives every client a share that is large enough.
func (x *torture) quota(rate float64) {
	req := kmsg.NewPtrAlterClientQuotasRequest()
	e := kmsg.NewAlterClientQuotasRequestEntry()
	c := kmsg.NewAlterClientQuotasRequestEntryEntity()
	c.Type = "client-id"
	e.Entity = append(e.Entity, c)
	for _, key := range []string{"producer_byte_rate", "consumer_byte_rate"} {
		op := kmsg.NewAlterClientQuotasRequestEntryOp()
		op.Key, op.Value = key, rate
		e.Ops = append(e.Ops, op)
	}
	req.Entries = append(req.Entries, e)
	x.ask(req)
}

// look asks what tools ask.
func (x *torture) look() {
	var all sync.WaitGroup
	groups := kmsg.NewPtrDescribeGroupsRequest()
	groups.Groups = []string{"copiers"}
	consumers := kmsg.NewPtrConsumerGroupDescribeRequest()
	consumers.Groups = []string{"watchers"}
	for _, req := range []kmsg.Request{
		groups, consumers, kmsg.NewPtrListGroupsRequest(), kmsg.NewPtrListTransactionsRequest(), kmsg.NewPtrDescribeClusterRequest(),
		kmsg.NewPtrMetadataRequest(), kmsg.NewPtrDescribeLogDirsRequest(), kmsg.NewPtrDescribeClientQuotasRequest(),
	} {
		all.Go(func() { _, _ = x.tool.Request(x.ctx, req) })
	}
	all.Wait()
}

// heal lets all brokers run.
func (x *torture) heal() {
	for _, b := range x.server.Brokers() {
		require.NoError(x, b.Start())
	}
}

// read reads n records of a topic from its beginning, then has everybody else stop, and goes on up to a last record in each
// partition. They are what was sent, each once, in the order of its key.
func (x *torture) read(topic string, n int, stop func(), others *sync.WaitGroup) {
	const partitions = 6
	c := x.client(kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	defer c.Close()
	got := map[string][]int{}
	var total, last atomic.Int32
	poll := func() {
		fs := c.PollFetches(x.ctx)
		require.NoError(x, x.ctx.Err(), "%s: %d of %d", topic, total.Load(), n)
		fs.EachRecord(func(r *kgo.Record) {
			if string(r.Key) == "last" {
				last.Add(1)
				return
			}
			v, err := strconv.Atoi(string(r.Value))
			require.NoError(x, err)
			got[string(r.Key)] = append(got[string(r.Key)], v)
			total.Add(1)
		})
	}
	for int(total.Load()) < n {
		poll()
	}
	stop()
	others.Wait()
	p := x.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic(topic))
	defer p.Close()
	for i := range int32(partitions) {
		require.NoError(x, p.ProduceSync(x.ctx, &kgo.Record{Partition: i, Key: []byte("last")}).FirstErr())
	}
	for last.Load() < partitions {
		poll()
	}
	require.Equal(x, x.sent, got, topic)
}
